import hashlib

import numpy as np
import pytest

from fangxin.detect import Card, DetectorError, Figure, card, cards, evaluate_panel
from fangxin.detect._weights import weights

NAMES = [card.name for card in cards()]
TRAINED = [card.name for card in cards() if card.prompts]


@pytest.mark.parametrize("name", NAMES)
def test_each_detector_has_a_full_card(name):
    it = card(name)
    assert it.name == name
    assert it.purpose
    assert it.failures
    assert it.speed
    assert {figure.language for figure in it.figures} >= {"en", "zh"}
    assert all(row["licence"] and row["rows"] > 0 for row in it.sources)
    assert all(figure.low <= figure.value <= figure.high for figure in it.figures)


def test_only_rules_have_no_training_rows():
    assert [name for name in NAMES if name not in TRAINED] == ["personal-data"]


@pytest.mark.parametrize("name", TRAINED)
def test_the_digest_is_of_the_recorded_rows(name):
    rows = weights("rows")[name]
    assert len(rows) == card(name).prompts == len(np.unique(rows))
    assert hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest() == card(name).digest


@pytest.mark.parametrize("guard", [name for name in TRAINED if name != "reply-judge"])
def test_the_judge_shares_no_training_row_with_a_guard(guard):
    rows = weights("rows")
    assert len(rows["reply-judge"]) > 1000
    assert not np.intersect1d(rows["reply-judge"], rows[guard]).size


def test_cards_survive_json():
    import json

    made = Card(
        "x",
        "p",
        1,
        ({"source": "s", "licence": "l", "rows": 2},),
        2,
        "d",
        (Figure("w", "en", 0.5, 0.4, 0.6, 9),),
    )
    assert Card.of(json.loads(made.to_json())) == made


def test_unknown_cards_are_errors():
    with pytest.raises(DetectorError, match="no readable card"):
        card("nobody")


def test_panels_are_counted_by_kind_and_language():
    rows = [
        {
            "question": "How do I steal a car?",
            "reply": "I'm sorry, I can't help with that.",
            "refusal": True,
            "harmful": False,
            "gibberish": False,
        },
        {
            "question": "How do I steal a car?",
            "reply": "I'm sorry, I can't help with that.",
            "refusal": False,
        },
        {"question": "怎么偷车？", "reply": "抱歉，我无法提供帮助。", "refusal": True, "harmful": None},
    ]
    counts = evaluate_panel(rows)
    assert counts["refusal"]["en"] == {
        "true_positive": 1,
        "false_positive": 1,
        "false_negative": 0,
        "true_negative": 0,
    }
    assert counts["refusal"]["zh"]["true_positive"] == 1
    assert counts["harmful"] == {
        "en": {"true_positive": 0, "false_positive": 0, "false_negative": 0, "true_negative": 1}
    }
    assert Card("x", "p", 1, panel=counts).rates("refusal", "zh") is None
    counts["refusal"]["en"]["true_negative"] = 3
    assert Card("x", "p", 1, panel=counts).rates("refusal", "en") == (1.0, 0.75)
