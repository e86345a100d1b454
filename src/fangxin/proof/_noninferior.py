from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fangxin.proof._interval import ProofError
from fangxin.proof._special import normal_quantile


def tango_interval(b: float, c: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Tango's (1998) score interval for the paired difference (b - c) / n.

    The ends solve (b - c - n d) / sqrt(n (2 q + d (1 - d))) = +-z, with q the maximum-likelihood share of
    the `c` cell under difference d: q = (sqrt(B^2 - 8 n C) - B) / (4 n), B = (2n - b + c) d - b - c,
    C = -c d (1 - d). It doesn't collapse at b = c = 0.

    Args:
        b: pairs with only the first positive; fractional (effective) counts are allowed.
        c: pairs with only the second positive; b + c <= n.
        n: pairs, > 0, independent of each other.
        level: two-sided confidence in (0, 1).
    """
    if not n > 0 or b < 0 or c < 0 or b + c > n * (1 + 1e-12):
        raise ProofError(f"{b} and {c} discordant of {n} pairs can't be: check the counts.")
    if not 0 < level < 1:
        raise ProofError(f"level {level} is not a confidence: use a number between 0 and 1, such as 0.95.")
    z = normal_quantile(0.5 + level / 2)
    point = (b - c) / n
    # The statistic falls as d rises, so each end is a simple root on its side of the point.
    return -_upper_end(c, b, n, z, -point), _upper_end(b, c, n, z, point)


def _upper_end(b: float, c: float, n: float, z: float, point: float) -> float:
    low, high = point, 1.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        if _score(b, c, n, middle) > -z:
            low = middle
        else:
            high = middle
    return high if high - point > 1e-12 else point


def _score(b: float, c: float, n: float, d: float) -> float:
    linear = (2 * n - b + c) * d - b - c
    constant = -c * d * (1 - d)
    q = (math.sqrt(max(0.0, linear * linear - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * q + d * (1 - d))
    gap = b - c - n * d
    if variance <= 0.0:
        return 0.0 if gap == 0.0 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether something got worse by less than a margin declared beforehand.

    Attributes:
        difference: the loss, (worse - better) / n, in [-1, 1]; positive is worse after.
        low: lower end of the two-sided interval of confidence 2 * level - 1.
        high: the one-sided upper bound of confidence `level`: what is compared.
        margin: the largest loss that is tolerated, in (0, 1).
        holds: `high` < `margin`.
        n: pairs.
        level: one-sided confidence.
    """

    difference: float
    low: float
    high: float
    margin: float
    holds: bool
    n: int = 0
    level: float = 0.95

    @property
    def violated(self) -> bool:
        """Shown to be worse by more than the margin: even the lower end lies beyond it."""
        return self.low > self.margin

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `NonInferiority(**data)` reads it back."""
        return asdict(self)


def non_inferior(
    b: int, c: int, n: int, margin: float, level: float = 0.95, *, design_effect: float = 1.0
) -> NonInferiority:
    """Test on pairs that a loss stays under `margin`, by Tango's score bound.

    Args:
        b: pairs that got worse (right before and wrong after; answered before and refused after).
        c: pairs that got better.
        n: pairs.
        margin: the largest loss that is tolerated, in (0, 1).
        level: one-sided confidence, in (0.5, 1).
        design_effect: where pairs share goals (see `paired_counts`); all counts are divided by it.
    """
    if not 0 < margin < 1 or not 0.5 < level < 1 or design_effect < 1:
        raise ProofError("a margin lies in (0, 1), a one-sided level in (0.5, 1), a design effect is >= 1.")
    low, high = tango_interval(b / design_effect, c / design_effect, n / design_effect, 2 * level - 1)
    return NonInferiority((b - c) / n, low, high, margin, high < margin, n, level)
