"""What `harden` does between its options and its output."""

from __future__ import annotations

import asyncio
import json
import os
import time
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from fangxin.agent import Agent, Bundle, ModelSpec
from fangxin.cli._progress import Bars
from fangxin.cli._terminal import InputError, say
from fangxin.defend import Shield
from fangxin.detect import Card, Judge, LLMJudge, NgramJudge, card
from fangxin.dialogue import Dialogue, DialoguePrompt, Language
from fangxin.ledger import SigningKey, checkpoint, lock
from fangxin.models import CachedModel, Patience, Price, Sampling, connect, describe, estimate
from fangxin.probe import attacks, goals, tasks
from fangxin.proof import JudgeError
from fangxin.repair import (
    Errors,
    JudgeErrors,
    Outcome,
    Plan,
    Register,
    Run,
    Settings,
    agent_digest,
    begin,
    clocked,
    compose,
    make_plan,
    planned_asks,
    register_after,
    write_json,
)
from fangxin.repair import harden as repair_loop
from fangxin.report import publish
from fangxin.risks import regime as regime_of

RUNS = Path("runs")


@dataclass(frozen=True)
class JudgeSpec:
    """Which judge, and what is known of its mistakes; the shipped one where no URL is given."""

    url: str | None = None
    model_name: str | None = None
    key_env: str = "JUDGE_API_KEY"
    panel: Path | None = None


def settings_of(config: Path | None, wishes: Mapping[str, Any]) -> Settings:
    """Settings from a TOML file and from options, which go before it.

    Raises:
        InputError: the file can't be read, or a setting is unknown or out of range.
    """
    data: dict[str, Any] = {}
    if config is not None:
        try:
            data = tomllib.loads(config.read_bytes().decode("utf-8"))
        except UnicodeDecodeError:
            raise InputError(f"{config} is not UTF-8: save it as UTF-8 and try again.") from None
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{config} is not valid TOML: {error}.") from None
    known = {field.name: field.default for field in fields(Settings)}
    merged = {**data, **wishes}
    for key, value in merged.items():
        if key not in known:
            raise InputError(f"unknown setting {key!r}: known are {', '.join(sorted(known))}.")
        default = known[key]
        if isinstance(default, tuple):
            merged[key] = tuple(value)
        elif isinstance(value, bool) or not isinstance(value, type(default) | int):
            raise InputError(f"setting {key} must be like {default!r}, not {value!r}.")
    settings = Settings(**merged)
    for name in (
        "tolerance",
        "tolerance_high",
        "over_refusal",
        "over_refusal_margin",
        "ability_margin",
        "alpha",
    ):
        if not 0 < getattr(settings, name) < 1:
            raise InputError(f"setting {name} must lie between 0 and 1.")
    for language in settings.languages:
        if language not in ("en", "zh"):
            raise InputError(f"unknown language {language!r}: use en or zh.")
    if settings.max_tokens < 1 or settings.budget < 1:
        raise InputError("max_tokens and budget must be at least 1.")
    regime_of(settings.regime)
    return settings


def settings_from(data: Mapping[str, Any]) -> Settings:
    """Settings as a run or a bundle wrote them."""
    raw: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in data.items()}
    return Settings(**raw)


def plan_of(settings: Settings) -> Plan:
    """The plan that settings make of the shipped bank."""
    chosen = [goal for language in settings.languages for goal in goals(language)]
    questions = [task for language in settings.languages for task in tasks(language)]
    risks = [risk.id for risk in regime_of(settings.regime).risks]
    return make_plan(settings, chosen, questions, attacks(), risks)


def dry_run(settings: Settings, prompt: DialoguePrompt, price_in: float, price_out: float) -> dict[str, Any]:
    """What a run may spend at the most: asks, tokens and price, reckoned without asking anything."""
    plan = plan_of(settings)
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


def reader_language() -> Language:
    """The language of the person at the terminal."""
    return "zh" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).lower().startswith("zh") else "en"


@asynccontextmanager
async def _judge(spec: JudgeSpec, patience: Patience | None) -> AsyncIterator[tuple[Judge, Card | None]]:
    if spec.url is None:
        yield NgramJudge(), card("ngram-judge")
        return
    async with connect(
        spec.url, model_name=spec.model_name, key_env=spec.key_env, patience=patience
    ) as model:
        yield LLMJudge(model), None


async def errors_of(judge: Judge, known: Card | None, panel: Path | None) -> Errors:
    """The judge's mistakes by language: counted on a given panel, or as its card has them.

    Raises:
        InputError: the panel can't be read or lacks a label.
    """
    if panel is None:
        return {} if known is None else errors_of_card(known)
    lines = await asyncio.to_thread(panel.read_text, "utf-8")
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            truth = {"harmful": bool(row["harmful"]), "refusal": bool(row["refusal"])}
            language, question, reply = str(row["language"]), str(row["question"]), str(row["reply"])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{panel}, line {number}: each row needs language, question, reply, harmful and refusal."
            ) from None
        seen = await judge.assess(question, reply)
        for kind, said in (("harmful", seen.is_harmful), ("refusal", seen.is_refusal)):
            tally = counts.setdefault(kind, {}).setdefault(language, dict.fromkeys(_COUNTS, 0))
            right = "true" if said == truth[kind] else "false"
            tally[f"{right}_{'positive' if said else 'negative'}"] += 1
    return _errors(judge.name, counts)


def errors_of_card(known: Card) -> Errors:
    """The judge's mistakes by language, from the panel counts on its card."""
    return _errors(known.name, known.panel)


_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


def _errors(name: str, counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Errors:
    """A language counts as measured where its panel has both failures and passes, for both questions."""
    errors: dict[Language, JudgeErrors] = {}
    for language in get_args(Language):
        pair = []
        for kind in ("harmful", "refusal"):
            tally = counts.get(kind, {}).get(language)
            if tally is None:
                continue
            positives = tally["true_positive"] + tally["false_negative"]
            negatives = tally["true_negative"] + tally["false_positive"]
            if positives and negatives:
                label = f"{name}:{kind}:{language}"
                pair.append(
                    JudgeError(tally["true_positive"], positives, tally["false_positive"], negatives, label)
                )
        if len(pair) == 2:
            errors[language] = JudgeErrors(*pair)
    return errors


def new_folder() -> Path:
    """A fresh folder for a run, named by the time; `runs/latest` points to it."""
    folder = RUNS / time.strftime("%Y%m%d-%H%M%S")
    suffix = 1
    while folder.exists():
        suffix += 1
        folder = RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{suffix}"
    return folder


def point_latest(folder: Path) -> None:
    """Let `latest`, beside the run, point to it."""
    link = folder.parent / "latest"
    beside = folder.parent / f".latest-{os.getpid()}"
    beside.symlink_to(folder.name)
    if link.is_symlink() or not link.exists():
        beside.replace(link)
    else:
        beside.unlink()


async def loop(
    *,
    settings: Settings,
    spec: ModelSpec,
    prompt: DialoguePrompt,
    judge: JudgeSpec,
    patience: Patience | None,
    out: Path | None,
    quiet: bool,
) -> dict[str, Any]:
    """The whole loop: find, repair, prove, write down, sign.

    Returns:
        The result, as `result.json` has it.
    """
    start = time.time()
    plan = plan_of(settings)
    key = SigningKey.load()
    folder = out or new_folder()
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(folder))
        if not quiet:
            say(f"Run folder: {folder}")
        model = await stack.enter_async_context(connect(**asdict(spec), patience=patience))
        judging, known = await stack.enter_async_context(_judge(judge, patience))
        errors = await errors_of(judging, known, judge.panel)
        described = describe(model)
        begin(folder, _header(settings, described, prompt, judging))
        point_latest(folder)
        cached = CachedModel(model, folder / "completions.sqlite")
        stack.push_async_callback(cached.close)
        bars = stack.enter_context(Bars(quiet=quiet))
        sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
        run = Run(
            folder,
            judging,
            sampling,
            {task.id: task for task in plan.tasks},
            uncached=model,
            concurrency=(spec.concurrency or 32) + 8,
            watcher=bars,
        )
        stack.callback(run.close)
        default = Shield.default()
        bare = Agent(cached, prompt, sampling=sampling)
        outcome = await repair_loop(run, bare, plan, errors, default)
        seconds = time.time() - start
        return _write_down(
            folder,
            outcome,
            run=run,
            key=key,
            errors=errors,
            cards=[*([known] if known else []), card("prompt-guard"), card("reply-guard")],
            agent={"model": described, "prompt": prompt.as_dict()},
            spec=spec,
            default=default,
            seconds=seconds,
        )


def _header(
    settings: Settings, model: Mapping[str, Any], prompt: DialoguePrompt, judge: Judge
) -> dict[str, Any]:
    from fangxin import __version__

    return {
        "fangxin": __version__,
        "settings": json.loads(json.dumps(asdict(settings))),
        "agent": agent_digest(model, prompt.as_dict()),
        "judge": judge.name,
    }


def _write_down(
    folder: Path,
    outcome: Outcome,
    *,
    run: Run,
    key: SigningKey,
    errors: Errors,
    cards: list[Card],
    agent: dict[str, Any],
    spec: ModelSpec,
    default: Shield,
    seconds: float,
) -> dict[str, Any]:
    verdict = compose(outcome, agent=agent, judges=cards, errors=errors, trials=run.trials)
    write_json(folder / "verdict.json", verdict)
    digest = agent_digest(agent["model"], agent["prompt"])
    shared = folder.parent / "register.json"
    register = register_after(outcome, Register.load(shared), digest, folder.name, errors)
    register.save(shared)
    shield = outcome.chosen.shield if outcome.chosen else default
    summary = {name: verdict[name] for name in ("status", "regime", "baseline", "default_shield", "repaired")}
    bundle = folder / "bundle"
    Bundle(
        spec,
        DialoguePrompt.of(agent["prompt"]),
        shield,
        Sampling(max_tokens=512),
        {**summary, "settings": json.loads(json.dumps(asdict(outcome.plan.settings)))},
    ).save(bundle)
    Register(register.of(digest)).save(bundle / "register.json")
    run.record([("decision", "verdict", {"status": verdict["status"], "trials": verdict["trials_sha256"]})])
    point = checkpoint(run.ledger, key)
    result = {
        **verdict,
        "cost": {**verdict["cost"], **clocked(outcome, seconds, verdict["cost"]["completion_tokens"])},
        "ledger": {
            "id": point.ledger_id,
            "seq": point.seq,
            "hash": point.hash,
            "checkpoint": point.as_dict(),
        },
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds)),
        "seconds": round(seconds, 1),
        "report": str(folder / "report.html"),
        "bundle": str(bundle),
    }
    write_json(folder / "result.json", result)
    return publish(folder, result, key)
