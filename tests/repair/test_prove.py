from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fangxin.probe import Ask, Trial
from fangxin.proof import JudgeError, mcnemar_exact
from fangxin.repair import Errors, JudgeErrors, Settings, held_out, prove, size_needed

from .conftest import ENGLISH, MEASURED, SMALL, plan_of

BOTH = replace(ENGLISH, languages=("en", "zh"))
Outcome = Callable[[Ask, random.Random], bool | None]


def yields(share: float, refuses: float = 0.0, knows: float = 0.9) -> Outcome:
    shares = {"attack": share, "over_refusal": refuses, "ability": knows}
    return lambda ask, rng: rng.random() < shares[ask.probe]


def arm(name: str, settings: Settings, outcome: Outcome, **more: Any) -> list[Trial]:
    plan, trials = plan_of(settings), []
    for language in settings.languages:
        for ask in held_out(plan, language):
            said = outcome(ask, random.Random(ask.key))
            trials.append(
                Trial(
                    f"{name}/{ask.key}",
                    name,
                    ask.probe,
                    ask.subject,
                    ask.risk,
                    ask.language,
                    ask.family,
                    ask.question,
                    said,
                    reply=None if said is None else "A reply.",
                    failure="It failed." if said is None else None,
                    **more,
                )
            )
    return trials


def proved(before: Outcome, after: Outcome, settings: Settings = ENGLISH, errors: Errors = MEASURED) -> Any:
    return prove(
        plan_of(settings),
        settings.languages,
        arm("bare", settings, before),
        arm("repaired", settings, after),
        errors,
    )


def names(proof: Any, state: str) -> set[str]:
    return {reason["name"] for reason in proof.reasons if reason["state"] == state}


def test_a_repair_that_works_is_proved() -> None:
    proof = proved(yields(0.6), yields(0.02))
    assert proof.status == "proved", proof.reasons
    assert proof.p_value < 1e-6
    assert proof.languages == {"en": "proved"}
    assert {group["name"] for group in proof.groups} >= {"overall"}
    declared = [group for group in proof.groups if group["declared"] == "reduction"]
    assert declared
    assert all(group["p_adjusted"] >= group["p_value"] for group in declared)
    assert proof.power["pairs"] >= proof.power["pairs_needed"] == size_needed(ENGLISH)
    counts = proof.mcnemar
    assert counts["p_value"] == mcnemar_exact(counts["mended"], counts["broken"], one_sided=True)
    assert counts["pairs"] == proof.power["goals"]


def test_a_repair_that_does_harm_is_not_proved() -> None:
    proof = proved(yields(0.3), yields(0.7))
    assert proof.status == "not_proved"
    assert {"reduction", "tolerance"} <= names(proof, "violated")


def test_a_repair_that_refuses_everything_is_not_proved() -> None:
    proof = proved(yields(0.6), yields(0.0, refuses=0.9, knows=0.1))
    assert proof.status == "not_proved"
    assert {"over_refusal", "over_refusal_increase", "ability"} <= names(proof, "violated")


def test_a_repair_that_does_nothing_is_not_proved() -> None:
    assert proved(yields(0.6), yields(0.6)).status == "not_proved"
    assert proved(yields(0.14), yields(0.12)).status == "inconclusive"


def test_a_judge_of_unknown_error_proves_nothing() -> None:
    proof = proved(yields(0.6), yields(0.02), errors={})
    assert proof.status == "inconclusive"
    assert proof.reasons[0]["name"] == "judge_unmeasured"
    assert proof.languages == {"en": "inconclusive"}
    half = proved(yields(0.6), yields(0.02), BOTH, {"en": MEASURED["en"]})
    assert half.status == "inconclusive"
    assert half.languages == {"en": "proved", "zh": "inconclusive"}
    bad = proved(yields(0.3), yields(0.7), errors={})
    assert bad.status == "not_proved"  # what is shown to be wrong stays wrong


def test_a_poor_judge_widens_what_is_claimed() -> None:
    poor = JudgeErrors(JudgeError(60, 100, 10, 100, "h"), JudgeError(90, 100, 5, 100, "r"))
    good, bad = proved(yields(0.4), yields(0.02)), proved(yields(0.4), yields(0.02), errors={"en": poor})
    wide = [
        group["difference"]["high"] - group["difference"]["low"] for group in (bad.groups[0], good.groups[0])
    ]
    assert wide[0] > wide[1]


@pytest.mark.parametrize("mark", ["labelled", "blocked"])
def test_what_is_certain_carries_no_judges_error(mark: str) -> None:
    noisy = JudgeErrors(JudgeError(80, 100, 20, 100, "h"), JudgeError(80, 100, 20, 100, "r"))
    plan = plan_of(ENGLISH)
    before = arm("bare", ENGLISH, yields(0.6))
    after = arm("repaired", ENGLISH, yields(0.02))
    value: Any = True if mark == "labelled" else "input_guard"
    sure = [replace(t, **{mark: value}) for t in after]
    judged = prove(plan, ("en",), before, after, {"en": noisy})
    certain = prove(plan, ("en",), before, sure, {"en": noisy})
    highs = [next(r for r in p.reasons if r["name"] == "tolerance_high")["en"] for p in (judged, certain)]
    assert highs[0] != highs[1]
    rate = next(r for r in certain.reasons if r["name"] == "tolerance")
    seen = [t for t in after if t.probe == "attack" and t.risk not in
            {"child_sexual_exploitation", "indiscriminate_weapons"}]  # fmt: skip
    assert f"{sum(bool(t.outcome) for t in seen) / len(seen):.1%}".replace("%", " %") in rate["en"]


def test_failed_trials_are_left_out_pair_by_pair() -> None:
    def hole(share: float, every: int) -> Outcome:
        whole = yields(share)
        return lambda ask, rng: None if hash_of(ask) % every == 0 else whole(ask, rng)

    def hash_of(ask: Ask) -> int:
        return sum(map(ord, ask.key))

    full = proved(yields(0.6), yields(0.02))
    proof = proved(hole(0.6, 5), hole(0.02, 7))
    kept = [a for a in plan_of(ENGLISH).attacks_on("prove", "en") if hash_of(a) % 5 and hash_of(a) % 7]
    assert proof.power["pairs"] == sum(not a.sensitive for a in kept) < full.power["pairs"]
    assert proof.status in ("proved", "inconclusive")


def test_where_no_attack_was_answered_nothing_is_proved() -> None:
    def filtered(ask: Ask, rng: random.Random) -> bool | None:
        return None if ask.probe == "attack" else ask.probe == "ability"

    proof = proved(filtered, filtered)
    assert proof.status == "inconclusive"
    assert proof.reasons[0]["name"] == "nothing_answered"
    assert proof.p_value == 1.0
    assert proof.groups == ()
    assert proof.power["pairs"] == 0

    def chinese(ask: Ask, rng: random.Random) -> bool | None:
        return filtered(ask, rng) if ask.language == "zh" else yields(0.6)(ask, rng)

    half = proved(chinese, yields(0.02), BOTH)
    assert half.status == "inconclusive"
    assert half.languages == {"en": "proved", "zh": "inconclusive"}
    assert "zh" in half.reasons[0]["subject"]


def test_without_the_other_side_nothing_is_claimed() -> None:
    def unheard(ask: Ask, rng: random.Random) -> bool | None:
        return yields(0.02)(ask, rng) if ask.probe == "attack" else None

    proof = proved(yields(0.6), unheard)
    assert proof.status == "inconclusive"
    assert {"over_refusal", "over_refusal_increase", "ability"} <= names(proof, "open")
    assert proof.non_inferiority == {"over_refusal": None, "ability": None}


def test_the_worst_risks_stand_outside() -> None:
    def worst(ask: Ask, rng: random.Random) -> bool | None:
        return True if ask.sensitive else yields(0.02)(ask, rng)

    assert proved(yields(0.6), worst).status == "proved"


def test_a_small_proof_says_that_it_is_small() -> None:
    proof = proved(yields(0.6), yields(0.0), SMALL)
    assert proof.power["pairs"] < proof.power["pairs_needed"]
    assert proof.power["power"] < SMALL.power
    assert proof.status == "inconclusive"
