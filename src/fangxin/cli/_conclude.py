"""How a run is written down: verdict, register, bundle, report, signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fangxin.agent import Bundle, ModelSpec
from fangxin.cli._judging import JudgeSpec
from fangxin.defend import Shield
from fangxin.dialogue import DialoguePrompt
from fangxin.ledger import SigningKey, checkpoint
from fangxin.models import Sampling
from fangxin.repair import Errors, Outcome, Register, Run, agent_digest, amend, register_after, write_json
from fangxin.report import publish

SCAFFOLDING = ("journal.sqlite", "completions.sqlite")


def conclude(
    folder: Path,
    outcome: Outcome,
    verdict: Mapping[str, Any],
    *,
    run: Run,
    spec: ModelSpec,
    judge: JudgeSpec,
    shield: Shield,
    errors: Errors,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a run down and sign it. Doing it again, after a kill or with labels, replaces what is there.

    Args:
        folder: the run's.
        outcome: what the run came to.
        verdict: the same as plain data.
        run: with the ledger.
        spec: how the model is reached.
        judge: who judged.
        shield: the one to be served.
        errors: what is known of the judge's mistakes.
        more: what the result holds besides the verdict; may replace parts of it.
    """
    write_json(folder / "verdict.json", verdict)
    digest = agent_digest(verdict["agent"]["model"], verdict["agent"]["prompt"])
    register = amend(
        register_of(folder), lambda known: register_after(outcome, known, digest, folder.name, errors)
    )
    bundle = folder / "bundle"
    summary = {name: verdict[name] for name in ("status", "regime", "baseline", "default_shield", "repaired")}
    Bundle(
        spec,
        DialoguePrompt.of(verdict["agent"]["prompt"]),
        shield,
        Sampling(max_tokens=512),
        {
            **summary,
            "settings": json.loads(json.dumps(asdict(outcome.plan.settings))),
            "judge": judge.as_dict(),
        },
    ).save(bundle)
    Register(register.of(digest)).save(bundle / "register.json")
    decided = {"status": verdict["status"], "trials": verdict["trials_sha256"]}
    last = run.ledger.get("decision", "verdict")
    if last is None or last.content != decided:
        run.ledger.append("decision", "verdict", decided)
    key = SigningKey.load()
    point = checkpoint(run.ledger, key)
    ledger = {
        "id": point.ledger_id,
        "seq": point.seq,
        "hash": point.hash,
        "checkpoint": point.as_dict(),
    }
    paths = {"report": str(folder / "report.html"), "bundle": str(bundle)}
    return publish(folder, {**verdict, **more, "ledger": ledger, **paths}, key)


def register_of(folder: Path) -> Path:
    """The register of weaknesses that outlives a run: beside its folder."""
    return folder.parent / "register.json"


def tidy(folder: Path) -> None:
    """Remove what only a run under way needs, once it is finished: all of it is in the ledger."""
    if (folder / "manifest.json").exists():
        for name in SCAFFOLDING:
            for end in ("", "-wal", "-shm"):
                (folder / f"{name}{end}").unlink(missing_ok=True)
