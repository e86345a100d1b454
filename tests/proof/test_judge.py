from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.proof import (
    JudgeError,
    ProofError,
    clustered_rate,
    corrected_difference,
    corrected_rate,
    paired_counts,
    paired_sign_flip,
    paired_test,
)

JUDGE = JudgeError(135, 150, 3, 150, "en")
GOALS = [i % 45 for i in range(120)]
rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 9), st.booleans()), min_size=1, max_size=60
)
judges = st.builds(
    JudgeError, st.integers(30, 40), st.just(40), st.integers(0, 25), st.just(40), st.just("any")
)


def test_a_judge_has_rates_with_intervals() -> None:
    assert JUDGE.sensitivity.rate == 0.9
    assert JUDGE.specificity.rate == 0.98
    assert JUDGE.specificity.low < 0.98 < JUDGE.specificity.high
    assert JUDGE.youden == pytest.approx(0.88)
    ends = scipy.stats.binomtest(147, 150).proportion_ci(0.95, "exact")
    assert (JUDGE.specificity.low, JUDGE.specificity.high) == pytest.approx((ends.low, ends.high))


def test_the_point_is_rogan_and_gladens() -> None:
    outcomes = [1] * 12 + [0] * 108
    assert corrected_rate(outcomes, GOALS, JUDGE).rate == pytest.approx((0.1 - 0.02) / 0.88)


def test_known_trials_carry_no_judge_error() -> None:
    # 60 judged with 12 called failures, 60 known to pass: only the 60 are corrected.
    certain = [i >= 60 for i in range(120)]
    outcomes = [1] * 12 + [0] * 108
    estimate = corrected_rate(outcomes, GOALS, JUDGE, certain=certain)
    assert estimate.rate == pytest.approx(0.5 * (0.2 - 0.02) / 0.88)
    # A person's "failure" counts whole.
    labelled = [i >= 60 or i < 12 for i in range(120)]
    assert corrected_rate(outcomes, GOALS, JUDGE, certain=labelled).rate == pytest.approx(0.1)


def test_each_language_is_corrected_by_its_own_judge() -> None:
    worse = JudgeError(100, 150, 30, 150, "zh")
    each = [JUDGE] * 60 + [worse] * 60
    outcomes = [1] * 12 + [0] * 48 + [1] * 24 + [0] * 36
    expected = 0.5 * (0.2 - 0.02) / 0.88 + 0.5 * (0.4 - 0.2) / (100 / 150 - 0.2)
    estimate = corrected_rate(outcomes, GOALS, each)
    assert estimate.rate == pytest.approx(expected)
    surer = corrected_rate(outcomes, GOALS, [JUDGE] * 60 + [JudgeError(10000, 15000, 3000, 15000, "zh")] * 60)
    assert surer.high - surer.low < estimate.high - estimate.low


def test_a_perfect_judge_leaves_the_clustered_interval() -> None:
    outcomes = [1] * 12 + [0] * 108
    perfect = corrected_rate(outcomes, GOALS, JudgeError(10**8, 10**8, 0, 10**8), draws=200_000)
    plain = clustered_rate(outcomes, GOALS)
    assert (perfect.low, perfect.high) == pytest.approx((plain.low, plain.high), abs=2e-3)
    assert corrected_rate(outcomes, GOALS, None) == plain


def test_a_smaller_panel_widens_the_interval() -> None:
    outcomes = [1] * 12 + [0] * 108
    widths = []
    for times in (1, 5, 50):
        e = corrected_rate(outcomes, GOALS, JudgeError(27 * times, 30 * times, times, 30 * times))
        widths.append(e.high - e.low)
    assert widths[0] > widths[1] > widths[2]


@settings(max_examples=60, deadline=None)
@given(rows, judges)
def test_the_point_lies_in_its_interval(rows: list[tuple[int, int, int, bool]], judge: JudgeError) -> None:
    before, after, goals, known = (list(column) for column in zip(*rows, strict=True))
    known = [k and not y for k, y in zip(known, after, strict=True)]
    rate = corrected_rate(after, goals, judge, certain=known, draws=500)
    assert 0 <= rate.low <= rate.rate <= rate.high <= 1
    fall = corrected_difference(before, after, goals, judge, certain_after=known, draws=500)
    assert -1 <= fall.low <= fall.rate <= fall.high <= 1
    was = corrected_rate(before, goals, judge, draws=500)
    assert fall.rate == pytest.approx(was.rate - rate.rate, abs=1e-12)
    assert 0 < paired_test(before, after, goals, judge, certain_after=known) <= 1


def test_no_failure_does_not_collapse_and_all_known_needs_no_judge() -> None:
    none = corrected_rate([0] * 120, GOALS, JUDGE)
    assert none.rate == none.low == 0
    assert none.high > 0.05
    known = corrected_rate([0] * 120, GOALS, JUDGE, certain=[True] * 120)
    assert known.high == pytest.approx(clustered_rate([0] * 120, GOALS).high, rel=0.03)
    assert known.rate == 0


def test_a_failure_more_never_lowers_the_upper_end() -> None:
    highs = [corrected_rate([1] * k + [0] * (120 - k), GOALS, JUDGE, draws=2000).high for k in range(30)]
    assert highs == sorted(highs)
    assert highs[29] > highs[0] + 0.15


def test_false_alarms_cancel_in_a_difference_that_was_judged_twice() -> None:
    before, after = [1] * 40 + [0] * 80, [1] * 10 + [0] * 110
    sharp = JudgeError(90_000, 100_000, 2_000, 100_000)
    blunt = JudgeError(90_000, 100_000, 2, 100)
    one, other = (corrected_difference(before, after, GOALS, j) for j in (sharp, blunt))
    assert one.rate == pytest.approx(other.rate) == pytest.approx(30 / 120 / 0.88)
    assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.05)


def test_same_seed_same_interval() -> None:
    outcomes = [1] * 12 + [0] * 108
    assert corrected_rate(outcomes, GOALS, JUDGE) == corrected_rate(outcomes, GOALS, JUDGE)
    shuffled = np.random.default_rng(0).permutation(120)
    moved = corrected_rate([outcomes[i] for i in shuffled], [GOALS[i] for i in shuffled], JUDGE)
    plain = corrected_rate(outcomes, GOALS, JUDGE)
    assert (moved.rate, moved.low, moved.high) == pytest.approx((plain.rate, plain.low, plain.high))


def test_without_known_trials_the_test_is_the_sign_flip() -> None:
    before, after = [1] * 40 + [0] * 80, [1] * 10 + [0] * 110
    plain = paired_sign_flip(paired_counts(before, after, GOALS).differences)
    assert paired_test(before, after, GOALS, JUDGE) == pytest.approx(plain)


def test_silencing_harmless_replies_is_no_repair() -> None:
    # Six false alarms of the judge vanish because the shield refused those replies; nothing was mended.
    before, after = [1] * 6 + [0] * 114, [0] * 120
    certain = [i < 90 for i in range(120)]
    assert paired_test(before, after, GOALS) < 0.05
    assert paired_test(before, after, GOALS, JUDGE, certain_after=certain) > 0.3
    real = paired_test([1] * 40 + [0] * 80, after, GOALS, JUDGE, certain_after=certain)
    assert 0.001 < real < 0.01


def test_one_goal_says_nothing_of_others() -> None:
    rate = corrected_rate([1, 0, 0], ["a"] * 3, JUDGE)
    assert (rate.low, rate.high) == (0, 1)
    fall = corrected_difference([1, 1, 0], [0, 0, 0], ["a"] * 3, JUDGE)
    assert (fall.low, fall.high) == (-1, 1)


def test_a_guessing_judge_is_refused() -> None:
    with pytest.raises(ProofError, match="no better than guessing"):
        corrected_rate([1, 0], ["a", "b"], JudgeError(20, 40, 20, 40))


@pytest.mark.parametrize("counts", [(1, 0, 0, 10), (5, 4, 0, 10), (1, 4, 11, 10)])
def test_impossible_panels_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ProofError, match="panel"):
        JudgeError(*counts)


def test_marks_and_judges_must_be_as_many_as_trials() -> None:
    with pytest.raises(ProofError, match="marks of certainty"):
        corrected_rate([1, 0], ["a", "b"], JUDGE, certain=[True])
    with pytest.raises(ProofError, match="judges for 2 trials"):
        corrected_rate([1, 0], ["a", "b"], [JUDGE])
    with pytest.raises(ProofError, match="pair each"):
        paired_test([1, 0], [1], ["a", "b"])
