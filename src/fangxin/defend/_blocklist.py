from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ahocorasick_rs import AhoCorasick, MatchKind

from fangxin.defend._defence import Block, DefenceError, language_of
from fangxin.dialogue import Dialogue

_NEUTRAL = {"en": "[removed]", "zh": "［已略去］"}


def normalised(text: str) -> tuple[str, list[int]]:
    """Fold a text for matching and say where each folded character came from.

    Folds width and compatibility forms (NFKC), case, and drops format characters (zero-width ones).

    Returns:
        The folded text and, for each of its characters, the index in `text`.
    """
    folded: list[str] = []
    origin: list[int] = []
    for i, character in enumerate(text):
        if unicodedata.category(character) == "Cf":
            continue
        for part in unicodedata.normalize("NFKC", character).casefold():
            folded.append(part)
            origin.append(i)
    return "".join(folded), origin


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

    def __post_init__(self) -> None:
        folded = sorted({normalised(term)[0] for term in self.terms} - {""})
        automaton = AhoCorasick(folded, matchkind=MatchKind.LeftmostLongest) if folded else None
        object.__setattr__(self, "_automaton", automaton)

    @classmethod
    def default(cls) -> Blocklist:
        """The short list that ships: abuse aimed at the person in the talk, English and Chinese."""
        data = tomllib.loads((files("fangxin.defend") / "blocklist.toml").read_text("utf-8"))
        return cls(tuple(data["en"]) + tuple(data["zh"]))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Half-open character ranges of the terms in `text`, in order, not overlapping."""
        if self._automaton is None:
            return []
        folded, origin = normalised(text)
        hits = self._automaton.find_matches_as_indexes(folded)
        return [
            (origin[start], origin[end - 1] + 1)
            for _, start, end in hits
            if _bounded(folded, start) and _bounded(folded, end)
        ]

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Leave the dialogue as it is: a list of words is no judge of intent."""
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Replace each term by a neutral mark in the language of the reply."""
        spans = self.spans(text)
        if not spans:
            return text
        mark = _NEUTRAL[language_of(text)]
        parts, end = [], 0
        for start, stop in spans:
            parts += [text[end:start], mark]
            end = stop
        return "".join(parts) + text[end:]

    def save(self, folder: Path) -> dict[str, Any]:
        """Plain settings; no weights."""
        return {"terms": list(self.terms)}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Blocklist:
        """The list that `save` wrote."""
        terms = settings.get("terms")
        if not isinstance(terms, Iterable) or not all(isinstance(term, str) for term in terms):
            raise DefenceError("blocklist: terms must be a list of texts.")
        return cls(tuple(terms))


def _bounded(text: str, at: int) -> bool:
    """Whether a term may begin or end at `at`: not between two characters of one alphabetic word."""
    if at == 0 or at == len(text):
        return True
    return not (_alphabetic(text[at - 1]) and _alphabetic(text[at]))


def _alphabetic(character: str) -> bool:
    return character.isalnum() and not "\u2e80" <= character <= "\u9fff"
