import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.detect.personal._fold import _HIDDEN, fold
from fangxin.dialogue import hidden


def test_what_draws_nothing_is_what_the_dialogue_room_calls_hidden():
    missing = [hex(c) for c in range(sys.maxunicode + 1) if hidden(chr(c)) and not _HIDDEN.match(chr(c))]
    more = [hex(c) for c in range(sys.maxunicode + 1) if _HIDDEN.match(chr(c)) and not hidden(chr(c))]
    assert missing == []
    # The box of keycap digits; and code points that this Python's Unicode may not know yet.
    assert all(c == "0x20e3" or unicodedata.category(chr(int(c, 16))) == "Cn" for c in more)


@given(st.text())
def test_every_character_comes_from_one_of_the_text(text):
    plain, origin = fold(text)
    if origin is None:
        assert len(plain) == len(text)
    else:
        assert len(origin) == len(plain)
        assert origin == sorted(set(origin))
        assert all(0 <= i < len(text) for i in origin)


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_stays(text):
    assert fold(text) == (text, None)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("１３８－００１３", "138-0013"),
        ("1\u200b3\u20608", "138"),
        ("1\ufe0f\u20e33\ufe0f\u20e3", "13"),
        ("①⑶❺", "135"),
        ("𝟏𝟑𝟖", "138"),
        ("٠١٢", "012"),
        ("ａ＠ｂ．ｃｏｍ", "a@b.com"),
        ("a\u3000b\u00a0c\td", "a b c d"),
        ("138—0013–8000", "138-0013-8000"),
        ("姓名：李雷", "姓名:李雷"),
        ("一三八零零一三八零零零", "13800138000"),
        ("幺三八〇〇幺三八〇〇〇", "13800138000"),
        ("一二三木头人", "一二三木头人"),  # few numerals are words
    ],
)
def test_disguises_become_plain(text, plain):
    assert fold(text)[0] == plain


def test_places_are_kept_where_characters_go():
    plain, origin = fold("a\u200b\u200bbc")
    assert plain == "abc"
    assert origin == [0, 3, 4]
