from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from fangxin.proof import Estimate, ProofError, clopper_pearson, clustered_rate, wilson

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.sampled_from([0.8, 0.9, 0.95, 0.99])
trials = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=1, max_size=120)


@settings(deadline=None)
@given(counts, levels)
def test_wilson_is_statsmodels(count: tuple[int, int], level: float) -> None:
    expected = proportion_confint(*count, alpha=1 - level, method="wilson")
    assert wilson(*count, level) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(counts, levels)
def test_clopper_pearson_is_statsmodels(count: tuple[int, int], level: float) -> None:
    expected = proportion_confint(*count, alpha=1 - level, method="beta")
    assert clopper_pearson(*count, level) == pytest.approx(expected, abs=1e-9)


def test_clopper_pearson_as_published() -> None:
    # Ligarden et al. 2010 in Fagerland, Lydersen & Laake (2017): 13 of 16.
    assert clopper_pearson(13, 16) == pytest.approx((0.5435, 0.9595), abs=5e-5)


@settings(deadline=None)
@given(counts, levels)
def test_intervals_hold_the_point_and_mirror(count: tuple[int, int], level: float) -> None:
    k, n = count
    for method in (wilson, clopper_pearson):
        low, high = method(k, n, level)
        assert 0 <= low <= k / n <= high <= 1
        mirrored = method(n - k, n, level)
        assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-9)


@settings(deadline=None)
@given(trials, levels)
def test_clustered_interval_holds_the_point_and_is_no_narrower_than_wilson(
    rows: list[tuple[int, int]], level: float
) -> None:
    outcomes, goals = [y for y, _ in rows], [g for _, g in rows]
    estimate = clustered_rate(outcomes, goals, level)
    assert 0 <= estimate.low <= estimate.rate <= estimate.high <= 1
    low, high = wilson(sum(outcomes), len(outcomes), level)
    assert estimate.high - estimate.low >= high - low - 1e-12
    assert estimate.n == len(rows)
    assert estimate.clusters == len(set(goals))


@settings(deadline=None)
@given(trials)
def test_clustered_rate_mirrors_and_ignores_order(rows: list[tuple[int, int]]) -> None:
    outcomes, goals = [y for y, _ in rows], [g for _, g in rows]
    one = clustered_rate(outcomes, goals)
    other = clustered_rate([1 - y for y in outcomes], goals)
    assert (1 - other.high, 1 - other.low) == pytest.approx((one.low, one.high), abs=1e-9)
    backwards = clustered_rate(outcomes[::-1], goals[::-1])
    assert (backwards.low, backwards.high) == pytest.approx((one.low, one.high), abs=1e-9)


def test_one_trial_a_goal_is_wilson() -> None:
    estimate = clustered_rate([1, 0, 0, 1, 0], list("abcde"))
    assert (estimate.low, estimate.high) == pytest.approx(wilson(2, 5))


def test_no_failure_counts_goals_not_trials() -> None:
    goals = [i % 45 for i in range(135)]
    estimate = clustered_rate([0] * 135, goals)
    assert estimate.low == 0 == estimate.rate
    # Never narrower than 45 independent trials, nor wider than a few goals fewer would give.
    assert wilson(0, 45)[1] <= estimate.high <= wilson(0, 38)[1]


@pytest.mark.parametrize("size", [2, 3, 5, 10])
@pytest.mark.parametrize("goals", [20, 45, 100])
def test_a_failure_more_never_lowers_the_upper_end(size: int, goals: int) -> None:
    # The first failures also tell that goals aren't wholly alike: that must not make them good news.
    codes = [i % goals for i in range(goals * size)]
    highs = [clustered_rate([1] * k + [0] * (goals * size - k), codes).high for k in range(20)]
    assert highs == sorted(highs)
    assert highs[-1] > highs[0]


def test_wholly_alike_goals_count_as_one_trial_each() -> None:
    goals = [g for g in range(40) for _ in range(5)]
    estimate = clustered_rate([int(g < 12) for g in goals], goals)
    alone = wilson(12, 40)
    assert estimate.high - estimate.low == pytest.approx(alone[1] - alone[0], rel=0.06)


def test_one_goal_says_nothing() -> None:
    estimate = clustered_rate([0, 1, 0], ["a", "a", "a"])
    assert (estimate.low, estimate.high) == (0, 1)


def test_estimate_round_trips_and_refuses_a_point_outside() -> None:
    estimate = Estimate(0.1, 0.05, 0.2, 100, 40)
    assert Estimate(**json.loads(json.dumps(estimate.as_dict()))) == estimate
    with pytest.raises(ProofError, match="outside its interval"):
        Estimate(0.4961, 0.2126, 0.4436, 256, 1)


@pytest.mark.parametrize(
    ("outcomes", "goals", "said"),
    [([], [], "no trial"), ([1, 0], ["a"], "one goal for each"), ([2.0], ["a"], r"outside \[0, 1\]")],
)
def test_bad_trials_are_refused(outcomes: list[float], goals: list[str], said: str) -> None:
    with pytest.raises(ProofError, match=said):
        clustered_rate(outcomes, goals)


def test_bad_counts_are_refused() -> None:
    with pytest.raises(ProofError, match="no count"):
        wilson(3, 2)
    with pytest.raises(ProofError, match="not a confidence"):
        clopper_pearson(1, 2, 95)
