from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import orjson

from fangxin.dialogue import Dialogue
from fangxin.models._types import Described, Model, ModelError, Reply, Sampling, TokenLogprob, describe

_APPLICATION = 0x46584343  # "FXCC", in the SQLite header: whose file it is
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY,
    text TEXT NOT NULL,
    finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    logprobs TEXT NOT NULL
) WITHOUT ROWID
"""


class CachedModel:
    """A model whose completions are kept in an SQLite file and never asked for twice.

    The key is a SHA-256 of the model's identity, the messages, the sampling and the reply's number:
    the i-th reply to the same question is the same text for ever, also at a temperature above 0.
    The file holds completions but no prompts, and is readable by its owner only. A completion is in
    the file before it is returned, so a killed process loses none that anybody saw. Several
    processes may share a file. Streams are answered from the file where they can be, and not stored.

    Args:
        model: whom to ask for what the file lacks.
        path: the SQLite file; made when missing.
        identity: replaces the model's own; needed for a model that has none.

    Raises:
        ModelError: the file can't be used, or the model's identity isn't known.
    """

    def __init__(self, model: Model, path: str | Path, *, identity: str | None = None) -> None:
        if identity is None:
            if not isinstance(model, Described):
                raise ModelError(
                    f"The model {model.name!r} has no identity to cache by: give one.", "rejected", fatal=True
                )
            identity = model.identity
        self._model = model
        self._identity = identity
        self._path = Path(path)
        self._asking: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        try:
            self._file = _opened(self._path)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None

    def __repr__(self) -> str:
        return f"CachedModel({self._model!r})"

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    @property
    def identity(self) -> str:
        """What the completions are kept under."""
        return self._identity

    def describe(self) -> dict[str, Any]:
        """The model behind the cache."""
        return describe(self._model)

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        """Continue a dialogue `n` times, asking only for replies that the file lacks.

        Raises:
            ModelError: no usable reply, or a file that can't be written any more.
        """
        keys = self._keys(dialogue, sampling, n)
        lock = self._asking.setdefault(keys[0], asyncio.Lock())
        async with lock:  # the same question twice at a time is asked once
            known = self._read(keys)
            first = next((i for i, reply in enumerate(known) if reply is None), n)
            if first == n:
                return [reply for reply in known if reply is not None]
            seed = None if sampling.seed is None else sampling.seed + first
            fresh = await self._model.reply(dialogue, replace(sampling, seed=seed), n - first)
            replies = [old or new for old, new in zip(known[first:], fresh, strict=True)]
            self._write(list(zip(keys[first:], replies, strict=True)))
            return [reply for reply in known[:first] if reply is not None] + replies

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        """Continue a dialogue once: in one piece where the file has it, else as the model streams.

        Raises:
            ModelError: no usable reply.
        """
        [known] = self._read(self._keys(dialogue, sampling, 1))
        if known is not None:
            yield known.text
            return
        async for piece in self._model.stream(dialogue, sampling):
            yield piece

    async def close(self) -> None:
        """Close the file and the model."""
        self._file.close()
        await self._model.close()

    def _keys(self, dialogue: Dialogue, sampling: Sampling, n: int) -> list[bytes]:
        if n < 1:
            raise ValueError("n must be at least 1")
        try:
            asked = orjson.dumps([self._identity, dialogue.messages(), astuple(sampling)])
        except TypeError:
            raise ModelError(
                "The dialogue holds text that is not valid Unicode (a lone surrogate): remove it.", "rejected"
            ) from None
        return [hashlib.sha256(b"%d %b" % (i, asked)).digest() for i in range(n)]

    def _read(self, keys: Sequence[bytes]) -> list[Reply | None]:
        try:
            marks = ",".join("?" * len(keys))
            rows = self._file.execute(f"SELECT * FROM replies WHERE key IN ({marks})", keys).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        found = {row[0]: _reply(row) for row in rows}
        return [found.get(key) for key in keys]

    def _write(self, rows: Sequence[tuple[bytes, Reply]]) -> None:
        try:
            with self._file:
                self._file.executemany(
                    "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            key,
                            reply.text,
                            reply.finish,
                            reply.prompt_tokens,
                            reply.completion_tokens,
                            reply.seconds,
                            json.dumps([astuple(token) for token in reply.logprobs]),
                        )
                        for key, reply in rows
                    ],
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> ModelError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return ModelError(
            f"The completion cache {self._path} can't be used: {reason}. "
            "Free space, or move the file away, or name another one.",
            "storage",
            fatal=True,
        )


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made here and not by SQLite, so that it is never readable by others; WAL files take its mode.
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
    file = sqlite3.connect(path, timeout=30.0)
    try:
        application = file.execute("PRAGMA application_id").fetchone()[0]
        version = file.execute("PRAGMA user_version").fetchone()[0]
        empty = not file.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        if not empty and (application, version) != (_APPLICATION, _VERSION):
            raise sqlite3.DatabaseError("it is not a completion cache of this version")
        file.execute("PRAGMA journal_mode=WAL")
        # Survives the process at every commit, and the machine's loss of power at every checkpoint.
        file.execute("PRAGMA synchronous=NORMAL")
        with file:
            file.execute("BEGIN IMMEDIATE")
            file.execute(_SCHEMA)
            file.execute(f"PRAGMA application_id={_APPLICATION}")
            file.execute(f"PRAGMA user_version={_VERSION}")
    except sqlite3.Error:
        file.close()
        raise
    return file


def _reply(row: Sequence[Any]) -> Reply:
    _, text, finish, prompt_tokens, completion_tokens, seconds, logprobs = row
    return Reply(
        text=text,
        finish=finish,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        seconds=seconds,
        logprobs=tuple(
            TokenLogprob(token, logprob, tuple((other, value) for other, value in top))
            for token, logprob, top in json.loads(logprobs)
        ),
        cached=True,
    )
