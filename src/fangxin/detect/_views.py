from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
import urllib.parse
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fangxin.detect._text import language

Kind = Literal["whole", "part", "quoted", "decoded"]

# Zero-width and direction marks, soft hyphens, variation selectors, and the tag block.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_SENTENCE = re.compile(r"[^.!?。！？；;\n]*(?:[.!?](?=\s|$)|[。！？；;\n]|$|[.!?])+")
_QUOTED = re.compile(
    r"\"([^\"\n]{6,600})\"|“([^”]{4,600})”|「([^」]{4,600})」|『([^』]{4,600})』|‘([^’]{6,600})’"
    r"|```(.{6,1200}?)```|<(\w{1,20})>(.{6,600}?)</\7>|\[([^\]\n]{8,600})\]|【([^】]{4,600})】",
    re.S,
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}[\s:]?){10,}(?![0-9A-Fa-f])")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_TOKEN = re.compile(r"\S+")
_ESCAPES = re.compile(r"(?:\\u[0-9A-Fa-f]{4}|&#x?[0-9A-Fa-f]+;|\\x[0-9A-Fa-f]{2}){4,}")
_SPACED = re.compile(r"(?<!\w)(?:\w[ .\-_*|/·]){4,}\w(?!\w)")
_SPACED_HAN = re.compile(r"(?:[\u3400-\u9fff][ .\-_*|/·+、，,]{1,2}){3,}[\u3400-\u9fff]")
_LEET = str.maketrans("013457@$!|€", "oieastasile")
_LEET_WORD = re.compile(r"(?<!\S)[A-Za-z013457@$!|€]{2,20}(?![^\s.,?:;)\"'])")
_COMMON = re.compile(
    r"\b(?:the|a|an|to|how|do|i|of|in|is|and|me|my|for|what|make|with|you|can|that|it|on|write|without|from"
    r"|someone|into|give)\b",
    re.I,
)
_WORD = re.compile(r"[A-Za-z]+")

_LONG_EN, _LONG_ZH = 320, 120  # a window of sentences: at most this many characters
MOST = 160  # views of one text; beyond that, windows only


@dataclass(frozen=True, slots=True)
class View:
    """A reading of a text: what a detector looks at, and which characters of the text it came from."""

    text: str
    start: int
    end: int
    kind: Kind


def clean(text: str) -> str:
    """The text as a reader sees it: NFKC, without invisible characters."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def views(text: str) -> list[View]:
    """Readings of `text`: the whole first, then windows of sentences, quoted parts and decoded parts.

    Spans refer to `text` itself. A text with nothing but itself to read gives one view.
    """
    whole = clean(text).strip()
    found = [View(whole, 0, len(text), "whole")]
    seen = {whole}

    def add(part: str, start: int, end: int, kind: Kind) -> None:
        part = clean(part).strip(" \t\r\n\"'“”‘’")
        if len(part) >= 4 and part not in seen:
            seen.add(part)
            found.append(View(part, start, end, kind))

    for part, start, end in _decoded(text):
        add(part, start, end, "decoded")
    for match in _QUOTED.finditer(text):
        group = next(i for i in (1, 2, 3, 4, 5, 6, 8, 9, 10) if match.group(i) is not None)
        add(match.group(group), match.start(group), match.end(group), "quoted")
    sentences = [(m.start(), m.end()) for m in _SENTENCE.finditer(text) if m.group().strip()]
    if len(sentences) > 1 or len(text) > _LONG_EN:
        windows = _windows(text, sentences)
        if len(windows) + len(sentences) + len(found) <= MOST:
            windows = windows + sentences
        for start, end in windows:
            add(text[start:end], start, end, "part")
    return found


def _windows(text: str, sentences: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring sentences joined up to a length, and overlong sentences cut, so that all is covered."""
    most = _LONG_ZH if language(text) == "zh" else _LONG_EN
    out: list[tuple[int, int]] = []
    for start, end in sentences:
        if out and end - out[-1][0] <= most:
            out[-1] = (out[-1][0], end)
            continue
        while end - start > most:
            out.append((start, start + most))
            start += most * 3 // 4
        out.append((start, end))
    # A question split over a border is seen whole by the pair of sentences about it.
    pairs = [(a[0], b[1]) for a, b in pairwise(sentences) if b[1] - a[0] <= 2 * most]
    return out + pairs if len(pairs) <= MOST // 3 else out


def _likely(text: str) -> float:
    """How much of a text's words are the commonest English ones: 0 for noise, 0.2 to 0.6 for English."""
    words = len(_WORD.findall(text))
    return len(_COMMON.findall(text)) / words if words else 0.0


def _readable(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    good = sum(ch.isalnum() or ch.isspace() or ch in ".,?!'\"-:;()，。？！、：；“”" for ch in text)
    return text if len(text) >= 4 and good >= 0.9 * len(text) else None


def _decoded(text: str) -> list[tuple[str, int, int]]:
    out: list[tuple[str, int, int]] = []
    for match in _BASE64.finditer(text):
        raw = match.group().replace("-", "+").replace("_", "/").rstrip("=")
        try:
            plain = _readable(base64.b64decode(raw + "=" * (-len(raw) % 4), validate=True))
        except (binascii.Error, ValueError):
            continue
        if plain:
            out.append((plain, match.start(), match.end()))
    for match in _HEX.finditer(text):
        plain = _readable(bytes.fromhex(re.sub(r"[\s:]", "", match.group())))
        if plain:
            out.append((plain, match.start(), match.end()))
    for match in _TOKEN.finditer(text) if len(_PERCENT.findall(text)) >= 3 else ():
        if len(_PERCENT.findall(match.group())) >= 3:
            plain = urllib.parse.unquote_plus(match.group(), errors="replace")
            if "\ufffd" not in plain:
                out.append((plain, match.start(), match.end()))
    if _ESCAPES.search(text):
        import html

        plain = html.unescape(
            re.sub(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))", lambda m: chr(int(m[1] or m[2], 16)), text)
        )
        out.append((plain, 0, len(text)))
    shown = clean(text)
    for pattern, glue in ((_SPACED, ""), (_SPACED_HAN, "")):
        if pattern.search(shown):
            # Two separators in a row were a word's end: keep one as a space.
            joined = pattern.sub(lambda m, g=glue: re.sub(r"[ .\-_*|/·+、，,]", g, m.group()), shown)  # type: ignore[misc]
            out.append((joined, 0, len(text)))
    plain = _LEET_WORD.sub(_unleet, shown)
    if plain != shown and _likely(plain) >= _likely(shown):
        out.append((plain, 0, len(text)))
    if language(shown) == "en":
        if len(shown) <= 4000:
            base = _likely(shown)
            for other in (codecs.decode(shown, "rot13"), shown[::-1], _words_reversed(shown)):
                if _likely(other) >= max(0.2, base + 0.15):
                    out.append((other, 0, len(text)))
    elif (
        len(shown) <= 400
        and not re.search(r"[。？！?!]\s*$", shown)
        and re.match(r"\s*[。？！?!吗呢]", shown)
    ):
        out.append((shown[::-1], 0, len(text)))  # Chinese written backwards begins with its full stop
    return out


def _unleet(match: re.Match[str]) -> str:
    """A word with figures for letters read as letters; numbers and plain words stay."""
    word = match.group()
    letters = sum(ch.isalpha() for ch in word)
    plain = word.rstrip("!")
    if not letters or plain.isalpha():
        return word
    return plain.translate(_LEET) + word[len(plain) :]


def _words_reversed(text: str) -> str:
    return re.sub(r"\w+", lambda m: m.group()[::-1], text)
