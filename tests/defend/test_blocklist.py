from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fangxin.defend import Block, Blocklist
from fangxin.dialogue import Dialogue

EN = Dialogue().say("hello there")
ZH = Dialogue().say("你好")
LIST = Blocklist(("ass", "ass hat", "kill yourself", "去死", "死", "naïve", "fi", "?!", "4chan"))


def clean(words: Blocklist, text: str, dialogue: Dialogue = EN, *, final: bool = True) -> str:
    outcome = asyncio.run(words.after(dialogue, text, final=final))
    assert not isinstance(outcome, Block)
    return outcome


# Texts that are mostly made of the terms, their pieces, and what may hide them.
pieces = st.sampled_from(
    [
        *LIST.terms,
        "a",
        "s",
        "ss",
        "kill",
        "your",
        "self",
        "去",
        " ",
        "\n",
        "\u200b",
        "Ａｓｓ",
        "ﬁ",
        "KILL",
        "ı",
        "!",
        "好",
        "é",
        "hat",
    ]
)
texts = st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=12).map("".join)


@given(texts)
@example("ﬁ")
def test_spans_are_in_the_text_in_order_and_hold_terms(text: str) -> None:
    spans = LIST.spans(text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    folded_terms = [normalised(term)[0] for term in LIST.terms]
    for start, end in spans:
        found = normalised(text[start:end])[0]
        assert any(term in found for term in folded_terms)


@given(texts)
def test_nothing_of_the_list_is_left(text: str) -> None:
    once = clean(LIST, text)
    assert LIST.spans(once) == []
    assert clean(LIST, once) == once


@given(st.text(max_size=10), st.sampled_from(LIST.terms), st.text(max_size=10))
def test_a_term_that_stands_alone_is_always_found(before: str, term: str, after: str) -> None:
    at = len(before) + 1
    spans = LIST.spans(f"{before} {term} {after}")
    assert any(start <= at and at + len(term) <= end for start, end in spans)


@given(texts)
@example("kill yourself")
@example("an ass hat")
@example("ﬁ ass")
def test_prefixes_give_prefixes(text: str) -> None:
    whole = clean(LIST, text)
    shown = ""
    for end in range(len(text) + 1):
        more = clean(LIST, text[:end], final=False)
        assert more.startswith(shown)
        assert whole.startswith(more)
        shown = more


def test_only_what_may_become_a_term_is_held_back() -> None:
    assert clean(LIST, "Hello. I kill ", final=False) == "Hello. I "
    assert clean(LIST, "Hello. I kill t", final=False) == "Hello. I kill t"
    assert clean(LIST, "你去", final=False) == "你"


@pytest.mark.parametrize(
    "text",
    [
        "class assess compass",
        "Scunthorpe",  # in full on a list of its own below
        "skill yourselves",
        "assé",
        "4chans",
        "a fine firm",
        "naive",
    ],
)
def test_a_term_inside_a_word_is_left_alone(text: str) -> None:
    assert clean(LIST, text) == text


def test_scunthorpe() -> None:
    words = Blocklist(("cunt", "penis", "sex"))
    text = "Scunthorpe, Penistone and Essex are places; sex is a word."
    assert clean(words, text) == "Scunthorpe, Penistone and Essex are places; [removed] is a word."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Kill Yourself!", "[removed]!"),
        ("ＫＩＬＬ　ｙｏｕｒｓｅｌｆ", "[removed]"),
        ("k\u200bi\u2060ll your\u00adself", "[removed]"),
        ("kill\n  yourself", "[removed]"),
        ("k\ufe0fill yourself", "[removed]"),
        ("an ass", "an [removed]"),
        ("you ass hat you", "you [removed] you"),
        ("ass hats", "[removed] hats"),  # the longer term is no word here, the shorter is
        ("nai\u0308ve NAÏVE", "[removed] [removed]"),
        ("what?!no", "what[removed]no"),
        ("ﬁ", "[removed]"),
        ("ass的ass", "[removed]的[removed]"),
        ("你去死吧", "你[removed]吧"),
    ],
)
def test_disguises_are_seen_through(text: str, shown: str) -> None:
    assert clean(LIST, text) == shown


def test_the_mark_is_in_the_language_of_the_question() -> None:
    assert clean(LIST, "你去死吧", ZH) == "你［已略去］吧"
    assert clean(LIST, "you ass", ZH) == "you ［已略去］"


def test_two_terms_in_one_character_are_one_span() -> None:
    words = Blocklist(("千", "克"))
    assert words.spans("千克") == [(0, 1), (1, 2)]
    words = Blocklist(("ア", "パ"))
    assert words.spans("㌀") == [(0, 1)]  # a square of four letters


def test_an_empty_list_does_nothing() -> None:
    for words in (Blocklist(()), Blocklist(("", " ", "\u200b"))):
        assert words.spans("anything at all") == []
        assert clean(words, "anything at all", final=False) == "anything at all"


async def test_questions_pass_untouched() -> None:
    dialogue = Dialogue().say("What does 'kill yourself' mean?")
    assert await LIST.before(dialogue) is dialogue


def test_the_shipped_list_is_short_abusive_and_in_both_languages() -> None:
    words = Blocklist.default()
    assert clean(words, "You deserve to die. 你就是个废物。") == "[removed]. [removed]。"
    harmless = "How do I kill a process? The battery will die. 电池快死了。杀死进程。这个问题该死的难？"
    assert clean(words, harmless) == harmless


def test_a_large_list_and_a_long_text_are_quick() -> None:
    words = Blocklist(tuple(f"term{i} bad" for i in range(20_000)))
    text = "an ordinary sentence of an ordinary reply. " * 100 + "term777 bad"
    start = time.process_time()
    for _ in range(20):
        assert clean(words, text).endswith("[removed]")
    assert time.process_time() - start < 1.0  # 4,300 characters; about 1 ms each on a free core
