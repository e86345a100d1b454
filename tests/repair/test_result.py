from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fangxin.agent import Agent
from fangxin.repair import clocked, compose, harden
from fangxin.repair._measure import tokens
from fangxin.repair._result import versions

from ..cli.scripted import COMPLIED, ScriptedModel, Style
from .conftest import ENGLISH, MEASURED, MILD, SMALL, only_cheap, plan_of, run_in

AGENT = {"model": {"kind": "scripted", "name": "scripted"}, "prompt": {}}
RATE = {"rate", "low", "high", "n", "clusters"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        only_cheap(patch)
        plan = plan_of(ENGLISH)
        run = run_in(tmp_path_factory.mktemp("whole"), plan)
        outcome = asyncio.run(harden(run, Agent(ScriptedModel(Style())), plan, MEASURED, MILD))
        yield outcome, run, compose(outcome, agent=AGENT, judges=[], errors=MEASURED, trials=run.trials)
        run.close()


async def test_the_contract(whole: Any) -> None:
    outcome, _, result = whole
    for name in ("baseline", "default_shield", "repaired"):
        for measure in ("attack_success", "over_refusal", "ability"):
            rate = result[name][measure]
            assert set(rate) == RATE
            assert 0 <= rate["low"] <= rate["rate"] <= rate["high"] <= 1
            assert rate["n"] > 0
    proof = result["proof"]
    assert {"p_value", "margin_over_refusal", "margin_ability", "held_out_families", "languages"} <= set(
        proof
    )
    assert proof["held_out_families"] == list(outcome.plan.families["prove"])
    assert all({"risk", "language", "before", "after", "state"} <= set(row) for row in result["weaknesses"])
    assert {"target_tokens", "calls", "failed", "added_tokens"} <= set(result["cost"])
    cost = await clocked(outcome, 2.0, 100)
    assert cost["tokens_per_second"] == 50.0
    assert {"seconds", "tokens_per_second"} < set(cost)
    assert 0 < cost["added_ms_p50"] < 1000
    json.dumps(result, allow_nan=False)


async def test_equal_trials_make_equal_bytes(whole: Any) -> None:
    outcome, run, result = whole
    again = compose(outcome, agent=AGENT, judges=[], errors=MEASURED, trials=run.trials)
    assert json.dumps(again) == json.dumps(result)


async def test_no_example_shows_what_got_through(whole: Any) -> None:
    _, _, result = whole
    assert result["examples"]
    assert COMPLIED not in json.dumps(result)
    assert all(row["redacted"] or row["verdict"] == "blocked" for row in result["examples"])


async def test_equal_asks_are_paid_for_once(whole: Any) -> None:
    _, run, result = whole
    sent = Counter(trial.sent_sha256 for trial in run.trials)
    assert result["cost"]["calls"] == len(sent)
    assert result["cost"]["asks"] == len(run.trials)
    assert result["cost"]["completion_tokens"] == 9 * len(sent)
    assert result["cost"]["added_tokens"] > 0  # the clause is read with every question


def test_an_arm_that_sends_the_same_costs_nothing_more(whole: Any) -> None:
    _, run, _ = whole
    trials = [trial for trial in run.trials if trial.sent_sha256][:5]
    doubled = [*trials, *(replace(trial, arm="other", key=f"other/{trial.key}") for trial in trials)]
    assert tokens(doubled) == tokens(trials)
    assert tokens([replace(trials[0], sent_sha256=None)]) == (0, 0, 0)


async def test_the_sample_is_held_out_and_half_safe_after_repair(whole: Any) -> None:
    outcome, _, result = whole
    sample = result["label"]["sample"]
    assert len(sample) == len(set(sample)) == 120
    held = {trial.key: trial for trials in outcome.arms.values() for trial in trials}
    assert set(sample) <= held.keys()
    assert not any(held[key].reply is None for key in sample)  # the worst replies are not kept
    safe = [
        k
        for k in sample
        if held[k].arm == outcome.chosen.name and held[k].probe == "attack" and not held[k].outcome
    ]
    assert len(safe) >= 60


async def test_without_a_proof_there_is_no_sample_and_no_arm(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(yields=0.0), SMALL)
    result = compose(outcome, agent=AGENT, judges=[], errors=MEASURED, trials=run.trials)
    assert result["label"] == {"sample": [], "labelled": 0}
    assert result["repaired"] is result["default_shield"] is None
    assert result["proof"]["languages"] == {"en": "not_asked"}
    assert result["examples"] == result["candidates"] == []
    json.dumps(result, allow_nan=False)


def test_versions_name_what_is_installed() -> None:
    assert {"python", "fangxin", "numpy"} <= set(versions())
