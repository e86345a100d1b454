from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.proof import ConfidenceSequence, ProofError, decide
from fangxin.proof._sequence import _log_mixture

lives = st.lists(st.integers(0, 1), max_size=80)


def test_the_mixture_is_its_integral() -> None:
    k, n, t = 3, 20, 0.3

    def prior(x: float) -> float:
        return x**-0.5 * (1 - x) ** -0.5

    def ratio(x: float) -> float:
        return (x / t) ** k * ((1 - x) / (1 - t)) ** (n - k) * prior(x)

    expected = scipy.integrate.quad(ratio, 0, t)[0] / scipy.integrate.quad(prior, 0, t)[0]
    assert math.exp(_log_mixture(t, k, n)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("t", [0.05, 0.3, 0.8])
@pytest.mark.parametrize(("k", "n"), [(0, 0), (2, 9), (5, 6)])
def test_the_mixture_is_a_martingale_at_its_rate_and_shrinks_above(t: float, k: int, n: int) -> None:
    now = math.exp(_log_mixture(t, k, n))
    fail, ok = math.exp(_log_mixture(t, k + 1, n + 1)), math.exp(_log_mixture(t, k, n + 1))
    assert t * fail + (1 - t) * ok == pytest.approx(now, rel=1e-9)
    higher = (1 + t) / 2
    assert higher * fail + (1 - higher) * ok < now
    # A share of a failure (a goal's mean) is no more than its chance of a whole one.
    share = math.exp(_log_mixture(t, k + t, n + 1))
    assert share <= now * (1 + 1e-9)


def test_before_the_first_trial_nothing_is_known() -> None:
    start = ConfidenceSequence()
    assert (start.low, start.high, start.rate) == (0.0, 1.0, None)
    assert decide(start, 0.1) == "undecided"
    assert start.update([]) is start


@settings(deadline=None)
@given(lives)
def test_order_and_batches_do_not_matter(life: list[int]) -> None:
    whole = ConfidenceSequence().update(life)
    parts = ConfidenceSequence()
    for outcome in reversed(life):
        parts = parts.update([outcome])
    assert parts == whole


@settings(deadline=None)
@given(lives, st.floats(0.02, 0.98))
def test_bounds_hold_the_mean_nest_and_agree_with_decide(life: list[int], tolerance: float) -> None:
    sequence = ConfidenceSequence(0.05).update(life)
    mean = sequence.rate if sequence.rate is not None else 0.5
    assert 0 <= sequence.low <= sequence.lower <= mean <= sequence.upper <= sequence.high <= 1
    side = decide(sequence, tolerance)
    if abs(sequence.upper - tolerance) > 1e-9 and abs(sequence.lower - tolerance) > 1e-9:
        assert (side == "below") == (sequence.upper < tolerance)
        assert (side == "above") == (sequence.lower > tolerance)
    mirrored = ConfidenceSequence(0.05).update([1 - y for y in life])
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((sequence.low, sequence.high), abs=1e-9)


@settings(deadline=None)
@given(st.integers(1, 60), st.data())
def test_one_failure_more_raises_both_ends(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n - 1))
    fewer, more = ConfidenceSequence(0.05, k, n), ConfidenceSequence(0.05, k + 1, n)
    assert more.low >= fewer.low
    assert more.high >= fewer.high


@pytest.mark.parametrize("n", [1, 4, 15, 60])
def test_beyond_the_mean_the_mixture_crosses_its_edge_once(n: int) -> None:
    for k in range(n):
        over = [_log_mixture(t, k, n) >= math.log(10) for t in np.linspace(k / n + 1e-6, 0.999, 150)]
        assert over == sorted(over)


def test_how_soon_a_faultless_or_hopeless_model_is_known() -> None:
    assert decide(ConfidenceSequence(0.05, 0, 35), 0.1) == "undecided"
    assert decide(ConfidenceSequence(0.05, 0, 36), 0.1) == "below"
    assert ConfidenceSequence(0.05, 0, 43).high > 0.1 > ConfidenceSequence(0.05, 0, 44).high
    assert decide(ConfidenceSequence(0.05, 2, 2), 0.1) == "above"


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5])
def test_a_tolerance_is_a_rate(tolerance: float) -> None:
    with pytest.raises(ProofError, match="tolerance"):
        decide(ConfidenceSequence(), tolerance)


def test_alpha_is_a_chance() -> None:
    with pytest.raises(ProofError, match="alpha"):
        ConfidenceSequence(5)
    with pytest.raises(ProofError, match="outside"):
        ConfidenceSequence().update([3])
