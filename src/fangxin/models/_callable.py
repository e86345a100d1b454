from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fangxin.dialogue import Dialogue, printable
from fangxin.models._tokens import estimate_tokens
from fangxin.models._types import ModelError, Reply, Sampling

Messages = list[dict[str, str]]
Answerer = Callable[[Messages], str | Awaitable[str]]


class CallableModel:
    """A Python function as a model: OpenAI chat messages in, the reply's text out.

    Args:
        function: sync (run in a thread) or async. It gets no sampling: it draws as it does.
        name: for reports and the cache; the function's own when None.
        concurrency: calls under way at a time; 1 by default, for functions that are not thread-safe.
        seconds: that a call may take. A sync function can't be stopped: it is left running.
    """

    def __init__(
        self, function: Answerer, *, name: str | None = None, concurrency: int = 1, seconds: float = 600.0
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._function = function
        self._name = name or f"{function.__module__}:{getattr(function, '__qualname__', 'callable')}"
        self._slots = asyncio.Semaphore(concurrency)
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"CallableModel({self._name!r})"

    @property
    def name(self) -> str:
        """The function's name."""
        return self._name

    @property
    def identity(self) -> str:
        """The function's name: give another when the function changes, or clear the cache."""
        return f"python:{self._name}"

    def describe(self) -> dict[str, Any]:
        """The function, for reports and bundles."""
        return {"kind": "python", "name": self._name}

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        """Call the function `n` times.

        Raises:
            ModelError: it raised, took too long, or returned no text.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._call(dialogue.messages())) for _ in range(n)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        """The function's answer, in one piece.

        Raises:
            ModelError: as of `reply`.
        """
        yield (await self.reply(dialogue, sampling))[0].text

    async def close(self) -> None:
        """Nothing to give back."""

    async def _call(self, messages: Messages) -> Reply:
        async with self._slots:
            started = time.monotonic()
            try:
                async with asyncio.timeout(self._seconds):
                    if inspect.iscoroutinefunction(self._function):
                        text = await self._function(messages)
                    else:
                        text = await asyncio.to_thread(self._function, messages)
                        if inspect.isawaitable(text):
                            text = await text
            except TimeoutError:
                raise ModelError(
                    f"{self._name} did not answer within {self._seconds:g} s: raise the timeout.", "timeout"
                ) from None
            except ModelError:
                raise
            except Exception as error:
                reason = " ".join(printable(f"{type(error).__name__}: {error}").split())
                raise ModelError(f"{self._name} failed: {reason[:300]}", "server_error") from error
            if not isinstance(text, str):
                raise ModelError(
                    f"{self._name} returned {type(text).__name__}: it must return the reply as str.",
                    "bad_reply",
                )
            seconds = time.monotonic() - started
            return Reply(text, completion_tokens=estimate_tokens(text), seconds=seconds)


def load_callable(spec: str) -> Answerer:
    """The function that `module:function` names; modules of the working directory are found too.

    Raises:
        ModelError: there is none.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise ModelError(f"{spec!r} must be module:function, such as app:answer.", "missing", fatal=True)
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"{spec!r} can't be loaded: {error}.", "missing", fatal=True) from None
    except Exception as error:
        raise ModelError(
            f"{spec!r} can't be loaded: {type(error).__name__}: {error}.", "missing", fatal=True
        ) from error
    if not callable(found):
        raise ModelError(f"{spec!r} is not a function.", "missing", fatal=True)
    function: Answerer = found
    return function
