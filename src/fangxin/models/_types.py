from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from fangxin.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn.

    Attributes:
        max_tokens: the longest reply, in the model's tokens (>= 1).
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        seed: sent to the engine where set; engines that ignore it stay random.
        stop: texts that end a reply.
        logprobs: how many alternatives a token's log-probabilities list; 0 asks for none.
        grammar: what the reply must follow, in llama.cpp's GBNF; sent only where set, since other engines
            don't know it. The log-probabilities stay those of the free model.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int = 0
    grammar: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token, its natural log-probability, and the engine's best alternatives.

    A token that ends or begins within a character, as Chinese ones may, holds its odd bytes as Python's
    `surrogateescape` writes them; so the tokens' bytes, one after another, are the reply's.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One completion.

    Attributes:
        text: what the model said.
        finish: why it ended: `stop`, `length`, or the engine's own word.
        prompt_tokens: tokens read, as the engine counts; 0 where it doesn't say, and on all but the
            first of several replies drawn from one reading of the prompt, so that a sum is right.
        completion_tokens: tokens written, as the engine counts; estimated where it doesn't say.
        seconds: wall time of the call that brought it.
        logprobs: per token, where asked for and had.
        cached: taken from the completion cache; nothing was spent.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    logprobs: tuple[TokenLogprob, ...] = ()
    cached: bool = False


FailureKind = Literal[
    "unreachable",
    "timeout",
    "auth",
    "rate_limited",
    "server_error",
    "bad_reply",
    "rejected",
    "missing",
    "storage",
]


class ModelError(Exception):
    """A model that gave no usable reply. One clear sentence, with what to do.

    Attributes:
        kind: what went wrong, for programs.
        fatal: no later call can succeed either (a wrong key, a missing model): a run should stop.
    """

    def __init__(self, message: str, kind: FailureKind, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.fatal = fatal


class Model(Protocol):
    """Continues dialogues."""

    @property
    def name(self) -> str:
        """The name that the report and the cache know it by."""
        ...

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        """Continue a dialogue `n` times.

        Raises:
            ModelError: no usable reply; never an empty list, never a made-up text.
        """
        ...

    def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        """Continue a dialogue once, piece by piece."""
        ...

    async def close(self) -> None:
        """Give back connections and processes."""
        ...


@runtime_checkable
class Described(Model, Protocol):
    """A model that can say exactly which one it is; every model of this room can."""

    @property
    def identity(self) -> str:
        """All that tells this model from another, without secrets: the cache's key starts with it."""
        ...

    def describe(self) -> dict[str, Any]:
        """The model and how it is served, as plain data for reports and bundles; no secrets."""
        ...


def describe(model: Model) -> dict[str, Any]:
    """Plain data on any model: its own description where it has one, else its name."""
    return model.describe() if isinstance(model, Described) else {"kind": "other", "name": model.name}
