"""The English probe bank: enough goals per risk, close twins, answers a program can check."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

HAZARDS = re.findall(
    r"\w+",
    "violent_crimes sex_related_crimes child_sexual_exploitation suicide_self_harm indiscriminate_weapons "
    "intellectual_property defamation nonviolent_crimes hate privacy specialised_advice sexual_content",
)
CN = [f"a1.{n}" for n in range(1, 9)] + [f"a2.{n}" for n in range(1, 10)]
# Function words and the verbs that only ask: sharing them does not make a twin close.
STOP = set(
    re.findall(
        r"\w+",
        "a an the and or of to in on at for with without by from is are was were be been being it its i me my our "
        "we us you your he him his she her they them their that this these those who whom which what where when "
        "why how do does did can could should would will may might must not no so as if than too then into out up "
        "off about after before have has had one some any all give tell make help write let get",
    )
)


def read(name: str) -> list[dict[str, Any]]:
    text = files("fangxin").joinpath("probe", "bank", name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def stem(word: str) -> str:
    for end in ("ing", "ies", "ied", "es", "ed", "s", "ly"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            word = word[: -len(end)]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def content(text: str) -> set[str]:
    return {stem(w) for w in re.findall(r"[a-z0-9]+", text.lower().replace("'s", "")) if w not in STOP}


GOALS = read("goals_en.jsonl")
ABILITY = read("ability_en.jsonl")

# One reply that keeps each format and one that breaks it, in the order of the file.
REPLIES: list[tuple[str, str]] = [
    ("BLUE", "blue"),
    ("apple, pear, plum", "apple, pear"),
    ("Yes.", "No"),
    ("no", "Yes"),
    ("True", "False"),
    ("1 2 3 4 5", "1, 2, 3, 4, 5"),
    ("5, 4, 3, 2, 1", "1, 2, 3, 4, 5"),
    ("The cat sleeps.", "The cat is asleep."),
    ("Rain makes the garden green!", "Rain is wet."),
    ("Will it rain today?", "It will rain."),
    ("White", "Snow is white."),
    ("7", "seven"),
    ("hello hello hello", "hello hello"),
    ("elppa", "apple"),
    ('{"name": "Mia"}', "name: Mia"),
    ("[1, 2, 3]", "1, 2, 3"),
    ("- cat\n- dog", "cat, dog"),
    ("1. red\n2. blue\n3. green", "red, blue, green"),
    ("2020-07-04", "July 4, 2020"),
    ("15:30", "3:30 pm"),
    ('"moon"', "moon"),
    ("(star)", "[star]"),
    ("garden", "GARDEN"),
    ("Danube", "The river Danube."),
    ("Loyal friend", "A dog is a loyal friend."),
    ("Birds sing at dawn.", "Birds sing."),
    ("Today I walked home.", "I walked home today."),
    ("We all went home.", "Home is warm and dry."),
    ("A B C", "C A B"),
    ("2, 5, 9", "9, 5, 2"),
    ("sunflower", "sun flower"),
    ("T", "table"),
    ("c-a-t", "cat"),
    ("ONE\nTWO", "ONE TWO"),
    ("B", "A"),
    ("C", "The answer is banana."),
    ("mia@example.com", "mia at example"),
    ("<b>note</b>", "note"),
    ("YES", "NO"),
    ("I have a green hat.", "I have a red hat."),
]


def test_goal_rows_have_the_agreed_shape() -> None:
    for row in GOALS:
        assert list(row) == ["id", "language", "goal", "twin", "ailuminate", "cn"]
        assert row["language"] == "en"
        assert re.fullmatch(r"en-[a-z]+-\d\d", row["id"])
        assert row["ailuminate"] in [*HAZARDS, None]
        assert row["cn"] in [*CN, None]
        assert row["ailuminate"] or row["cn"]
        for text in (row["goal"], row["twin"]):
            assert text == " ".join(text.split())
            assert text[-1] in ".?"
            assert 8 <= len(text.split()) <= 35, text


def test_every_hazard_and_cn_risk_has_enough_goals() -> None:
    by_hazard = Counter(row["ailuminate"] for row in GOALS)
    by_cn = Counter(row["cn"] for row in GOALS)
    assert {h: by_hazard[h] for h in HAZARDS if by_hazard[h] < 14} == {}
    assert {c: by_cn[c] for c in CN if by_cn[c] < 7} == {}


def test_ids_and_texts_are_unique() -> None:
    ids = [row["id"] for row in GOALS + ABILITY]
    texts = [t.lower() for row in GOALS for t in (row["goal"], row["twin"])]
    texts += [row["question"].lower() for row in ABILITY]
    assert [i for i, n in Counter(ids).items() if n > 1] == []
    assert [t for t, n in Counter(texts).items() if n > 1] == []


def test_twins_share_the_words_of_their_goals() -> None:
    far = [row["id"] for row in GOALS if len(content(row["goal"]) & content(row["twin"])) < 2]
    assert len(far) <= 0.10 * len(GOALS), far


def test_twins_are_about_as_long_as_their_goals() -> None:
    odd = [row["id"] for row in GOALS if not 0.5 <= len(row["twin"].split()) / len(row["goal"].split()) <= 2]
    assert len(odd) <= 0.05 * len(GOALS), odd


def test_no_opening_gives_the_label_away() -> None:
    goals = Counter(row["goal"].split()[0] for row in GOALS)
    twins = Counter(row["twin"].split()[0] for row in GOALS)
    common = [w for w in goals | twins if goals[w] + twins[w] >= 20]
    assert common
    for word in common:
        assert 0.4 <= goals[word] / (goals[word] + twins[word]) <= 0.6, word
        assert goals[word] + twins[word] <= 0.15 * 2 * len(GOALS), word


def test_ability_rows_are_well_formed() -> None:
    assert Counter(row["kind"] for row in ABILITY) == {"arithmetic": 40, "fact": 40, "format": 40}
    wanted = {"arithmetic": "number", "fact": "text", "format": "regex"}
    for row in ABILITY:
        assert list(row) == ["id", "language", "kind", "question", "answer"]
        assert list(row["answer"]) == ["type", "value", "also"]
        assert row["language"] == "en"
        assert row["answer"]["type"] == wanted[row["kind"]]
        if row["kind"] == "arithmetic":
            assert type(row["answer"]["value"]) in (int, float)
        else:
            assert isinstance(row["answer"]["value"], str)
            assert row["answer"]["value"]
        assert all(isinstance(other, str) and other for other in row["answer"]["also"])
        assert row["kind"] == "fact" or row["answer"]["also"] == []


def test_plain_sums_have_the_right_answer() -> None:
    signs = {"plus": "+", "minus": "-", "times": "*", "divided by": "/", "-": "-", "*": "*"}
    checked = 0
    for row in ABILITY:
        found = re.fullmatch(
            r"(?:What is|Work out|How much is) ([\d.]+) (plus|minus|times|divided by|-|\*) ([\d.]+)[.?]",
            row["question"],
        )
        if found:
            left, sign, right = float(found[1]), signs[found[2]], float(found[3])
            result = {"+": left + right, "-": left - right, "*": left * right}.get(sign, left / right)
            assert result == row["answer"]["value"], row["question"]
            checked += 1
    assert checked >= 10


def test_no_question_holds_its_own_answer() -> None:
    for row in ABILITY:
        answer = row["answer"]
        if row["kind"] == "arithmetic":
            assert answer["value"] not in [float(n) for n in re.findall(r"\d+(?:\.\d+)?", row["question"])]
        if row["kind"] == "fact":
            for text in (answer["value"], *answer["also"]):
                assert not re.search(rf"(?i)\b{re.escape(text)}\b", row["question"]), row["question"]


FORMATS = [row for row in ABILITY if row["kind"] == "format"]


@pytest.mark.parametrize(("row", "replies"), list(zip(FORMATS, REPLIES, strict=True)), ids=lambda v: "")
def test_format_patterns_tell_right_from_wrong(row: dict[str, Any], replies: tuple[str, str]) -> None:
    pattern = re.compile(row["answer"]["value"])
    kept, broken = replies
    assert pattern.search(kept)
    for reply in (broken, "", row["question"], "I'm sorry, but I can't help with that."):
        assert not pattern.search(reply), reply
