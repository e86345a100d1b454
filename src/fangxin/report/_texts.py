from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fangxin.dialogue import Language

_COLUMN: dict[Language, int] = {"en": 0, "zh": 1}


@cache
def catalogue() -> Mapping[str, tuple[str, str]]:
    """Every sentence of the report as `section.key` -> (English, Chinese)."""
    source = tomllib.loads(files("fangxin.report").joinpath("texts.toml").read_text("utf-8"))
    return {
        f"{section}.{key}": (pair[0], pair[1])
        for section, entries in source.items()
        for key, pair in entries.items()
    }


class Texts:
    """The report's sentences in one language: `texts("page.title")`.

    An unknown key is a `KeyError`: a missing sentence is our mistake, not the reader's.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self._column = _COLUMN[language]

    def __call__(self, key: str, **values: Any) -> str:
        sentence = catalogue()[key][self._column]
        return sentence.format(**values) if values else sentence

    def word(self, section: str, name: str) -> str:
        """The word for a value of the result (a status, a state); the value itself where we have none."""
        pair = catalogue().get(f"{section}.{name}")
        return pair[self._column] if pair else name

    def say(self, *sentences: str) -> str:
        """Sentences one after another; empty ones are left out."""
        return ("" if self.language == "zh" else " ").join(sentence for sentence in sentences if sentence)

    def join(self, parts: list[str]) -> str:
        """The parts as a list in running text."""
        return self("page.comma").join(parts)
