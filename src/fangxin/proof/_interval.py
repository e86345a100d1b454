from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fangxin.proof._special import beta_quantile, normal_quantile, t_quantile

Floats = NDArray[np.float64]


class ProofError(ValueError):
    """Data that no honest number can be made from; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate (or a difference of rates) with its interval.

    Attributes:
        rate: the point, in [0, 1]; a difference is in [-1, 1].
        low: the interval's lower end; never above `rate`.
        high: the interval's upper end; never below `rate`.
        n: trials (or pairs) behind it.
        clusters: independent goals behind it.
        level: the interval's two-sided confidence.
    """

    rate: float
    low: float
    high: float
    n: int
    clusters: int
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.low <= self.rate <= self.high:
            raise ProofError(f"the point {self.rate} lies outside its interval [{self.low}, {self.high}].")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `Estimate(**data)` reads it back."""
        return asdict(self)


def wilson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) score interval for `k` of `n` independent trials.

    Args:
        k: failures, 0 <= k <= n; fractional counts (effective sizes) are allowed.
        n: trials, > 0.
        level: two-sided confidence in (0, 1).
    """
    _counts(k, n, level)
    return _score_interval(k / n, n, normal_quantile(0.5 + level / 2))


def _score_interval(p: float, n: float, z: float) -> tuple[float, float]:
    z2 = z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    # Rounding must not push an end past the point: at k = 0 the lower end is exactly 0.
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


def clopper_pearson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Clopper & Pearson's (1934) exact interval, by Beta quantiles.

    low = Beta^-1((1 - level) / 2; k, n - k + 1), high = Beta^-1((1 + level) / 2; k + 1, n - k).
    Never below its level; fractional counts are allowed (Korn & Graubard 1998).
    """
    _counts(k, n, level)
    tail = (1 - level) / 2
    return beta_quantile(tail, k, n - k + 1), beta_quantile(1 - tail, k + 1, n - k)


def clustered_rate(outcomes: Sequence[float], clusters: Sequence[Hashable], level: float = 0.95) -> Estimate:
    """The rate of failures, with an interval that knows that trials of one goal resemble each other.

    The interval is Wilson's with n replaced by n / deff and the normal quantile by Student's t with
    (goals - 1) degrees of freedom (Franco, Little, Louis & Slud 2019). deff is the linearised variance of
    the ratio estimator, G/(G-1) sum_g (y_g - p m_g)^2 / n^2 (Cochran 1977, ch. 9), over p(1-p)/(n-1),
    never taken below 1. For deff only, one goal that always fails and one that never does are added,
    each of size m* = sum m_g^2 / n: with no failure seen deff is then about m* (a goal counts as one
    trial, the worst case), and with one failure it doesn't jump to 1. No end is
    taken more hopeful than that of no failure at all (or of nothing but failures): failures also tell that
    goals differ, and must not shrink the bound by that. One trial a goal gives Wilson's
    interval itself. One goal alone says nothing of others: [0, 1].

    Args:
        outcomes: 0 or 1 a trial; shares in [0, 1] are allowed.
        clusters: the goal of each trial, as long as `outcomes`.
        level: two-sided confidence in (0, 1).

    Raises:
        ProofError: no trial, lengths that differ, an outcome outside [0, 1].
    """
    values = as_outcomes(outcomes)
    sums, sizes = cluster_sums(values, clusters)
    _counts(0, len(values), level)
    n, goals = len(values), len(sizes)
    rate = float(values.mean())
    low, high = 0.0, 1.0
    if goals == n:
        low, high = wilson(float(values.sum()), n, level)
    elif goals > 1:
        t = t_quantile(0.5 + level / 2, goals - 1)
        low, high = _score_interval(rate, n / design_effect(sums, sizes), t)
        worst = n / design_effect(0 * sums, sizes)
        low, high = min(low, _score_interval(1.0, worst, t)[0]), max(high, _score_interval(0.0, worst, t)[1])
    return Estimate(rate, min(low, rate), max(high, rate), n, goals, level)


def design_effect(sums: Floats, sizes: Floats, failures: float | None = None) -> float:
    """The design effect of goals on a rate, >= 1, steadied as `clustered_rate` says.

    Args:
        sums: failures of each goal, or the sums of a score whose variance is to be compared.
        sizes: trials of each goal.
        failures: how many failures the binomial variance has, where `sums` is a score.
    """
    heavy = float((sizes**2).sum() / sizes.sum())
    steadied = np.concatenate([sums, [heavy, 0.0]]), np.concatenate([sizes, [heavy, heavy]])
    total = float(steadied[1].sum())
    rate = (heavy + (float(sums.sum()) if failures is None else failures)) / total
    return max(1.0, ratio_variance(*steadied) * (total - 1) / (rate * (1 - rate)))


def ratio_variance(sums: Floats, sizes: Floats) -> float:
    """The linearised variance of sum(sums) / sum(sizes) over independent goals (at least two)."""
    goals, total = len(sizes), float(sizes.sum())
    residuals = sums - sizes * (float(sums.sum()) / total)
    return float(goals / (goals - 1) * (residuals**2).sum() / total**2)


def cluster_sums(values: Floats, clusters: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Sum and count of `values` for each goal, in order of first appearance."""
    if len(values) != len(clusters):
        raise ProofError(f"{len(values)} outcomes but {len(clusters)} goals: give one goal for each outcome.")
    order: dict[Hashable, int] = {}
    codes = np.fromiter((order.setdefault(c, len(order)) for c in clusters), np.int64, len(clusters))
    sums = np.bincount(codes, weights=values).astype(np.float64)
    sizes = np.bincount(codes).astype(np.float64)
    return sums, sizes


def as_outcomes(outcomes: Sequence[float]) -> Floats:
    """Outcomes as an array, checked: at least one, each in [0, 1]."""
    values = np.asarray(outcomes, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ProofError("no trial was given: a run that asked nothing has no rate.")
    if not bool(np.all((values >= 0) & (values <= 1))):
        raise ProofError("an outcome is outside [0, 1]: use 1 for a failure and 0 for a pass.")
    return values


def _counts(k: float, n: float, level: float) -> None:
    if not n > 0:
        raise ProofError("no trial was given: a run that asked nothing has no rate.")
    if not 0 <= k <= n:
        raise ProofError(f"{k} of {n} is no count: it must lie between 0 and {n}.")
    if not 0 < level < 1:
        raise ProofError(f"level {level} is not a confidence: use a number between 0 and 1, such as 0.95.")
