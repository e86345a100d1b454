from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from fangxin.proof import (
    ProofError,
    holm,
    mcnemar_exact,
    mcnemar_power,
    paired_counts,
    paired_sign_flip,
    pairs_needed,
)

few = st.integers(0, 60)


@settings(deadline=None)
@given(few, few)
def test_mcnemar_is_statsmodels_and_scipys(b: int, c: int) -> None:
    assert mcnemar_exact(b, c) == pytest.approx(mcnemar([[5, b], [c, 7]], exact=True).pvalue)
    if b + c:
        expected = scipy.stats.binomtest(b, b + c, 0.5, alternative="greater").pvalue
        assert mcnemar_exact(b, c, one_sided=True) == pytest.approx(expected)


def test_mcnemar_as_published() -> None:
    # Cavo et al. 2012 in Fagerland, Lydersen & Laake (2017), ch. 8: b = 6, c = 16.
    assert mcnemar_exact(6, 16) == pytest.approx(0.052479, abs=5e-7)


@settings(deadline=None)
@given(few, few)
def test_one_pair_a_goal_makes_the_sign_flip_mcnemars(b: int, c: int) -> None:
    differences = [1.0] * b + [-1.0] * c + [0.0] * 3
    assert paired_sign_flip(differences) == pytest.approx(mcnemar_exact(b, c, one_sided=True), rel=1e-9)
    assert paired_sign_flip(differences, one_sided=False) == pytest.approx(mcnemar_exact(b, c), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([-1, -2 / 3, -0.5, -1 / 3, 1 / 3, 0.5, 2 / 3, 1]), min_size=1, max_size=10),
    st.booleans(),
)
def test_lattice_enumeration_and_scipy_agree(differences: list[float], one_sided: bool) -> None:
    lattice = paired_sign_flip(differences, one_sided=one_sided)
    # The same values off the lattice by less than any gap between sums: this goes by enumeration.
    blurred = [d * (1 + 1e-10) + 0 for d in differences]
    assert paired_sign_flip(blurred, one_sided=one_sided) == pytest.approx(lattice, rel=1e-9)
    sums = np.zeros(1)
    for d in differences:
        sums = np.concatenate([sums + d, sums - d])
    seen = sum(differences)
    tail = np.mean(sums >= seen - 1e-9) if one_sided else np.mean(np.abs(sums) >= abs(seen) - 1e-9)
    assert lattice == pytest.approx(tail, rel=1e-9)


def test_sign_flip_is_scipys_permutation_test() -> None:
    differences = [0.31, -0.12, 0.55, 0.07, -0.2, 0.41, 0.9, -0.33]
    expected = scipy.stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert paired_sign_flip(differences) == pytest.approx(expected.pvalue)


def test_monte_carlo_is_seeded_close_and_never_zero() -> None:
    rng = np.random.default_rng(5)
    differences = (rng.normal(0.15, 0.5, 40)).tolist()
    p = paired_sign_flip(differences)
    assert p == paired_sign_flip(differences)
    assert p == pytest.approx(paired_sign_flip(differences, seed=9), rel=0.15)
    normal = scipy.stats.norm.sf(sum(differences) / np.sqrt(np.sum(np.square(differences))))
    assert p == pytest.approx(normal, rel=0.2)
    assert paired_sign_flip([1 + np.pi / 1e4 * i for i in range(60)], flips=999) == 1 / 1000


def test_no_change_is_no_evidence() -> None:
    assert paired_sign_flip([0.0, 0.0]) == 1.0
    with pytest.raises(ProofError, match="at least one pair"):
        paired_sign_flip([])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected.tolist())


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


@pytest.mark.parametrize(("n", "p10", "p01"), [(40, 0.3, 0.05), (80, 0.2, 0.05), (25, 0.5, 0.0)])
@pytest.mark.parametrize("one_sided", [True, False])
def test_power_is_the_simulated_share_of_rejections(n: int, p10: float, p01: float, one_sided: bool) -> None:
    rng = np.random.default_rng(7)
    draws = rng.multinomial(n, [p10, p01, max(0.0, 1 - p10 - p01)], size=6000)
    pairs, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    hits = sum(
        int(t)
        for (b, c), t in zip(pairs, times, strict=True)
        if mcnemar_exact(int(b), int(c), one_sided=one_sided) <= 0.05
    )
    assert mcnemar_power(n, p10, p01, one_sided=one_sided) == pytest.approx(hits / 6000, abs=0.02)


@pytest.mark.parametrize("n", [5, 17, 60, 200])
@pytest.mark.parametrize("half", [0.02, 0.1, 0.4])
def test_power_under_the_null_is_at_most_alpha(n: int, half: float) -> None:
    assert mcnemar_power(n, half, half) <= 0.05
    assert mcnemar_power(n, half, half, one_sided=False) <= 0.05


@pytest.mark.parametrize(("p10", "p01"), [(0.4, 0.02), (0.2, 0.05), (0.15, 0.05)])
def test_pairs_needed_reach_their_power_and_stay_near_connors(p10: float, p01: float) -> None:
    n = pairs_needed(p10, p01)
    assert all(mcnemar_power(n + i, p10, p01) >= 0.8 for i in range(5))
    assert mcnemar_power(n - 1, p10, p01) < 0.8
    total, gain = p10 + p01, p10 - p01
    connor = (1.6449 * total**0.5 + 0.8416 * (total - gain**2) ** 0.5) ** 2 / gain**2
    assert connor <= n <= connor * 1.4 + 4  # the exact test pays for being discrete
    assert pairs_needed(p10, p01, design_effect=1.5) == -(-n * 3 // 2)
    assert pairs_needed(p10, p01, power=0.9) > n
    assert pairs_needed(p10, p01, one_sided=False) > n


def test_nothing_to_show_has_no_size() -> None:
    with pytest.raises(ProofError, match="p10 > p01"):
        pairs_needed(0.1, 0.1)


def test_paired_counts_by_goal() -> None:
    counts = paired_counts([1, 1, 0, 1, 0], [0, 1, 1, 0, 0], ["a", "a", "b", "c", "c"])
    assert (counts.b, counts.c, counts.n, counts.clusters) == (2, 1, 5, 3)
    assert counts.differences == (0.5, -1.0, 0.5)


def test_design_effect_of_pairs_sees_goals_that_move_together() -> None:
    goals = [g for g in range(30) for _ in range(4)]
    together = paired_counts([int(g < 10) for g in goals], [0] * 120, goals)
    apart = paired_counts([int(i % 3 == 0) for i in range(120)], [0] * 120, goals)
    alone = paired_counts([int(g < 10) for g in goals], [0] * 120, list(range(120)))
    assert together.design_effect == pytest.approx(4, rel=0.1)
    assert apart.design_effect < 1.4
    assert alone.design_effect == pytest.approx(1)


def test_pairs_must_be_aligned_and_binary() -> None:
    with pytest.raises(ProofError, match="pair each with itself"):
        paired_counts([1, 0], [1], ["a", "b"])
    with pytest.raises(ProofError, match="0 or 1"):
        paired_counts([0.5], [1], ["a"])
