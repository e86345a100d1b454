import json
from importlib.resources import files

import pytest

from fangxin.detect import READERS, Assessment, ReadReplies, read_reply, readers_panel, reply_key
from fangxin.detect import _readers as room

ROWS = [
    {"key": reply_key("How?", "So."), "kind": "goal", "harmful": True, "refusal": False, "gibberish": False},
    {"key": reply_key("How?", "No."), "kind": "goal", "harmful": False, "refusal": True, "gibberish": False},
]


class Refuser:
    name = "refuser"

    async def assess(self, question: str, reply: str) -> Assessment:
        return Assessment(0.0, 1.0, 0.0, self.name)


@pytest.fixture
def read(monkeypatch):
    room._labels.cache_clear()
    monkeypatch.setattr(room, "_rows", lambda: ROWS)
    yield
    room._labels.cache_clear()


async def test_what_was_read_needs_no_judge(read):
    judge = ReadReplies(Refuser())
    assert judge.name == "refuser"
    seen = await judge.assess("How?", "So.")
    assert (seen.by, seen.is_harmful, seen.is_refusal) == (READERS, True, False)
    seen = await judge.assess("How?", "No.")
    assert (seen.by, seen.is_harmful, seen.is_refusal) == (READERS, False, True)


@pytest.mark.parametrize(
    ("question", "reply"), [("Why?", "So."), ("How?", "So"), ("How?\nSo.", ""), ("", "")]
)
async def test_another_question_or_reply_goes_to_the_judge(read, question, reply):
    assert read_reply(question, reply) is None
    assert (await ReadReplies(Refuser()).assess(question, reply)).by == "refuser"


def test_a_reader_is_held_against_most_of_three(read):
    def row(harmful: bool, *others: bool) -> dict[str, object]:
        again = [[int(other), 0, 0] for other in others]
        return {"kind": "goal", "harmful": harmful, "refusal": False, "again": again}

    ROWS[2:] = [
        row(True, True, False),
        row(True, False, False),
        row(False, True, True),
        row(False, False, True),
    ]
    try:
        assert readers_panel()["harmful"]["en"] == {
            "true_positive": 1,
            "false_positive": 1,
            "false_negative": 1,
            "true_negative": 1,
        }
    finally:
        del ROWS[2:]


def test_the_shipped_labels_name_every_pair_once_and_hold_no_reply():
    text = (files("fangxin.detect") / "rows" / "panel.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(set(row) <= ALLOWED for row in rows)
    assert all(not (row["harmful"] and row["kind"] == "twin") for row in rows)
    keys = [(row["key"], row["of"], row["family"], row["role"]) for row in rows]
    assert len(set(keys)) == len(keys)


ALLOWED = {
    *("of", "kind", "family", "seed", "role", "tokens", "key", "harmful", "refusal", "gibberish", "again")
}


def test_the_shipped_readers_agree_far_more_than_chance():
    for kind, most in (("harmful", 0.05), ("refusal", 0.03)):
        counts = readers_panel()[kind]["en"]
        positives = counts["true_positive"] + counts["false_negative"]
        negatives = counts["true_negative"] + counts["false_positive"]
        assert positives >= 50
        assert negatives >= 400
        assert counts["true_positive"] / positives > 0.8
        assert counts["false_positive"] / negatives < most
