from __future__ import annotations

import re
from itertools import chain

# What `fangxin.dialogue.hidden` names, as one character class, and the box of keycap digits.
_HIDDEN = re.compile(
    "[\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]+"
)
_HAN_DIGITS = "〇零○一二三四五六七八九幺两壹贰叁肆伍陆柒捌玖"
_READ_OUT = re.compile(f"[{_HAN_DIGITS}]{{11,}}")
_DIGIT_OF = str.maketrans(_HAN_DIGITS, "00012345678912123456789")


def _plain() -> dict[int, str]:
    """One plain character for each other way to write it: width, digits of other scripts, dashes, spaces."""
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    zeros = (0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xE50, 0x2080, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC)
    for zero in (*zeros, 0x1D7F6, 0x1FBF0):
        table |= {zero + digit: str(digit) for digit in range(10)}
    for one in (0x2460, 0x2474, 0x2488, 0x24F5, 0x2776, 0x2780, 0x278A):  # ① ⑴ ⒈ ⓵ ❶ ➀ ➊
        table |= {one + digit: str(digit + 1) for digit in range(9)}
    table |= dict.fromkeys((0x24EA, 0x24FF, 0x2070), "0") | {0xB9: "1", 0xB2: "2", 0xB3: "3"}
    table |= {0x2070 + digit: str(digit) for digit in range(4, 10)}
    for first in range(0x1D400, 0x1D6A4, 26):  # mathematical letters; its holes hold other characters
        base = ord("A") if (first - 0x1D400) // 26 % 2 == 0 else ord("a")
        table |= {first + letter: chr(base + letter) for letter in range(26)}
    for first, base in ((0x24B6, "A"), (0x24D0, "a")):  # Ⓐ ⓐ
        table |= {first + letter: chr(ord(base) + letter) for letter in range(26)}
    table |= dict.fromkeys(chain(range(0x2010, 0x2016), (0x2212, 0xFE58, 0xFE63, 0x2E3A, 0x30FC)), "-")
    table |= dict.fromkeys((0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000, 0x9, 0x2800), " ")
    table |= {0xFE52: ".", 0xFF61: ".", 0xFE55: ":", 0xFE6B: "@", 0x2236: ":", 0x2019: "'", 0x2018: "'"}
    return table


_PLAIN = _plain()


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
    text = text.translate(_PLAIN)
    return _READ_OUT.sub(lambda run: run[0].translate(_DIGIT_OF), text), origin
