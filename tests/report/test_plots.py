import re
import xml.etree.ElementTree as ElementTree
from importlib.resources import files

import pytest

from fangxin.report._plots import PALETTE, Candidate, Limit, Point, Row, ceiling, intervals, trade_off


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.tag == "text"]


def test_each_row_has_its_label_its_figures_and_a_dot_for_each_point():
    rows = [
        Row(
            "Privacy", "40.0% → 5.0%", (Point("baseline", 0.4, 0.3, 0.5), Point("repaired", 0.05, 0.01, 0.1))
        ),
        Row("仇恨", "20.0%", (Point("baseline", 0.2, 0.1, 0.3),)),
    ]
    svg = str(intervals(rows, limits=[Limit(0.1)]))
    assert {"Privacy", "40.0% → 5.0%", "仇恨", "20.0%", "0%", "100%"} <= set(texts(svg))
    root = ElementTree.fromstring(svg)
    symbols = [g for g in root.iter("g") if "mark-symbol" in g.get("class", "")]
    assert sum(len(list(g)) for g in symbols) == 3
    assert "stroke-dasharray" in svg


def test_a_dot_lies_where_its_value_is():
    svg = str(intervals([Row("a", "25%", (Point("repaired", 0.25, 0.2, 0.3),))]))
    symbol = re.search(r'mark-symbol[^>]*><path transform="translate\(([\d.]+),', svg)
    assert symbol
    assert float(symbol[1]) == pytest.approx(0.25 * 350)


def test_a_signed_axis_shows_its_signs_and_zero():
    svg = intervals(
        [Row("a", "", (Point("repaired", 0.01, -0.02, 0.04),))], domain=(-0.05, 0.05), signed=True
    )
    assert {"−5", "−2.5", "0", "+2.5", "+5"} <= set(texts(svg))


@pytest.mark.parametrize(
    "label", ["<script>alert(1)</script>", "]]></text><a href='x'>", '" onload="x', "{{ 7*7 }}"]
)
def test_a_label_is_only_ever_text(label):
    svg = str(intervals([Row(label, label, (Point("repaired", 0.5, 0.4, 0.6),))]))
    root = ElementTree.fromstring(svg)
    assert {element.tag for element in root.iter()} <= {"svg", "g", "path", "line", "rect", "text", "tspan"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or name in ("href", "style")}
    assert label in texts(svg)


def test_a_trade_off_numbers_its_candidates():
    candidates = [
        Candidate(i, i == 2, Point("repaired", 0.1 * i, 0.05, 0.4), Point("repaired", 0.05, 0.01, 0.1))
        for i in (1, 2, 3)
    ]
    svg = trade_off(candidates, x_title="Attack success", y_title="Over-refusal", limit=0.1)
    assert {"1", "2", "3", "Attack success", "Over-refusal"} <= set(texts(svg))


def test_the_ceiling_is_round_and_holds_everything():
    rows = [Row("", "", (Point("repaired", 0.05, 0.01, 0.12),))]
    assert ceiling(rows) == 0.2
    assert ceiling(rows, [Limit(0.33)]) == 0.4
    assert ceiling([Row("", "", (Point("repaired", 1, 0.9, 1.0),))]) == 1.0


def test_every_colour_of_the_plots_has_a_dark_counterpart():
    style = files("fangxin.report").joinpath("templates/style.css").read_text("utf-8")
    for colour in PALETTE:
        assert f'="{colour}"]' in style
    drawn = str(
        intervals(
            [
                Row(
                    "a",
                    "b",
                    tuple(Point(arm, 0.3, 0.2, 0.4) for arm in ("baseline", "default_shield", "repaired")),
                )
            ],
            limits=[Limit(0.2)],
        )
    )
    for what, colour in set(re.findall(r'(fill|stroke)="(#[0-9a-f]+)"', drawn)):
        assert f'[{what}="{colour}"]' in style
