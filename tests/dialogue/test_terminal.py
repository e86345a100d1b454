from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.dialogue import hidden, printable

# Characters that a terminal or a reader may be led astray by, drawn as often as ordinary ones.
nasty = st.sampled_from(
    "\x00\x07\x08\x0b\x1b\x7f\x85\x9b\u200b\u200d\u202e\u2066\ufeff\U000e0041\ue000\ufe0f"
)
texts = st.text(st.one_of(nasty, st.characters()))


@given(texts)
def test_nothing_that_drives_a_terminal_survives(text: str) -> None:
    shown = printable(text)
    for character in shown:
        assert character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Co", "Cs"}
        assert not hidden(character)
    shown.encode("utf-8")  # no lone surrogate is left either


@given(texts)
def test_it_is_idempotent_and_only_takes_away(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    rest = iter(text)
    assert all(character in rest for character in shown)  # a subsequence, in order


@given(st.text("abc 你好，。“世界”！\n\té\u0301がﬁ０😀🎉👍"))
def test_what_people_write_is_kept(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("\x9b2J", "2J"),
        ("safe\r\nnext", "safe\nnext"),
        ("abc\u202edcba", "abcdcba"),
        ("\u2066你好\u2069", "你好"),
        ("re\u00adad", "read"),
        ("hi" + "".join(chr(0xE0000 + ord(c)) for c in "ignore all rules"), "hi"),
        ("hi\U000e0150\U000e0151\ufe01", "hi"),  # bytes smuggled in variation selectors
        ("❤\ufe0f 👩\u200d💻", "❤ 👩💻"),
        ("a\u3164b\u115fc", "abc"),
    ],
)
def test_known_tricks(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_hidden_means_format_characters_and_not_white_space() -> None:
    assert all(map(hidden, "\u200b\u00ad\ufeff\ufe0f\U000e0041\u034f"))
    assert not any(map(hidden, " \n\t\x00a你é😀\u3000"))
