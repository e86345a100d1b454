from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette

from fangxin.agent import Agent
from fangxin.defend import Block
from fangxin.detect import DetectorError, Verdict
from fangxin.dialogue import Dialogue
from fangxin.gateway import serve
from fangxin.models import ModelError, Reply, Sampling

inside_the_door: contextvars.ContextVar[bool] = contextvars.ContextVar("inside_the_door", default=False)


@dataclass
class Scripted:
    """A model that says its pieces; each word is asked for, so a test sees how far it came."""

    pieces: tuple[str, ...] = ("Hello there. ", "How are you? ", "Bye.")
    name: str = "scripted"
    error: Exception | None = None
    error_after: int = 0
    hang_after: int | None = None
    finish: str = "stop"
    asked: list[tuple[Dialogue, Sampling]] = field(default_factory=list)
    said: int = 0
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    outside_calls: int = 0

    def _enter(self, dialogue: Dialogue, sampling: Sampling) -> None:
        self.outside_calls += not inside_the_door.get()
        self.asked.append((dialogue, sampling))
        self.begun.set()

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        self._enter(dialogue, sampling)
        if self.hang_after is not None:
            await self._hang()
        if self.error is not None:
            raise self.error
        return [Reply("".join(self.pieces), self.finish, prompt_tokens=11, completion_tokens=7)]

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        self._enter(dialogue, sampling)
        for i, piece in enumerate(self.pieces):
            if self.hang_after == i:
                await self._hang()
            if self.error is not None and self.error_after == i:
                raise self.error
            self.said = i + 1
            yield piece
            await asyncio.sleep(0)

    async def _hang(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Word:
    """A defence that blocks wherever a word is, in a question or in a reply; `?` in its place can't decide."""

    word: str
    stage: str = "output"
    kind: str = "word"

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        hit = any(self.word in turn.text for turn in dialogue.turns if turn.role != "assistant")
        return self._block("input") if self.stage == "input" and hit else dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        return self._block("output") if self.stage == "output" and self.word in text else text

    def _block(self, stage: Any) -> Block:
        return Block(stage, self.kind, Verdict("unsafe", 0.9, risk="violence", by="word"))

    def save(self, folder: Path) -> dict[str, Any]:
        return {}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Word:
        return cls("")


@dataclass(frozen=True)
class Undecided(Word):
    """A defence that fails at its stage."""

    kind: str = "undecided"

    def _block(self, stage: Any) -> Block:
        raise DetectorError("secret detector trouble")


class SpyAgent(Agent):
    """An agent that counts who comes through the door."""

    calls: list[Dialogue]

    async def respond(self, dialogue: Dialogue, *args: Any, **more: Any) -> Any:
        self.calls.append(dialogue)
        inside_the_door.set(True)
        return await super().respond(dialogue, *args, **more)


def spy(*args: Any, **more: Any) -> SpyAgent:
    agent = SpyAgent(*args, **more)
    object.__setattr__(agent, "calls", [])
    return agent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """The app on a real socket, under the server that `fangxin serve` uses."""
    port = free_port()
    up = asyncio.Event()
    work = asyncio.create_task(serve(app, "127.0.0.1", port, on_ready=up.set))
    waiting = asyncio.create_task(up.wait())
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        work.result()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        waiting.cancel()
        work.cancel()
        await asyncio.gather(work, waiting, return_exceptions=True)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def hello(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}]} | more


def trouble() -> ModelError:
    return ModelError("http://10.0.0.9/v1 with secret words failed", "server_error")
