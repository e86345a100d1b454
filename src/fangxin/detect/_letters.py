from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from fangxin.detect._fold import folded

Codes = NDArray[np.uint32]
Kinds = NDArray[np.uint8]
Indices = NDArray[np.intp]

# What a character is to a term, in rising order; what is hidden takes no part at all.
HIDDEN, SPACE, QUOTE, STOP, SIGN, LETTER, SCRIPT = range(7)

_SEVERAL, _UNKNOWN = 7, 8  # a character that folds to several parts; one that nobody asked for yet

# What ordinary writing puts between words and sentences. Other signs between letters are somebody's doing.
_STOPS = frozenset(',;:!?"()[]{}<>、。，！？；：“”„«»「」『』【】〔〕《》〈〉（）［］｛｝…‥–—―')
_LINE_ENDS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_QUOTES = frozenset("'’‘‛ʼʻ`´′＇")
_MARK = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
# Writing without spaces between words: Han, kana and what belongs to them, Thai, Lao, Burmese, Khmer.
UNSPACED = re.compile("[\u2e80-\u9fff\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")

# Digits and signs that are put for letters, and those letters.
_PUT = {"a": "4@", "b": "8", "c": "¢", "e": "3€", "g": "69", "il": "1!|¡£", "o": "0", "s": "5$", "t": "7+"}
LEET = {sign: letters for letters, signs in {**_PUT, "z": "2"}.items() for sign in signs}
_LEET_RUN = re.compile(f"[{re.escape(''.join(LEET))}]+")


@dataclass(frozen=True, slots=True)
class Parts:
    """A text folded character by character, without what is hidden.

    Attributes:
        codes: the code point of each part.
        kinds: what each part is.
        origin: for each part the index of its character in the text.
    """

    codes: Codes
    kinds: Kinds
    origin: Indices

    @property
    def text(self) -> str:
        """The folded text."""
        return _decoded(self.codes)

    def with_kinds(self, which: Indices | list[int] | slice, kind: int) -> Parts:
        """The same parts, of which some are of another kind."""
        kinds = self.kinds.copy()
        kinds[which] = kind
        return Parts(self.codes, kinds, self.origin)


class Letters:
    """The letters of a text in a row, whatever stands between them: where terms are looked for.

    Attributes:
        parts: what the letters are taken from.
        kinds: for each part what it is, one byte each.
        at: for each letter its index among the parts.
        text: the letters.
    """

    __slots__ = ("_edges", "at", "kinds", "parts", "text")

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.kinds = parts.kinds.tobytes()
        self.at: Indices = np.flatnonzero(parts.kinds >= LETTER)
        self.text = _decoded(parts.codes[self.at])
        self._edges: tuple[bytes, bytes] | None = None

    def edges(self) -> tuple[bytes, bytes]:
        """For each letter, 1 where a term may begin at it; and 1 where one may end at it.

        No term begins or ends inside a word of an alphabet.
        """
        if self._edges is None:
            alphabetic = self.parts.kinds[self.at] == LETTER
            tied = np.zeros(len(self.at) + 1, np.bool_)
            tied[1:-1] = (self.at[1:] - self.at[:-1] == 1) & alphabetic[1:] & alphabetic[:-1]
            self._edges = (~tied[:-1]).tobytes(), (~tied[1:]).tobytes()
        return self._edges

    def span(self, first: int, end: int) -> tuple[int, int]:
        """The half-open range in the text of the letters from `first` to `end`, without that one."""
        at, origin = self.at, self.parts.origin
        return int(origin[at[first]]), int(origin[at[end - 1]]) + 1

    def between(self, i: int) -> bytes:
        """The kinds of the parts between letter `i` - 1 and letter `i`."""
        return self.kinds[self.at[i - 1] + 1 : self.at[i]]

    @property
    def rest(self) -> bytes:
        """The kinds of the parts behind the last letter."""
        return self.kinds[self.at[-1] + 1 :] if len(self.at) else self.kinds


def parts_of(text: str) -> Parts:
    """Fold width, case, marks, look-alikes and traditional forms, and tell letters from what parts them.

    What is folded of a prefix is a prefix of what is folded of the whole.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    if not len(points):
        return Parts(points, np.zeros(0, np.uint8), np.zeros(0, np.intp))
    table = _table()
    kinds = table.kinds[points]
    if (most := kinds.max()) == _UNKNOWN:
        table.learn(text)
        kinds = table.kinds[points]
        most = kinds.max()
    codes, origin = table.codes[points], np.arange(len(points))
    if most == _SEVERAL:
        codes, kinds, origin = table.spread(codes, kinds)
    if kinds.min() == HIDDEN:
        seen = np.flatnonzero(kinds)
        codes, kinds, origin = codes[seen], kinds[seen], origin[seen]
    return Parts(codes, kinds, origin)


def leet(parts: Parts) -> tuple[Parts, list[int]]:
    """Read signs that are put for letters as letters, as in `sh!t`, `@ss` and `a$$`.

    A run of digits and such signs between two letters of an alphabet is put for letters; of a run before a
    letter the last digits, `$` and `@`; of one behind a letter the first digits and `$`.

    Returns:
        The parts, with those signs as letters, and the indices of all that is put for letters, digits too.
    """
    kinds = parts.kinds.tobytes()
    found: list[int] = []
    for run in _LEET_RUN.finditer(parts.text):
        first, end = run.span()
        before = first > 0 and kinds[first - 1] == LETTER
        after = end < len(kinds) and kinds[end] == LETTER
        if before and not after:
            end -= len(run[0].lstrip("0123456789$"))
        elif after and not before:
            first += len(run[0].rstrip("0123456789$@"))
        if before or after:
            found += range(first, end)
    return (parts.with_kinds(found, LETTER) if found else parts), found


def leet_ends(parts: Parts) -> list[Parts]:
    """What parts may become, read as `leet` does, when more text follows them.

    The run of digits and signs that they end in may be letters or not; without it is the third way.
    """
    text = parts.text
    end = len(text.rstrip("".join(LEET)))
    read, _ = leet(parts)
    if end == len(text):
        return [read]
    cut = Parts(read.codes[:end], read.kinds[:end], read.origin[:end])
    return [read, cut, read.with_kinds(slice(end, None), LETTER)]


def is_sign(parts: Parts) -> NDArray[np.bool_]:
    """Whether each part is a sign; line ends are none."""
    sign: NDArray[np.bool_] = (parts.kinds >= QUOTE) & (parts.kinds <= SIGN) & (parts.codes != ord("\n"))
    return sign


def literal(parts: Parts) -> Parts:
    """The parts with every sign as a letter, for terms that are made of signs."""
    return parts.with_kinds(np.flatnonzero(is_sign(parts)), SCRIPT)


class Spelt:
    """Letters with each Han character spelt in pinyin without tones.

    Attributes:
        text: in pinyin.
        source: for each letter of `text` the index of the letter that it spells.
        begins: 1 where `text` begins to spell another letter, and at its end.
    """

    __slots__ = ("begins", "source", "text")

    def __init__(self, letters: Letters) -> None:
        ids, lengths, starts, spelling = _pinyin()
        codes = letters.parts.codes[letters.at]
        syllable = ids[codes]
        counts = lengths[syllable]
        self.source, within = _spread(counts)
        syllable = syllable[self.source]
        spelt = np.where(syllable == 0, codes[self.source], spelling[starts[syllable] + within])
        self.text = _decoded(spelt)
        self.begins = np.append(within == 0, True).tobytes()


@cache
def syllables() -> dict[str, str]:
    """The pinyin of each Han character, in its simplified form, without tones: its first reading."""
    return {character: syllable for syllable, characters in _rows("pinyin") for character in characters}


def skeleton(letters: str) -> str:
    """Letters with digits and signs that may be put for one letter folded to one: for a first look."""
    return letters.translate(_SKELETON)


_SKELETON = str.maketrans({**{character: letters[0] for character, letters in LEET.items()}, "l": "i"})


class _Table:
    """What each code point folds to, learnt when it is first met."""

    def __init__(self) -> None:
        self.kinds: Kinds = np.full(sys.maxunicode + 1, _UNKNOWN, np.uint8)
        self.codes: Codes = np.zeros(sys.maxunicode + 1, np.uint32)
        # Of a character with several parts: how many, then each. `codes` says where.
        self._several_codes: Codes = np.zeros(0, np.uint32)
        self._several_kinds: Kinds = np.zeros(0, np.uint8)
        self._lock = Lock()
        self._alike = {c: target for target, characters in _rows("alike") for c in characters}
        self._simplified = {c: form for form, characters in _rows("simplified") for c in characters}

    def learn(self, text: str) -> None:
        """Find out what the characters of a text fold to."""
        with self._lock:
            several: list[tuple[int, int]] = []
            places = {}
            for character in set(text):
                code = ord(character)
                if self.kinds[code] != _UNKNOWN:
                    continue
                parts = self._parts(character)
                if len(parts) < 2:
                    self.codes[code], self.kinds[code] = parts[0] if parts else (0, HIDDEN)
                else:
                    places[code] = len(self._several_codes) + len(several)
                    several += [(len(parts), 0), *parts]
            if several:
                codes, kinds = zip(*several, strict=True)
                self._several_codes = np.append(self._several_codes, np.array(codes, np.uint32))
                self._several_kinds = np.append(self._several_kinds, np.array(kinds, np.uint8))
            for code, place in places.items():
                self.codes[code], self.kinds[code] = place, _SEVERAL  # last: another thread may look

    def spread(self, codes: Codes, kinds: Kinds) -> tuple[Codes, Kinds, Indices]:
        """Put the several parts of a character in its place."""
        several = np.flatnonzero(kinds == _SEVERAL)
        counts = np.ones(len(codes), np.intp)
        counts[several] = self._several_codes[codes[several]]
        origin, within = _spread(counts)
        spread_codes, spread_kinds = codes[origin], kinds[origin]
        places = np.flatnonzero(spread_kinds == _SEVERAL)
        index = spread_codes[places] + 1 + within[places]
        spread_codes[places] = self._several_codes[index]
        spread_kinds[places] = self._several_kinds[index]
        return spread_codes, spread_kinds, origin

    def _parts(self, character: str) -> list[tuple[int, int]]:
        if character in _LINE_ENDS:
            return [(ord("\n"), STOP)]
        if character in _STOPS:
            return [(ord(character), STOP)]
        if character in _QUOTES:
            return [(ord("'"), QUOTE)]
        # Circled, squared and raised letters and digits stand for themselves: they make no word longer.
        apart = unicodedata.category(character) in ("So", "No")
        text = self._alike.get(character) or "".join(self._alike.get(c, c) for c in folded(character))
        parts = [(ord(c), _kind(c, apart)) for c in (self._simplified.get(c, c) for c in text)]
        return [part for part in parts if part[1] != HIDDEN]


def _kind(character: str, apart: bool) -> int:
    category = unicodedata.category(character)
    if category in ("Cc", "Cs") or _MARK.match(character):
        return HIDDEN
    if character == " ":
        return SPACE
    if character in _STOPS:
        return STOP
    if character in _QUOTES:
        return QUOTE
    if category[0] in "LNM":
        return SCRIPT if apart or UNSPACED.match(character) else LETTER
    return SIGN


def _spread(counts: Indices) -> tuple[Indices, Indices]:
    """Lay things out that take so many places each: whose each place is, and which one of its owner's."""
    source = np.repeat(np.arange(len(counts)), counts)
    return source, np.arange(len(source)) - (np.cumsum(counts) - counts)[source]


@cache
def _table() -> _Table:
    return _Table()


@cache
def _pinyin() -> tuple[NDArray[np.uint16], Indices, Indices, Codes]:
    """By code point a syllable's number; by its number its length and where it is spelt; the spelling."""
    names = sorted(set(syllables().values()))
    ids = np.zeros(sys.maxunicode + 1, np.uint16)
    number = {name: i for i, name in enumerate(names, 1)}
    for character, name in syllables().items():
        ids[ord(character)] = number[name]
    lengths = np.array([1, *map(len, names)], np.intp)
    starts = np.cumsum(lengths) - lengths
    return ids, lengths, starts, np.array(list(map(ord, " " + "".join(names))), np.uint32)


def _rows(table: str) -> list[list[str]]:
    text = (files("fangxin.detect") / "tables" / f"{table}.txt").read_text("utf-8")
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def _decoded(codes: Codes) -> str:
    return codes.tobytes().decode("utf-32-le")
