"""A streamed reply against the same reply judged whole, by the shipped output guard.

    python benchmarks/streams.py --data FOLDER               # about a minute of CPU
    python benchmarks/streams.py --data FOLDER --rows 20     # a look, with wide intervals

What is measured, on replies that the guard was never trained on: the judge's side of train/exchanges and
what stands in dev/exchanges (chat that offends, which this guard isn't made for), a sample of each.

- F1 of `unsafe` for the whole text (`ReplyGuard.check`) and for the stream, which may not be more than 2
  points worse; false alarms of both. The threshold and window of `StreamCheck` were chosen on the
  judge's side of train/exchanges alone, on a sample of another seed.
- characters held back at each character of a reply that is let through, as its model writes it
- of harmful replies that are stopped: the share that had left by then
- characters read for one of the reply, by length of the reply: it must not grow with the length
- CPU seconds for a long reply, streamed character by character
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fangxin.detect import ReplyGuard, StreamCheck
from fangxin.detect._sources import Sources
from fangxin.detect._text import language

PIECE = 4  # characters: about a token


@dataclass(frozen=True, slots=True)
class Row:
    """A reply with its label."""

    question: str
    reply: str
    harmful: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one reply.

    Attributes:
        row: the reply.
        whole: the whole text's verdict is `unsafe`.
        stopped: the stream stopped it.
        held: characters held back after each character.
        left: characters that had left before it was stopped, or all.
        read: characters that the detector was given.
    """

    row: Row
    whole: bool
    stopped: bool
    held: list[int]
    left: int
    read: int


def sample(data: Path, rows: int, seed: int) -> dict[str, list[Row]]:
    """`rows` replies of each label, set and language (fewer where there aren't so many)."""
    sources, rng = Sources(data), random.Random(seed)
    sets: dict[str, list[Row]] = {
        "train/exchanges": [
            Row(x.question, x.reply, bool(x.harmful))
            for x in sources.exchanges("judge")
            if x.source in ("gptfuzz", "jade_v3")
        ],
        "dev/exchanges": [
            Row(x["prompt"], x["response"], x["label"] == "unsafe") for x in sources.read("dev", "exchanges")
        ],
    }
    groups: defaultdict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for name, found in sets.items():
        for row in found:
            if row.reply.strip():
                groups[name, language(row.reply), row.harmful].append(row)
    out: defaultdict[str, list[Row]] = defaultdict(list)
    for (name, code, _), found in groups.items():
        if len(found) >= 20:
            out[f"{name} {code}"] += rng.sample(found, min(rows, len(found)))
    return dict(out)


async def seen(guard: ReplyGuard, row: Row) -> Seen:
    """One reply, whole and as a stream of short pieces."""
    check, held, stopped = StreamCheck(guard, row.question), [], False
    for at in range(0, len(row.reply), PIECE):
        piece = row.reply[at : at + PIECE]
        stopped = await check.feed(piece) is not None
        if stopped:
            break
        held += [at + len(piece) - check.cleared] * len(piece)
    left = check.cleared
    if not stopped:
        stopped = await check.close() is not None
        left = left if stopped else len(row.reply)
    whole = await guard.check(row.reply, question=row.question)
    return Seen(row, whole.unsafe, stopped, held, left, check.read)


def f1(found: list[tuple[bool, bool]]) -> float:
    """Of pairs (said, true)."""
    hits = sum(said and true for said, true in found)
    return 2 * hits / max(1, sum(said + true for said, true in found))


def interval(rows: list[Seen], rng: np.random.Generator) -> tuple[float, float]:
    """95 % of F1 streamed - F1 whole, by a paired bootstrap over replies."""
    gaps = []
    for _ in range(1000):
        drawn = [rows[i] for i in rng.integers(0, len(rows), len(rows))]
        gaps.append(
            f1([(s.stopped, s.row.harmful) for s in drawn]) - f1([(s.whole, s.row.harmful) for s in drawn])
        )
    low, high = np.quantile(gaps, [0.025, 0.975])
    return float(low), float(high)


def report(name: str, rows: list[Seen], rng: np.random.Generator) -> float:
    """Print a line; the gap in F1."""
    whole = f1([(s.whole, s.row.harmful) for s in rows])
    stream = f1([(s.stopped, s.row.harmful) for s in rows])
    low, high = interval(rows, rng)
    held = [h for s in rows if not s.stopped for h in s.held]
    left = [s.left / len(s.row.reply) for s in rows if s.stopped and s.row.harmful]
    middle, most = np.percentile(held, [50, 95]) if held else (math.nan, math.nan)
    ratio = sum(s.read for s in rows) / sum(len(s.held) or PIECE for s in rows)
    false = [sum(getattr(s, by) for s in rows if not s.row.harmful) for by in ("whole", "stopped")]
    print(
        f"{name:<20} {len(rows):>5} {whole:>7.3f} {stream:>7.3f} {100 * (stream - whole):>+6.1f} "
        f"[{100 * low:+.1f}, {100 * high:+.1f}] {false[0]:>5} {false[1]:>5} {middle:>6.0f} {most:>5.0f} "
        f"{np.median(left) if left else math.nan:>6.2f} {ratio:>6.2f}"
    )
    return stream - whole


def lengths(rows: list[Seen]) -> None:
    """Print characters read per character of replies that were read to their end, by length."""
    print("\ncharacters of the reply    replies    read per character")
    for low, high in ((1, 125), (125, 250), (250, 500), (500, 1000), (1000, 2000), (2000, 10_000)):
        found = [s for s in rows if low <= len(s.row.reply) < high and not s.stopped]
        if found:
            ratio = sum(s.read for s in found) / sum(len(s.row.reply) for s in found)
            print(f"{low:>7} - {high:<10} {len(found):>12} {ratio:>21.2f}")


async def long(guard: ReplyGuard, rows: list[Seen]) -> None:
    """Print what longer and longer replies cost: harmless ones, joined."""
    harmless = " ".join(s.row.reply for s in rows if not s.stopped and language(s.row.reply) == "en")
    print("\ncharacters, one by one    CPU s    CPU s per 1,000    read per character")
    for size in (2000, 8000, 32_000):
        text = (harmless * (1 + size // max(1, len(harmless))))[:size]
        check, read, start = StreamCheck(guard, "How is the weather?"), 0, time.process_time()
        for character in text:
            if await check.feed(character) is not None:  # only the cost is looked at: go on
                read += check.read
                check = StreamCheck(guard, "How is the weather?")
        used = time.process_time() - start
        print(f"{size:>25} {used:>8.2f} {1000 * used / size:>18.3f} {(read + check.read) / size:>21.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("FANGXIN_DATA"), help="the data folder")
    parser.add_argument("--rows", type=int, default=120, help="replies of each set, language and label")
    parser.add_argument("--seed", type=int, default=20261124)
    options = parser.parse_args()
    if not options.data:
        parser.error("give the data folder with --data, or set FANGXIN_DATA.")
    guard, rng = ReplyGuard.default(), np.random.default_rng(options.seed)

    async def run() -> dict[str, list[Seen]]:
        return {
            name: [await seen(guard, row) for row in rows]
            for name, rows in sample(Path(options.data), options.rows, options.seed).items()
        }

    found = asyncio.run(run())
    print(
        f"{'replies':<20} {'n':>5} {'whole':>7} {'stream':>7} {'points':>6} {'95 %':<13} false alarms  "
        f"held: 50 % 95 %   left   read"
    )
    gaps = [report(name, rows, rng) for name, rows in found.items()]
    everything = [s for rows in found.values() for s in rows]
    report("all", everything, rng)
    lengths(everything)
    asyncio.run(long(guard, everything))
    worst = min(gaps)
    print(f"\nworst of the sets: {100 * worst:+.1f} points of F1; wanted: no worse than -2")
    return 0 if worst >= -0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
