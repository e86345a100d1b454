"""Rows in, verdicts out: one line for each, in order, as soon as it is judged."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from fangxin.cli._rows import Row, parsed, row_of
from fangxin.cli._terminal import FAILED, InputError
from fangxin.detect import Detector, DetectorError, Task, Verdict, check_many

_ROWS = 64  # judged at once, where rows wait
_CHARACTERS = 64_000  # of them together
_WORDS = {"refusal": {"unsafe": "refusal", "safe": "compliance", "controversial": "controversial"}}


async def score(task: Task, detector: Detector, source: int, out: BinaryIO) -> int:
    """Judge the rows of a file descriptor; give how many there were.

    A row that comes alone is judged alone; those that wait are judged together. Where a row can't be read or
    judged, all before it have been written.

    Raises:
        InputError: a row that can't be used; the message names its line.
        DetectorError: the detector could not judge a row; the message names its line.
    """
    lines = _Lines(source)
    number = count = 0
    while True:
        rows: list[tuple[int, Row]] = []
        wrong: InputError | None = None
        size = 0
        while len(rows) < _ROWS and size < _CHARACTERS:
            line = await lines.next(wait=not rows)
            if line is None:
                break
            number += 1
            if not line.strip():
                continue
            try:
                row = row_of(parsed(line, f"line {number}"), task, f"line {number}")
            except InputError as error:
                wrong = error
                break
            rows.append((number, row))
            size += len(row.text)
        await _judge(task, detector, rows, out)
        count += len(rows)
        if wrong is not None:
            raise wrong
        if not rows:
            return count


async def _judge(task: Task, detector: Detector, rows: list[tuple[int, Row]], out: BinaryIO) -> None:
    """Judge rows together; where that fails, one by one, so that only the one at fault is missing."""
    if not rows:
        return
    try:
        found = await check_many(detector, [row.text for _, row in rows], [row.question for _, row in rows])
    except DetectorError as error:
        if len(rows) == 1:
            raise DetectorError(f"line {rows[0][0]} got no verdict: {error}") from error
        for one in rows:
            await _judge(task, detector, [one], out)
        return
    data = "".join(json.dumps(said(task, v, detector.name), ensure_ascii=False) + "\n" for v in found)
    try:
        out.write(data.encode("utf-8"))
        out.flush()
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        sys.exit(FAILED)


def said(task: Task, verdict: Verdict, name: str) -> dict[str, Any]:
    """A verdict as a row; of a cascade, with what each tier took."""
    label = _WORDS.get(task, {}).get(verdict.label, verdict.label)
    row = {
        "label": label,
        "probability": float(verdict.probability),
        "risk": verdict.risk,
        "detector": verdict.by or name,
        "ms": round(verdict.ms, 3),
    }
    if verdict.tiers:
        row["tiers"] = [{"detector": by, "ms": round(ms, 3)} for by, ms in verdict.tiers]
    return row


class _Lines:
    """Lines of a file descriptor, read by a thread that nobody has to wait for."""

    def __init__(self, source: int) -> None:
        self.ended = False
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(2 * _ROWS)
        threading.Thread(target=self._read, daemon=True).start()

    async def next(self, *, wait: bool) -> bytes | None:
        """The next line; None at the end, or where there is none yet and `wait` is False."""
        if self.ended:
            return None
        if not wait and self._queue.empty():
            await asyncio.sleep(0)  # what the thread has handed over comes in
            if self._queue.empty():
                return None
        line = await self._queue.get()
        self._room.release()
        if isinstance(line, Exception):
            raise line
        self.ended = line is None
        return line

    def _read(self) -> None:
        try:
            for line in _split(self._source):
                self._put(line)
            self._put(None)
        except OSError as error:
            self._put(error)
        except RuntimeError:  # the loop is gone: nobody listens any more
            return

    def _put(self, line: bytes | Exception | None) -> None:
        self._room.acquire()
        self._loop.call_soon_threadsafe(self._queue.put_nowait, line)


def _split(source: int) -> Iterator[bytes]:
    # Read without a buffer of Python's: its lock, held by a thread, would keep the process from ending.
    rest = bytearray()
    while chunk := os.read(source, 1 << 16):
        at = len(rest)
        rest += chunk
        start = 0
        while (end := rest.find(b"\n", max(at, start))) >= 0:
            yield bytes(rest[start:end])
            start = end + 1
        del rest[:start]
    if rest:
        yield bytes(rest)
