from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

from fangxin.defend._defence import Block, DefenceError, ReplyStream, language_of
from fangxin.defend._guards import _weights
from fangxin.detect import DetectorError, Matcher, TermDetector, Terms, read_terms
from fangxin.dialogue import Dialogue

_NEUTRAL = {"en": "[removed]", "zh": "［已略去］"}
_INLINE = 1000  # longer lists get a file of their own in a bundle


class _Reply:
    """A reply under way: its terms replaced as it comes, by the list that it began with.

    Only what may yet become a term, or stands before it, is kept.
    """

    def __init__(self, dialogue: Dialogue, matcher: Matcher) -> None:
        self._mark = _NEUTRAL[language_of(dialogue.question)]
        self._matcher, self._text, self._at = matcher, "", 0

    async def feed(self, piece: str) -> str | Block:
        return self.more(piece, final=False)

    async def close(self) -> str | Block:
        return self.more("", final=True)

    def more(self, piece: str, *, final: bool) -> str:
        text, at = self._text + piece, self._at
        scan, parts = self._matcher.scan(text, at, final=final), []
        for found in scan.found:
            parts += [text[at : found.start], self._mark]
            at = found.end
        shown = "".join(parts) + text[at : scan.until]
        self._text, self._at = text[scan.begin :], scan.until - scan.begin
        return shown


@dataclass(frozen=True, init=False)
class Blocklist:
    """Terms that nobody shall be shown, replaced by a neutral mark in the language of the question.

    Attributes:
        terms: what finds them.
    """

    terms: TermDetector
    kind: str = "blocklist"

    def __init__(self, terms: TermDetector | Terms) -> None:
        """Make a blocklist of a detector, or of terms alone: see `TermDetector`."""
        object.__setattr__(self, "terms", terms if isinstance(terms, TermDetector) else TermDetector(terms))

    @classmethod
    def default(cls) -> Self:
        """The short list that ships: abuse aimed at the person in the talk, English and Chinese."""
        with as_file(files("fangxin.defend") / "blocklist.toml") as path:
            return cls(TermDetector(read_terms(path)))

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Leave the dialogue as it is: a list of words is no judge of intent."""
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Replace each term by a neutral mark; of a prefix, what may yet become a term is held back."""
        return _Reply(dialogue, self.terms.matcher).more(text, final=final)

    def stream(self, dialogue: Dialogue) -> ReplyStream:
        """Replace terms as a reply comes; its work grows with its length, however it comes in pieces."""
        return _Reply(dialogue, self.terms.matcher)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write a long list into a file named by its content; give the settings, a short list among them."""
        settings: dict[str, Any] = {"homophones": self.terms.homophones}
        if self.terms.themes is not None:
            settings["themes"] = list(self.terms.themes)
        terms = {theme: list(of_theme) for theme, of_theme in self.terms.terms.items()}
        if sum(map(len, terms.values())) <= _INLINE:
            return {"terms": terms, **settings}
        data = json.dumps(terms, ensure_ascii=False, indent=0).encode()
        name = f"blocklist-{hashlib.sha256(data).hexdigest()[:16]}.json"
        (folder / name).write_bytes(data)
        return {"weights": name, **settings}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Self:
        """The list that `save` wrote."""
        themes, homophones = settings.get("themes"), settings.get("homophones", False)
        if not (themes is None or _texts(themes)) or not isinstance(homophones, bool):
            raise DefenceError("blocklist: themes must be a list of texts, and homophones true or false.")
        try:
            if "weights" in settings:
                terms: Any = read_terms(folder / _weights("blocklist", settings))
            else:
                terms = settings.get("terms")
                if not all(map(_texts, terms.values() if isinstance(terms, Mapping) else [terms])):
                    raise DefenceError("blocklist: terms must be a list of texts, or one for each theme.")
            return cls(TermDetector(terms, themes=themes, homophones=homophones))
        except DetectorError as error:
            raise DefenceError(f"blocklist: {error}") from error


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)
