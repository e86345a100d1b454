"""The statistics of a proof: rates with honest intervals, paired tests, judge error, early stopping, the decision.

Knows trials only as numbers: no model, no text. `docs/statistics.md` shows how a proof is made.
"""

from fangxin.proof._interval import Estimate, ProofError, clopper_pearson, clustered_rate, wilson
from fangxin.proof._noninferior import NonInferiority, non_inferior, tango_interval
from fangxin.proof._paired import (
    PairedCounts,
    holm,
    mcnemar_exact,
    mcnemar_power,
    paired_counts,
    paired_sign_flip,
    pairs_needed,
)

__all__ = [
    "Estimate",
    "NonInferiority",
    "PairedCounts",
    "ProofError",
    "clopper_pearson",
    "clustered_rate",
    "holm",
    "mcnemar_exact",
    "mcnemar_power",
    "non_inferior",
    "paired_counts",
    "paired_sign_flip",
    "pairs_needed",
    "tango_interval",
    "wilson",
]
