from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

from fangxin.defend._defence import Block, DefenceError, language_of
from fangxin.defend._guards import _weights
from fangxin.detect import DetectorError, Matcher, TermDetector, Terms, read_terms
from fangxin.dialogue import Dialogue

_NEUTRAL = {"en": "[removed]", "zh": "［已略去］"}
_INLINE = 1000  # longer lists get a file of their own in a bundle
_STREAMS = 256  # replies under way that are remembered


@dataclass(frozen=True, slots=True)
class _Stream:
    """A reply under way: with which list it is read, and how far that is done.

    Attributes:
        dialogue: that it replies to.
        matcher: the list.
        read: the part of the reply that is decided.
        shown: what is shown for it.
        begin: where in the reply to read from, next.
    """

    dialogue: Dialogue
    matcher: Matcher
    read: str = ""
    shown: str = ""
    begin: int = 0

    def more(self, text: str, *, final: bool) -> _Stream:
        """Read a longer part of the reply, or all of it."""
        at = len(self.read)
        scan = self.matcher.scan(text, at, self.begin, final=final)
        mark = _NEUTRAL[language_of(self.dialogue.question)]
        parts = [self.shown]
        for found in scan.found:
            parts += [text[at : found.start], mark]
            at = found.end
        shown = "".join(parts) + text[at : scan.until]
        return replace(self, read=text[: scan.until], shown=shown, begin=scan.begin)


@dataclass(frozen=True, init=False)
class Blocklist:
    """Terms that nobody shall be shown, replaced by a neutral mark in the language of the question.

    Attributes:
        terms: what finds them.
    """

    terms: TermDetector
    kind: str = "blocklist"
    _streams: OrderedDict[int, _Stream] = field(default_factory=OrderedDict, repr=False, compare=False)

    def __init__(self, terms: TermDetector | Terms) -> None:
        """Make a blocklist of a detector, or of terms alone: see `TermDetector`."""
        object.__setattr__(self, "terms", terms if isinstance(terms, TermDetector) else TermDetector(terms))
        object.__setattr__(self, "_streams", OrderedDict())

    @classmethod
    def default(cls) -> Self:
        """The short list that ships: abuse aimed at the person in the talk, English and Chinese."""
        with as_file(files("fangxin.defend") / "blocklist.toml") as path:
            return cls(TermDetector(read_terms(path)))

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Leave the dialogue as it is: a list of words is no judge of intent."""
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Replace each term by a neutral mark.

        Of a prefix, what may yet become a term is held back, and the next one of the same dialogue is read
        from there on, so that the work on a streamed reply grows with its length. A reply is read with one
        list to its end, though a new one may come meanwhile.
        """
        stream = self._streams.pop(id(dialogue), None)
        if stream is None or stream.dialogue is not dialogue or not text.startswith(stream.read):
            stream = _Stream(dialogue, self.terms.matcher)
        stream = stream.more(text, final=final)
        if not final:
            self._streams[id(dialogue)] = stream
            if len(self._streams) > _STREAMS:
                self._streams.popitem(last=False)
        return stream.shown

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
