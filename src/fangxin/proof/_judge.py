from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fangxin.proof._interval import (
    Estimate,
    Floats,
    ProofError,
    as_outcomes,
    clopper_pearson,
    cluster_sums,
    clustered_rate,
    design_effect,
)
from fangxin.proof._paired import difference_design_effect, paired_sign_flip

Bools = NDArray[np.bool_]

_DRAWS = 20_000
_PANEL_RISK = 0.001  # Berger & Boos's gamma: the chance that the judge's false alarms exceed their bound
_CHARGE = 600


@dataclass(frozen=True, slots=True)
class JudgeError:
    """How often a judge errs, as counted on a panel of hand-labelled replies.

    Attributes:
        true_positive: failures that the judge called failures.
        positives: failures in the panel, >= 1.
        false_positive: passes that the judge called failures.
        negatives: passes in the panel, >= 1.
        name: which judge on which panel (say `shieldlm:zh`); judges of one name share one panel's luck.
    """

    true_positive: int
    positives: int
    false_positive: int
    negatives: int
    name: str = ""

    def __post_init__(self) -> None:
        if self.positives < 1 or self.negatives < 1:
            raise ProofError("a judge's panel needs at least one labelled failure and one labelled pass.")
        if not 0 <= self.true_positive <= self.positives or not 0 <= self.false_positive <= self.negatives:
            raise ProofError("a judge's panel counts more hits than labels: check the four counts.")

    @property
    def sensitivity(self) -> Estimate:
        """The share of failures that it catches, with Clopper and Pearson's 95 % interval."""
        ends = clopper_pearson(self.true_positive, self.positives)
        return Estimate(self.true_positive / self.positives, *ends, self.positives, self.positives)

    @property
    def specificity(self) -> Estimate:
        """The share of passes that it lets be, with Clopper and Pearson's 95 % interval."""
        right = self.negatives - self.false_positive
        ends = clopper_pearson(right, self.negatives)
        return Estimate(right / self.negatives, *ends, self.negatives, self.negatives)

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1: 1 for a perfect judge, 0 for one that guesses."""
        return self.true_positive / self.positives - self.false_positive / self.negatives


Judges = JudgeError | Sequence[JudgeError] | None


def corrected_rate(
    outcomes: Sequence[float],
    clusters: Sequence[Hashable],
    judge_error: Judges,
    *,
    certain: Sequence[bool] | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = _DRAWS,
) -> Estimate:
    """The true rate of failures behind a fallible judge's verdicts.

    Point: for the trials of each judge Rogan & Gladen's (1978) (q + Sp - 1) / (Se + Sp - 1), truncated to
    [0, 1]; trials whose outcome is certain count as they are; the strata are recombined by their sizes.

    Interval: Monte Carlo over two independent sources of error. (1) Sampling: the observed rate is drawn
    from the confidence distribution whose quantiles are `clustered_rate`'s interval (Wilson with
    n / deff and Student's t), the design effect taken on the corrected score of each trial, so that the
    goals' differing shares of certain trials are in it. (2) The judge: Se and Sp are drawn from their
    Jeffreys posteriors Beta(hits + 1/2, misses + 1/2). Each draw is corrected with its own Se and Sp; the
    interval is the equal-tailed quantiles, cut to [0, 1] and never without the point. A draw
    in which the judge only guesses counts as 0 for the lower end and 1 for the upper.

    Assumes that the judge errs on the trials as often as on the panel, whatever the goal.

    Args:
        outcomes: 0 or 1 a trial, as judged (or as known, where `certain`).
        clusters: the goal of each trial.
        judge_error: the judge of all trials, or one for each trial; None where nothing needs correcting.
        certain: trials whose outcome is known without judging (a shield's own fixed refusal; a
            person's label): they carry no judge error.
        level: two-sided confidence.
        seed: of the Monte Carlo draws.
        draws: how many.

    Raises:
        ProofError: a judge that is no better than guessing on its panel, or malformed data.
    """
    values = as_outcomes(outcomes)
    plan = _Strata.of(len(values), judge_error, certain)
    if not plan.judges:
        return clustered_rate(outcomes, clusters, level)
    n = len(values)
    cells = plan.sums(values) / n
    shares = plan.sums(np.ones(n)) / n
    false_alarm, youden = plan.points()
    parts = (cells - false_alarm * shares) / youden
    point = float(np.clip(parts, 0.0, shares).sum())

    slope = _slope(cells, shares, 1 / youden)
    scores = (values - false_alarm[plan.codes]) / youden[plan.codes] / slope
    scores += float((false_alarm * shares / youden).sum()) / slope  # an average pass scores 0, as uncorrected
    rng = np.random.default_rng(seed)
    observed = _observed_draws(scores, values, clusters, rng, draws)
    drawn_alarm, drawn_youden = plan.draw(rng, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = (_mix(cells, shares)[:, None] / drawn_youden).sum(axis=0)
        drawn = observed * weight - (drawn_alarm * shares[:, None] / drawn_youden).sum(axis=0)
    low, high = _ends(drawn, drawn_youden, level, 0.0, 1.0)
    return Estimate(point, min(low, point), max(high, point), n, len(set(clusters)), level)


def corrected_difference(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    judge_error: Judges,
    *,
    certain_before: Sequence[bool] | None = None,
    certain_after: Sequence[bool] | None = None,
    level: float = 0.95,
    seed: int = 0,
    draws: int = _DRAWS,
) -> Estimate:
    """The true paired reduction, rate before - rate after; positive is better after.

    Point: the difference of the two `corrected_rate` points. Interval: Monte Carlo as there, with the
    *same* drawn Se and Sp on both sides (one judge judged both, so its false alarms cancel where
    both were judged). The sampling error of the mean difference is Bonett & Price's (2012): one pair mended
    and one broken are added to n / deff pairs, so that it doesn't collapse where nothing changed; deff by
    goals as `clustered_rate`, Student's t with goals - 1 degrees of freedom.

    Args:
        before: outcomes of the bare model, aligned with `after` trial by trial.
        after: outcomes of the repaired one.
        clusters: the goal of each pair.
        judge_error: as in `corrected_rate`; the same judge on both sides of a pair.
        certain_before: as `certain`, before.
        certain_after: as `certain`, after.
        level: two-sided confidence.
        seed: of the Monte Carlo draws.
        draws: how many.
    """
    first, second = as_outcomes(before), as_outcomes(after)
    n = len(first)
    if len(second) != n:
        raise ProofError(f"{n} trials before but {len(second)} after: pair each with itself.")
    old, new = _Strata.of(n, judge_error, certain_before), _Strata.of(n, judge_error, certain_after)
    false_alarm, youden = old.points()
    cells_old, cells_new = old.sums(first) / n, new.sums(second) / n
    shares_old, shares_new = old.sums(np.ones(n)) / n, new.sums(np.ones(n)) / n
    point = float(
        np.clip((cells_old - false_alarm * shares_old) / youden, 0.0, shares_old).sum()
        - np.clip((cells_new - false_alarm * shares_new) / youden, 0.0, shares_new).sum()
    )
    cells, shares = cells_old + cells_new, shares_old + shares_new
    slope = _slope(cells, shares, 1 / youden)
    scores = (first - false_alarm[old.codes]) / youden[old.codes] / slope
    scores = scores - (second - false_alarm[new.codes]) / youden[new.codes] / slope
    change = first - second
    sums, sizes = cluster_sums(scores, clusters)
    goals = len(sizes)
    if goals < 2:
        return Estimate(point, -1.0, 1.0, n, goals, level)
    effective = n / difference_design_effect(sums, sizes, change)
    shrink = effective / (effective + 2)
    moved = (float((change**2).mean()) * effective + 2) / (effective + 2)
    spread = math.sqrt((moved - (float(scores.mean()) * shrink) ** 2) / (effective + 2))
    rng = np.random.default_rng(seed)
    noise = spread * (rng.standard_normal(draws) if goals == n else rng.standard_t(goals - 1, draws))
    drawn_alarm, drawn_youden = old.draw(rng, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / drawn_youden
        drawn = shrink * ((cells_old - cells_new)[:, None] * inverse).sum(axis=0)
        drawn -= (drawn_alarm * (shares_old - shares_new)[:, None] * inverse).sum(axis=0)
        drawn += noise * (_mix(cells, shares)[:, None] * inverse).sum(axis=0)
    low, high = _ends(drawn, drawn_youden, level, -1.0, 1.0)
    return Estimate(point, min(low, point), max(high, point), n, goals, level)


def paired_test(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable],
    judge_error: Judges = None,
    *,
    certain_before: Sequence[bool] | None = None,
    certain_after: Sequence[bool] | None = None,
) -> float:
    """The one-sided p-value of a proof: that failures became fewer.

    `paired_sign_flip` on the mean difference of each goal. Where a trial was judged before and is
    certain after, it lost the judge's false alarms as well as its failures, so that a shield that
    refuses only harmless replies would seem to repair. Such trials are charged the judge's false-alarm rate
    at its upper bound (Clopper and Pearson, one-sided, risk 0.001 shared by the judges), and that risk is
    added to the p-value (Berger & Boos 1994).

    Args:
        before: outcomes of the bare model, aligned with `after` trial by trial.
        after: outcomes of the repaired one.
        clusters: the goal of each pair.
        judge_error: as in `corrected_rate`.
        certain_before: trials known without judging, before.
        certain_after: trials known without judging, after.
    """
    first, second = as_outcomes(before), as_outcomes(after)
    n = len(first)
    if len(second) != n:
        raise ProofError(f"{n} trials before but {len(second)} after: pair each with itself.")
    old, new = _Strata.of(n, judge_error, certain_before), _Strata.of(n, judge_error, certain_after)
    change = first - second
    spared = (old.codes < len(old.judges)) & (new.codes == len(new.judges))
    risk = 0.0
    if bool(spared.any()):
        risk = _PANEL_RISK
        tail = risk / len(old.judges)
        ends = [clopper_pearson(j.false_positive, j.negatives, 1 - 2 * tail)[1] for j in old.judges]
        # Rounded up to a coarse fraction, so that the sign-flip test stays exact.
        bounds = [math.ceil(end * _CHARGE) / _CHARGE for end in ends]
        change = change - np.where(spared, np.array([*bounds, 0.0])[old.codes], 0.0)
    sums, sizes = cluster_sums(change, clusters)
    return min(1.0, paired_sign_flip([float(d) for d in sums / sizes]) + risk)


@dataclass(frozen=True, slots=True)
class _Strata:
    """Which judge's error each trial carries; the last code is "certain"."""

    judges: tuple[JudgeError, ...]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, n: int, judge_error: Judges, certain: Sequence[bool] | None) -> _Strata:
        known: Bools = np.zeros(n, bool) if certain is None else np.asarray(certain, bool)
        if known.shape != (n,):
            raise ProofError(f"{known.size} marks of certainty for {n} trials: give one for each.")
        if judge_error is None:
            return cls((), np.zeros(n, np.int64))
        each = [judge_error] * n if isinstance(judge_error, JudgeError) else list(judge_error)
        if len(each) != n:
            raise ProofError(f"{len(each)} judges for {n} trials: give one, or one for each.")
        order: dict[JudgeError, int] = {}
        codes = np.array([order.setdefault(judge, len(order)) for judge in each], np.int64)
        for judge in order:
            if judge.youden <= 0:
                raise ProofError(
                    f"the judge {judge.name or 'given'} is no better than guessing on its panel: "
                    "nothing can be corrected by it; use another judge or label the trials by hand."
                )
        return cls(tuple(order), np.where(known, len(order), codes))

    def sums(self, values: Floats) -> Floats:
        return np.bincount(self.codes, values, len(self.judges) + 1).astype(np.float64)

    def points(self) -> tuple[Floats, Floats]:
        """False-alarm rate and Youden's index of each stratum; 0 and 1 where certain."""
        alarm = np.array([*(j.false_positive / j.negatives for j in self.judges), 0.0])
        return alarm, np.array([*(j.youden for j in self.judges), 1.0])

    def draw(self, rng: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
        alarm, youden = np.zeros((len(self.judges) + 1, draws)), np.ones((len(self.judges) + 1, draws))
        for row, judge in enumerate(self.judges):
            missed, spared = judge.positives - judge.true_positive, judge.negatives - judge.false_positive
            caught = rng.beta(judge.true_positive + 0.5, missed + 0.5, draws)
            alarm[row] = rng.beta(judge.false_positive + 0.5, spared + 0.5, draws)
            youden[row] = caught - alarm[row]
        return alarm, youden


def _mix(cells: Floats, shares: Floats) -> Floats:
    """In which strata the observed failures lie; where none was seen, as the trials lie."""
    seen = cells if cells.sum() > 0 else shares
    mix: Floats = seen / seen.sum()
    return mix


def _slope(cells: Floats, shares: Floats, inverse: Floats) -> float:
    """How much the corrected rate moves for each unit of the observed one."""
    return float((_mix(cells, shares) * inverse).sum())


def _observed_draws(
    scores: Floats, values: Floats, clusters: Sequence[Hashable], rng: np.random.Generator, draws: int
) -> Floats:
    """The observed rate, drawn from the confidence distribution behind `clustered_rate`'s interval."""
    n, p = len(values), float(values.mean())
    sums, sizes = cluster_sums(scores, clusters)
    if len(sizes) == n:
        return _score_draws(p, n, rng.standard_normal(draws))
    if len(sizes) == 1:
        return (np.arange(draws) % 2).astype(np.float64)
    t = rng.standard_t(len(sizes) - 1, draws)
    drawn = _score_draws(p, n / design_effect(sums, sizes, float(values.sum())), t)
    worst = n / design_effect(0 * sums, sizes)
    none, all_of_them = _score_draws(0.0, worst, t), _score_draws(1.0, worst, t)
    return np.where(t > 0, np.maximum(drawn, none), np.minimum(drawn, all_of_them))


def _score_draws(p: float, n: float, t: Floats) -> Floats:
    """Wilson's interval end at each deviate."""
    t2 = t * t
    half = t * np.sqrt(p * (1 - p) / n + t2 / (4 * n * n))
    ends: Floats = (p + t2 / (2 * n) + half) / (1 + t2 / n)
    return ends


def _ends(drawn: Floats, youden: Floats, level: float, least: float, most: float) -> tuple[float, float]:
    blind = ~np.isfinite(drawn) | (youden <= 0).any(axis=0)
    tail = (1 - level) / 2
    cut = np.clip(drawn, least, most)
    low = np.quantile(np.where(blind, least, cut), tail)
    high = np.quantile(np.where(blind, most, cut), 1 - tail)
    return float(low), float(high)
