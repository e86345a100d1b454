from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.detect._letters import (
    LETTER,
    SCRIPT,
    SIGN,
    SPACE,
    STOP,
    Letters,
    Parts,
    Spelt,
    leet,
    leet_ends,
    literal,
    parts_of,
    syllables,
)

# Characters that fold into none, one or several parts, beside ordinary ones.
odd = st.sampled_from("ﬁ㎏½ＡｂÉé\u0301İßſ\u200b\u00ad\ufe0f\u3164 \t\n\u3000你，［가…法輪ѕ①🇫🖕'!$1@")
texts = st.text(st.one_of(odd, st.characters()), max_size=40)


def same(one: Parts, other: Parts) -> bool:
    pairs = ((one.codes, other.codes), (one.kinds, other.kinds), (one.origin, other.origin))
    return all(np.array_equal(a, b) for a, b in pairs)


@given(texts)
@settings(deadline=None)
def test_parts_come_from_somewhere_in_order(text: str) -> None:
    parts = parts_of(text)
    assert len(parts.codes) == len(parts.kinds) == len(parts.origin)
    assert parts.origin.tolist() == sorted(parts.origin.tolist())
    assert all(SPACE <= kind <= SCRIPT for kind in parts.kinds.tolist())
    for code, i in zip(parts.codes.tolist(), parts.origin.tolist(), strict=True):
        assert code in parts_of(text[i]).codes.tolist()


@given(texts, st.integers(0, 40))
@settings(deadline=None)
def test_a_prefix_folds_to_a_prefix(text: str, end: int) -> None:
    whole, part = parts_of(text), parts_of(text[:end])
    n = len(part.codes)
    assert same(part, Parts(whole.codes[:n], whole.kinds[:n], whole.origin[:n]))


@given(texts)
@settings(deadline=None)
def test_folding_twice_is_folding_once(text: str) -> None:
    once = parts_of(text).text
    assert parts_of(once).text == once


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("ＫＩＬＬ Ｙｏｕ", "killyou"),
        ("k\u200bi\u00adl\ufe0fl", "kill"),
        ("k\x00i\x08ll\ud800", "kill"),
        ("f\u0336u\u0336c\u20ddk", "fuck"),
        ("naïve NAI\u0308VE", "naivenaive"),
        ("Straße ﬁn ㎏", "strassefinkg"),
        ("ѕhіt ΝΑΖΙ ꮯϲС", "shitnaziccc"),
        ("ᴀʙᴄ ɐɔ ⓕⓤ🅒🄚 🇫 ⒜ ℍ𝓮", "abcacfuckfahe"),
        ("發輪 說說 臺灣 后後", "发轮说说台湾后后"),
        ("⻅ 行 カ", "见行力"),
        ("a_b-c.d'e", "abcde"),
        ("", ""),
        (" \u200b!", ""),
    ],
)
def test_what_is_read_of_a_text(text: str, letters: str) -> None:
    assert Letters(parts_of(text)).text == letters


@pytest.mark.parametrize(
    ("characters", "kind"),
    [
        (" \t\u3000\xa0", SPACE),
        ("\n\r\u2028,;:!?，。、！？…—“”「」()（）", STOP),
        ("*-_.~|/#·•^&%=❤🖕\ue000", SIGN),
        ("aß1éдα가ع", LETTER),
        ("你カㄅ①²ไ🇫™", SCRIPT),
    ],
)
def test_kinds(characters: str, kind: int) -> None:
    for character in characters:
        assert set(parts_of(character).kinds.tolist()) == {kind}, character


@pytest.mark.parametrize(
    ("text", "begins", "ends"),
    [
        ("ab c", "101", "011"),
        ("a法b", "111", "111"),
        ("法轮", "11", "11"),
        ("a\u200bb", "10", "01"),
        ("a-b", "11", "11"),
        ("fuck²", "10001", "00011"),
        ("", "", ""),
    ],
)
def test_terms_begin_and_end_at_the_edges_of_words(text: str, begins: str, ends: str) -> None:
    edges = Letters(parts_of(text)).edges()
    assert ["".join(map(str, edge)) for edge in edges] == [begins, ends]


@pytest.mark.parametrize(
    ("text", "letters", "put"),
    [
        ("sh!t sh!!t", "sh!tsh!!t", "!!!"),
        ("@ss $hit !diot", "@ss$hitdiot", "@$"),
        ("a$$! shit!", "a$$shit", "$$"),
        ("b1tch 455hole", "b1tch455hole", "1455"),
        ("1999 $5 3.14 !!", "19995314", ""),
        ("C++ x+y", "cx+y", "+"),
    ],
)
def test_digits_and_signs_that_are_put_for_letters(text: str, letters: str, put: str) -> None:
    parts = parts_of(text)
    read, found = leet(parts)
    assert Letters(read).text == letters
    assert "".join(parts.text[i] for i in found) == put


@given(st.text("ab1$!@ *.法", max_size=12), st.text("ab1$!@ *.法", max_size=6))
@settings(deadline=None)
def test_one_of_the_ends_is_what_more_text_makes(text: str, more: str) -> None:
    """However a text goes on, its part before the last run of digits and signs is read in a way foreseen."""
    whole, _ = leet(parts_of(text + more))
    now = parts_of(text)
    n = len(now.text.rstrip("1$!@"))
    kinds = {tuple(ends.kinds[:n].tolist()) for ends in leet_ends(now)}
    assert tuple(whole.kinds[:n].tolist()) in kinds


def test_signs_can_be_letters_of_their_own() -> None:
    assert Letters(literal(parts_of("C++ ?!\n🖕"))).text == "c++?!🖕"


def test_han_is_spelt_in_pinyin() -> None:
    spelt = Spelt(Letters(parts_of("法輪gong，綠")))
    assert spelt.text == "falungonglv"
    assert spelt.source.tolist() == [0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 6]
    assert list(spelt.begins) == [1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1]


def test_the_table_of_pinyin_is_of_simplified_characters_and_plain_syllables() -> None:
    table = syllables()
    assert len(table) > 20_000
    assert all(re.fullmatch("[a-z]{1,6}", syllable) for syllable in table.values())
    text = "".join(table)
    assert Letters(parts_of(text)).text == text


def test_no_ordinary_letter_is_read_as_another() -> None:
    """Folding must not make one Latin letter, digit or common Han of another."""
    plain = "abcdefghijklmnopqrstuvwxyz0123456789的一是不了在人有我他这中大来上国个到说们"
    assert Letters(parts_of(plain)).text == plain


def test_every_character_folds() -> None:
    parts = parts_of("".join(map(chr, range(0x20000))))
    assert parts.kinds.min() >= SPACE
    assert parts.kinds.max() <= SCRIPT
    assert not {unicodedata.category(c) for c in set(parts.text)} & {"Cf", "Cs"}
    assert len(set(parts.origin.tolist())) > 0x1C000  # the others are hidden
