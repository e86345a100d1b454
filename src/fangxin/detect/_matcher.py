from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import pairwise
from string import ascii_lowercase
from typing import Any, NamedTuple

import numpy as np

from fangxin.detect._letters import (
    LEET,
    LETTER,
    QUOTE,
    SCRIPT,
    SIGN,
    SPACE,
    STOP,
    UNSPACED,
    Letters,
    Parts,
    Spelt,
    is_sign,
    leet,
    leet_ends,
    literal,
    parts_of,
    skeleton,
    syllables,
)

# More signs than these between two letters, and they are no longer one word.
_GAP = 8
_WORD = bytes((QUOTE, STOP, SIGN, LETTER))  # what a word and the signs around it are made of


class Term(NamedTuple):
    """A term as it is looked for.

    Attributes:
        term: as it was given.
        themes: that it belongs to.
        letters: its letters, folded.
        gaps: the indices of the letters before which the term itself has spaces or signs.
        signs: whether some of its letters are signs that were put for letters.
    """

    term: str
    themes: tuple[str, ...]
    letters: str
    gaps: frozenset[int]
    signs: bool


# A half-open range of the text, the term that may be there, whether it is, and whether that is settled: more
# text can't change it.
_Hit = tuple[int, int, Term, bool, bool]


class Found(NamedTuple):
    """A term found in a text.

    Attributes:
        start: the index of its first character in the text.
        end: the index behind its last character.
        term: as it stands in the list.
        themes: that it belongs to.
    """

    start: int
    end: int
    term: str
    themes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found in a text of which more may come.

    Attributes:
        found: what stays found whatever follows, in order, not overlapping.
        until: where the part begins that more text could still make into a term, or the text's end. A next
            scan may look for terms from here on.
        begin: what a next scan must read to know what comes before `until`.
    """

    found: tuple[Found, ...]
    until: int
    begin: int


class Matcher:
    """Terms, ready to be looked for. Never changed once made.

    A text is read in up to four ways, and what is found in any of them counts:

    - its letters, with separators, marks and widths gone, look-alikes and traditional forms folded;
    - the same with digits and signs for letters (`sh1t`, `a$$`), around such characters only;
    - with all signs as letters, where a term has hardly anything else (`c++`);
    - with Han spelt in pinyin, where homophones are asked for.
    """

    def __init__(self, terms: Mapping[str, Iterable[str]], *, homophones: bool = False) -> None:
        plain, leets, literals = _terms(terms)
        self._plain = _Index((term.letters, term) for term in plain)
        self._leet = _Index(
            (skeleton(term.letters), term)
            for term in (*plain, *leets)
            if term.signs or sum(c in ascii_lowercase for c in term.letters) > 2
        )
        self._literal = _Index((term.letters, term) for term in literals)
        sounds = syllables() if homophones else {}
        self._spelt = _Index(
            ("".join(sounds.get(c, c) for c in term.letters), term)
            for term in plain
            if sum(c in sounds for c in term.letters) > 1
        )

    def scan(self, text: str, at: int = 0, begin: int = 0, *, final: bool = True) -> Scan:
        """Find terms from `at` on, reading from `begin` on.

        Of terms that overlap, the one that begins first counts, and of those the longest; terms that are
        folded to the same letters are one, with the themes of all. With `final` false more text may come.
        """
        parts = parts_of(text[begin:] if begin else text)
        letters = Letters(parts)
        hits = [
            *_plain_hits(letters, self._plain),
            *(_leet_hits(parts, self._leet) if self._leet.keys else ()),
            *(_plain_hits(Letters(literal(parts)), self._literal) if self._literal.keys else ()),
            *(_spelt_hits(letters, self._spelt) if self._spelt.keys else ()),
        ]
        until = len(text)
        if not final:
            open_from = [*self._open(parts, letters), *(start for start, *_, settled in hits if not settled)]
            until = min((begin + start for start in open_from if begin + start >= at), default=until)
        found: list[Found] = []
        free = at
        for start, end, term, holds, _ in sorted(hits, key=lambda hit: (hit[0], -hit[1])):
            if holds and free <= begin + start < until:
                free = begin + end
                found.append(Found(begin + start, free, term.term, term.themes))
            elif holds and found and found[-1][:2] == (begin + start, begin + end):
                themes = dict.fromkeys((*found[-1].themes, *term.themes))
                found[-1] = found[-1]._replace(themes=tuple(themes))
        if found and found[-1].end > until:
            until = found.pop().start
        return Scan(tuple(found), until, until if final else begin + _context(letters, until - begin))

    def _open(self, parts: Parts, letters: Letters) -> Iterator[int]:
        """Where terms may begin that more text could make."""
        yield from _opens(letters, self._plain, letters.text)
        if self._leet.keys:
            for ends in leet_ends(parts):
                read = Letters(ends)
                put = not LEET.keys().isdisjoint(read.text[-self._leet.longest :])
                yield from _opens(read, self._leet, skeleton(read.text), whole=put)
        if self._literal.keys:
            signs = Letters(literal(parts))
            yield from _opens(signs, self._literal, signs.text)
        if self._spelt.keys:
            spelt = Spelt(letters)
            yield from _opens(letters, self._spelt, spelt.text, spelt)


class _Index:
    """Terms by a key that is looked for in one reading of a text."""

    def __init__(self, terms: Iterable[tuple[str, Term]]) -> None:
        from ahocorasick_rs import AhoCorasick

        by_key = defaultdict(list)
        for key, term in terms:
            by_key[key].append(term)
        self.keys = sorted(by_key)
        self.terms = [by_key[key] for key in self.keys]
        self.longest = max(map(len, self.keys), default=0)
        self._heads = frozenset(key[:n] for key in self.keys for n in (1, 2))
        self._automaton: Any = AhoCorasick(self.keys, store_patterns=False) if self.keys else None

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """Every key in a text: its number, the index of its first character, the index behind its last."""
        if self._automaton is None:
            return []
        hits: list[tuple[int, int, int]] = self._automaton.find_matches_as_indexes(text, overlapping=True)
        return hits

    def begun(self, tail: str, *, whole: bool) -> bool:
        """Whether a key begins with `tail` and is longer; or, with `whole`, is equal to it."""
        if tail[:2] not in self._heads:
            return False
        i = bisect_left(self.keys, tail)
        if not whole and i < len(self.keys) and self.keys[i] == tail:
            i += 1
        return i < len(self.keys) and self.keys[i].startswith(tail)


def _plain_hits(letters: Letters, index: _Index) -> list[_Hit]:
    found = index.find(letters.text)
    if not found:
        return []
    begins, ends = letters.edges()
    return _hits(
        letters,
        [
            (first, end, term, term.gaps)
            for number, first, end in found
            if begins[first] and ends[end - 1]
            for term in index.terms[number]
        ],
    )


def _leet_hits(parts: Parts, index: _Index) -> list[_Hit]:
    read, put = leet(parts)
    if not put:
        return []
    letters = Letters(read)
    begins, ends = letters.edges()
    return _hits(
        letters,
        [
            (low + first, low + end, term, term.gaps)
            for low, high in _windows(np.searchsorted(letters.at, put).tolist(), index.longest)
            for number, first, end in index.find(skeleton(letters.text[low:high]))
            if begins[low + first] and ends[low + end - 1]
            for term in index.terms[number]
            if _leet(letters.text[low + first : low + end], term)
        ],
    )


def _windows(places: list[int], reach: int) -> Iterator[tuple[int, int]]:
    """Ranges that hold `reach` letters on both sides of each place, those that overlap made one."""
    low, high = max(0, places[0] - reach), places[0] + reach + 1
    for place in places[1:]:
        if place - reach > high:
            yield low, high
            low = place - reach
        high = place + reach + 1
    yield low, high


def _leet(text: str, term: Term) -> bool:
    """Whether `text` is the term with digits and signs for letters.

    Codes like A55 are none: at least two are no digits, and in a short word half of them.
    """
    put = [(have, want) for have, want in zip(text, term.letters, strict=True) if have != want]
    if any(want not in LEET.get(have, "") for have, want in put) or not (put or term.signs):
        return False
    others = len(text) - sum(have.isdigit() for have, _ in put)
    return others > 1 and (len(text) > 5 or 2 * others >= len(text)) and any(c.isalpha() for c in text)


def _spelt_hits(letters: Letters, index: _Index) -> list[_Hit]:
    spelt = Spelt(letters)
    whole = [hit for hit in index.find(spelt.text) if spelt.begins[hit[1]] and spelt.begins[hit[2]]]
    if not whole:
        return []
    begins, ends = letters.edges()
    source = spelt.source
    places = [(number, int(source[first]), int(source[end - 1]) + 1) for number, first, end in whole]
    return _hits(
        letters,
        [
            (first, end, term, gaps)
            for number, first, end in places
            if begins[first] and ends[end - 1]
            for term in index.terms[number]
            if (gaps := _sounds(letters, first, end, term)) is not None
        ],
    )


def _sounds(letters: Letters, first: int, end: int, term: Term) -> Set[int] | None:
    """Where syllables in alphabetic letters begin, if these letters are the term by their sound, else None.

    Some Han are homophones of the term's, or written in pinyin. Of two Han one must stand as it is and the
    other be in pinyin: nearly every two have homophones that are an ordinary word.
    """
    han = same = 0
    starts = []
    i = first
    for want in term.letters:
        sound, have = syllables().get(want), letters.text[i]
        starts.append(i - first)
        if sound is None or have in syllables():
            if have != want and (sound is None or syllables()[have] != sound):
                return None
            i += 1
        else:
            if letters.text[i : i + len(sound)] != sound:
                return None
            i += len(sound)
        han += sound is not None
        same += sound is not None and have == want
    if i != end or same == han or (han == 2 and (not same or end - first == 2)):
        return None
    alphabetic = [letters.kinds[at] == LETTER for at in letters.at[first:end].tolist()]
    return {start for start in starts[1:] if alphabetic[start] and alphabetic[start - 1]}


def _hits(letters: Letters, places: list[tuple[int, int, Term, Set[int]]]) -> list[_Hit]:
    """Terms at ranges of letters, where what stands between these lets them be one term.

    What stands at the term's own spaces and signs (the last of the four) is no matter.
    """
    if not places:
        return []
    first, end = (np.array([place[i] for place in places]) for i in (0, 1))
    starts, stops = letters.at[first], letters.at[end - 1] + 1
    origin = letters.parts.origin
    hits = []
    for (first_letter, end_letter, term, gaps), start, stop, solid in zip(
        places,
        origin[starts].tolist(),
        (origin[stops - 1] + 1).tolist(),
        (stops - starts == end - first).tolist(),
        strict=True,
    ):
        holds, settled = (True, True) if solid else _one_term(letters, first_letter, end_letter, gaps)
        if holds or not settled:
            hits.append((start, stop, term, holds, settled))
    return hits


def _one_term(letters: Letters, first: int, end: int, gaps: Set[int]) -> tuple[bool, bool]:
    """Whether letters with something between them are one term, and whether more text can't change that.

    A word of the term may hold signs that ordinary writing doesn't put there: `fu*ck`, `f.uck`, `法*轮`,
    `法 轮`; but no comma, line end or apostrophe, and no space between letters of an alphabet ("he'll",
    "pen is", "我去，死了"). Or it is spelt out, in at least three pieces of which at most one has more than
    one letter: `f u c k`, `f, u, ck`, `法，轮，功`.
    """
    at, kinds = letters.at[first:end].tolist(), letters.kinds
    words: list[list[int]] = [[1]]  # the lengths of the pieces of each word
    ordinary = [False]
    for i, (before, here) in enumerate(pairwise(at), 1):
        if here - before == 1:
            words[-1][-1] += 1
        elif here - before - 1 > _GAP:
            return False, True
        elif i in gaps:
            words.append([1])
            ordinary.append(False)
        else:
            words[-1].append(1)
            between = kinds[before + 1 : here]
            han = SCRIPT in (kinds[before], kinds[here])
            ordinary[-1] |= STOP in between or (not han and (SPACE in between or QUOTE in between))
    pieces = [piece for word in words for piece in word]
    if not _spelt_out(pieces) and any(o and not _spelt_out(w) for o, w in zip(ordinary, words, strict=True)):
        return False, True
    if len(pieces) == len(words):
        return True, True
    longer = (pieces[0] == 1 and _goes_on(letters, first, -1)) or (
        pieces[-1] == 1 and _goes_on(letters, end - 1, 1)
    )
    return not longer, pieces[-1] > 1 or len(letters.text) - end > 2 or len(letters.rest) > _GAP


def _spelt_out(pieces: list[int]) -> bool:
    return len(pieces) > 2 and sum(piece > 1 for piece in pieces) < 2


def _goes_on(letters: Letters, i: int, step: int) -> bool:
    """Whether the spelling out goes on beyond the letter `i`, as in `c l a s s`.

    One letter that is a word by itself doesn't count: `a f u c k`.
    """
    begins, ends = letters.edges()
    gap = letters.between(i + (step < 0))
    beyond = []
    for j in (i + step, i + 2 * step):
        if not 0 <= j < len(letters.text) or letters.between(j + (step < 0)) != gap:
            break
        if not (begins[j] and ends[j]) or letters.kinds[letters.at[j]] != LETTER:
            break
        beyond.append(letters.text[j])
    return len(beyond) > 1 or (len(beyond) == 1 and beyond[0] not in "aiu")


def _opens(
    letters: Letters, index: _Index, key: str, spelt: Spelt | None = None, *, whole: bool = True
) -> Iterator[int]:
    """The places in the text where a term may begin that more text could make.

    `key` is the text as it is looked for in the index: letter by letter, or as `spelt`. A key that is there
    in full is open, too, while its last word may go on, unless `whole` is false.
    """
    rest = letters.rest
    if not letters.text or len(rest) > _GAP:
        return
    whole = whole and not rest and letters.kinds[-1] == LETTER
    begins, _ = letters.edges()
    last = letters.at[-index.longest :]
    parted = np.flatnonzero(np.diff(last) > _GAP + 1)
    first = len(letters.at) - len(last) + (int(parted[-1]) + 1 if len(parted) else 0)
    for i in range(max(0, len(key) - index.longest), len(key)):
        if spelt is None:
            letter = i
        elif spelt.begins[i]:
            letter = int(spelt.source[i])
        else:
            continue
        if letter >= first and begins[letter] and index.begun(key[i:], whole=whole):
            yield letters.span(letter, letter + 1)[0]


def _context(letters: Letters, at: int) -> int:
    """Where to read from, to judge what begins at `at` in the text: the word three letters before it."""
    parts = int(np.searchsorted(letters.parts.origin, at))
    letter = int(np.searchsorted(letters.at, parts)) - 3
    if letter <= 0:
        return 0
    return int(letters.parts.origin[len(letters.kinds[: letters.at[letter]].rstrip(_WORD))])


def _terms(terms: Mapping[str, Iterable[str]]) -> tuple[list[Term], list[Term], list[Term]]:
    """Terms by how they are looked for: by their letters; by letters and signs put for letters; by signs.

    Folds them all in one go.
    """
    themes = defaultdict(list)
    for theme, of_theme in terms.items():
        for text in of_theme:
            themes[" ".join(text.split())].append(theme)
    names = list(themes)
    lines = np.cumsum(np.fromiter(map(len, names), np.intp, len(names)) + 1)
    parts = parts_of("\n".join(names))
    letters = Letters(parts)
    owners = np.searchsorted(lines, parts.origin, "right")
    owner = owners[letters.at]
    ends = np.cumsum(np.bincount(owner, minlength=len(names)))
    starts = np.concatenate(([0], ends[:-1]))
    begin_of, end_of = starts.tolist(), ends.tolist()
    gaps = defaultdict(set)
    for i in np.flatnonzero((np.diff(letters.at) > 1) & (np.diff(owner) == 0)).tolist():
        gaps[int(owner[i])].add(i + 1 - begin_of[owner[i]])
    signed = is_sign(parts)
    with_signs = set(owners[signed].tolist())
    put = set(owners[signed & np.isin(parts.codes, [ord(c) for c in LEET])].tolist())
    plain, leets, literals = [], [], []
    for i, name in enumerate(names):
        own = letters.text[begin_of[i] : end_of[i]]
        term = Term(name, tuple(themes[name]), own, frozenset(gaps.get(i, ())), False)
        if i in put and len((read := _term(term, leet(parts_of(name))[0])).letters) > max(2, len(own)):
            leets.append(read)
        elif i in with_signs and len(own) < (2 if UNSPACED.search(own) else 3):
            literals.append(_term(term, literal(parts_of(name))))
        elif own:
            plain.append(term)
    return plain, leets, literals


def _term(term: Term, parts: Parts) -> Term:
    """The same term by what it is read as, signs and all."""
    letters = Letters(parts)
    gaps = frozenset((np.flatnonzero(np.diff(letters.at) > 1) + 1).tolist())
    return term._replace(letters=letters.text, gaps=gaps, signs=True)
