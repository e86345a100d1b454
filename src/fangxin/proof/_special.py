from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()


def normal_quantile(p: float) -> float:
    """The standard normal quantile; `p` in (0, 1)."""
    return _NORMAL.inv_cdf(p)


def log_beta(a: float, b: float) -> float:
    """Natural log of the complete beta function; `a`, `b` > 0."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b); `a`, `b` > 0.

    Continued fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, evaluated by
    the modified Lentz method; the symmetry 8.17.4 keeps it in its fast half.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a) if 1.0 - x < 1.0 else 0.0
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta(a, b)) / a
    tiny = 1e-300
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0), tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d, tiny)
            c = _away(1.0 + term / c, tiny)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return min(1.0, front * fraction)


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def beta_quantile(p: float, a: float, b: float) -> float:
    """The `p` quantile of Beta(a, b), by bisection to the last bits; `a` = 0 gives 0, `b` = 0 gives 1."""
    if a <= 0.0 or p <= 0.0:
        return 0.0
    if b <= 0.0 or p >= 1.0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high) or high - low < 1e-15 * high:
            break
        if beta_cdf(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@lru_cache(maxsize=256)
def t_quantile(p: float, df: float) -> float:
    """The quantile of Student's t; `p` in (0, 1), `df` > 0.

    From I_x(df/2, 1/2) = 2 P(T > t) with x = df / (df + t^2) (Abramowitz & Stegun 26.7.1).
    """
    if p == 0.5:
        return 0.0
    tail = min(p, 1.0 - p)
    x = beta_quantile(2.0 * tail, df / 2.0, 0.5)
    t = math.sqrt(df * (1.0 - x) / x) if x > 0.0 else math.inf
    return t if p > 0.5 else -t
