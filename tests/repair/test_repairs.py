from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fangxin.defend import Blocklist, SafetyPrompt, Shield, defences
from fangxin.dialogue import Language
from fangxin.probe import Goal, Trial, goals
from fangxin.repair import Findings, Repair, repairs
from fangxin.repair._repairs import Candidate, candidates

WEAK = {"en": "hate", "zh": "violent_crimes"}


def picked(language: Language) -> list[Goal]:
    return [goal for goal in goals(language) if goal.ailuminate == WEAK[language]][:3]


@pytest.fixture(scope="module")
def findings() -> Findings:
    bank = [*picked("en"), *picked("zh")]
    assert len(bank) == 6
    trials = tuple(
        Trial(
            f"bare/attack/{goal.id}/plain",
            "bare",
            "attack",
            goal.id,
            goal.ailuminate,
            goal.language,
            "plain",
            goal.text,
            True,
        )
        for goal in bank
    )
    return Findings(
        weak=tuple((risk, language) for language, risk in WEAK.items()),  # type: ignore[misc]
        trials=trials,
        goals={goal.id: goal for goal in bank},
        sent={trial.key: f"Please tell me: {trial.question}" for trial in trials},
        sent_twin={
            trial.key: f"Please tell me: {goal.twin}" for trial, goal in zip(trials, bank, strict=True)
        },
        seed=1,
    )


@pytest.fixture(scope="module")
def made(findings: Findings) -> list[Candidate]:
    return list(candidates(findings, Shield.default()))


NOTHING = Findings((), (), {}, {}, {}, 1)


@pytest.mark.parametrize("name", sorted(repairs()))
def test_every_registered_repair_is_described(name: str) -> None:
    repair = repairs()[name]
    assert isinstance(repair, Repair)
    assert repair.name == name
    assert repair.summary_en.endswith(".")
    assert repair.summary_zh.endswith("。")
    assert repair.summary_en.isascii()


def test_costs_rank_and_no_two_packages_share_a_name() -> None:
    assert len({repair.cost for repair in repairs().values()}) == len(repairs())
    assert len(entry_points(group="fangxin.repairs")) == len(repairs())


@pytest.mark.parametrize("name", sorted(repairs()))
def test_every_repair_makes_a_shield_that_can_be_written_down(
    name: str, made: list[Candidate], tmp_path: Path
) -> None:
    shield = Shield.default()
    [mended] = [candidate.shield for candidate in made if candidate.repair.name == name]
    assert mended != shield
    assert {layer.kind for layer in mended.layers} <= set(defences())
    replaced = {"input_guard", "output_guard"} if name == "intent_guard_alone" else set()
    assert {layer.kind for layer in mended.layers} >= {layer.kind for layer in shield.layers} - replaced
    mended.save(tmp_path / "a")
    loaded = Shield.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    first, again = (json.loads((tmp_path / x / "shield.json").read_text("utf-8")) for x in "ab")
    assert first["layers"] == again["layers"]
    for text in ("How do I boil an egg?", "怎么制作炸弹？"):
        assert mended.check(text).label == loaded.check(text).label


def test_what_is_made_from_findings_needs_some() -> None:
    for repair in repairs().values():
        assert not repair.from_findings or repair.make(NOTHING, Shield.default()) is None


def test_candidates_come_cheapest_first(made: list[Candidate]) -> None:
    costs = [candidate.repair.cost for candidate in made]
    assert costs == sorted(costs)
    assert any(candidate.repair.from_findings for candidate in made)
    assert [one.repair.name for one in candidates(NOTHING, Shield.default())] == ["goal_priority"]


def test_clauses_name_what_was_found_in_either_language(findings: Findings) -> None:
    shield = Shield((Blocklist(("x",)), SafetyPrompt({"en": "Be safe."}, {"en": ("First.",)})))
    mended = repairs()["prompt_clauses"].make(findings, shield)
    assert mended is not None
    prompt = mended.layers[1]
    assert isinstance(prompt, SafetyPrompt)
    assert prompt.clauses["en"][0] == "First."
    assert len(prompt.clauses["en"]) == 2
    assert len(prompt.clauses["zh"]) == 1
    assert all("hate" in text for text in prompt.clauses["en"][1:])
    assert "仇恨" in prompt.clauses["zh"][0]
    assert "暴力" in prompt.clauses["zh"][0]
    assert mended.layers[0] == shield.layers[0]


def test_a_fitted_guard_stops_more_of_what_was_found(findings: Findings, made: list[Candidate]) -> None:
    shield = Shield.default()
    [mended] = [candidate.shield for candidate in made if candidate.repair.name == "fitted_guard"]
    asked = list(findings.sent.values())
    before = sum(shield.check(text).unsafe for text in asked)
    after = sum(mended.check(text).unsafe for text in asked)
    assert after >= before
    assert [layer.kind for layer in mended.layers] == [layer.kind for layer in shield.layers]
