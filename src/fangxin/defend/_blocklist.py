from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ahocorasick_rs import AhoCorasick, MatchKind

from fangxin.defend._defence import Block, DefenceError, language_of
from fangxin.defend._fold import normalised
from fangxin.dialogue import Dialogue

_NEUTRAL = {"en": "[removed]", "zh": "［已略去］"}


@dataclass(frozen=True)
class Blocklist:
    """Terms that nobody shall be shown, replaced by a neutral mark.

    Attributes:
        terms: the terms; matched folded (see `normalised`), and as whole words where they begin or end
            in a letter or digit of an alphabet ("ass" is not in "class").
    """

    terms: tuple[str, ...]
    kind: str = "blocklist"
    _automaton: Any = field(init=False, repr=False, compare=False)
    _beginnings: frozenset[str] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        folded = sorted({normalised(term)[0].strip() for term in self.terms} - {""})
        automaton = AhoCorasick(folded, matchkind=MatchKind.Standard) if folded else None
        beginnings = frozenset(term[:end] for term in folded for end in range(1, len(term) + 1))
        object.__setattr__(self, "_automaton", automaton)
        object.__setattr__(self, "_beginnings", beginnings)
        object.__setattr__(self, "_longest", max(map(len, folded), default=0))

    @classmethod
    def default(cls) -> Blocklist:
        """The short list that ships: abuse aimed at the person in the talk, English and Chinese."""
        data = tomllib.loads((files("fangxin.defend") / "blocklist.toml").read_text("utf-8"))
        return cls(tuple(data["en"]) + tuple(data["zh"]))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Half-open character ranges of the terms in `text`, in order, not overlapping.

        Of terms that overlap, the one that begins first counts, and of those the longest.
        """
        folded, origin = normalised(text)
        return _in_text(self._found(folded), origin)

    def _found(self, folded: str) -> list[tuple[int, int]]:
        """Ranges in a folded text."""
        if self._automaton is None:
            return []
        hits = [
            (start, end)
            for _, start, end in self._automaton.find_matches_as_indexes(folded, overlapping=True)
            if _bounded(folded, start) and _bounded(folded, end)
        ]
        found, free = [], 0
        for start, end in sorted(hits, key=lambda hit: (hit[0], -hit[1])):
            if start >= free:
                found.append((start, end))
                free = end
        return found

    def _undecided(self, folded: str) -> int:
        """Where the part begins that more text could still make into a term."""
        n = len(folded)
        for start in range(max(0, n - self._longest), n):
            if folded[start:] in self._beginnings and _bounded(folded, start):
                return start
        return n

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Leave the dialogue as it is: a list of words is no judge of intent."""
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Replace each term by a neutral mark in the language of the question.

        Of a prefix, what may yet become a term is held back.
        """
        folded, origin = normalised(text)
        found, until = self._found(folded), len(text)
        if not final and (open_from := self._undecided(folded)) < len(folded):
            found = [span for span in found if span[0] < open_from]
            until = origin[open_from]
        mark = _NEUTRAL[language_of(dialogue.question)]
        parts, at = [], 0
        for start, stop in _in_text(found, origin):
            parts += [text[at:start], mark]
            at = stop
        return "".join(parts) + text[at:until]

    def save(self, folder: Path) -> dict[str, Any]:
        """Plain settings; no weights."""
        return {"terms": list(self.terms)}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Blocklist:
        """The list that `save` wrote."""
        terms = settings.get("terms")
        if not isinstance(terms, list | tuple) or not all(isinstance(term, str) for term in terms):
            raise DefenceError("blocklist: terms must be a list of texts.")
        return cls(tuple(terms))


def _in_text(found: list[tuple[int, int]], origin: list[int]) -> list[tuple[int, int]]:
    """Ranges in the text itself; those that meet inside one character (`ﬁ` holds two) become one."""
    spans: list[tuple[int, int]] = []
    for start, end in found:
        first, last = origin[start], origin[end - 1] + 1
        if spans and first < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        else:
            spans.append((first, last))
    return spans


def _bounded(text: str, at: int) -> bool:
    """Whether a term may begin or end at `at`: not between two characters of one alphabetic word."""
    if at == 0 or at == len(text):
        return True
    return not (_alphabetic(text[at - 1]) and _alphabetic(text[at]))


def _alphabetic(character: str) -> bool:
    han = "\u2e80" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"
    return character.isalnum() and not han
