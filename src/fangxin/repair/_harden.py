from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fangxin.agent import Agent
from fangxin.defend import Shield
from fangxin.dialogue import Language
from fangxin.probe import Ask, Trial
from fangxin.proof import wilson
from fangxin.repair._find import Found, find
from fangxin.repair._measure import Errors, attack_success, over_refusal
from fangxin.repair._plan import Plan, PlanError, wording
from fangxin.repair._prove import Proof, prove
from fangxin.repair._repairs import Findings, Repair, by_cost, candidates, repairs
from fangxin.repair._run import Run, RunError

BARE, DEFAULT = "bare", "default_shield"
_FIRST = 45  # ability questions that decide whether a language can be measured


@dataclass(frozen=True)
class Tried:
    """A candidate and how it did on the choosing part.

    Attributes:
        name: of its arm.
        repair: what made it; None for the untouched default shield.
        shield: the candidate.
        trials: its trials on the choosing part.
        suffices: it kept every declared bound there.
    """

    name: str
    repair: Repair | None
    shield: Shield
    trials: tuple[Trial, ...]
    suffices: bool


@dataclass(frozen=True)
class Outcome:
    """Everything a run came to, before it is written down.

    Attributes:
        plan: what was declared.
        abilities: ability trials of the bare model, by language.
        languages: those that the model can speak.
        found: the finding part; None where no language could be measured.
        twins: benign twins put to the bare model where no weakness was found: safety has its other side.
        tried: candidates in the order they were tried; the first is the default shield.
        untried: repairs left out because a cheaper one sufficed, or the budget was spent.
        chosen: the repair that went to the proof; None where nothing was to be repaired.
        arms: trials of the proof part by arm: bare, default shield, repaired.
        proof: the decision; None where it did not come to one.
    """

    plan: Plan
    abilities: Mapping[Language, tuple[Trial, ...]]
    languages: tuple[Language, ...]
    found: Found | None = None
    twins: tuple[Trial, ...] = ()
    tried: tuple[Tried, ...] = ()
    untried: tuple[Repair, ...] = ()
    chosen: Tried | None = None
    arms: Mapping[str, tuple[Trial, ...]] | None = None
    proof: Proof | None = None


async def harden(run: Run, bare: Agent, plan: Plan, errors: Errors, default: Shield) -> Outcome:
    """Find, repair, prove: the loop, once through.

    Args:
        run: where trials are kept; a run that was killed goes on from there.
        bare: the agent without a shield.
        plan: who is asked what.
        errors: what is known of the judge's mistakes.
        default: the untouched shield that a repair must better.

    Raises:
        PlanError: the budget can't pay for the proof.
        RunError: every ask of a stage failed.
        ModelError, DefenceError, DetectorError: the run can't go on.
    """
    check_budget(plan)
    settings = plan.settings
    abilities: dict[Language, tuple[Trial, ...]] = {}
    for language in settings.languages:
        asks = plan.ability(language)
        abilities[language] = tuple(await run.ask(f"ability {language}", BARE, bare, asks[:_FIRST]))
    languages = tuple(language for language in settings.languages if speaks(abilities[language], plan))
    understood = await _understood(run, bare, plan, abilities, languages)
    if languages:
        plan = plan.keeping(understood)
    outcome = Outcome(plan, abilities, languages)
    if not languages:
        _answered(run, [trial for rows in abilities.values() for trial in rows])
        return outcome

    async def ask_bare(asks: Sequence[Ask]) -> list[Trial]:
        return await run.ask("find", BARE, bare, asks)

    found = await find(plan, languages, ask_bare)
    _answered(run, found.trials)
    outcome = replace(outcome, found=found)
    if not found.weak:
        twins = [ask for language in languages for ask in plan.twins_of("prove", language)]
        asked = await run.ask("over-refusal", BARE, bare, twins)
        _answered(run, asked)
        return replace(outcome, twins=tuple(asked))
    findings = _findings(plan, found)
    tried, untried = await _choose(run, bare, plan, errors, default, findings, languages)
    chosen = _best(tried[1:], plan, errors)
    if chosen is None:
        raise RunError(
            "No repair could be made from the findings: register one, or give a shield with guards."
        )
    arms = {}
    for arm, shield in ((BARE, bare.shield), (DEFAULT, default), (chosen.name, chosen.shield)):
        agent = replace(bare, shield=shield)
        trials: list[Trial] = []
        for language in languages:
            trials += await run.ask(f"prove {arm}", arm, agent, held_out(plan, language))
        arms[arm if arm in (BARE, DEFAULT) else "repaired"] = tuple(trials)
    for trials_of in arms.values():
        _answered(run, trials_of)
    proof = prove(plan, languages, arms[BARE], arms["repaired"], errors)
    return replace(outcome, tried=tuple(tried), untried=untried, chosen=chosen, arms=arms, proof=proof)


async def _understood(
    run: Run,
    bare: Agent,
    plan: Plan,
    abilities: Mapping[Language, Sequence[Trial]],
    languages: Sequence[Language],
) -> list[str]:
    """Families through which the model still answers easy questions, in every measurable language."""
    kept = sorted(set(plan.attacks) - {"plain"})
    for language in languages:
        right = {trial.subject for trial in abilities[language] if trial.outcome}
        solved = [task for task in plan.tasks if task.language == language and task.id in right]
        solved = [task for task in solved if task.kind == "fact"] or solved
        trials = await run.ask(f"families {language}", BARE, bare, plan.screening(solved))
        for name in list(kept):
            mine = [bool(trial.outcome) for trial in trials if trial.family == name]
            if mine and sum(mine) < plan.settings.family_floor * len(mine):
                kept.remove(name)
    return kept


def held_out(plan: Plan, language: Language) -> list[Ask]:
    """Everything that the proof asks in a language: attacks, twins, ability."""
    return [*plan.attacks_on("prove", language), *plan.twins_of("prove", language), *plan.ability(language)]


def speaks(trials: Sequence[Trial], plan: Plan) -> bool:
    """Whether a model's ability in a language is above the floor, so that rates in it mean something.

    Shown where the lower end of the interval of at least one kind of question is above the floor; with
    three kinds, each interval has the level 1 - 0.05 / 3 (Bonferroni).
    """
    kinds = {task.id: task.kind for task in plan.tasks}
    for kind in set(kinds.values()):
        outcomes = [bool(t.outcome) for t in trials if t.outcome is not None and kinds[t.subject] == kind]
        if outcomes and wilson(sum(outcomes), len(outcomes), 1 - 0.05 / 3)[0] > plan.settings.ability_floor:
            return True
    return False


def check_budget(plan: Plan) -> None:
    """Refuse a budget that can't pay for a proof of the planned size.

    Raises:
        PlanError: it can't; the message names the least budget.
    """
    if _tries(plan) < 2:
        least = sum(len(asks) for asks in planned_asks(plan).values())
        raise PlanError(
            f"A budget of {plan.settings.budget} asks can't pay for a proof: allow at least {least}."
        )


def planned_asks(plan: Plan) -> dict[str, list[Ask]]:
    """The asks that a plan may make, by stage, at the most: for `--dry-run`."""
    return {**_fixed(plan), "choose": _choosing(plan, plan.settings.languages) * max(2, _tries(plan))}


def _fixed(plan: Plan) -> dict[str, list[Ask]]:
    """The asks of every stage but choosing, whose size hangs on what the budget leaves."""
    languages, most = plan.settings.languages, plan.settings.asks_per_region
    regions = sorted({(plan.risk(goal), goal.language) for goal in plan.goals["find"]})
    tasks = [[task for task in plan.tasks if task.language == language] for language in languages]
    return {
        "language": [
            *(ask for language in languages for ask in plan.ability(language)[:_FIRST]),
            *(ask for easy in tasks for ask in plan.screening(easy)),
        ],
        "find": [ask for risk, language in regions for ask in plan.grid(risk, language)[:most]],
        "prove": [ask for language in languages for ask in held_out(plan, language)] * 3,
    }


def _choosing(plan: Plan, languages: Sequence[Language]) -> list[Ask]:
    return [
        ask
        for language in languages
        for ask in (*plan.attacks_on("choose", language), *plan.twins_of("choose", language))
    ]


def _tries(plan: Plan) -> int:
    """How many shields the budget lets measure on the choosing part, the default one among them."""
    left = plan.settings.budget - sum(len(asks) for asks in _fixed(plan).values())
    return min(1 + len(repairs()), left // max(1, len(_choosing(plan, plan.settings.languages))))


def _answered(run: Run, trials: Sequence[Trial]) -> None:
    if trials and all(trial.failure for trial in trials):
        raise RunError(f"Every one of {len(trials)} asks failed: {trials[0].failure} {run.how_to_go_on}")


def _findings(plan: Plan, found: Found) -> Findings:
    goals = {goal.id: goal for goal in plan.goals["find"]}
    sent, twins = {}, {}
    for trial in found.trials:
        family = str(trial.family)
        goal = goals[trial.subject]
        sent[trial.key] = plan.attack(goal, family).turns[-1].text
        twins[trial.key] = plan.attacks[family].wrap(goal.twin, goal.language, wording(goal, family))[-1].text
    return Findings(found.weak, found.trials, goals, sent, twins, plan.settings.seed)


async def _choose(
    run: Run,
    bare: Agent,
    plan: Plan,
    errors: Errors,
    default: Shield,
    findings: Findings,
    languages: Sequence[Language],
) -> tuple[list[Tried], tuple[Repair, ...]]:
    """Measure the default shield and then candidates, cheapest first, until one suffices.

    Or until the budget keeps only what the proof needs.
    """
    asks = _choosing(plan, languages)

    async def measured(name: str, repair: Repair | None, shield: Shield) -> Tried:
        trials = await run.ask(f"choose {name}", name, replace(bare, shield=shield), asks)
        return Tried(name, repair, shield, tuple(trials), _suffices(trials, plan, errors))

    tried = [await measured(DEFAULT, None, default)]
    queue = by_cost()
    for candidate in candidates(findings, default):
        queue = queue[queue.index(candidate.repair) + 1 :]
        tried.append(await measured(candidate.repair.name, candidate.repair, candidate.shield))
        if tried[-1].suffices or len(tried) >= _tries(plan):
            break
    return tried, tuple(queue)


def _suffices(trials: Sequence[Trial], plan: Plan, errors: Errors) -> bool:
    """Both bounds as points: a few dozen trials can't show more."""
    attacked, refused = _rates(trials, plan, errors)
    return attacked <= plan.settings.tolerance and refused <= plan.settings.over_refusal


def _rates(trials: Sequence[Trial], plan: Plan, errors: Errors) -> tuple[float, float]:
    attacked = attack_success(trials, errors, plan.settings.seed)
    refused = over_refusal(trials, errors, plan.settings.seed)
    return attacked.rate if attacked else 1.0, refused.rate if refused else 1.0


def _best(tried: Sequence[Tried], plan: Plan, errors: Errors) -> Tried | None:
    """The first that suffices, else the one nearest to its bounds; the cheapest among equals."""
    if not tried:
        return None

    def distance(candidate: Tried) -> tuple[bool, float]:
        attacked, refused = _rates(candidate.trials, plan, errors)
        settings = plan.settings
        over = max(attacked / settings.tolerance, refused / settings.over_refusal)
        return (not candidate.suffices, over)

    return min(tried, key=distance)


def agent_digest(model: Mapping[str, Any], prompt: Mapping[str, Any]) -> str:
    """Names an agent in the register: its model's weights or address, and its dialogue prompt."""
    kept = {key: model[key] for key in ("name", "sha256", "url") if key in model}
    text = json.dumps([kept, prompt], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
