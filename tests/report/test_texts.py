import re
from pathlib import Path
from string import Formatter

import pytest

import fangxin.report
from fangxin.report._texts import Texts, catalogue

KEYS = sorted(catalogue())


def fields(sentence):
    return sorted(name for _, name, _, _ in Formatter().parse(sentence) if name)


@pytest.mark.parametrize("key", KEYS)
def test_a_sentence_says_the_same_in_both_languages(key):
    english, chinese = catalogue()[key]
    assert english.strip()
    assert chinese.strip()
    assert fields(english) == fields(chinese)
    assert not re.search(r"[\u4e00-\u9fff]", english)


def test_every_sentence_that_the_code_names_exists():
    folder = Path(fangxin.report.__file__).parent
    named = set()
    for file in [*folder.glob("*.py"), *folder.glob("templates/*.html")]:
        named |= set(re.findall(r"\bt\(\"([a-z_]+\.[a-z_]+)\"", file.read_text("utf-8")))
    assert len(named) > 60
    assert named <= set(KEYS)


def test_lists_and_sentences_are_joined_as_each_language_does():
    assert Texts("en").join(["a", "b"]) == "a, b"
    assert Texts("zh").join(["甲", "乙"]) == "甲、乙"
    assert Texts("en").say("One.", "", "Two.") == "One. Two."
    assert Texts("zh").say("一。", "", "二。") == "一。二。"


def test_a_value_without_a_word_stays_itself():
    assert Texts("zh").word("status", "proved") == "已证明"
    assert Texts("zh").word("status", "something new") == "something new"
