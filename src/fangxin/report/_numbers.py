"""How figures are written: the same in both languages, so that they can be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def number(value: Any) -> float | None:
    """A finite number, or None for anything else (null, NaN, a bool, text)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def rate_of(rate: Any) -> float | None:
    """The point of a rate `{"rate", "low", "high", "n", "clusters"}` in [0, 1]; None where not measured."""
    return number(rate.get("rate")) if isinstance(rate, Mapping) else None


def bounds_of(rate: Any) -> tuple[float, float] | None:
    """The interval of a rate; None where there is none."""
    if not isinstance(rate, Mapping):
        return None
    low, high = number(rate.get("low")), number(rate.get("high"))
    return None if low is None or high is None else (low, high)


def percent(value: float | None, unknown: str = DASH) -> str:
    """`0.412` as `41.2%`."""
    return unknown if value is None else f"{_minus(f'{100 * value:.1f}')}%"


def points(value: float | None, unknown: str = DASH) -> str:
    """A difference of rates in percentage points, signed: `-0.354` as `−35.4`."""
    if value is None:
        return unknown
    return "0.0" if round(100 * value, 1) == 0 else _minus(f"{100 * value:+.1f}")


def interval(bounds: tuple[float, float] | None, unknown: str = DASH) -> str:
    """`(0.36, 0.468)` as `36.0–46.8%`."""
    return unknown if bounds is None else f"{100 * bounds[0]:.1f}{DASH}{100 * bounds[1]:.1f}%"


def points_interval(bounds: tuple[float, float] | None, unknown: str = DASH) -> str:
    """`(-0.4, -0.3)` as `−40.0 … −30.0`; signs make a dash between them unreadable."""
    return unknown if bounds is None else f"{points(bounds[0])} … {points(bounds[1])}"


def p_text(value: float | None, unknown: str = DASH) -> str:
    """A p-value: `0.031`, or `< 0.0001` on one line."""
    if value is None:
        return unknown
    if value < 0.0001:
        return "<\N{NO-BREAK SPACE}0.0001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def count(value: Any, unknown: str = DASH) -> str:
    """`12345` as `12,345`; a fraction keeps one place."""
    known = number(value)
    if known is None:
        return unknown
    return f"{known:,.0f}" if known == int(known) else f"{_minus(f'{known:,.1f}')}"


def milliseconds(value: Any, unknown: str = DASH) -> str:
    """`0.62` as `0.62 ms`, `1200` as `1.2 s`."""
    known = number(value)
    if known is None:
        return unknown
    if known == 0:
        return "0 ms"
    if abs(known) >= 1000:
        return _minus(f"{known / 1000:.1f} s")
    return _minus(
        f"{known:.0f} ms"
        if abs(known) >= 100
        else f"{known:.1f} ms"
        if abs(known) >= 10
        else f"{known:.2f} ms"
    )


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
