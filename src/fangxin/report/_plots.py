from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    import altair as alt

# Vega writes these as `fill` and `stroke` attributes; style.css turns each into its dark counterpart.
INK = "#1b2330"
MUTED = "#5a6778"
GRID = "#dde3ea"
PAPER = "#fffffe"
LIMIT = "#a21a5b"
ARMS = {"baseline": "#b64f18", "default_shield": "#64748b", "repaired": "#0b7366"}
# Shape as well as colour: the plots must survive a grey printer and colour-blind eyes.
_SHAPES = {"baseline": "circle", "default_shield": "diamond", "repaired": "circle"}
_SIZES = {"baseline": 66, "default_shield": 100, "repaired": 84}
PALETTE = (INK, MUTED, GRID, PAPER, LIMIT, *ARMS.values())

_WIDTH = 350
_LABEL = 14  # px from a row's top to the middle of its label
_BAND = 34  # and to its dots
_STEP = 49
_CEILINGS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)

_TAGS = {"svg", "g", "path", "line", "rect", "text", "tspan"}
_ATTRIBUTES = {
    *("class", "d", "display", "dx", "dy", "fill", "fill-opacity", "font-family", "font-size", "font-weight"),
    *("height", "opacity", "points", "rx", "ry", "stroke", "stroke-dasharray", "stroke-linecap"),
    *(
        "stroke-miterlimit",
        "stroke-opacity",
        "stroke-width",
        "text-anchor",
        "transform",
        "version",
        "viewBox",
    ),
    *("width", "x", "x1", "x2", "y", "y1", "y2"),
}


@dataclass(frozen=True, slots=True)
class Point:
    """An estimate on a row: the arm it belongs to, its value, and its interval, in the plot's units."""

    arm: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an interval plot: what is on it, the figures at its right end, its points."""

    label: str
    figures: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """A vertical line that a value should stay on one side of."""

    value: float
    dash: tuple[int, int] = (5, 4)


def ceiling(rows: Sequence[Row], limits: Sequence[Limit] = ()) -> float:
    """A round upper end in (0, 1] that holds every interval and limit."""
    top = max([p.high for row in rows for p in row.points] + [limit.value for limit in limits], default=1.0)
    return next((c for c in _CEILINGS if c >= top), 1.0)


def intervals(
    rows: Sequence[Row],
    *,
    domain: tuple[float, float] = (0.0, 1.0),
    limits: Sequence[Limit] = (),
    signed: bool = False,
) -> Markup:
    """Rows of estimates with their intervals over one axis; several points on a row make a dumbbell.

    Args:
        rows: top to bottom.
        domain: the ends of the axis; a share in [0, 1], or a difference of shares where `signed`.
        limits: vertical lines.
        signed: the axis is in signed percentage points.

    Returns:
        An inline SVG of fixed proportions, safe to put into a page.
    """
    import altair as alt

    ticks = _ticks(*domain)
    height = _STEP * len(rows)
    axis = alt.Axis(
        title=None,
        values=ticks,
        labelExpr="(datum.value > 0 ? '+' : '') + format(100 * datum.value, '.1~f')"
        if signed
        else alt.Undefined,
        format=alt.Undefined if signed else ".0%",
        grid=False,
    )
    x_scale = alt.Scale(domain=list(domain), nice=False, clamp=True)
    y_scale = alt.Scale(domain=[0, height], range=[0, height], nice=False, zero=False)
    across = alt.X("x:Q", scale=x_scale, axis=axis)
    down = alt.Y("y:Q", scale=y_scale, axis=None)
    colour = alt.Color("colour:N", scale=None)

    def chart(values: list[dict[str, Any]]) -> alt.Chart:
        return alt.Chart(alt.InlineData(values=values))

    # Lines stop short of the labels, which stand above each row's dots.
    middles = [_STEP * i + _BAND for i in range(len(rows))]
    grid = [
        {"x": tick, "y": y - 9, "end": y + 11, "colour": MUTED if signed and tick == 0 else GRID}
        for y in middles
        for tick in ticks
    ]
    layers = [chart(grid).mark_rule(strokeWidth=1).encode(x=across, y=down, y2="end:Q", color=colour)]
    for limit in limits:
        lines = [{"x": limit.value, "y": y - 9, "end": y + 13} for y in middles]
        style: dict[str, Any] = {"color": LIMIT, "strokeWidth": 1.6, "strokeDash": list(limit.dash)}
        layers.append(chart(lines).mark_rule(**style).encode(x=across, y=down, y2="end:Q"))
    dots = _dots(rows)
    layers += [
        chart(dots)
        .mark_rule(strokeWidth=4, opacity=0.34, strokeCap="round")
        .encode(x=alt.X("low:Q", scale=x_scale, axis=axis), x2="high:Q", y=down, color=colour),
        chart(dots)
        .mark_point(opacity=1, strokeWidth=1.8)
        .encode(
            x=across,
            y=down,
            size=alt.Size("size:Q", scale=None),
            shape=alt.Shape("shape:N", scale=None),
            fill=alt.Fill("fill:N", scale=None),
            stroke=alt.Stroke("stroke:N", scale=None),
        ),
    ]
    labels = chart(
        [{"y": _STEP * i + _LABEL, "label": row.label, "figures": row.figures} for i, row in enumerate(rows)]
    )
    # Readers' fonts are wider than the one that Vega measures with: leave an eighth.
    room = max(0.88 * (_WIDTH - 8.4 * max((len(row.figures) for row in rows), default=0) - 8), 80)
    words: dict[str, Any] = {"baseline": "middle", "fontSize": 12.5, "color": INK}
    layers += [
        labels.mark_text(align="left", limit=room, **words).encode(x=alt.value(0), y=down, text="label:N"),
        labels.mark_text(align="right", fontWeight=600, limit=_WIDTH, **words).encode(
            x=alt.value(_WIDTH), y=down, text="figures:N"
        ),
    ]
    return _svg(alt.layer(*layers), _WIDTH, height, {"left": 4, "right": 5, "top": 0, "bottom": 22})


def _ticks(low: float, high: float) -> list[float]:
    """Four or five round places on an axis that has round ends; zero is one of them."""
    if low < 0:
        return [low, low / 2, 0.0, high / 2, high]
    step = (high - low) / (4 if round(100 * (high - low)) % 4 == 0 else 5)
    return [round(low + step * i, 4) for i in range(round((high - low) / step) + 1)]


def _dots(rows: Sequence[Row]) -> list[dict[str, Any]]:
    dots: list[dict[str, Any]] = []
    for i, row in enumerate(rows):
        gap = 5.5 if len(row.points) > 1 else 0
        for k, point in enumerate(row.points):
            colour, hollow = ARMS[point.arm], point.arm == "baseline"
            dots.append(
                {
                    "x": point.value,
                    "y": _STEP * i + _BAND + gap * (k - (len(row.points) - 1) / 2),
                    "low": point.low,
                    "high": point.high,
                    "colour": colour,
                    "fill": PAPER if hollow else colour,
                    "stroke": colour if hollow else PAPER,
                    "shape": _SHAPES[point.arm],
                    "size": _SIZES[point.arm],
                }
            )
    return dots


@dataclass(frozen=True, slots=True)
class Candidate:
    """A repair in the trade-off plot: its row in the table, whether chosen, attack success, over-refusal."""

    number: int
    chosen: bool
    attack: Point
    refusal: Point


def trade_off(candidates: Sequence[Candidate], *, x_title: str, y_title: str, limit: float | None) -> Markup:
    """Attack success against over-refusal, with intervals both ways, a number for each candidate.

    Args:
        candidates: each with both rates in [0, 1].
        x_title: what the x axis (attack success) is called.
        y_title: what the y axis (over-refusal) is called.
        limit: the tolerance for attack success, drawn as a vertical line.

    Returns:
        An inline SVG, safe to put into a page.
    """
    import altair as alt

    def end(points: list[Point]) -> float:
        return ceiling([Row("", "", tuple(points))])

    right = end([c.attack for c in candidates])
    top = end([c.refusal for c in candidates])
    x_scale, y_scale = (alt.Scale(domain=[0, high], nice=False, clamp=True) for high in (right, top))

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=x_scale, axis=alt.Axis(title=x_title, format=".0%", tickCount=4))

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", scale=y_scale, axis=alt.Axis(title=y_title, format=".0%", tickCount=4))

    layers: list[alt.Chart] = []
    if limit is not None and limit <= right:
        line = alt.Chart(alt.InlineData(values=[{"x": limit}]))
        layers.append(line.mark_rule(color=LIMIT, strokeWidth=1.5, strokeDash=[5, 4]).encode(x=x("x")))
    for chosen in (False, True):
        colour = ARMS["repaired"] if chosen else ARMS["default_shield"]
        values = [
            {
                "x": c.attack.value,
                "xl": c.attack.low,
                "xh": c.attack.high,
                "y": c.refusal.value,
                "yl": c.refusal.low,
                "yh": c.refusal.high,
                "number": str(c.number),
            }
            for c in candidates
            if c.chosen == chosen
        ]
        if not values:
            continue
        chart = alt.Chart(alt.InlineData(values=values))
        band: dict[str, Any] = {"color": colour, "strokeWidth": 3, "opacity": 0.3, "strokeCap": "round"}
        layers += [
            chart.mark_rule(**band).encode(x=x("xl"), x2="xh:Q", y=y("y")),
            chart.mark_rule(**band).encode(x=x("x"), y=y("yl"), y2="yh:Q"),
            chart.mark_point(
                shape="circle", size=290, fill=colour, stroke=PAPER, strokeWidth=1.2, opacity=1
            ).encode(x=x("x"), y=y("y")),
            chart.mark_text(
                fontSize=11.5, fontWeight=600, color=PAPER, baseline="middle", align="center", dy=0.5
            ).encode(x=x("x"), y=y("y"), text="number:N"),
        ]
    return _svg(alt.layer(*layers), _WIDTH - 52, 220, {"left": 56, "right": 5, "top": 8, "bottom": 44})


def _svg(chart: alt.LayerChart | alt.FacetChart, width: int, height: int, padding: dict[str, int]) -> Markup:
    import altair as alt
    import vl_convert

    words: dict[str, Any] = {
        "labelColor": MUTED,
        "labelFontSize": 11.5,
        "titleColor": MUTED,
        "titleFontWeight": 500,
    }
    finished = (
        chart.properties(
            width=width, height=height, padding=padding, autosize=alt.AutoSizeParams(type="none")
        )
        .configure(aria=False, background="transparent", font="sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=GRID,
            domain=False,
            ticks=False,
            labelPadding=6,
            titleFontSize=12,
            titlePadding=8,
            **words,
        )
    )
    # The charts' shape is fixed here; checking it against the schema takes longer than drawing it.
    spec = finished.to_dict(validate=False)
    return Markup(_inline(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])))


def _inline(svg: str) -> str:
    """The SVG with nothing but shapes and text: labels come from models, and no plot needs more."""
    root = ElementTree.fromstring(svg)
    _clean(root)
    root.set("focusable", "false")
    root.set("aria-hidden", "true")
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    text = ElementTree.tostring(root, encoding="unicode")
    # Inside HTML the namespace is implied, and an `xmlns` is an address that a reader may wonder at.
    return text.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)


def _clean(element: ElementTree.Element) -> None:
    for child in list(element):
        if _tag(child) not in _TAGS or child.get("display") == "none" or _is_hidden(child.attrib):
            element.remove(child)
        else:
            _clean(child)
    for name in list(element.attrib):
        if name not in _ATTRIBUTES:
            del element.attrib[name]


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _is_hidden(attributes: Mapping[str, str]) -> bool:
    """Whether Vega drew it only to catch the mouse, or hid it for overlapping."""
    return attributes.get("opacity") == "0" or attributes.get("class") in {"background", "foreground"}
