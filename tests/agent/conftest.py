from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fangxin.defend import Block, Stage
from fangxin.detect import Verdict
from fangxin.dialogue import Dialogue
from fangxin.models import Reply, Sampling


@dataclass
class Scripted:
    """A model that says its pieces, and then may fail or hang."""

    pieces: tuple[str, ...] = ("Hello there. ", "How are you? ", "Bye.")
    error: Exception | None = None
    hang: bool = False
    name: str = "scripted"
    asked: list[tuple[Dialogue, Sampling]] = field(default_factory=list)
    said: int = 0
    stopped: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def _end(self) -> None:
        self.begun.set()
        if self.error is not None:
            raise self.error
        if self.hang:
            await asyncio.Event().wait()

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        self.asked.append((dialogue, sampling))
        await self._end()
        return [Reply("".join(self.pieces), prompt_tokens=3, completion_tokens=5)]

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        self.asked.append((dialogue, sampling))
        try:
            for piece in self.pieces:
                self.said += 1
                yield piece
                await asyncio.sleep(0)
            await self._end()
        finally:
            self.stopped = True

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Word:
    """A defence that blocks wherever a word is, or fails there."""

    word: str
    stage: Stage = "output"
    error: Exception | None = None
    kind: str = "word"

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        return self._block() if self.stage == "input" and self.word in dialogue.question else dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        return self._block() if self.stage == "output" and self.word in text else text

    def _block(self) -> Block:
        if self.error is not None:
            raise self.error
        return Block(self.stage, self.kind, Verdict("unsafe", 0.9, risk="hate", reason="A word.", by="word"))

    def save(self, folder: Path) -> dict[str, Any]:
        return {"word": self.word}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Word:
        return cls(settings["word"])
