from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain

# What `fangxin.dialogue.hidden` names, as one character class, and the box of keycap digits.
_HIDDEN = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]+"
)
_NUMERALS = "〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖"
_READ_OUT = re.compile(f"(?<![十百千万亿{_NUMERALS}])[{_NUMERALS}]{{11,}}(?![十百千万亿])")
_DIGIT_OF = str.maketrans(_NUMERALS, "00012345678912123456789")


@cache
def _plain() -> dict[int, str]:
    """One plain character for each other way to write it: width, digits of all scripts, dashes, spaces."""
    table = {ord("\t"): " ", 0x2018: "'", 0x2019: "'", 0x2212: "-", 0x2236: ":", 0xFF61: "."}
    for code in chain(range(0x80, 0xD800), range(0xE000, 0x20000)):
        character = chr(code)
        category = unicodedata.category(character)
        digit = unicodedata.digit(character, None)
        if digit is not None:
            table[code] = str(digit)
        elif category in ("Pd", "Zs"):
            table[code] = "-" if category == "Pd" else " "
        elif category != "Lo":
            same = unicodedata.normalize("NFKC", character)
            if len(same) == 1 and same.isascii():
                table[code] = same
    return table


def fold(text: str) -> tuple[str, list[int] | None]:
    """Write a text plainly for matching, and say where each character came from.

    Width, digits of other scripts, dashes and spaces become the plain ones, character by character;
    hidden characters go; eleven or more Chinese numerals in a row are read as digits.

    Returns:
        The plain text and, for each of its characters, the index in `text`; None where all stay in place.
    """
    if text.isascii():
        return text, None
    origin: list[int] | None = None
    if _HIDDEN.search(text):
        origin, at = [], 0
        for hit in _HIDDEN.finditer(text):
            origin.extend(range(at, hit.start()))
            at = hit.end()
        origin.extend(range(at, len(text)))
        text = _HIDDEN.sub("", text)
    text = text.translate(_plain())
    return _READ_OUT.sub(lambda run: run[0].translate(_DIGIT_OF), text), origin
