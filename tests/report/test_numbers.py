import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.report._numbers import (
    bounds_of,
    count,
    interval,
    milliseconds,
    number,
    p_text,
    percent,
    points,
    points_interval,
    rate_of,
)


@pytest.mark.parametrize("value", [None, True, "0.3", float("nan"), float("inf"), {}, [0.3]])
def test_only_finite_numbers_are_numbers(value):
    assert number(value) is None
    assert rate_of({"rate": value}) is None
    assert bounds_of({"low": value, "high": 0.5}) is None
    assert count(value) == milliseconds(value) == "–"


@given(st.floats(0, 1))
def test_a_percentage_reads_back_to_within_its_rounding(share):
    assert abs(float(percent(share).rstrip("%")) / 100 - share) <= 0.00051


@given(st.floats(-1, 1))
def test_points_read_back_with_their_sign(difference):
    written = points(difference)
    assert abs(float(written.replace("−", "-")) / 100 - difference) <= 0.00051
    assert (written == "0.0") == (round(100 * difference, 1) == 0)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (percent(0.412), "41.2%"),
        (percent(None), "–"),
        (interval((0.36, 0.468)), "36.0–46.8%"),
        (interval(None), "–"),
        (points(-0.354), "−35.4"),
        (points_interval((-0.4, 0.031)), "−40.0 … +3.1"),
        (p_text(0.00003), "<\N{NO-BREAK SPACE}0.0001"),
        (p_text(0.0014), "0.0014"),
        (p_text(0.0812), "0.081"),
        (count(412_906), "412,906"),
        (count(1694.31), "1,694.3"),
        (milliseconds(0), "0 ms"),
        (milliseconds(0.62), "0.62 ms"),
        (milliseconds(45.67), "45.7 ms"),
        (milliseconds(845), "845 ms"),
        (milliseconds(1234), "1.2 s"),
    ],
)
def test_figures_are_written_one_way(written, wanted):
    assert written == wanted
