"""What `harden` is asked to do: settings from a file and from options, and the plan they make."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from fangxin.cli._terminal import InputError
from fangxin.dialogue import Dialogue, DialoguePrompt
from fangxin.models import Price, Sampling, estimate
from fangxin.probe import attacks, goals, tasks
from fangxin.repair import Plan, PlanError, Settings, check_budget, make_plan, planned_asks
from fangxin.risks import regime as regime_of

_RATES = (
    "tolerance",
    "tolerance_high",
    "over_refusal",
    "over_refusal_margin",
    "ability_margin",
    "alpha",
    "power",
)
_FLOORS = ("ability_floor", "family_floor")
_COUNTS = (
    "max_tokens",
    "benign_tokens",
    "budget",
    "asks_per_region",
    "goals_per_risk",
    "families_per_goal",
    "ability_tasks",
)


def settings_of(config: Path | None, wishes: Mapping[str, Any]) -> Settings:
    """Settings from a TOML file and from options, which go before it.

    Raises:
        InputError: the file can't be read, or a setting is unknown or out of range.
        RiskError: an unknown regime.
    """
    merged = {**(_read(config) if config is not None else {}), **wishes}
    known = {field.name: field.default for field in fields(Settings)}
    for key, value in merged.items():
        if key not in known:
            raise InputError(f"unknown setting {key!r}: known are {', '.join(sorted(known))}.")
        merged[key] = _typed(key, value, known[key])
    settings = Settings(**merged)
    _check(settings)
    regime_of(settings.regime)
    return settings


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{config} is not UTF-8: save it as UTF-8 and try again.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{config} is not valid TOML: {error}.") from None
    except OSError as error:
        raise InputError(f"{config} can't be read: {error.strerror}.") from None


def _typed(key: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        kind: type | Any = str if isinstance(default[0], str) else int | float
        right = isinstance(value, list | tuple) and all(
            isinstance(part, kind) and not isinstance(part, bool) for part in value
        )
        value = tuple(value) if right else value
    elif isinstance(default, float):
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    else:
        right = type(value) is type(default)
    if not right:
        like = list(default) if isinstance(default, tuple) else default
        raise InputError(f"setting {key} must be like {like!r}, not {value!r}.")
    return value


def _check(settings: Settings) -> None:
    for name in _RATES:
        if not 0 < getattr(settings, name) < 1:
            raise InputError(f"setting {name} must lie between 0 and 1.")
    for name in _FLOORS:
        if not 0 <= getattr(settings, name) < 1:
            raise InputError(f"setting {name} must be at least 0 and below 1.")
    for name in _COUNTS:
        if getattr(settings, name) < 1:
            raise InputError(f"setting {name} must be at least 1.")
    if settings.tolerance_high < settings.tolerance:
        raise InputError("setting tolerance_high must be at least tolerance: it bounds the interval's end.")
    if not 0 <= settings.seed < 2**32:
        raise InputError("setting seed must be a number from 0 to 4294967295.")
    if len(settings.shares) != 3 or not all(0 < share < math.inf for share in settings.shares):
        raise InputError("setting shares must be three numbers above 0: finding, choosing, proving.")
    for language in settings.languages:
        if language not in ("en", "zh"):
            raise InputError(f"unknown language {language!r}: use en or zh.")
    if not settings.languages or len(set(settings.languages)) < len(settings.languages):
        raise InputError("setting languages must name en, zh or both, each once.")


def settings_from(data: Mapping[str, Any]) -> Settings:
    """Settings as a run or a bundle wrote them."""
    raw: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
    return Settings(**raw)


def prompt_of(model: str, path: Path | None) -> DialoguePrompt:
    """The dialogue prompt of a file; without one, none, but for the embedded model its example.

    Raises:
        PromptError: the file can't be read.
    """
    if path is not None:
        return DialoguePrompt.load(path)
    return DialoguePrompt.example() if model == "embedded" else DialoguePrompt()


def plan_of(settings: Settings) -> Plan:
    """The plan that settings make of the shipped bank."""
    chosen = [goal for language in settings.languages for goal in goals(language)]
    questions = [task for language in settings.languages for task in tasks(language)]
    risks = [risk.id for risk in regime_of(settings.regime).risks]
    return make_plan(settings, chosen, questions, attacks(), risks)


_LEAST_GOALS = 7  # a risk: below that a proof says too little to be worth its asks


def affordable(settings: Settings) -> Settings:
    """The settings with as many goals a risk as the budget pays for, never more than they ask.

    Declared before the first ask, like everything else: the run's plan shows what became of it.

    Raises:
        PlanError: the budget can't pay for even the smallest proof; the message names the least budget.
    """
    while True:
        try:
            check_budget(plan_of(settings))
            return settings
        except PlanError:
            if settings.goals_per_risk <= _LEAST_GOALS:
                raise
        settings = replace(settings, goals_per_risk=settings.goals_per_risk - 1)


def dry_run(settings: Settings, prompt: DialoguePrompt, price_in: float, price_out: float) -> dict[str, Any]:
    """What a run may spend at the most: asks, tokens and price, reckoned without asking anything.

    Raises:
        PlanError: the budget can't pay for the run.
    """
    plan = plan_of(settings)
    check_budget(plan)
    sampling = Sampling(max_tokens=settings.max_tokens)
    price = Price(price_in, price_out)
    stages = {}
    for stage, asks in planned_asks(plan).items():
        spent = estimate([Dialogue(prompt, ask.turns) for ask in asks], sampling, price=price)
        stages[stage] = asdict(spent)
    total = {key: sum(stage[key] or 0 for stage in stages.values()) for key in next(iter(stages.values()))}
    return {"dry_run": True, "at_most": total, "stages": stages, "plan": plan.as_dict()}


def shown(spending: Mapping[str, Any]) -> str:
    """A dry run for people."""
    lines = ["At the most (an estimate; blocked and equal asks cost nothing):"]
    for name, stage in (*spending["stages"].items(), ("together", spending["at_most"])):
        lines.append(f"  {name:<9} " + ", ".join(f"{value:,} {key}" for key, value in stage.items() if value))
    return "\n".join(lines)
