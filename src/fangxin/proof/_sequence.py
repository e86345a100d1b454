from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fangxin.proof._interval import ProofError, as_outcomes
from fangxin.proof._special import beta_cdf, log_beta

Side = Literal["above", "below", "undecided"]

_PRIOR = 0.5  # Jeffreys; the choice moves how soon one stops, never the chance of being wrong


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """An interval for a failure rate that holds at every look at once: look after each trial, and stop.

    For *finding*; a proof has its size fixed beforehand. For a candidate rate t, the likelihood ratio
    against t of rates below it, mixed by a Jeffreys prior cut to [0, t],

        M(t) = B(k+1/2, n-k+1/2) I_t(k+1/2, n-k+1/2) / (B(1/2, 1/2) I_t(1/2, 1/2) t^k (1-t)^(n-k)),

    is a non-negative supermartingale started at 1 whenever the rate is t or more, so it ever reaches 1/a with
    chance at most a (Ville 1939; Robbins 1970; Howard et al. 2021). The upper bound is the largest t with
    M(t) < 1/a; the lower bound mirrors it. For outcomes in [0, 1] rather than 0 or 1 it stays
    valid, because each factor is convex in the outcome.

    Why not betting (Waudby-Smith & Ramdas 2023): with no failure seen their hedged capital, with its
    usual bets of at most half, can't put `high` below 10 % before trial 69; this does at trial 44, and
    `decide` says "below" at trial 36 (no valid test could before trial 29).

    Only the sum and the count matter, not the order. Yet *which* trials have been counted must
    not hang on their outcomes: with many calls in flight, count a trial only once all trials before it in the
    planned order are in. Trials of one goal aren't independent: give one trial a goal, or the goal's mean.

    Attributes:
        alpha: the chance, over the whole life, of being wrong: two-sided for `low` and `high`,
            one-sided for `lower`, `upper` and `decide`.
        total: sum of outcomes so far.
        trials: outcomes so far.
    """

    alpha: float = 0.05
    total: float = 0.0
    trials: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ProofError(f"alpha {self.alpha} is not a chance: use a number such as 0.05.")

    def update(self, outcomes: Sequence[float]) -> ConfidenceSequence:
        """The sequence after these outcomes (each in [0, 1]) as well; empty changes nothing."""
        if len(outcomes) == 0:
            return self
        values = as_outcomes(outcomes)
        total = math.fsum([self.total, *values.tolist()])
        return replace(self, total=total, trials=self.trials + len(values))

    @property
    def rate(self) -> float | None:
        """The mean so far; None before the first outcome."""
        return self.total / self.trials if self.trials else None

    @property
    def low(self) -> float:
        """Lower end of the two-sided interval."""
        return self._lower(self.alpha / 2)

    @property
    def high(self) -> float:
        """Upper end of the two-sided interval."""
        return self._upper(self.alpha / 2)

    @property
    def lower(self) -> float:
        """One-sided lower bound; above a tolerance exactly when `decide` says so."""
        return self._lower(self.alpha)

    @property
    def upper(self) -> float:
        """One-sided upper bound; below a tolerance exactly when `decide` says so."""
        return self._upper(self.alpha)

    def _upper(self, alpha: float) -> float:
        return _bound(lambda t: _log_mixture(t, self.total, self.trials), self.total, self.trials, alpha)

    def _lower(self, alpha: float) -> float:
        passed = self.trials - self.total
        return 1.0 - _bound(lambda t: _log_mixture(t, passed, self.trials), passed, self.trials, alpha)


def decide(sequence: ConfidenceSequence, tolerance: float) -> Side:
    """Whether the rate is shown to lie above or below a tolerance.

    Over a whole life of looks the chance of ever saying the wrong side is at most `sequence.alpha`: a rate
    lies on one side, so only one of the two tests can err. At the tolerance itself neither word is wrong.

    Args:
        sequence: the trials so far.
        tolerance: in (0, 1).
    """
    if not 0 < tolerance < 1:
        raise ProofError(f"tolerance {tolerance} is not a rate: use a number between 0 and 1.")
    edge = -math.log(sequence.alpha)
    passed = sequence.trials - sequence.total
    if _log_mixture(tolerance, sequence.total, sequence.trials) >= edge:
        return "below"
    if _log_mixture(1 - tolerance, passed, sequence.trials) >= edge:
        return "above"
    return "undecided"


def _bound(log_mixture: Callable[[float], float], k: float, n: int, alpha: float) -> float:
    if n == 0 or k >= n:
        return 1.0
    low, high = k / n, 1.0
    edge = -math.log(alpha)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if log_mixture(middle) < edge:
            low = middle
        else:
            high = middle
    return high


def _log_mixture(t: float, k: float, n: int) -> float:
    """Log M(t) against rates below t; 0 before the first outcome."""
    if n == 0 or t <= 0.0:
        return 0.0 if n == 0 else -math.inf
    if t >= 1.0:
        return math.inf if k < n else 0.0
    a, b = k + _PRIOR, n - k + _PRIOR
    inside = beta_cdf(t, a, b)
    if inside <= 0.0:
        return -math.inf
    prior = log_beta(_PRIOR, _PRIOR) + math.log(beta_cdf(t, _PRIOR, _PRIOR))
    return log_beta(a, b) + math.log(inside) - prior - k * math.log(t) - (n - k) * math.log1p(-t)
