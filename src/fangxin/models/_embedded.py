from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from fangxin.dialogue import Dialogue, printable
from fangxin.models._endpoint import Patience
from fangxin.models._http import OpenAIModel
from fangxin.models._types import ModelError, Reply, Sampling
from fangxin.models._weights import Weights, embedded_weights, weights_of

_MOST_THREADS = 16


class EmbeddedModel:
    """A GGUF model under llama.cpp's server, in a child process that ends with this one.

    Made by `EmbeddedModel.start()`. The server listens on a free loopback port and wants a key that
    only this process has.
    """

    def __init__(
        self,
        engine: _Engine,
        weights: Weights,
        adapters: Sequence[tuple[Weights, float]],
        settings: Mapping[str, Any],
        reply_timeout: float,
        *,
        scaled: bool = False,
    ) -> None:
        self._engine = engine
        self._weights = weights
        self._adapters = tuple(adapters)
        self._settings = dict(settings)
        self._reply_timeout = reply_timeout
        self._scaled = scaled
        marks = [weights.sha256, f"xllamacpp-{_engine_version()}", f"context-{settings['context']}"]
        marks.append(f"frequency-{settings['frequency_penalty']:g}")
        marks += [f"{adapter.sha256}*{scale:g}" for adapter, scale in adapters]
        lora = [{"id": i, "scale": scale} for i, (_, scale) in enumerate(adapters)]
        self._wire = OpenAIModel(
            engine.url,
            weights.name,
            engine.key,
            patience=Patience(timeout=reply_timeout, retries=2, first_wait=0.1, longest_wait=2.0),
            concurrency=settings["slots"],
            one_by_one=True,
            identity="embedded:" + ":".join(marks),
            extra={"lora": lora} if scaled else None,
        )

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        weights: str | Path | None = None,
        adapters: Sequence[tuple[str | Path, float]] = (),
        threads: int | None = None,
        slots: int = 32,
        context: int = 1024,
        frequency_penalty: float = 0.5,
        reply_timeout: float = 600.0,
        start_timeout: float = 120.0,
    ) -> AsyncIterator[EmbeddedModel]:
        """Start the engine, and stop it on leaving.

        Args:
            weights: a GGUF file; the installed SmolLM2-135M-Instruct when None.
            adapters: LoRA adapters in GGUF form, each with its scale.
            threads: CPU threads; chosen by `free_threads()` when None.
            slots: dialogues continued at a time (>= 1); also the bound on requests under way.
            context: tokens of prompt and reply that one slot holds. All slots together take about
                23 KB of memory a token with the installed model (0.75 GB by default).
            frequency_penalty: taken off a token's logit for each time that it stands among the last 64
                (OpenAI's meaning; 0 for none). Without it a model this small soon says one sentence over
                and over. A request's own value goes before it.
            reply_timeout: seconds for one reply.
            start_timeout: seconds that loading may take.

        Raises:
            ModelError: no weights, or an engine that does not start.
        """
        if slots < 1 or context < 64:
            raise ModelError(
                "The embedded engine needs at least 1 slot and 64 tokens of context.", "rejected", fatal=True
            )
        found = await asyncio.to_thread(embedded_weights if weights is None else lambda: weights_of(weights))
        lora = [(await asyncio.to_thread(weights_of, path), scale) for path, scale in adapters]
        settings: dict[str, Any] = {
            "weights": str(found.path.resolve()),
            "adapters": [(str(adapter.path.resolve()), scale) for adapter, scale in lora],
            "name": found.name,
            "threads": await asyncio.to_thread(free_threads) if threads is None else max(1, threads),
            "slots": slots,
            "context": context,
            "frequency_penalty": frequency_penalty,
        }
        shown = {key: settings[key] for key in ("threads", "slots", "context", "frequency_penalty")}
        key = secrets.token_urlsafe(24)
        async with _engine(settings | {"key": key}, start_timeout) as engine:
            model = cls(engine, found, lora, shown, reply_timeout)
            try:
                yield model
            finally:
                await model._wire.close()

    def __repr__(self) -> str:
        return f"EmbeddedModel({self.name!r}, {self._settings})"

    @property
    def name(self) -> str:
        """The model's name, with its quantisation."""
        return f"{self._weights.name} {self._weights.quantisation}"

    @property
    def identity(self) -> str:
        """Weights, adapters, engine version and context: the cache's key starts with it."""
        return self._wire.identity

    @property
    def model_fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return self._weights.sha256

    @property
    def slots(self) -> int:
        """Dialogues continued at a time."""
        return int(self._settings["slots"])

    @property
    def base_url(self) -> str:
        """The server's address, for a client of one's own; it wants `key`."""
        return self._engine.url

    @property
    def key(self) -> str:
        """The key of the loopback server; new at each start."""
        return self._engine.key

    def scaled(self, *scales: float) -> EmbeddedModel:
        """The same engine with other scales of its adapters: with and without one, side by side.

        Closing it leaves the engine running.

        Args:
            scales: one for each adapter that the engine was started with; 0 leaves it out.
        """
        adapters = [(adapter, scale) for (adapter, _), scale in zip(self._adapters, scales, strict=True)]
        return EmbeddedModel(
            self._engine, self._weights, adapters, self._settings, self._reply_timeout, scaled=True
        )

    def describe(self) -> dict[str, Any]:
        """The model and how it is served, for reports and bundles."""
        return {
            "kind": "embedded",
            "name": self._weights.name,
            "file_sha256": self._weights.sha256,
            "quantisation": self._weights.quantisation,
            "engine": f"xllamacpp {_engine_version()}",
            **self._settings,
            "adapters": [
                {"file_sha256": adapter.sha256, "scale": scale} for adapter, scale in self._adapters
            ],
        }

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        """Continue a dialogue `n` times; with a seed, the i-th is drawn with `seed + i`.

        Raises:
            ModelError: no usable reply; a prompt that the context can't hold among the reasons.
        """
        try:
            return await self._wire.reply(dialogue, sampling, n)
        except ModelError as error:
            raise self._explained(error) from None

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        """Continue a dialogue once, piece by piece.

        Raises:
            ModelError: as of `reply`, or a stream that broke off.
        """
        try:
            async for piece in self._wire.stream(dialogue, sampling):
                yield piece
        except ModelError as error:
            raise self._explained(error) from None

    async def close(self) -> None:
        """Stop the engine; leaving the context of `start` does it too."""
        await self._wire.close()
        if not self._scaled:
            await self._engine.stop()

    def _explained(self, error: ModelError) -> ModelError:
        if self._engine.ended:
            return ModelError(f"The embedded engine died: {self._engine.last_words()}", "missing", fatal=True)
        if "exceed_context_size" in str(error):
            return ModelError(
                "The prompt is longer than the embedded engine's context of "
                f"{self._settings['context']} tokens: shorten it, or start the engine with more context.",
                "rejected",
            )
        return error


class _Engine:
    """The child process."""

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes], key: str) -> None:
        self._process = process
        self._log = log
        self.key = key
        self.url = ""

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def ready(self, settings: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(settings | {"parent": os.getpid()}).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        except ConnectionError:
            line = b""
        if not line:
            await self._process.wait()
            raise ModelError(f"The embedded engine did not start: {self.last_words()}", "missing", fatal=True)
        self.url = str(json.loads(line)["url"])

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        # Without this the transport is closed only when collected, and warns.
        self._process._transport.close()  # type: ignore[attr-defined]

    def last_words(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = printable(self._log.read().decode("utf-8", "replace")).strip().splitlines()
        return " | ".join(lines[-3:]) or f"it left no message (exit code {self._process.returncode})."


# How long the engine's threads spin for each other before they sleep. On two quiet cores endless spinning
# gave 170 tokens/s and this 140-155; with one other process on the cores, under 17 against 67.
_SPINS = 20_000


@asynccontextmanager
async def _engine(settings: dict[str, Any], start_timeout: float) -> AsyncIterator[_Engine]:
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fangxin.models._llama_server",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={"GOMP_SPINCOUNT": str(_SPINS), **os.environ},
            process_group=0,  # Ctrl-C is ours to answer: the engine finishes what is under way
        )
        engine = _Engine(process, log, settings["key"])
        try:
            try:
                async with asyncio.timeout(start_timeout):
                    await engine.ready(settings)
            except TimeoutError:
                raise ModelError(
                    f"The embedded engine did not start within {start_timeout:g} s: {engine.last_words()}",
                    "timeout",
                    fatal=True,
                ) from None
            yield engine
        finally:
            await engine.stop()


def free_threads() -> int:
    """CPU threads for the engine: this process's cores, less those that others keep busy now.

    llama.cpp's threads wait for one another by spinning: one thread too many on a busy machine
    measured 7 to 12 times slower, one too few costs its share. So all cores are taken only where a
    quarter of a second's look finds them free, and at most 16. The look blocks for that time.
    """
    cores = (
        sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    most = max(1, min(len(cores), _quota(), _MOST_THREADS))
    free = len(cores) - _busy(cores)
    return most if free >= most - 0.5 else max(1, min(most - 1, round(free)))


def _busy(cores: Sequence[int]) -> float:
    """How many of the cores are busy, from Linux's tick counts; the load average elsewhere."""
    before = _ticks(cores)
    time.sleep(0.25)
    after = _ticks(cores)
    shares = [
        1 - (idle - idle_before) / (total - total_before)
        for (idle, total), (idle_before, total_before) in zip(after, before, strict=True)
        if total > total_before
    ]
    if shares:
        return sum(shares)
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _ticks(cores: Sequence[int]) -> list[tuple[int, int]]:
    """Idle and total ticks of each core since the machine started."""
    try:
        lines = Path("/proc/stat").read_text("ascii").splitlines()
    except OSError:
        return []
    cpus = [line.split() for line in lines if line.startswith("cpu")]
    rows = {words[0]: [int(word) for word in words[1:9]] for words in cpus}
    found = [rows[f"cpu{core}"] for core in cores if f"cpu{core}" in rows]
    return [(row[3] + row[4], sum(row)) for row in found]


def _quota() -> int:
    """Whole cores that the control group grants; a container's limit does not show in the affinity."""
    try:
        granted, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        return max(1, int(granted) // int(period))
    except (OSError, ValueError):
        return _MOST_THREADS


def _engine_version() -> str:
    return importlib.metadata.version("xllamacpp")
