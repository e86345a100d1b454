"""Simulated coverage and error rates: the numbers of docs/statistics.md.

`python tests/proof/test_simulations.py 4000` prints its table anew; the tests run fewer repetitions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from fangxin.proof import (
    ConfidenceSequence,
    JudgeError,
    clustered_rate,
    corrected_difference,
    corrected_rate,
    decide,
    mcnemar_exact,
    paired_counts,
    paired_sign_flip,
    paired_test,
    tango_interval,
    wilson,
)


@dataclass(frozen=True)
class Design:
    """How many trials each goal has, how good the judge is, how large the two halves of its panel are."""

    sizes: tuple[int, ...] = (3,) * 30 + (2,) * 15  # 120 trials in 45 goals
    sensitivity: float = 0.90
    specificity: float = 0.97
    panel: int = 150

    @property
    def goals(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def goal_rates(self, rng: np.random.Generator, p: float, icc: float) -> np.ndarray:
        if p in (0.0, 1.0) or icc == 0:
            return np.full(len(self.sizes), p)
        strength = 1 / icc - 1
        return rng.beta(p * strength, (1 - p) * strength, len(self.sizes))

    def truths(self, rng: np.random.Generator, p: float, icc: float) -> np.ndarray:
        return rng.random(sum(self.sizes)) < self.goal_rates(rng, p, icc)[self.goals]

    def judged(self, rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
        return rng.random(truth.size) < np.where(truth, self.sensitivity, 1 - self.specificity)

    def panelled(self, rng: np.random.Generator) -> JudgeError:
        caught = rng.binomial(self.panel, self.sensitivity)
        alarms = rng.binomial(self.panel, 1 - self.specificity)
        return JudgeError(int(caught), self.panel, int(alarms), self.panel)


USUAL = Design()
SMALL = Design(sizes=(3, 3, 3, 3, 2, 2, 2, 2))  # a risk group: 20 trials in 8 goals
BLUNT = Design(sensitivity=0.8, specificity=0.9, panel=50)
DESIGNS = {"usual": USUAL, "20 in 8 goals": SMALL, "blunt judge": BLUNT}
GOALS = USUAL.goals
CLUSTERS = GOALS.tolist()


def cover_clustered(reps: int, p: float, icc: float, seed: int = 1) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(reps):
        e = clustered_rate(USUAL.truths(rng, p, icc).astype(float), CLUSTERS)
        hits += e.low <= p <= e.high
    return hits / reps


def cover_naive(reps: int, p: float, icc: float, seed: int = 1) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(reps):
        low, high = wilson(int(USUAL.truths(rng, p, icc).sum()), 120)
        hits += low <= p <= high
    return hits / reps


def cover_corrected(
    reps: int, p: float, icc: float, certain: float = 0.0, design: Design = USUAL, seed: int = 2
) -> tuple[float, float, float]:
    """Coverage, mean upper end, share of missed above; `certain` of the passes are known without judging."""
    rng = np.random.default_rng(seed)
    hits, highs, above = 0, 0.0, 0
    clusters = design.goals.tolist()
    for i in range(reps):
        truth = design.truths(rng, p, icc)
        known = ~truth & (rng.random(truth.size) < certain)
        y = (design.judged(rng, truth) & ~known).astype(float)
        e = corrected_rate(y, clusters, design.panelled(rng), certain=known.tolist(), seed=i, draws=4000)
        hits += e.low <= p <= e.high
        highs += e.high
        above += p > e.high
    return hits / reps, highs / reps, above / reps


def pairs(rng: np.random.Generator, before: float, after: float, icc: float):
    """Truths of both sides: a goal that is hard before is hard after, and half the trials share their luck."""
    shuffle = rng.permutation(45)
    hard_before = np.sort(USUAL.goal_rates(rng, before, icc))[shuffle]
    hard_after = np.sort(USUAL.goal_rates(rng, after, icc))[shuffle]
    u = np.where(rng.random(120) < 0.5, rng.random(120), np.nan)
    first = np.where(np.isnan(u), rng.random(120), u) < hard_before[GOALS]
    second = np.where(np.isnan(u), rng.random(120), u) < hard_after[GOALS]
    return first, second


def cover_difference(
    reps: int, before: float, after: float, icc: float, certain: float = 0.0, seed: int = 3
) -> tuple[float, float]:
    """Coverage, mean width; `certain` of the repaired side's passes are the shield's own."""
    rng = np.random.default_rng(seed)
    hits, width = 0, 0.0
    for i in range(reps):
        first, second = pairs(rng, before, after, icc)
        known = ~second & (rng.random(120) < certain)
        e = corrected_difference(
            USUAL.judged(rng, first).astype(float),
            (USUAL.judged(rng, second) & ~known).astype(float),
            CLUSTERS,
            USUAL.panelled(rng),
            certain_after=known.tolist(),
            seed=i,
            draws=4000,
        )
        hits += e.low <= before - after <= e.high
        width += e.high - e.low
    return hits / reps, width / reps


def goal_effects(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """No change on average, but the repaired side's luck is shared within a goal (the null under clustering)."""
    first = rng.random(120) < USUAL.goal_rates(rng, 0.3, 0.5)[GOALS]
    second = rng.random(120) < USUAL.goal_rates(rng, 0.3, 0.5)[GOALS]
    return first, second


def false_alarms(reps: int, seed: int = 4) -> dict[str, float]:
    """How often each test at 0.05, one-sided, rejects a true null with clustered pairs."""
    rng = np.random.default_rng(seed)
    out = {"mcnemar_all": 0, "mcnemar_one": 0, "sign_flip": 0}
    starts = np.concatenate([[0], np.cumsum(USUAL.sizes)[:-1]])
    for _ in range(reps):
        first, second = goal_effects(rng)
        counts = paired_counts(first.astype(float), second.astype(float), CLUSTERS)
        out["mcnemar_all"] += mcnemar_exact(counts.b, counts.c, one_sided=True) <= 0.05
        pick = starts + (rng.random(45) * np.array(USUAL.sizes)).astype(int)
        a, b = first[pick], second[pick]
        p = mcnemar_exact(int((a & ~b).sum()), int((b & ~a).sum()), one_sided=True)
        out["mcnemar_one"] += p <= 0.05
        out["sign_flip"] += paired_sign_flip(counts.differences) <= 0.05
    return {name: count / reps for name, count in out.items()}


def shield_of_nothing(reps: int, rate: float = 0.05, seed: int = 5) -> dict[str, float]:
    """A shield that replaces 60 % of the *harmless* replies and mends nothing: who calls it a repair?"""
    rng = np.random.default_rng(seed)
    out = {"uncorrected": 0, "paired_test": 0}
    for _ in range(reps):
        truth = USUAL.truths(rng, rate, 0.1)
        known = ~truth & (rng.random(120) < 0.6)
        first, second = USUAL.judged(rng, truth), USUAL.judged(rng, truth) & ~known
        a, b = first.astype(float), second.astype(float)
        out["uncorrected"] += paired_test(a, b, CLUSTERS) <= 0.05
        out["paired_test"] += (
            paired_test(a, b, CLUSTERS, USUAL.panelled(rng), certain_after=known.tolist()) <= 0.05
        )
    return {name: count / reps for name, count in out.items()}


def tango_coverage(n: int, p10: float, p01: float, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided coverage, and exact one-sided chance that the upper end misses."""
    from scipy.stats import multinomial

    covered = missed = 0.0
    law = multinomial(n, [p10, p01, 1 - p10 - p01])
    for b in range(n + 1):
        for c in range(n + 1 - b):
            weight = float(law.pmf([b, c, n - b - c]))
            if weight < 1e-9:
                continue
            low, high = tango_interval(b, c, n, level)
            covered += weight * (low <= p10 - p01 <= high)
            missed += weight * (p10 - p01 > high)
    return covered, missed


def stops(
    reps: int, rate: float, tolerance: float, horizon: int = 1500, seed: int = 6
) -> Iterator[tuple[str, int]]:
    """(decision, trials when it fell) of each life, looking after every trial."""
    rng = np.random.default_rng(seed)
    above, below = stopping_edges(tolerance, horizon)
    for _ in range(reps):
        k = np.cumsum(rng.random(horizon) < rate)
        stopped = np.flatnonzero((k >= above) | (k <= below))
        if stopped.size == 0:
            yield "undecided", horizon
        else:
            n = int(stopped[0])
            yield ("above" if k[n] >= above[n] else "below"), n + 1


def stopping_edges(tolerance: float, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """For each n the least failures that say "above" and the most that say "below" (asked of `decide`)."""
    above, below = np.empty(horizon), np.empty(horizon)
    up, down = 1, -1
    for n in range(1, horizon + 1):
        while up <= n and decide(ConfidenceSequence(0.05, up, n), tolerance) != "above":
            up += 1
        while down + 1 <= n and decide(ConfidenceSequence(0.05, down + 1, n), tolerance) == "below":
            down += 1
        above[n - 1], below[n - 1] = up, down
    return above, below


def least(reps: int, level: float = 0.95) -> float:
    """The coverage under which a run of `reps` would fall once in a thousand if the true one were `level`."""
    return level - 3.1 * (level * (1 - level) / reps) ** 0.5


@pytest.mark.parametrize("p", [0.0, 0.01, 0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("icc", [0.0, 0.2, 0.6])
def test_clustered_interval_covers(p: float, icc: float) -> None:
    assert cover_clustered(400, p, icc) >= least(400)


def test_plain_wilson_would_not_cover_clustered_trials() -> None:
    assert cover_naive(400, 0.3, 0.6) < 0.88


@pytest.mark.parametrize("p", [0.0, 0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("certain", [0.0, 0.7])
@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_corrected_rate_covers(p: float, certain: float, design: Design) -> None:
    assert cover_corrected(200, p, 0.2, certain, design)[0] >= least(200)


@pytest.mark.parametrize(
    ("before", "after", "icc", "certain"),
    [
        (0.4, 0.05, 0.2, 0.0),
        (0.4, 0.05, 0.2, 0.7),
        (0.05, 0.05, 0.2, 0.7),
        (0.6, 0.1, 0.5, 0.7),
        (0.1, 0.0, 0.2, 0.7),
    ],
)
def test_corrected_difference_covers(before: float, after: float, icc: float, certain: float) -> None:
    assert cover_difference(300, before, after, icc, certain)[0] >= least(300)


def test_the_proofs_test_keeps_its_level_where_mcnemar_over_all_pairs_does_not() -> None:
    rates = false_alarms(2000)
    assert rates["mcnemar_all"] > 0.065
    assert rates["sign_flip"] <= 1 - least(2000)
    assert rates["mcnemar_one"] <= 1 - least(2000)


def test_a_shield_that_mends_nothing_is_not_called_a_repair() -> None:
    rates = shield_of_nothing(400)
    assert rates["uncorrected"] > 0.05
    assert rates["paired_test"] <= 0.02


@pytest.mark.parametrize(("n", "p10", "p01"), [(40, 0.05, 0.05), (60, 0.1, 0.02), (30, 0.2, 0.1)])
def test_tango_covers_exactly_computed(n: int, p10: float, p01: float) -> None:
    covered, _ = tango_coverage(n, p10, p01)
    assert covered >= 0.93


@pytest.mark.parametrize(("n", "p01"), [(40, 0.0), (60, 0.01), (60, 0.05), (100, 0.02)])
def test_non_inferiority_at_its_margin_is_rarely_claimed(n: int, p01: float) -> None:
    _, missed = tango_coverage(n, p01 + 0.10, p01, 0.90)
    assert missed <= 0.065


@pytest.mark.parametrize("rate", [0.08, 0.1, 0.12, 0.2])
def test_wrong_stops_are_at_most_alpha(rate: float) -> None:
    said = [decision for decision, _ in stops(3000, rate, 0.1)]
    if rate <= 0.1:
        assert said.count("above") / 3000 <= 1 - least(3000)
    if rate >= 0.1:
        assert said.count("below") / 3000 <= 1 - least(3000)


def test_clear_cases_stop_soon() -> None:
    assert max(n for _, n in stops(200, 0.0, 0.1)) == 36
    assert np.median([n for _, n in stops(2000, 0.02, 0.1)]) <= 70
    assert np.median([n for _, n in stops(2000, 0.5, 0.1)]) <= 10


def tables(reps: int) -> Iterator[str]:
    """The tables of docs/statistics.md."""
    yield (
        f"{reps} repetitions\n\n| true rate | ICC | clustered_rate | Wilson, goals ignored |\n| --- | --- | --- | --- |"
    )
    for p in (0.0, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5):
        for icc in (0.0, 0.2, 0.6):
            ours, naive = cover_clustered(reps, p, icc), cover_naive(reps, p, icc)
            yield (f"| {p:.0%} | {icc} | {ours:.1%} | {naive:.1%} |")
    head = "| design | true rate | ICC | passes known | coverage | mean upper end | missed above |"
    yield f"\n{head}\n" + "| --- " * 7 + "|"
    for name, design in DESIGNS.items():
        for p in (0.0, 0.01, 0.02, 0.05, 0.1, 0.3):
            for icc, certain in ((0.0, 0.0), (0.2, 0.0), (0.2, 0.7)):
                cover, high, above = cover_corrected(reps, p, icc, certain, design)
                yield f"| {name} | {p:.0%} | {icc} | {certain:.0%} | {cover:.1%} | {high:.1%} | {above:.1%} |"
    yield ("\n| before | after | ICC | passes known after | coverage | mean width |\n" + "| --- " * 6 + "|")
    for before, after, icc, certain in (
        (0.4, 0.05, 0.2, 0.0),
        (0.4, 0.05, 0.2, 0.7),
        (0.2, 0.1, 0.2, 0.0),
        (0.05, 0.05, 0.2, 0.0),
        (0.05, 0.05, 0.2, 0.7),
        (0.1, 0.0, 0.2, 0.7),
        (0.6, 0.1, 0.5, 0.7),
    ):
        cover, width = cover_difference(reps, before, after, icc, certain)
        yield (f"| {before:.0%} | {after:.0%} | {icc} | {certain:.0%} | {cover:.1%} | {width:.1%} |")
    yield f"\n{false_alarms(reps)}\n{shield_of_nothing(reps)}"
    yield ("\n| n | worse | better | two-sided 95 % | one-sided 95 % misses |\n" + "| --- " * 5 + "|")
    for n, worse, better in (
        (40, 0.05, 0.05),
        (40, 0.10, 0.0),
        (60, 0.1, 0.02),
        (60, 0.11, 0.01),
        (100, 0.12, 0.02),
    ):
        cover, missed = tango_coverage(n, worse, better)[0], tango_coverage(n, worse, better, 0.90)[1]
        yield (f"| {n} | {worse:.0%} | {better:.0%} | {cover:.1%} | {missed:.1%} |")
    yield (
        "\n| true rate | said below | said above | undecided | median trials | mean trials |\n"
        + "| --- " * 6
        + "|"
    )
    for rate in (0.0, 0.02, 0.05, 0.08, 0.1, 0.12, 0.2, 0.5, 0.9):
        life = list(stops(reps, rate, 0.1))
        share = {side: sum(d == side for d, _ in life) / reps for side in ("below", "above", "undecided")}
        sizes = [n for _, n in life]
        yield (
            f"| {rate:.0%} | {share['below']:.1%} | {share['above']:.1%} | {share['undecided']:.1%} "
            f"| {np.median(sizes):.0f} | {np.mean(sizes):.0f} |"
        )


if __name__ == "__main__":
    for line in tables(int(sys.argv[1]) if len(sys.argv) > 1 else 4000):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
