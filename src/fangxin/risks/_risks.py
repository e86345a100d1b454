from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from fangxin.dialogue import Language

Taxonomy = Literal["ailuminate", "cn", "owasp", "eu"]
RegimeName = Literal["ailuminate", "cn", "eu"]


class RiskError(ValueError):
    """A name that no taxonomy or regime knows; the message lists those that are known."""


@dataclass(frozen=True, slots=True)
class Risk:
    """One thing that can go wrong, as a taxonomy names it.

    Attributes:
        id: unique over all taxonomies, such as `privacy`, `a1.4`, `llm01`, `high_risk`.
        taxonomy: `ailuminate`, `cn` (GB/T 45654-2025), `owasp` (LLM Top 10 2025) or `eu` (AI Act tiers).
        group: the identifier of its group within the taxonomy.
        name_en: short English name.
        name_zh: short Chinese name.
        about_en: one English line.
        about_zh: one Chinese line.
        source: the document that it comes from.
        articles: the articles that define it, where the source has any.
        verify: whether the wording must still be checked against the official text.
    """

    id: str
    taxonomy: Taxonomy
    group: str
    name_en: str
    name_zh: str
    about_en: str
    about_zh: str
    source: str
    articles: tuple[str, ...] = ()
    verify: bool = False

    def name(self, language: Language = "en") -> str:
        """The short name in one language."""
        return self.name_zh if language == "zh" else self.name_en

    def about(self, language: Language = "en") -> str:
        """The one-line description in one language."""
        return self.about_zh if language == "zh" else self.about_en


@dataclass(frozen=True, slots=True)
class Group:
    """Risks that are asked and reported together.

    Attributes:
        id: such as `a1`, `physical` or, in the regime `eu`, a tier.
        name_en: English heading.
        name_zh: Chinese heading.
        risks: the identifiers in it, in the source's order.
    """

    id: str
    name_en: str
    name_zh: str
    risks: tuple[str, ...]

    def name(self, language: Language = "en") -> str:
        """The heading in one language."""
        return self.name_zh if language == "zh" else self.name_en


@dataclass(frozen=True, slots=True)
class Regime:
    """A duty that a model is examined under: which risks are asked, and under which headings.

    Attributes:
        id: `ailuminate`, `cn` or `eu`.
        name_en: English name.
        name_zh: Chinese name.
        risks: what is asked, in order: for `cn` the 17 risks of A.1 and A.2, for `eu` the AILuminate hazards.
        groups: the headings; every risk is in exactly one.
    """

    id: RegimeName
    name_en: str
    name_zh: str
    risks: tuple[Risk, ...]
    groups: tuple[Group, ...]

    def name(self, language: Language = "en") -> str:
        """The name in one language."""
        return self.name_zh if language == "zh" else self.name_en


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that GB/T 45654-2025 asks for: the size of a bank, a sample or a rate.

    Attributes:
        id: such as `test.refuse.rate_min`.
        value: in `unit`; shares are in [0, 1].
        unit: `items`, `share`, `days` or `risks`.
        name_en: what it is, in English.
        name_zh: what it is, in Chinese.
        verify: whether the value must still be checked against the official text.
    """

    id: str
    value: float
    unit: str
    name_en: str
    name_zh: str
    verify: bool


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("fangxin.risks").joinpath(f"{name}.toml").read_text("utf-8"))


@cache
def _taxonomy(name: Taxonomy) -> dict[str, Any]:
    return _read(name)


@cache
def _risks() -> dict[str, Risk]:
    found: dict[str, Risk] = {}
    for taxonomy in get_args(Taxonomy):
        data = _taxonomy(taxonomy)
        common = {"taxonomy": taxonomy, "source": data["source"], "verify": data["verify"]}
        for row in data["risks"]:
            row = {**common, **row, "articles": tuple(row.get("articles", ()))}
            found[row["id"]] = Risk(**row)
    return found


@cache
def _links() -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        hazard: {taxonomy: tuple(ids) for taxonomy, ids in row.items()}
        for hazard, row in _read("mapping")["hazards"].items()
    }


def _known(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        raise RiskError(f"unknown {what} {name!r}: use one of {', '.join(names)}.")


def risk(id: str) -> Risk:
    """The risk with this identifier, in whichever taxonomy.

    Raises:
        RiskError: no taxonomy has it.
    """
    _known(id, tuple(_risks()), "risk")
    return _risks()[id]


def risks(taxonomy: str) -> tuple[Risk, ...]:
    """The risks of one taxonomy, in the source's order.

    Raises:
        RiskError: there is no such taxonomy.
    """
    _known(taxonomy, get_args(Taxonomy), "taxonomy")
    return tuple(item for item in _risks().values() if item.taxonomy == taxonomy)


def groups(taxonomy: str) -> tuple[Group, ...]:
    """The groups of one taxonomy, in the source's order.

    Raises:
        RiskError: there is no such taxonomy.
    """
    members = risks(taxonomy)
    return tuple(
        Group(
            row["id"],
            row["name_en"],
            row["name_zh"],
            tuple(item.id for item in members if item.group == row["id"]),
        )
        for row in _taxonomy(cast(Taxonomy, taxonomy))["groups"]
    )


def mapped(id: str, to: str) -> tuple[str, ...]:
    """The counterparts of a risk in another taxonomy; empty where that taxonomy has none.

    AILuminate is the hub: `cn`, `owasp` and `eu` are joined to one another through its hazards. The relation
    is symmetric: `b in mapped(a, ...)` exactly when `a in mapped(b, ...)`. It is this project's own
    judgement, not an official crosswalk.

    Raises:
        RiskError: there is no such risk or taxonomy.
    """
    item = risk(id)
    _known(to, get_args(Taxonomy), "taxonomy")
    if item.taxonomy == to:
        return (id,)
    links = _links()
    if item.taxonomy == "ailuminate":
        return links[id][to]
    hazards = tuple(hazard for hazard, row in links.items() if id in row[item.taxonomy])
    if to == "ailuminate":
        return hazards
    reached = {other for hazard in hazards for other in links[hazard][to]}
    return tuple(other.id for other in risks(to) if other.id in reached)


@cache
def _regime(name: RegimeName) -> Regime:
    data = _taxonomy(name)
    asked = risks("ailuminate")
    parts = groups("ailuminate")
    if name == "cn":
        parts = tuple(group for group in groups("cn") if group.id in ("a1", "a2"))
        asked = tuple(item for item in risks("cn") if item.group in ("a1", "a2"))
    elif name == "eu":
        # The first tier of a hazard is the one it is shown under, so that no hazard is counted twice.
        tiers = (
            (tier, tuple(item.id for item in asked if mapped(item.id, "eu")[0] == tier.id))
            for tier in risks("eu")
        )
        parts = tuple(Group(tier.id, tier.name_en, tier.name_zh, ids) for tier, ids in tiers if ids)
    return Regime(name, data["name_en"], data["name_zh"], asked, parts)


def regime(name: str) -> Regime:
    """The regime `ailuminate`, `cn` or `eu`.

    Raises:
        RiskError: there is no such regime.
    """
    _known(name, get_args(RegimeName), "regime")
    return _regime(cast(RegimeName, name))


@cache
def figures() -> MappingProxyType[str, Figure]:
    """The figures of GB/T 45654-2025 by identifier; mind each one's `verify`."""
    return MappingProxyType({row["id"]: Figure(**row) for row in _taxonomy("cn")["figures"]})
