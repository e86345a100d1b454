from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.proof import NonInferiority, ProofError, non_inferior, tango_interval, wilson

tables = st.integers(1, 200).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
)


@pytest.mark.parametrize(
    ("b", "c", "n", "ends"),
    [
        (1, 7, 21, (-0.517, -0.026)),  # Bentur et al. 2009, in Fagerland, Lydersen & Laake (2014), table IV
        (6, 16, 161, (-0.1240, -0.0054)),  # Cavo et al. 2012, R package contingencytables
    ],
)
def test_tango_as_published(b: int, c: int, n: int, ends: tuple[float, float]) -> None:
    assert tango_interval(b, c, n) == pytest.approx(ends, abs=5e-4 if n == 21 else 6e-5)


@settings(deadline=None)
@given(tables, st.sampled_from([0.8, 0.9, 0.95]))
def test_tango_holds_the_point_and_mirrors(table: tuple[int, int, int], level: float) -> None:
    b, c, n = table
    low, high = tango_interval(b, c, n, level)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert tango_interval(c, b, n, level) == pytest.approx((-high, -low), abs=1e-9)
    wider = tango_interval(b, c, n, 0.99)
    assert wider[0] <= low + 1e-9
    assert wider[1] >= high - 1e-9


@settings(deadline=None)
@given(st.integers(2, 100), st.data())
def test_a_pair_more_that_got_worse_raises_both_ends(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n - 1))
    b = data.draw(st.integers(0, n - c - 1))
    before, after = tango_interval(b, c, n), tango_interval(b + 1, c, n)
    assert after[0] >= before[0] - 1e-9
    assert after[1] >= before[1] - 1e-9


@pytest.mark.parametrize("n", [1, 10, 40, 300])
def test_nothing_changed_does_not_collapse(n: int) -> None:
    # With b = c = 0 Tango's end is z^2 / (n + z^2), Wilson's for 0 of n.
    assert tango_interval(0, 0, n)[1] == pytest.approx(wilson(0, n)[1], abs=1e-9)


def test_everything_changed() -> None:
    low, high = tango_interval(20, 0, 20)
    assert high == 1
    assert low == pytest.approx(0.6777, abs=1e-3)


def test_non_inferiority_holds_fails_and_is_violated() -> None:
    fine = non_inferior(1, 1, 60, 0.10)
    assert fine.holds
    assert not fine.violated
    assert fine.high < 0.10
    unsure = non_inferior(4, 0, 40, 0.10)
    assert not unsure.holds
    assert not unsure.violated
    worse = non_inferior(25, 0, 60, 0.10)
    assert worse.violated
    assert NonInferiority(**json.loads(json.dumps(worse.as_dict()))) == worse


def test_a_one_sided_bound_is_the_end_of_the_doubled_interval() -> None:
    result = non_inferior(5, 2, 80, 0.10)
    assert (result.low, result.high) == tango_interval(5, 2, 80, 0.90)


def test_shared_goals_widen_the_bound() -> None:
    assert non_inferior(3, 1, 80, 0.1, design_effect=1.8).high > non_inferior(3, 1, 80, 0.1).high


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ProofError, match="check the counts"):
        tango_interval(3, 3, 5)
    with pytest.raises(ProofError, match="margin"):
        non_inferior(1, 1, 10, 0.0)
