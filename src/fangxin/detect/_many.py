from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Protocol, get_args, runtime_checkable

from fangxin.detect._verdict import Detector, DetectorError, Label, UnjudgedError, Verdict


@runtime_checkable
class ManyDetector(Protocol):
    """A detector that judges many texts faster than one by one."""

    async def check_many(self, texts: Sequence[str], questions: Sequence[str | None]) -> list[Verdict]:
        """What `check` gives for each text; `ms` is a text's share of the whole.

        Raises:
            DetectorError: it could not judge one of them.
        """
        ...


async def check_many(
    detector: Detector, texts: Sequence[str], questions: Sequence[str | None], *, at_once: int = 16
) -> list[Verdict]:
    """Verdicts of many texts, in order; all at once where the detector knows how.

    It fails closed: whatever a detector raises becomes a `DetectorError`, and so does a verdict that is none
    (an unknown label, a probability outside [0, 1]).

    Args:
        detector: who judges.
        texts: what is judged.
        questions: the question that each replies to, or None.
        at_once: how many are judged at a time by a detector that takes one.

    Raises:
        UnjudgedError: a text got no judgement, where the next one may.
        DetectorError: the detector can't judge.
    """
    try:
        if isinstance(detector, ManyDetector):
            found = await detector.check_many(texts, questions)
        else:
            found = await _one_by_one(detector, texts, questions, at_once)
    except DetectorError:
        raise
    except Exception as error:
        raise DetectorError(
            f"The detector {detector.name} failed ({type(error).__name__}: {error})."
        ) from error
    if len(found) != len(texts):
        raise DetectorError(f"The detector {detector.name} gave {len(found)} verdicts on {len(texts)} texts.")
    for verdict in found:
        right = verdict.label in get_args(Label) and math.isfinite(verdict.probability)
        if not right or not 0 <= verdict.probability <= 1:
            raise DetectorError(
                f"The detector {detector.name} gave no verdict: label {verdict.label!r}, "
                f"probability {verdict.probability!r}."
            )
    return found


async def _one_by_one(
    detector: Detector, texts: Sequence[str], questions: Sequence[str | None], at_once: int
) -> list[Verdict]:
    slots = asyncio.Semaphore(at_once)

    async def one(text: str, question: str | None) -> Verdict:
        async with slots:
            return await detector.check(text, question=question)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(one(text, question))
                for text, question in zip(texts, questions, strict=True)
            ]
    except ExceptionGroup as failures:
        # What can't work at all is told before what one text met.
        first = failures.exceptions[0]
        raise next((e for e in failures.exceptions if not isinstance(e, UnjudgedError)), first) from None
    return [task.result() for task in tasks]
