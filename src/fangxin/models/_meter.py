from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import Any

from fangxin.dialogue import Dialogue
from fangxin.models._tokens import estimate_tokens
from fangxin.models._types import Described, Model, ModelError, Reply, Sampling, describe

_TOKENS_A_MESSAGE = 4  # role and separators, as chat templates spend them


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost.

    Attributes:
        input_per_million: for a million prompt tokens.
        output_per_million: for a million completion tokens.
        currency: of both, for reports.
    """

    input_per_million: float
    output_per_million: float
    currency: str = "USD"

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The price of so many tokens."""
        return (prompt_tokens * self.input_per_million + completion_tokens * self.output_per_million) / 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """What a meter has counted.

    Attributes:
        calls: of `reply` and `stream`, failed ones too.
        replies: that came, cached ones too.
        cached: replies out of the completion cache.
        failures: calls that ended in a `ModelError`.
        prompt_tokens: read by the model for us, cached replies apart.
        completion_tokens: written by the model for us, cached replies apart.
        cached_prompt_tokens: that the cache saved.
        cached_completion_tokens: that the cache saved.
        seconds: wall time in calls, summed over concurrent ones.
        price: of the tokens not cached; None without a price.
    """

    calls: int = 0
    replies: int = 0
    cached: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_completion_tokens: int = 0
    seconds: float = 0.0
    price: float | None = None


class Meter:
    """A model that counts what is asked of the one behind it; `spent` reads it.

    Put it outside a `CachedModel` to see what the cache saves. Streams bring no counts from the
    engine: their tokens are estimated.
    """

    def __init__(self, model: Model, price: Price | None = None) -> None:
        self._model = model
        self._price = price
        self._spent = Spent()

    def __repr__(self) -> str:
        return f"Meter({self._model!r})"

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def identity(self) -> str:
        """The identity of the model behind; its name where it has none."""
        return self._model.identity if isinstance(self._model, Described) else self._model.name

    @property
    def spent(self) -> Spent:
        """The count so far."""
        if self._price is None:
            return self._spent
        price = self._price.of(self._spent.prompt_tokens, self._spent.completion_tokens)
        return replace(self._spent, price=price)

    def describe(self) -> dict[str, Any]:
        """The model behind."""
        return describe(self._model)

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        """Continue a dialogue `n` times, and count.

        Raises:
            ModelError: as the model behind does.
        """
        started = time.monotonic()
        replies: list[Reply] = []
        failed = 0
        try:
            replies = await self._model.reply(dialogue, sampling, n)
        except ModelError:
            failed = 1
            raise
        finally:
            self._add(replies, failed, time.monotonic() - started)
        return replies

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        """Continue a dialogue once, piece by piece, and count.

        Raises:
            ModelError: as the model behind does.
        """
        started = time.monotonic()
        pieces: list[str] = []
        failed = 0
        try:
            async for piece in self._model.stream(dialogue, sampling):
                pieces.append(piece)
                yield piece
        except ModelError:
            failed = 1
            raise
        finally:
            reply = Reply(
                "", prompt_tokens=prompt_tokens(dialogue), completion_tokens=estimate_tokens("".join(pieces))
            )
            self._add([reply] if pieces else [], failed, time.monotonic() - started)

    async def close(self) -> None:
        """Close the model behind."""
        await self._model.close()

    def _add(self, replies: list[Reply], failures: int, seconds: float) -> None:
        fresh = [reply for reply in replies if not reply.cached]
        cached = [reply for reply in replies if reply.cached]
        old = self._spent
        self._spent = Spent(
            calls=old.calls + 1,
            replies=old.replies + len(replies),
            cached=old.cached + len(cached),
            failures=old.failures + failures,
            prompt_tokens=old.prompt_tokens + sum(r.prompt_tokens for r in fresh),
            completion_tokens=old.completion_tokens + sum(r.completion_tokens for r in fresh),
            cached_prompt_tokens=old.cached_prompt_tokens + sum(r.prompt_tokens for r in cached),
            cached_completion_tokens=old.cached_completion_tokens + sum(r.completion_tokens for r in cached),
            seconds=old.seconds + seconds,
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """About what a run will cost, before it runs.

    Attributes:
        calls: dialogues to be continued.
        prompt_tokens: estimated from the text, without a tokenizer.
        completion_tokens: the most there can be; replies mostly end sooner.
        price: of both; None without a price.
    """

    calls: int
    prompt_tokens: int
    completion_tokens: int
    price: float | None = None


def estimate(
    dialogues: Iterable[Dialogue], sampling: Sampling, n: int = 1, price: Price | None = None
) -> Estimate:
    """Estimate tokens and price of continuing each dialogue `n` times; nothing is asked.

    Prompt tokens are an estimate (see `estimate_tokens`), completion tokens an upper bound.
    """
    sizes = [prompt_tokens(dialogue) for dialogue in dialogues]
    asked, written = sum(sizes), len(sizes) * n * sampling.max_tokens
    return Estimate(len(sizes), asked, written, price.of(asked, written) if price else None)


def prompt_tokens(dialogue: Dialogue) -> int:
    """About how many tokens a dialogue's messages have."""
    return sum(_TOKENS_A_MESSAGE + estimate_tokens(message["content"]) for message in dialogue.messages())
