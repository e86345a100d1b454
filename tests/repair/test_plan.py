from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from fangxin.probe import SENSITIVE_RISKS, attacks, goals, tasks
from fangxin.repair import Plan, PlanError, Settings, make_plan
from fangxin.repair._plan import PARTS, _counts

from .conftest import ENGLISH, SMALL, plan_of

BOTH = Settings()


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(BOTH)


@given(
    seed=st.integers(0, 2**32 - 1),
    per_risk=st.integers(3, 16),
    regime=st.sampled_from(["ailuminate", "cn", "eu"]),
)
@examples(max_examples=15, deadline=None)
def test_no_goal_and_no_family_is_shared_between_parts(seed: int, per_risk: int, regime: str) -> None:
    plan = plan_of(replace(BOTH, seed=seed, goals_per_risk=per_risk, regime=regime))
    dealt = Counter(goal.id for part in PARTS for goal in plan.goals[part])
    assert set(dealt.values()) == {1}
    families = Counter(name for part in PARTS for name in plan.families[part])
    assert set(families.values()) == {1}
    assert families.keys() == attacks().keys()
    assert "plain" in plan.families["find"]
    for language in BOTH.languages:
        seen = [ask for part in ("find", "choose") for ask in plan.attacks_on(part, language)]  # type: ignore[arg-type]
        held = plan.attacks_on("prove", language)
        assert not {ask.subject for ask in seen} & {ask.subject for ask in held}
        assert not {ask.family for ask in seen if not ask.sensitive} & {
            ask.family for ask in held if not ask.sensitive
        }


def test_the_worst_goals_are_asked_in_plain_words_only(plan: Plan) -> None:
    sensitive = {goal.id for part in PARTS for goal in plan.goals[part] if goal.ailuminate in SENSITIVE_RISKS}
    assert sensitive
    asks = [ask for language in BOTH.languages for part in PARTS for ask in plan.attacks_on(part, language)]
    asks += [
        ask for risk in SENSITIVE_RISKS for language in BOTH.languages for ask in plan.grid(risk, language)
    ]
    worst = [ask for ask in asks if ask.subject in sensitive]
    assert worst
    assert {ask.family for ask in worst} == {"plain"}
    assert all(ask.sensitive and len(ask.turns) == 1 and ask.turns[0].text == ask.question for ask in worst)
    assert not any(ask.sensitive for ask in asks if ask.subject not in sensitive)


def test_every_proof_goal_meets_its_share_of_held_out_families(plan: Plan) -> None:
    met = Counter(ask.subject for ask in plan.attacks_on("prove", "en") if not ask.sensitive)
    assert set(met.values()) == {BOTH.families_per_goal}
    used = Counter(ask.family for ask in plan.attacks_on("prove", "en") if not ask.sensitive)
    assert set(used) == set(plan.families["prove"])
    assert max(used.values()) - min(used.values()) <= max(used.values()) * 0.35
    keys = [ask.key for ask in plan.attacks_on("prove", "en")]
    assert len(keys) == len(set(keys))


def test_every_risk_and_language_reaches_every_part(plan: Plan) -> None:
    for part in PARTS:
        risks = {(plan.risk(goal), goal.language) for goal in plan.goals[part]}
        assert len(risks) == 24
    sizes = {part: len(plan.goals[part]) for part in PARTS}
    assert sizes["prove"] > sizes["find"] > sizes["choose"]


def test_any_beginning_of_the_ability_questions_is_balanced(plan: Plan) -> None:
    kinds = {task.id: task.kind for task in plan.tasks}
    for language in BOTH.languages:
        asked = [kinds[ask.subject] for ask in plan.ability(language)]
        assert len(asked) == BOTH.ability_tasks
        for end in range(3, 46):
            counts = Counter(asked[:end])
            assert max(counts.values()) - min(counts.values()) <= 1


def test_a_beginning_of_a_region_is_a_mixture(plan: Plan) -> None:
    first = plan.grid("hate", "en")[:12]
    assert len({ask.subject for ask in first}) >= 3
    assert len({ask.family for ask in first}) >= 4


def test_plans_repeat_themselves() -> None:
    one, two = plan_of(ENGLISH), plan_of(ENGLISH)
    assert one.goals == two.goals
    assert one.attacks_on("prove", "en") == two.attacks_on("prove", "en")
    other = plan_of(replace(ENGLISH, seed=1))
    assert other.goals != one.goals
    assert other.families != one.families


def test_settings_are_told_apart_by_their_digest() -> None:
    assert ENGLISH.digest() == replace(ENGLISH).digest()
    digests = {
        replace(ENGLISH, **change).digest() for change in ({}, {"seed": 1}, {"alpha": 0.01}, {"regime": "cn"})
    }
    assert len(digests) == 4


def test_screening_puts_easy_questions_through_every_family() -> None:
    plan = plan_of(SMALL)
    asks = plan.screening(plan.tasks)
    counts = Counter(ask.family for ask in asks)
    assert set(counts) == set(attacks()) - {"plain"}
    assert set(counts.values()) == {4}
    assert {ask.probe for ask in asks} == {"ability"}


def test_what_is_kept_is_dealt_anew() -> None:
    plan = plan_of(SMALL)
    kept = plan.keeping([name for name in attacks() if name != "base64"])
    names = [name for part in PARTS for name in kept.families[part]]
    assert sorted(names) == sorted(set(attacks()) - {"base64"})
    assert kept.goals == plan.goals


def test_a_plan_needs_goals_and_families() -> None:
    with pytest.raises(PlanError, match="nothing would be asked"):
        make_plan(ENGLISH, goals("en"), tasks("en"), attacks(), [])
    few = {name: attacks()[name] for name in ("plain", "role_play", "base64")}
    with pytest.raises(PlanError, match="families"):
        make_plan(ENGLISH, goals("en"), tasks("en"), few, ["hate"])
    with pytest.raises(PlanError, match="families"):
        plan_of(SMALL).keeping(["role_play"])


def test_the_chinese_regime_names_its_own_risks() -> None:
    plan = plan_of(replace(BOTH, regime="cn"))
    risks = {plan.risk(goal) for part in PARTS for goal in plan.goals[part]}
    assert risks
    assert not risks & {goal.ailuminate for part in PARTS for goal in plan.goals[part] if goal.ailuminate}


@given(n=st.integers(0, 50), shares=st.tuples(*[st.floats(0.05, 1.0)] * 3))
def test_shares_add_up(n: int, shares: tuple[float, float, float]) -> None:
    counts = _counts(n, shares)
    assert sum(counts) == n
    assert all(abs(count - n * share / sum(shares)) < 1 for count, share in zip(counts, shares, strict=True))
