"""What `harden` does between its options and its output."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fangxin.agent import Agent, ModelSpec
from fangxin.cli._conclude import conclude, register_of, tidy
from fangxin.cli._judging import JudgeSpec, Panel, errors_of, judging
from fangxin.cli._progress import Bars
from fangxin.cli._settings import plan_of
from fangxin.cli._terminal import plain, say
from fangxin.defend import Shield
from fangxin.detect import cards
from fangxin.dialogue import DialoguePrompt, Language
from fangxin.ledger import SigningKey, lock
from fangxin.models import CachedModel, Patience, Sampling, connect, describe
from fangxin.repair import Run, Settings, agent_digest, amend, begin, check_budget, clocked, compose
from fangxin.repair import harden as repair_loop
from fangxin.report import verify_folder

RUNS = Path("runs")


def reader_language() -> Language:
    """The language of the person at the terminal."""
    return "zh" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).lower().startswith("zh") else "en"


def new_folder() -> Path:
    """A fresh folder for a run, named by the time; `runs/latest` points to it."""
    folder = RUNS / time.strftime("%Y%m%d-%H%M%S")
    suffix = 1
    while folder.exists():
        suffix += 1
        folder = RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{suffix}"
    return folder


def point_latest(folder: Path) -> None:
    """Let `latest`, beside the run, point to it, where nothing else has that name."""
    link = folder.parent / "latest"
    beside = folder.parent / f".latest-{os.getpid()}"
    with suppress(OSError):
        beside.unlink(missing_ok=True)
        if link.is_symlink() or not link.exists():
            beside.symlink_to(folder.name)
            beside.replace(link)


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
    check_budget(plan)
    panel = Panel.read(judge.panel) if judge.panel else None
    SigningKey.load()  # no run whose end can't be signed
    folder = out or new_folder()
    if folder.is_symlink():  # `runs/latest`: go on with the run that it points to
        folder = folder.parent / folder.readlink()
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(folder))
        stack.callback(tidy, folder)
        amend(register_of(folder), lambda register: register)  # nor one whose weaknesses can't be kept
        if not quiet:
            say(f"Run folder: {plain(folder)}")
        model = await stack.enter_async_context(connect(**asdict(spec), patience=patience))
        judged_by, known, judge_is = await stack.enter_async_context(judging(judge, patience))
        described = describe(model)
        agent = {"model": described, "prompt": prompt.as_dict()}
        begin(
            folder,
            _header(settings, agent, {**judge_is, "panel_sha256": panel.sha256 if panel else None}),
        )
        point_latest(folder)
        finished = _finished(folder)
        if finished is not None:
            if not quiet:
                say("This run is finished: nothing was asked again.")
            return finished
        cached = CachedModel(model, folder / "completions.sqlite")
        stack.push_async_callback(cached.close)
        bars = stack.enter_context(Bars(quiet=quiet))
        sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
        run = Run(
            folder,
            judged_by,
            sampling,
            {task.id: task for task in plan.tasks},
            uncached=model,
            concurrency=(spec.concurrency or 32) + 8,
            watcher=bars,
        )
        stack.callback(run.close)
        errors = await errors_of(run, judged_by, known, panel)
        default = Shield.default()
        bare = Agent(cached, prompt, sampling=sampling)
        outcome = await repair_loop(run, bare, plan, errors, default)
        judges = [*([known] if known else []), *(one for one in cards() if one.name != "reply-judge")]
        verdict = compose(
            outcome,
            agent=agent,
            judges=judges,
            errors=errors,
            trials=run.trials,
        )
        seconds = time.time() - start
        cost = {**verdict["cost"], **(await clocked(outcome, seconds, verdict["cost"]["completion_tokens"]))}
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start))
        return conclude(
            folder,
            outcome,
            verdict,
            run=run,
            spec=spec,
            judge=judge,
            shield=outcome.chosen.shield if outcome.chosen else default,
            errors=errors,
            more={"cost": cost, "started": started, "seconds": round(seconds, 1)},
        )


def _header(settings: Settings, agent: Mapping[str, Any], judge: Mapping[str, Any]) -> dict[str, Any]:
    from fangxin import __version__

    return {
        "fangxin": __version__,
        "settings": json.loads(json.dumps(asdict(settings))),
        "agent": agent_digest(agent["model"], agent["prompt"]),
        "judge": dict(judge),
    }


def _finished(folder: Path) -> dict[str, Any] | None:
    """The result of a run that was signed and is as it was signed; labels may have changed it since."""
    if not (folder / "manifest.json").exists() or verify_folder(folder)[0]:
        return None
    result: dict[str, Any] = json.loads((folder / "result.json").read_text("utf-8"))
    return result
