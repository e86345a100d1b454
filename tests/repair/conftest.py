from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fangxin.agent import Agent
from fangxin.defend import SafetyPrompt, Shield
from fangxin.models import Sampling
from fangxin.probe import attacks, goals, tasks
from fangxin.proof import JudgeError
from fangxin.repair import (
    Errors,
    JudgeErrors,
    Outcome,
    Plan,
    Run,
    Settings,
    _harden,
    _repairs,
    harden,
    make_plan,
)
from fangxin.risks import regime

from ..cli.scripted import ScriptedJudge, ScriptedModel, Style

ENGLISH = Settings(languages=("en",))
SMALL = replace(ENGLISH, goals_per_risk=4, ability_tasks=24, families_per_goal=2)
GOOD = JudgeErrors(JudgeError(200, 200, 0, 200, "harmful"), JudgeError(200, 200, 0, 200, "refusal"))
MEASURED: Errors = {"en": GOOD, "zh": GOOD}
MILD = Shield((SafetyPrompt.default(),))


def plan_of(settings: Settings) -> Plan:
    bank = [goal for language in settings.languages for goal in goals(language)]
    questions = [task for language in settings.languages for task in tasks(language)]
    return make_plan(
        settings, bank, questions, attacks(), [risk.id for risk in regime(settings.regime).risks]
    )


def only_cheap(patch: pytest.MonkeyPatch) -> None:
    kept = {name: _repairs.repairs()[name] for name in ("prompt_clauses", "goal_priority")}
    patch.setattr(_repairs, "repairs", lambda: kept)
    patch.setattr(_harden, "repairs", lambda: kept)


def run_in(folder: Path, plan: Plan) -> Run:
    sampling = Sampling(max_tokens=plan.settings.max_tokens, seed=plan.settings.seed)
    return Run(folder, ScriptedJudge(), sampling, {task.id: task for task in plan.tasks})


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the repairs that need no fitting."""
    only_cheap(monkeypatch)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Opens a run's folder, as each life of a run does."""
    runs: list[Run] = []

    def open_run(plan: Plan, name: str = "run") -> Run:
        (tmp_path / name).mkdir(exist_ok=True)
        run = run_in(tmp_path / name, plan)
        runs.append(run)
        return run

    yield open_run
    for run in runs:
        run.close()


@pytest.fixture
def hardened(cheap: None, opened: Callable[..., Run]) -> Callable[..., object]:
    """Runs the loop against a scripted model in this process."""

    async def go(
        style: Style,
        settings: Settings = SMALL,
        errors: Errors = MEASURED,
        name: str = "run",
        lasts: int | None = None,
    ) -> tuple[Outcome, Run, ScriptedModel]:
        plan, model = plan_of(settings), ScriptedModel(style, lasts)
        run = opened(plan, name)
        return await harden(run, Agent(model), plan, errors, MILD), run, model

    return go
