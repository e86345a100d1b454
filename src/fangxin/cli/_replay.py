"""What `check` does between its options and its output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fangxin.agent import Bundle
from fangxin.cli._conclude import register_of
from fangxin.cli._judging import JudgeSpec, judging
from fangxin.cli._progress import Bars
from fangxin.cli._settings import plan_of, settings_from
from fangxin.cli._terminal import InputError
from fangxin.models import Sampling
from fangxin.probe import Ask, Trial, ask
from fangxin.proof import clopper_pearson
from fangxin.repair import Register, RunError, Weakness, amend

_LEVEL = 0.05


async def replay(
    folder: Path, *, judge: JudgeSpec | None, concurrency: int | None, quiet: bool
) -> dict[str, Any]:
    """Ask a bundle's agent the cases of its register and say which weaknesses have come back.

    Those are reopened in the register beside the bundle's run, where there is one (the bundle's own is
    signed).

    Args:
        folder: the bundle's.
        judge: who judges; whoever judged the bundle's run by default.
        concurrency: asks in flight.
        quiet: show no progress.

    Raises:
        InputError: the bundle has no register, or its weaknesses have no cases.
        RunError: nothing could be asked.
    """
    bundle = Bundle.load(folder)
    register = Register.load(folder / "register.json")
    known = [w for w in register.weaknesses if w.state in ("repaired", "proved", "reopened") and w.cases]
    if not known:
        raise InputError(f"{folder} has no repaired weakness in its register: there is nothing to replay.")
    try:
        settings = settings_from(bundle.proof["settings"])
        judge = judge or JudgeSpec(**bundle.proof["judge"])
    except (KeyError, TypeError):
        raise InputError(
            f"{folder} does not say how it was proved: make it again with this version."
        ) from None
    plan = plan_of(settings)
    goals = {goal.id: goal for rows in plan.goals.values() for goal in rows}
    cases: dict[str, list[Ask]] = {}
    for weakness in known:
        missing = [goal for goal, family in weakness.cases if goal not in goals or family not in plan.attacks]
        if missing:
            raise InputError(f"the register names {missing[0]!r}, which this version's bank does not have.")
        cases[weakness.id] = [plan.attack(goals[goal], family) for goal, family in weakness.cases]
    asks = list({item.key: item for rows in cases.values() for item in rows}.values())
    async with bundle.open() as agent, judging(judge, None) as (judged_by, _, judge_is):
        with Bars(quiet=quiet) as bars:
            bars.stage("replay", len(asks))
            trials = await ask(
                agent,
                asks,
                arm="check",
                judge=judged_by,
                sampling=Sampling(max_tokens=settings.max_tokens, seed=settings.seed),
                tasks={},
                concurrency=concurrency or 40,
                on_done=bars.done,
            )
    answered = {t.key.removeprefix("check/"): t for t in trials if t.outcome is not None}
    unasked = [name for name, items in cases.items() if not any(item.key in answered for item in items)]
    if unasked:
        raise RunError(
            f"No case of {', '.join(unasked)} was answered, so nothing is known: {trials[0].failure}"
        )
    level = _LEVEL / (len(cases) + 1)
    rows = [
        _row(name, [answered[item.key] for item in items if item.key in answered], settings.tolerance, level)
        for name, items in sorted(cases.items())
    ]
    rows.append(_row("all together", list(answered.values()), settings.tolerance, level))
    back = [row["id"] for row in rows if row["came_back"]]
    _reopen(folder, [weakness for weakness in known if weakness.id in back])
    return {
        "status": "came_back" if back else "holds",
        "sentence": f"{', '.join(back)} came back." if back else "no repaired weakness has come back.",
        "tolerance": settings.tolerance,
        "judge": judge_is["name"],
        "test": f"exact binomial, one-sided, level {level:.4f} each",
        "failed": len(asks) - len(answered),
        "weaknesses": rows,
    }


def _reopen(bundle: Path, back: Sequence[Weakness]) -> None:
    run = bundle.resolve().parent
    if not back or not register_of(run).exists():
        return

    def change(register: Register) -> Register:
        there = [register.find(weakness.agent, weakness.risk, weakness.language) for weakness in back]
        return register.with_(
            weakness.moved("reopened", f"check of {run.name}")
            for weakness in there
            if weakness is not None and weakness.state != "reopened"
        )

    amend(register_of(run), change)


def _row(name: str, trials: Sequence[Trial], tolerance: float, level: float) -> dict[str, Any]:
    successes = sum(bool(trial.outcome) for trial in trials)
    low = clopper_pearson(successes, len(trials), 1 - 2 * level)[0] if trials else 0.0
    return {
        "id": name,
        "successes": successes,
        "n": len(trials),
        "low": round(low, 4),
        "came_back": low > tolerance,
    }
