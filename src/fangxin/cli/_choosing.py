"""Which detector a command of `fangxin detect` has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fangxin.cli._judging import JudgeSpec
from fangxin.cli._terminal import InputError
from fangxin.detect import (
    Cascade,
    Detector,
    JudgeDetector,
    LLMJudge,
    Policy,
    Task,
    Tier,
    banded,
    cascade_from,
    detector,
    judge_tier,
    read_calibration,
    tiers_of,
)
from fangxin.models import connect, describe

CASCADE = "cascade"
_JUDGED: tuple[Task, ...] = ("prompt", "exchange", "refusal")


@asynccontextmanager
async def judging(task: Task, spec: JudgeSpec) -> AsyncIterator[Tier | None]:
    """The judge model of a spec as a tier, reachable within the context; None where it names none.

    Raises:
        InputError: a judge that knows nothing of the task.
    """
    if spec.url is None:
        yield None
        return
    if task not in _JUDGED and not spec.rules:
        raise InputError(
            f"A judge model knows safety at large: for {task}, tell it by --judge-rules what is unsafe."
        )
    async with connect(spec.url, model_name=spec.model_name, key_env=spec.key_env) as model:
        policy = Policy(spec.rules, spec.stance)
        judge = LLMJudge(
            model,
            policy=policy,
            alone="prompt" if task in ("prompt", "injection", "fraud") else "reply",
            constrained=spec.url.startswith("embedded"),
        )
        about = {"model": describe(model), "rules": list(policy.rules), "stance": policy.stance, "task": task}
        yield judge_tier(JudgeDetector(judge, task) if task == "refusal" else judge, about)


@asynccontextmanager
async def choosing(
    task: Task, name: str | None, spec: JudgeSpec, calibration: Path | None = None
) -> AsyncIterator[Detector]:
    """The detector that the options name: a registered one, a judge model, or a cascade, calibrated or not.

    Raises:
        InputError: options that don't go together.
        ChoiceError: no such detector, or a calibration that can't be used.
        DetectorError: it can't be loaded.
    """
    if calibration is not None and name not in (None, CASCADE):
        raise InputError("--calibration says which detectors there are: leave --detector out.")
    if spec.url is not None and name not in (None, CASCADE):
        raise InputError("--judge stands alone or ends a cascade: leave --detector out, or make it cascade.")
    found = None if calibration is None else read_calibration(calibration)
    if found is not None and found["task"] != task:
        raise InputError(f"{calibration} is of the task {found['task']}, not of {task}.")
    async with judging(task, spec) as judge:
        if found is not None:
            yield cascade_from(found, judge=judge)
        elif name == CASCADE:
            yield Cascade.of(task, judge)
        elif judge is not None:
            yield judge.detector
        else:
            yield detector(task, name)


@asynccontextmanager
async def choosing_tiers(
    task: Task, names: Sequence[str], spec: JudgeSpec
) -> AsyncIterator[tuple[Tier, ...]]:
    """The tiers that shall be calibrated: those named, in order, or the task's cascade; the judge last.

    Raises:
        ChoiceError: one isn't registered for the task.
        DetectorError: one can't be loaded.
    """
    async with judging(task, spec) as judge:
        chosen = None if not names or list(names) == [CASCADE] else names
        yield banded(tiers_of(task, chosen, judge=judge))
