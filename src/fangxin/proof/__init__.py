"""The statistics of a proof: honest intervals, paired tests, judge error, early stopping, the decision.

Knows trials only as numbers: no model, no text. `docs/statistics.md` shows how a proof is made.
"""

from fangxin.proof._interval import Estimate, ProofError, clopper_pearson, clustered_rate, wilson
from fangxin.proof._judge import JudgeError, corrected_difference, corrected_rate, paired_test
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
from fangxin.proof._sequence import ConfidenceSequence, Side, decide
from fangxin.proof._verdict import Claim, Decision, Margins, Reason, Status, verdict

__all__ = [
    "Claim",
    "ConfidenceSequence",
    "Decision",
    "Estimate",
    "JudgeError",
    "Margins",
    "NonInferiority",
    "PairedCounts",
    "ProofError",
    "Reason",
    "Side",
    "Status",
    "clopper_pearson",
    "clustered_rate",
    "corrected_difference",
    "corrected_rate",
    "decide",
    "holm",
    "mcnemar_exact",
    "mcnemar_power",
    "non_inferior",
    "paired_counts",
    "paired_sign_flip",
    "paired_test",
    "pairs_needed",
    "tango_interval",
    "verdict",
    "wilson",
]
