"""What can go wrong: taxonomies, regimes and the mapping between them, as data."""

from fangxin.risks._risks import (
    Figure,
    Group,
    Regime,
    RegimeName,
    Risk,
    RiskError,
    Taxonomy,
    figures,
    groups,
    mapped,
    regime,
    risk,
    risks,
)

__all__ = [
    "Figure",
    "Group",
    "Regime",
    "RegimeName",
    "Risk",
    "RiskError",
    "Taxonomy",
    "figures",
    "groups",
    "mapped",
    "regime",
    "risk",
    "risks",
]
