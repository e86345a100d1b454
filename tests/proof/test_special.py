from __future__ import annotations

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.proof._special import beta_cdf, beta_quantile, t_quantile

shapes = st.floats(0.5, 2000)


@settings(deadline=None)
@given(st.floats(0.0, 1.0), shapes, shapes)
def test_beta_cdf_is_scipys(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(scipy.stats.beta.cdf(x, a, b), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(st.floats(0.001, 0.999), shapes, shapes)
def test_beta_quantile_is_scipys(p: float, a: float, b: float) -> None:
    assert beta_quantile(p, a, b) == pytest.approx(scipy.stats.beta.ppf(p, a, b), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("df", [1, 2, 7, 44, 500])
@pytest.mark.parametrize("p", [0.005, 0.025, 0.5, 0.9, 0.975])
def test_t_quantile_is_scipys(p: float, df: int) -> None:
    assert t_quantile(p, df) == pytest.approx(scipy.stats.t.ppf(p, df), rel=1e-8, abs=1e-12)
