from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fangxin.defend import Block, DefenceError, Stage
from fangxin.detect import Verdict
from fangxin.dialogue import Dialogue


@dataclass
class Words:
    """A detector that finds a text unsafe where a word is in it; it remembers what it was shown."""

    words: tuple[str, ...]
    name: str = "words"

    def __post_init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        self.seen.append((text, question))
        hit = any(word in text for word in self.words)
        return Verdict("unsafe" if hit else "safe", float(hit), by=self.name)


@dataclass(frozen=True)
class Tagged:
    """A third party's defence: marks what passes with its tag, and blocks at its word."""

    tag: str = ""
    word: str = ""
    stage: Stage = "output"
    kind: str = "tagged"

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        if self.word and self.stage == "input" and self.word in dialogue.question:
            return self._block()
        return dialogue.with_question(dialogue.question + self.tag)

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        if self.word and self.stage == "output" and self.word in text:
            return self._block()
        return text + self.tag if final else text

    def _block(self) -> Block:
        return Block(self.stage, self.kind + self.tag, Verdict("unsafe", 0.9, reason=self.word))

    def save(self, folder: Path) -> dict[str, Any]:
        return {"tag": self.tag, "word": self.word, "stage": self.stage}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Tagged:
        if "tag" not in settings:
            raise DefenceError("tagged: no tag.")
        return cls(settings["tag"], settings["word"], settings["stage"])
