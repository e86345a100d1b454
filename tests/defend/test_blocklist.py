from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fangxin.defend import Block, Blocklist, DefenceError, Shield
from fangxin.detect import TermDetector
from fangxin.dialogue import Dialogue

EN = Dialogue().say("hello there")
ZH = Dialogue().say("你好")
TERMS = ("ass", "ass hat", "kill yourself", "shit", "去死", "死", "naïve", "fi", "?!", "4chan")
LIST = Blocklist(TERMS)
SOUND = Blocklist(TermDetector((*TERMS, "法轮功"), homophones=True))


def clean(words: Blocklist, text: str, dialogue: Dialogue = EN, *, final: bool = True) -> str:
    outcome = asyncio.run(words.after(dialogue, text, final=final))
    assert not isinstance(outcome, Block)
    return outcome


def anew(dialogue: Dialogue) -> Dialogue:
    """An equal dialogue that no blocklist has met."""
    return replace(dialogue)


# Texts that are mostly made of the terms, their pieces, and what may hide them.
pieces = st.one_of(
    st.sampled_from(TERMS),
    st.sampled_from("as去好é$1*法轮ıﬁ! \n\u200b"),
    st.sampled_from(["ss", "kill", "your", "self", "Ａｓｓ", "KILL", "hat", "gong", "s h "]),
)
texts = st.lists(st.one_of(pieces, st.text(max_size=3)), max_size=12).map("".join)


@given(texts)
@settings(deadline=None)
def test_nothing_of_the_list_is_left(text: str) -> None:
    once = clean(LIST, text)
    assert LIST.terms.find(once) == ()
    assert clean(LIST, once) == once


@given(texts, st.sampled_from([LIST, SOUND]))
@example("kill yourself", LIST)
@example("an ass hat", LIST)
@example("s h i t s", LIST)
@example("ﬁ ass", LIST)
@settings(deadline=None)
def test_prefixes_give_prefixes(text: str, words: Blocklist) -> None:
    whole = clean(words, text, anew(EN))
    shown = ""
    stream = anew(EN)
    for end in range(len(text) + 1):
        more = clean(words, text[:end], stream, final=False)
        assert more.startswith(shown)
        assert whole.startswith(more)
        assert more.startswith(clean(words, text[:end], anew(EN), final=False))
        shown = more
    assert clean(words, text, stream) == whole
    assert clean(words, text, stream) == whole  # nothing is remembered of a reply that has ended


@given(
    text=st.text(alphabet=list("kil myouase去死.。 "), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_however_it_comes_in_pieces(text: str, cuts: list[int]) -> None:
    async def streamed() -> str:
        reply, places = LIST.stream(EN), sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
        pieces = [await reply.feed(text[a:b]) for a, b in pairwise(places)]
        return "".join(map(str, [*pieces, await reply.close()]))

    assert asyncio.run(streamed()) == clean(LIST, text, EN)


def test_only_what_may_become_a_term_is_held_back() -> None:
    assert clean(LIST, "Hello. I kill ", anew(EN), final=False) == "Hello. I "
    assert clean(LIST, "Hello. I kill t", anew(EN), final=False) == "Hello. I kill t"
    assert clean(LIST, "你去", anew(EN), final=False) == "你"


def test_a_text_that_does_not_go_on_from_the_last_is_read_from_its_beginning() -> None:
    stream = anew(EN)
    assert clean(LIST, "One ass and two", stream, final=False) == "One [removed] and two"
    assert clean(LIST, "Another ass and two", stream, final=False) == "Another [removed] and two"
    assert clean(LIST, "", stream, final=False) == ""
    assert clean(LIST, "ass", stream) == "[removed]"


def test_many_replies_may_be_under_way_at_once() -> None:
    words = Blocklist(TERMS)
    streams = [Dialogue().say(f"question {i}") for i in range(600)]
    for end in (3, 7, 12):
        for i, stream in enumerate(streams):
            assert clean(words, f"{i:03d} kill me ass"[: end + 4], stream, final=False).startswith(
                f"{i:03d} "
            )
    for i, stream in enumerate(streams):
        assert clean(words, f"{i:03d} kill me ass", stream) == f"{i:03d} kill me [removed]"


def test_the_work_on_a_stream_grows_with_its_length() -> None:
    text = "an ordinary sentence, and a killing 一句普通的回答，没有什么。" * 800

    def spent(n: int) -> float:
        stream = anew(EN)
        start = time.process_time()

        async def run() -> None:
            reply = LIST.stream(stream)
            for at in range(0, n, 20):
                await reply.feed(text[at : at + 20])
            await reply.close()

        asyncio.run(run())
        return time.process_time() - start

    spent(1000)
    short, long = min(spent(4000) for _ in range(3)), min(spent(32_000) for _ in range(2))
    assert long < 16 * short  # read anew each time it would be 64


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Kill Yourself!", "[removed]!"),
        ("k\u200bi\u2060ll your\u00adself", "[removed]"),
        ("an ass", "an [removed]"),
        ("you ass hat you", "you [removed] you"),
        ("ass hats", "[removed] hats"),
        ("what?!no", "what[removed]no"),
        ("ass的ass", "[removed]的[removed]"),
        ("你去*死吧", "你[removed]吧"),
        ("class assess compass 4chans sh!ts", "class assess compass 4chans sh!ts"),
    ],
)
def test_terms_are_replaced(text: str, shown: str) -> None:
    assert clean(LIST, text) == shown


def test_the_mark_is_in_the_language_of_the_question() -> None:
    assert clean(LIST, "你去死吧", ZH) == "你［已略去］吧"
    assert clean(LIST, "you ass", ZH) == "you ［已略去］"


async def test_questions_pass_untouched() -> None:
    dialogue = Dialogue().say("What does 'kill yourself' mean?")
    assert await LIST.before(dialogue) is dialogue


def test_an_empty_list_does_nothing() -> None:
    for words in (Blocklist(()), Blocklist(("", " ", "\u200b"))):
        assert clean(words, "anything at all") == "anything at all"
        assert clean(words, "anything at all", final=False) == "anything at all"


def test_the_shipped_list_is_short_abusive_and_in_both_languages() -> None:
    words = Blocklist.default()
    assert set(words.terms.terms) == {"suicide_self_harm", "insult"}
    assert clean(words, "You deserve to die. 你就是个废物。") == "[removed]. [removed]。"
    harmless = "How do I kill a process? The battery will die. 电池快死了。杀死进程。这个问题该死的难？"
    assert clean(words, harmless) == harmless


def test_a_reply_is_read_with_one_list_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("apple", "utf-8")
    words = Blocklist(TermDetector.from_files(path))
    reply = words.stream(EN)
    assert asyncio.run(reply.feed("A pear, ")) == "A pear, "
    path.write_text("pear", "utf-8")
    words.terms.refresh()
    rest = [asyncio.run(reply.feed("an apple")), asyncio.run(reply.close())]
    assert "".join(map(str, rest)) == "an [removed]"
    assert clean(words, "A pear, an apple", anew(EN)) == "A [removed], an apple"


# In a bundle


@pytest.mark.parametrize(
    "words",
    [
        Blocklist.default(),
        LIST,
        SOUND,
        Blocklist(TermDetector({"one": ("a",), "二": ("b", "# c")}, themes=("二",))),
        Blocklist(()),
        Blocklist(tuple(f"term {i}" for i in range(2000))),
    ],
    ids=["default", "list", "sound", "themes", "empty", "long"],
)
def test_what_is_saved_is_loaded(tmp_path: Path, words: Blocklist) -> None:
    Shield((words, LIST)).save(tmp_path)
    assert Shield.load(tmp_path) == Shield((words, LIST))
    settings = json.loads((tmp_path / "shield.json").read_text("utf-8"))["layers"][0]
    assert ("weights" in settings) == (len(words.terms.terms.get("listed", ())) == 2000)


def test_a_long_list_has_a_file_of_its_own_that_is_hashed(tmp_path: Path) -> None:
    long = Blocklist(tuple(f"term {i}" for i in range(2000)))
    other = Blocklist(tuple(f"word {i}" for i in range(2000)))
    Shield((long, other)).save(tmp_path)
    files = sorted(tmp_path.glob("blocklist-*.json"))
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes().replace(b"1", b"2"))
    with pytest.raises(DefenceError, match="is missing or changed"):
        Shield.load(tmp_path)


def test_a_list_in_files_is_saved_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "terms.txt"
    path.write_text("apple", "utf-8")
    words = Blocklist(TermDetector.from_files(path))
    Shield((words,)).save(tmp_path / "bundle")
    path.write_text("pear", "utf-8")
    [layer] = Shield.load(tmp_path / "bundle").layers
    assert layer == Blocklist(("apple",))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "terms must be a list of texts"),
        ({"terms": "abc"}, "terms must be a list of texts"),
        ({"terms": [1]}, "terms must be a list of texts"),
        ({"terms": {"a": "b"}}, "terms must be a list of texts"),
        ({"terms": ["a"], "themes": "a"}, "themes must be a list of texts"),
        ({"terms": ["a"], "themes": ["b"]}, "No term has the theme 'b'"),
        ({"terms": ["a"], "homophones": 1}, "homophones true or false"),
        ({"weights": "../x"}, "weights must be a file name"),
        ({"weights": "x.json"}, "can't be read"),
    ],
)
def test_settings_that_are_wrong_are_an_error(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(DefenceError, match=words):
        Blocklist.load(settings, tmp_path)


def test_a_plain_list_of_terms_is_a_setting_too(tmp_path: Path) -> None:
    assert Blocklist.load({"terms": ["a", "b"]}, tmp_path) == Blocklist(("a", "b"))
