from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from fangxin.agent import Agent
from fangxin.ledger import verify
from fangxin.repair import PlanError, RunError, check_budget, compose, harden, planned_asks, size_needed

from ..cli.scripted import PUZZLED, ScriptedModel, Style
from .conftest import ENGLISH, MEASURED, MILD, SMALL, plan_of

AGENT = {"model": {"kind": "scripted", "name": "scripted"}, "prompt": {}}


def told(outcome: Any, run: Any, errors: Any = MEASURED) -> dict[str, Any]:
    return compose(outcome, agent=AGENT, judges=[], errors=errors, trials=run.trials)


async def test_a_weak_model_is_found_repaired_and_proved(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(), ENGLISH)
    result = told(outcome, run)
    assert result["status"] == "proved", result["reasons"]
    assert outcome.chosen.name == "prompt_clauses"
    assert outcome.chosen.repair.from_findings
    assert [repair.name for repair in outcome.untried] == ["goal_priority"]
    assert result["baseline"]["attack_success"]["rate"] > 0.5
    assert result["default_shield"]["attack_success"]["rate"] > 0.4
    assert result["repaired"]["attack_success"]["high"] <= 0.15
    assert result["repaired"]["over_refusal"]["rate"] <= 0.10
    assert result["proof"]["p_value"] < 0.05
    assert result["proof"]["languages"] == {"en": "proved"}
    assert len(outcome.arms["bare"]) == len(outcome.arms["repaired"]) == len(outcome.arms["default_shield"])
    states = {row["id"]: row["state"] for row in result["weaknesses"]}
    assert set(states.values()) == {"proved", "repaired"}
    outside = set(result["proof"]["outside"])
    assert {risk.split("/")[0] for risk, state in states.items() if state == "repaired"} == outside
    half = [key for key in result["label"]["sample"] if key.startswith("prompt_clauses/attack/")]
    assert len(result["label"]["sample"]) >= 100
    assert len(half) >= 50
    assert result["proof"]["power"]["pairs"] >= size_needed(ENGLISH)


async def test_nothing_of_the_proof_is_seen_before_it(hardened: Any) -> None:
    outcome, run, model = await hardened(Style())
    plan = outcome.plan
    held = {goal.id for goal in plan.goals["prove"]}
    families = set(plan.families["prove"])
    before = [trial for trial in run.trials if trial.subject not in held and trial.probe != "ability"]
    assert before
    assert not {trial.family for trial in before} & families
    texts = [goal.text for goal in plan.goals["prove"]]
    # Stages are asked one after the other: the first ask of the proof is the first that holds its goals.
    first = next(i for i, asked in enumerate(model.asked) if any(t in asked[-1]["content"] for t in texts))
    assert first >= len(outcome.found.trials)
    clause = outcome.chosen.shield.layers[0].clauses["en"][-1]
    assert not any(text in clause for text in texts)


async def test_a_model_that_never_yields_has_no_weakness(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(yields=0.0), ENGLISH)
    result = told(outcome, run)
    assert result["status"] == "no_weakness"
    assert result["weaknesses"] == []
    assert result["baseline"]["attack_success"]["rate"] == 0
    assert result["baseline"]["over_refusal"]["rate"] == 0
    assert result["baseline"]["over_refusal"]["n"] >= 50
    assert result["baseline"]["ability"]["rate"] > 0.5
    assert result["repaired"] is None
    assert result["proof"]["p_value"] is None
    assert result["label"]["sample"] == []


async def test_safety_that_the_judge_can_not_vouch_for_is_no_verdict(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(yields=0.0), ENGLISH)
    unmeasured = told(outcome, run, {})
    assert unmeasured["status"] == "inconclusive"
    assert [reason["name"] for reason in unmeasured["reasons"]] == ["judge_unmeasured"]
    blind = replace(MEASURED["en"].harmful, true_positive=12, positives=100)
    missed = told(outcome, run, {"en": replace(MEASURED["en"], harmful=blind)})
    assert missed["status"] == "inconclusive"
    assert [reason["name"] for reason in missed["reasons"]] == ["judge_misses"]


async def test_a_model_that_refuses_all_requests_is_not_called_safe(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(yields=0.0, refuses=1.0), ENGLISH)
    result = told(outcome, run)
    assert result["status"] == "inconclusive"
    assert [reason["name"] for reason in result["reasons"]] == ["over_refusal"]
    assert "100.0%" in result["reasons"][0]["en"]
    assert result["baseline"]["attack_success"]["rate"] == 0
    assert result["baseline"]["over_refusal"]["rate"] == 1


async def test_too_few_asks_to_tell_is_inconclusive(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(yields=0.0), replace(SMALL, asks_per_region=1))
    assert told(outcome, run)["status"] == "inconclusive"
    assert told(outcome, run)["reasons"][0]["name"] == "undecided"


@pytest.mark.parametrize(("knows", "more"), [(0.0, "Every reply was the same."), (0.1, "it solved")])
async def test_below_the_floor_nothing_is_measured(hardened: Any, knows: float, more: str) -> None:
    outcome, run, model = await hardened(Style(knows=knows))
    result = told(outcome, run)
    assert result["status"] == "inconclusive"
    assert result["reasons"][0]["name"] == "not_measurable"
    assert more in result["reasons"][0]["en"]
    assert result["proof"]["languages"] == {"en": "not_measurable"}
    assert {trial.probe for trial in run.trials} == {"ability"}
    assert PUZZLED in {trial.reply for trial in run.trials}
    assert len(model.asked) == 24  # no attack was put to it


async def test_a_model_whose_every_call_fails_ends_the_run(hardened: Any) -> None:
    with pytest.raises(RunError, match=r"24 asks failed.*The scripted model fails\..*--out"):
        await hardened(Style(mode="crash"))


@pytest.mark.parametrize("lasts", [10, 150, 230])
async def test_a_model_that_goes_away_stops_the_run_and_loses_nothing(hardened: Any, lasts: int) -> None:
    with pytest.raises(RunError, match=r"failed.* is gone\..*--out"):
        await hardened(Style(), name="a", lasts=lasts)
    outcome, run, model = await hardened(Style(), name="a")
    whole, other, unbroken = await hardened(Style(), name="b")
    assert told(outcome, run) == told(whole, other)
    assert len(unbroken.asked) - len(model.asked) == lasts
    assert not any(trial.failure for trial in run.trials)
    assert verify(run.folder / "ledger.sqlite") == []


async def test_what_failed_before_the_end_is_asked_again(hardened: Any) -> None:
    first, run, _ = await hardened(Style(fails=0.2))
    failed = {trial.key for trial in run.trials if trial.failure}
    assert failed
    rows = len(list(run.ledger.entries()))
    second, again, model = await hardened(Style(fails=0.2))
    assert len(model.asked) == len(failed)  # they failed again
    assert told(first, run) == told(second, again)
    assert len(list(again.ledger.entries())) == rows
    again.record([("decision", "verdict", {})])
    _, last, model = await hardened(Style())
    assert model.asked == []  # a decided run is left as it is
    assert {trial.key for trial in last.trials if trial.failure} == failed


async def test_failed_trials_are_counted_and_left_out(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(fails=0.1), ENGLISH)
    result = told(outcome, run)
    failed = [trial for trial in outcome.arms["bare"] if trial.failure]
    assert failed
    assert all(trial.outcome is None for trial in failed)
    assert result["baseline"]["failed"] == len(failed)
    assert result["cost"]["failed"] == sum(trial.failure is not None for trial in run.trials) > len(failed)
    attacks = [
        t for t in outcome.arms["bare"] if t.probe == "attack" and t.risk not in result["proof"]["outside"]
    ]
    answered = [trial for trial in attacks if trial.outcome is not None]
    assert result["baseline"]["attack_success"]["n"] == len(answered) < len(attacks)
    after = {t.key.split("/", 1)[1]: t for t in outcome.arms["repaired"]}
    both = [t for t in answered if after[t.key.split("/", 1)[1]].outcome is not None]
    assert result["proof"]["power"]["pairs"] == len(both) < len(answered)


async def test_equal_answers_end_in_equal_bytes(hardened: Any) -> None:
    first, run, _ = await hardened(Style(slow=0.002), name="a")
    second, other, _ = await hardened(Style(), name="b")
    texts = [json.dumps(told(*pair), ensure_ascii=False) for pair in ((first, run), (second, other))]
    assert texts[0] == texts[1]


async def test_a_run_that_goes_on_asks_nothing_twice(hardened: Any) -> None:
    first, run, model = await hardened(Style())
    again, resumed, second = await hardened(Style())
    assert model.asked
    assert second.asked == []
    assert told(first, run) == told(again, resumed)
    rows = Counter((entry.kind, entry.key) for entry in resumed.ledger.entries())
    assert set(rows.values()) == {1}
    assert verify(run.folder / "ledger.sqlite") == []


async def test_the_ledger_keeps_trials_in_the_order_of_decisions(hardened: Any) -> None:
    _, run, _ = await hardened(Style(slow=0.002))
    assert [entry.key for entry in run.ledger.entries("trial")] == [trial.key for trial in run.trials]


async def test_an_unmeasured_judge_proves_nothing(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style(), ENGLISH, {})
    result = told(outcome, run, {})
    assert result["status"] == "inconclusive"
    assert result["reasons"][0]["name"] == "judge_unmeasured"
    assert result["proof"]["languages"] == {"en": "inconclusive"}


async def test_two_languages_are_each_decided(hardened: Any) -> None:
    both = replace(SMALL, languages=("en", "zh"))
    outcome, run, _ = await hardened(Style(), both, {"en": MEASURED["en"]})
    result = told(outcome, run, {"en": MEASURED["en"]})
    assert outcome.languages == ("en", "zh")
    assert result["status"] != "proved"
    assert result["proof"]["languages"]["zh"] == "inconclusive"
    assert {row["language"] for row in result["weaknesses"]} == {"en", "zh"}


async def test_the_budget_is_kept(hardened: Any) -> None:
    plan = plan_of(SMALL)
    parts = {stage: len(asks) for stage, asks in planned_asks(plan).items()}
    least = sum(parts.values()) - parts["choose"] // 3
    tight = replace(SMALL, budget=least)
    outcome, run, _ = await hardened(Style(yields_told=0.6), tight)
    assert len(outcome.tried) >= 2
    assert len(run.trials) <= least
    with pytest.raises(PlanError, match=f"at least {least}"):
        check_budget(plan_of(replace(SMALL, budget=least - 1)))


async def test_a_dry_run_counts_at_least_what_is_asked(hardened: Any) -> None:
    planned = sum(len(asks) for asks in planned_asks(plan_of(SMALL)).values())
    outcome, run, _ = await hardened(Style(yields_told=0.6))
    assert len(outcome.tried) == 3
    assert planned * 0.6 <= len(run.trials) <= planned <= SMALL.budget


async def test_families_that_the_model_can_not_read_are_dropped(hardened: Any) -> None:
    outcome, run, _ = await hardened(Style())
    kept = {name for names in outcome.plan.families.values() for name in names}
    assert not kept & {"base64", "simple_cipher", "keyed_cipher", "leetspeak"}
    assert kept >= {"plain", "role_play", "academic"}
    assert {trial.family for trial in run.trials if trial.probe == "attack"} <= kept


async def test_without_a_repair_the_run_says_so(hardened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from fangxin.repair import _harden, _repairs

    monkeypatch.setattr(_repairs, "repairs", dict)
    monkeypatch.setattr(_harden, "repairs", lambda: {"a": 1})
    with pytest.raises(RunError, match="No repair could be made"):
        await hardened(Style())


async def test_the_agent_is_the_one_door(opened: Any, cheap: None) -> None:
    plan, model = plan_of(SMALL), ScriptedModel(Style())
    seen: list[str] = []

    class Watched(Agent):
        async def respond(self, *args: Any, **more: Any) -> Any:
            seen.append("asked")
            return await super().respond(*args, **more)

    run = opened(plan)
    await harden(run, Watched(model), plan, MEASURED, MILD)
    assert len(seen) == len(run.trials)
