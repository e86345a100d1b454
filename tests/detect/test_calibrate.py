from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fangxin.detect import Band, NoPromiseError, promise
from fangxin.detect._calibrate import decide, most_misses, rows_needed
from fangxin.detect._metrics import Floats


def drawn(rng: np.random.Generator, n: int, tiers: int, harmful: bool) -> Floats:
    """Scores of a cheap tier and of better ones: normal, so that the truth is known."""
    means = np.array([1.2, 2.2, 3.0])[:tiers] * harmful
    return np.asarray(1 / (1 + np.exp(-(rng.normal(size=(n, tiers)) + means - 1))), np.float64)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 400), st.floats(0.005, 0.5), st.floats(0.005, 0.45))
def test_the_misses_that_are_allowed_are_those_of_the_binomial(n: int, alpha: float, delta: float) -> None:
    k = most_misses(n, alpha, delta)
    assert -1 <= k < max(n, 1)
    assert k < 0 or stats.binom.cdf(k, n, alpha) <= delta * (1 + 1e-9)
    assert stats.binom.cdf(k + 1, n, alpha) > delta * (1 - 1e-9)
    needed = rows_needed(alpha, delta)
    assert most_misses(needed, alpha, delta) >= 0 > most_misses(needed - 1, alpha, delta)


def test_fifty_nine_rows_promise_five_percent() -> None:
    assert rows_needed(0.05, 0.05) == 59


# Chosen so that the simulation would see it: misses above alpha in a tenth of the runs is what's allowed.
RUNS, ALPHA, CONFIDENCE = 250, 0.1, 0.9
ALLOWED = 0.1 + 3 * (0.1 * 0.9 / RUNS) ** 0.5


@pytest.mark.parametrize("tiers", [1, 2, 3])
def test_the_promise_is_kept_as_often_as_it_says(tiers: int) -> None:
    many = drawn(np.random.default_rng(99), 20_000, tiers, True)
    broken = careless = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        positives, negatives = drawn(rng, 150, tiers, True), drawn(rng, 120, tiers, False)
        it = promise(positives, negatives, alpha=ALPHA, confidence=CONFIDENCE, seed=seed)
        broken += (~decide(many, it.bands)[0]).mean() > ALPHA
        # What everybody does: the threshold that misses a tenth of these rows.
        end = float(np.quantile(positives[:, -1], ALPHA))
        careless += (many[:, -1] < end).mean() > ALPHA
    assert broken / RUNS <= ALLOWED
    assert careless / RUNS > ALLOWED, "the simulation sees no difference"


def test_the_promise_is_kept_where_nothing_can_be_told_apart() -> None:
    """The worst case for looking at many thresholds: scores that are noise."""
    broken = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        it = promise(rng.random((100, 1)), rng.random((400, 1)), alpha=ALPHA, confidence=CONFIDENCE)
        broken += it.bands[0].low > ALPHA  # what is below it is missed
    assert 0 < broken / RUNS <= ALLOWED


def test_what_it_costs_is_told() -> None:
    rng = np.random.default_rng(1)
    positives, negatives = drawn(rng, 500, 2, True), drawn(rng, 400, 2, False)
    it = promise(positives, negatives, alpha=0.1)
    assert it.misses == (~decide(positives, it.bands)[0]).sum()
    assert it.misses / 500 < it.bound <= 0.1
    assert it.false_blocks.n == 200
    assert it.false_blocks.low <= it.false_blocks.value <= it.false_blocks.high < 1
    assert it.sent[0].value == 1
    assert 0 < it.sent[1].value < 1  # some go on, most don't
    alone = promise(positives[:, :1], negatives[:, :1], alpha=0.1)
    assert alone.false_blocks.value > it.false_blocks.value
    again = promise(positives, negatives, alpha=0.1)
    assert again == it


def test_a_list_of_terms_can_not_clear() -> None:
    rng = np.random.default_rng(2)
    positives, negatives = drawn(rng, 300, 2, True), drawn(rng, 200, 2, False)
    positives[:, 0], negatives[:, 0] = rng.random(300) < 0.2, 0.0
    it = promise(positives, negatives, alpha=0.1, clears=[False, True])
    assert it.bands[0].low == 0
    assert it.sent[1].value == 1


@pytest.mark.parametrize(
    ("positives", "negatives", "said"),
    [
        (58, 100, "needs at least 59 harmful rows, and there are 58"),
        (0, 100, "needs at least 59 harmful rows, and there are 0"),
        (59, 39, "from 39 harmless rows; give at least 40"),
    ],
)
def test_too_few_rows_promise_nothing(positives: int, negatives: int, said: str) -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(NoPromiseError, match=said):
        promise(drawn(rng, positives, 1, True), drawn(rng, negatives, 1, False))


def test_a_cascade_needs_more_rows() -> None:
    rng = np.random.default_rng(3)
    with pytest.raises(NoPromiseError, match="needs at least 80 harmful rows, and there are 79"):
        promise(drawn(rng, 79, 2, True), drawn(rng, 100, 2, False))
    promise(drawn(rng, 80, 2, True), drawn(rng, 100, 2, False), alpha=0.05)


def test_blocking_everything_is_no_promise() -> None:
    with pytest.raises(NoPromiseError, match="only blocking everything"):
        promise(np.zeros((100, 1)), np.ones((100, 1)))
    with pytest.raises(NoPromiseError, match="alpha must lie"):
        promise(np.zeros((100, 1)), np.ones((100, 1)), alpha=0)


def test_a_row_goes_down_until_a_tier_is_sure() -> None:
    scores = np.array([[0.05, 0.9], [0.95, 0.1], [0.5, 0.9], [0.5, 0.1]])
    unsafe, asked = decide(scores, [Band(0.1, 0.9), Band(0.5, 0.5)])
    assert unsafe.tolist() == [False, True, True, False]
    assert asked.tolist() == [1, 1, 2, 2]
