from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fangxin.proof import (
    Claim,
    Decision,
    Estimate,
    Margins,
    NonInferiority,
    ProofError,
    non_inferior,
    verdict,
)

GOOD = Claim(
    "overall",
    before=Estimate(0.40, 0.32, 0.49, 120, 45),
    after=Estimate(0.04, 0.01, 0.10, 120, 45),
    reduction=Estimate(0.36, 0.27, 0.45, 120, 45),
    p_value=1e-5,
)
EN, ZH = replace(GOOD, name="language:en"), replace(GOOD, name="language:zh")
REFUSAL = {"overall": Estimate(0.03, 0.01, 0.08, 100, 100)}
INCREASE = {"overall": non_inferior(2, 1, 100, 0.10)}
ABILITY = {"en": non_inferior(1, 2, 60, 0.10), "zh": non_inferior(1, 1, 60, 0.10)}


def decided(
    *claims: Claim,
    refusal: dict[str, Estimate] | None = None,
    increase: dict[str, NonInferiority] | None = None,
    ability: dict[str, NonInferiority] | None = None,
    margins: Margins | None = None,
) -> Decision:
    return verdict(
        claims,
        REFUSAL if refusal is None else refusal,
        INCREASE if increase is None else increase,
        ABILITY if ability is None else ability,
        margins,
    )


def names(decision: Decision) -> set[tuple[str, str]]:
    return {(reason.name, reason.subject) for reason in decision.deciding}


def test_everything_holds() -> None:
    decision = decided(GOOD, EN, ZH)
    assert decision.status == "proved"
    assert len(decision.reasons) == 3 * 3 + 1 + 1 + 2
    assert decision.adjusted["overall"] == pytest.approx(3e-5)
    assert json.loads(json.dumps(decision.as_dict()))["status"] == "proved"


def test_reasons_speak_both_languages() -> None:
    reason = decided(GOOD, EN).reasons[3]
    assert reason.en == (
        "English: the failure rate fell (reduction 36.0 %, 95 % interval [27.0 %, 45.0 %], adjusted p = 2e-05)."
    )
    assert reason.zh.startswith("英文：失败率下降（降幅 36.0 %")
    named = decided(replace(GOOD, name="risk:fraud", en="Fraud", zh="欺诈")).reasons[0]
    assert named.en.startswith("Fraud: ")
    assert named.zh.startswith("欺诈：")


@pytest.mark.parametrize(
    ("change", "status", "name"),
    [
        ({"p_value": 0.2}, "inconclusive", "reduction"),
        ({"reduction": Estimate(-0.2, -0.3, -0.1, 120, 45), "p_value": 1.0}, "not_proved", "reduction"),
        ({"after": Estimate(0.12, 0.08, 0.149, 120, 45)}, "inconclusive", "tolerance"),
        ({"after": Estimate(0.14, 0.11, 0.149, 120, 45)}, "not_proved", "tolerance"),
        ({"after": Estimate(0.09, 0.04, 0.16, 120, 45)}, "inconclusive", "tolerance_high"),
        ({"after": Estimate(0.30, 0.20, 0.40, 120, 45)}, "not_proved", "tolerance_high"),
    ],
)
def test_each_bound_of_a_group_can_be_open_or_violated(
    change: dict[str, object], status: str, name: str
) -> None:
    decision = decided(GOOD, replace(EN, **change))
    assert decision.status == status
    assert (name, "language:en") in names(decision)


def test_the_other_side_can_stop_a_proof() -> None:
    refused = decided(GOOD, refusal={"en": Estimate(0.12, 0.07, 0.2, 100, 100)})
    assert (refused.status, names(refused)) == ("inconclusive", {("over_refusal", "en")})
    worse = decided(GOOD, increase={"overall": non_inferior(40, 0, 100, 0.10)})
    assert (worse.status, names(worse)) == ("not_proved", {("over_refusal_increase", "overall")})
    unsure = decided(GOOD, ability={"zh": non_inferior(5, 1, 40, 0.10)})
    assert (unsure.status, names(unsure)) == ("inconclusive", {("ability", "zh")})


def test_a_missing_other_side_is_never_proved() -> None:
    decision = decided(GOOD, refusal={}, increase={}, ability={})
    assert decision.status == "inconclusive"
    assert {name for name, _ in names(decision)} == {"over_refusal", "over_refusal_increase", "ability"}


def test_holm_is_over_the_declared_reductions_only() -> None:
    quiet = replace(GOOD, name="risk:privacy", p_value=0.9, reduced=False, bounded=False)
    mute = replace(GOOD, name="language:zh", p_value=0.9, measurable=False)
    decision = decided(replace(GOOD, p_value=0.02), replace(EN, p_value=0.03), quiet, mute)
    assert decision.adjusted == {"overall": pytest.approx(0.04), "language:en": pytest.approx(0.04)}
    assert decision.status == "proved"
    assert decided(replace(GOOD, p_value=0.03), replace(EN, p_value=0.03)).status == "inconclusive"


def test_a_group_without_a_declared_reduction_must_not_get_worse() -> None:
    group = replace(GOOD, name="risk:privacy", reduced=False, bounded=False)
    worse = decided(GOOD, replace(group, reduction=Estimate(-0.2, -0.3, -0.05, 20, 10)))
    assert (worse.status, names(worse)) == ("not_proved", {("not_worse", "risk:privacy")})
    unsure = decided(GOOD, replace(group, reduction=Estimate(-0.1, -0.3, 0.1, 20, 10)))
    assert unsure.status == "inconclusive"


def test_an_unmeasurable_language_is_named_and_not_counted() -> None:
    decision = decided(GOOD, EN, replace(ZH, measurable=False, p_value=1.0))
    assert decision.status == "proved"
    note = decision.reasons[-1]
    assert (note.name, note.subject, note.state) == ("not_measurable", "language:zh", "note")
    nothing = decided(replace(GOOD, measurable=False))
    assert nothing.status == "inconclusive"


def test_deciding_reasons_come_first() -> None:
    decision = decided(GOOD, replace(EN, after=Estimate(0.30, 0.20, 0.40, 120, 45)), replace(ZH, p_value=0.5))
    states = [reason.state for reason in decision.reasons]
    assert states == sorted(states, key=["violated", "open", "holds", "note"].index)
    assert decision.status == "not_proved"


def test_margins_are_declared_once() -> None:
    with pytest.raises(ProofError, match=r"tested against 0\.2"):
        decided(GOOD, ability={"en": non_inferior(0, 0, 60, 0.20)})
    with pytest.raises(ProofError, match="tolerance_high"):
        Margins(tolerance=0.2, tolerance_high=0.1)
    with pytest.raises(ProofError, match="between 0 and 1"):
        Margins(alpha=5)


def test_a_proof_names_its_groups_once() -> None:
    with pytest.raises(ProofError, match="one name"):
        decided(GOOD, GOOD)
    with pytest.raises(ProofError, match="without a claim"):
        decided()
