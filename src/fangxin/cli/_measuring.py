"""How good a detector is on labelled rows, and what may be promised of it there."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fangxin.cli._rows import Labelled
from fangxin.cli._terminal import InputError
from fangxin.detect import (
    Detector,
    Measured,
    Task,
    Tier,
    Verdict,
    by_language,
    check_many,
    decide,
    promise,
    scores_of,
)
from fangxin.proof import clopper_pearson

_AT_ONCE = 64
_ALONE = 50  # rows judged one by one, for the time that one takes
_NAMES = {
    "f1": "F1",
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "recall": "recall",
    "false_blocks": "false blocks",
    "auprc": "AUPRC",
    "auroc": "AUROC",
    "recall_at_1": "recall at 1 % false positives",
    "recall_at_2": "recall at 2 % false positives",
    "recall_at_5": "recall at 5 % false positives",
}


async def bench(
    task: Task, detector: Detector, data: Labelled, *, resamples: int, seed: int, alone: bool = True
) -> dict[str, Any]:
    """Figures over all rows and by language, with the time they took.

    Args:
        task: what is looked for.
        detector: who judges.
        data: the rows.
        resamples: of the bootstrap.
        seed: of the bootstrap, and of the rows that are timed one by one.
        alone: whether to time single rows; else the median is of the verdicts' own times.

    Raises:
        DetectorError: a row could not be judged: nothing is measured without it.
    """
    found: list[Verdict] = []
    texts, questions = [row.text for row in data.rows], [row.question for row in data.rows]
    # What is loaded at the first call isn't a text's time.
    await check_many(detector, texts[:1], questions[:1])
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(texts), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        found += await check_many(detector, texts[part], questions[part])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    took = [verdict.ms for verdict in found]
    if alone:
        chosen = np.random.default_rng(seed).permutation(len(texts))[:_ALONE].tolist()
        took = []
        for i in chosen:
            start_of_one = time.perf_counter()
            await check_many(detector, [texts[i]], [questions[i]])
            took.append((time.perf_counter() - start_of_one) * 1000)
    out = by_language(
        data.truth,
        [verdict.probability for verdict in found],
        [verdict.unsafe for verdict in found],
        data.languages,
        resamples=resamples,
        seed=seed,
    )
    for of in out.values():
        of["figures"] = {name: asdict(one) for name, one in of["figures"].items()}
    speed: dict[str, Any] = {
        "texts_per_second": len(texts) / wall,
        "texts_per_cpu_second": len(texts) / cpu if cpu else None,
        "ms_p50": statistics.median(took),
        "at_once": _AT_ONCE,
    }
    if any(verdict.tiers for verdict in found):
        deepest = [len(verdict.tiers) for verdict in found]
        speed["sent"] = [sum(n > k for n in deepest) / len(deepest) for k in range(max(deepest))]
    return {
        "task": task,
        "detector": detector.name,
        "rows": len(texts),
        "labels": data.counts,
        "languages": out,
        "speed": speed,
        "resamples": resamples,
        "seed": seed,
    }


def table(result: Mapping[str, Any]) -> str:
    """Figures for people: a line a figure, a column a language."""
    languages = result["languages"]
    head = [f"{code} ({of['positives']}+, {of['negatives']}-)" for code, of in languages.items()]
    rows = [[f"{result['task']}: {result['detector']}", *head]]
    for name, said in _NAMES.items():
        cells = [of["figures"].get(name) for of in languages.values()]
        rows.append([said, *(_shown(cell) for cell in cells)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    counts = result["labels"]
    kinds = [f"{kind}: {', '.join(f'{k} {n}' for k, n in of.items())}" for kind, of in counts.items() if of]
    speed = result["speed"]
    lines += [
        "",
        f"Labels: {'; '.join(kinds)}. Intervals: 95 %, bootstrap ({result['resamples']} resamples, "
        f"seed {result['seed']}).",
        f"{speed['texts_per_second']:,.0f} texts/s, {speed['texts_per_cpu_second'] or 0:,.0f} a second of "
        f"processor time ({speed['at_once']} at once); "
        f"{speed['ms_p50']:.2f} ms a text alone (median).",
    ]
    if "sent" in speed:
        lines.append("Asked of each tier: " + ", ".join(f"{share:.1%}" for share in speed["sent"]) + ".")
    return "\n".join(line.rstrip() for line in lines)


def _shown(cell: Mapping[str, float] | None) -> str:
    return f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" if cell else "-"


async def calibrate(
    task: Task, tiers: tuple[Tier, ...], data: Labelled, *, alpha: float, confidence: float, seed: int
) -> dict[str, Any]:
    """A calibration, as `Cascade.load` reads it: thresholds, what is promised of them, what they cost.

    Equal rows count once: saying a row twice makes it no more certain.

    Raises:
        NoPromiseError: the rows can't carry the promise.
        DetectorError: a row could not be judged.
    """
    distinct = data.distinct()
    texts, questions = [row.text for row in distinct.rows], [row.question for row in distinct.rows]
    truth, languages = np.array(distinct.truth, bool), np.array(distinct.languages)
    scores = await scores_of(tiers, texts, questions, at_once=_AT_ONCE)
    it = promise(
        scores[truth],
        scores[~truth],
        alpha=alpha,
        confidence=confidence,
        clears=[tier.clears for tier in tiers],
        seed=seed,
    )
    unsafe, _ = decide(scores, it.bands)
    by: dict[str, Any] = {}
    for code in sorted(set(distinct.languages)):
        of = languages == code
        by[code] = {
            "misses": _rate(int((~unsafe[of & truth]).sum()), int((of & truth).sum())),
            "false_blocks": _rate(int(unsafe[of & ~truth].sum()), int((of & ~truth).sum())),
        }
    return {
        "format": 1,
        "task": task,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "alpha": alpha,
        "confidence": confidence,
        "rows": {
            "sha256": distinct.digest(),
            "positives": int(truth.sum()),
            "negatives": int((~truth).sum()),
            "left_out_as_equal": len(data.rows) - len(texts),
            "labels": data.counts,
        },
        "tiers": [
            {
                "name": tier.name,
                "digest": tier.digest,
                "clears": tier.clears,
                "low": band.low,
                "high": band.high,
            }
            for tier, band in zip(tiers, it.bands, strict=True)
        ],
        "misses": {"k": it.misses, "n": it.positives, "at_most": it.bound},
        "false_blocks": asdict(it.false_blocks),
        "sent": [asdict(share) for share in it.sent],
        # Not promised, and seen when the thresholds were chosen: a language that stands out needs its own.
        "by_language": by,
    }


def _rate(k: int, n: int) -> dict[str, Any] | None:
    if not n:
        return None
    return asdict(Measured(k / n, *clopper_pearson(k, n), n))


def sentence(found: Mapping[str, Any]) -> str:
    """A calibration for people."""
    blocks, missed = found["false_blocks"], found["misses"]
    lines = [
        f"Promised: at most {found['alpha']:.1%} of harmful rows like these are missed, with "
        f"{found['confidence']:.0%} confidence ({missed['k']} of {missed['n']} missed here).",
        f"False blocks: {blocks['value']:.1%} [{blocks['low']:.1%}, {blocks['high']:.1%}] of {blocks['n']} "
        "harmless rows that chose nothing.",
    ]
    names = [tier["name"] for tier in found["tiers"]]
    for name, share in list(zip(names, found["sent"], strict=True))[1:]:
        ends = f"[{share['low']:.1%}, {share['high']:.1%}]"
        lines.append(f"Sent to {name}: {share['value']:.1%} {ends} of them.")
    for code, of in found["by_language"].items():
        cells = [f"{what.replace('_', ' ')} {_percent(of[what])}" for what in ("misses", "false_blocks")]
        lines.append(f"In {code} (not promised): {', '.join(cells)}.")
    return "\n".join(lines)


def _percent(rate: Mapping[str, float] | None) -> str:
    return "none to count" if rate is None else f"{rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write a calibration.

    Raises:
        InputError: the file can't be written.
    """
    try:
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}.") from None
