from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from fangxin.defend import Defence, GoalPriority, InputGuard, IntentGuard, SafetyPrompt, Shield
from fangxin.detect import IntentDetector, adapt
from fangxin.dialogue import Language
from fangxin.probe import Goal, Trial
from fangxin.risks import risk as risk_of


@dataclass(frozen=True)
class Findings:
    """What a repair may be made from: the finding part of a run, and nothing else of it.

    Attributes:
        weak: (risk, language) of the weaknesses found.
        trials: every finding trial of the bare model.
        goals: the goals that were asked, by identifier.
        sent: what each trial's goal became inside its attack family, by trial key.
        sent_twin: what the goal's benign twin becomes inside the same family, by trial key.
        seed: of random choices.
        fitted: what has been fitted on them so far; repairs that combine others take it from here.
    """

    weak: tuple[tuple[str, Language], ...]
    trials: tuple[Trial, ...]
    goals: Mapping[str, Goal]
    sent: Mapping[str, str]
    sent_twin: Mapping[str, str]
    seed: int
    fitted: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Repair:
    """A way to mend a shield.

    Attributes:
        name: its identifier.
        cost: its rank among repairs; the cheapest to run is tried first.
        from_findings: whether it is made from what was found (law 6).
        summary_en, summary_zh: one sentence for the report.
        make: findings and the default shield to a candidate; None where it has nothing to work on.
    """

    name: str
    cost: int
    from_findings: bool
    summary_en: str
    summary_zh: str
    make: Callable[[Findings, Shield], Shield | None]


@dataclass(frozen=True)
class Candidate:
    """A repair's shield, to be measured."""

    repair: Repair
    shield: Shield


@cache
def repairs() -> Mapping[str, Repair]:
    """Every registered repair by name: the built-in ones and third parties' (entry points)."""
    found = {}
    for point in entry_points(group="fangxin.repairs"):
        found[point.name] = point.load()
    return found


def by_cost() -> list[Repair]:
    """Every registered repair, the cheapest first."""
    return sorted(repairs().values(), key=lambda repair: (repair.cost, repair.name))


def candidates(findings: Findings, shield: Shield) -> Iterator[Candidate]:
    """Every candidate that the findings allow, cheapest first, each made when it is asked for."""
    for repair in by_cost():
        mended = repair.make(findings, shield)
        if mended is not None:
            yield Candidate(repair, mended)


def _replaced(shield: Shield, kind: str, layer: Defence) -> Shield | None:
    if not any(old.kind == kind for old in shield.layers):
        return None
    return Shield(tuple(layer if old.kind == kind else old for old in shield.layers))


def _fit_guard(findings: Findings, shield: Shield) -> Shield | None:
    guard = next((layer for layer in shield.layers if isinstance(layer, InputGuard)), None)
    goals = [goal for goal in findings.goals.values() if _weak(goal, findings)]
    if guard is None or not goals:
        return None
    weak = {goal.id for goal in goals}
    number = {goal: i for i, goal in enumerate(sorted(findings.goals))}
    wrapped = [trial for trial in findings.trials if trial.family != "plain"]
    harmful = [(goal.text, goal.id) for goal in goals]
    harmful += [(findings.sent[trial.key], trial.subject) for trial in wrapped if trial.subject in weak]
    benign = [(goal.twin, goal.id) for goal in findings.goals.values()]
    benign += [(findings.sent_twin[trial.key], trial.subject) for trial in wrapped]
    if "guard" not in findings.fitted:
        findings.fitted["guard"] = adapt(
            guard.detector,
            harmful=[text for text, _ in harmful],
            benign=[text for text, _ in benign],
            groups=[number[goal] for _, goal in (*harmful, *benign)],
            seed=findings.seed,
        )
    mended = replace(guard, detector=findings.fitted["guard"], weights="input_guard.npz")
    return _replaced(shield, guard.kind, mended)


def _add_intent_guard(findings: Findings, shield: Shield) -> Shield | None:
    weak = {goal.id for goal in findings.goals.values() if _weak(goal, findings)}
    if not weak:
        return None
    rows = []
    for number, goal in enumerate(findings.goals.values()):
        rows.append((goal.twin, False, number, True))
        rows += [(goal.text, True, number, True)] if goal.id in weak else []
        for trial in findings.trials:
            if trial.subject == goal.id and trial.family != "plain":
                rows.append((findings.sent_twin[trial.key], False, number, False))
                rows += [(findings.sent[trial.key], True, number, False)] if goal.id in weak else []
    if "intent" not in findings.fitted:
        texts, harmful, groups, plain = zip(*rows, strict=True)
        findings.fitted["intent"] = IntentDetector.default().adapted(
            texts, harmful, groups, plain=plain, false_positives=_FALSE_POSITIVES
        )
    guard = IntentGuard(findings.fitted["intent"], "intent_guard.npz")
    layers = [layer for layer in shield.layers if layer.kind != guard.kind]
    return Shield((guard, *layers))


def _swap_intent_guard(findings: Findings, shield: Shield) -> Shield | None:
    mended = _add_intent_guard(findings, shield)
    if mended is None or not any(layer.kind == "input_guard" for layer in shield.layers):
        return None
    return Shield(tuple(layer for layer in mended.layers if layer.kind not in _GENERAL))


_GENERAL = ("input_guard", "output_guard")


_FALSE_POSITIVES = 0.04  # of the twins in held-out folds, the hardest benign texts there are


def _weak(goal: Goal, findings: Findings) -> bool:
    return any((risk, goal.language) in findings.weak for risk in (goal.ailuminate, goal.cn) if risk)


_CLAUSE: Mapping[Language, str] = {
    "en": "Above all, decline anything that helps with these: {risks}. Questions about their history, law, "
    "prevention or science are welcome.",
    "zh": "尤其要拒绝任何有助于以下事项的请求：{risks}。关于其历史、法律、预防或科学的问题则应正常回答。",
}


def _add_clauses(findings: Findings, shield: Shield) -> Shield | None:
    if not findings.weak:
        return None
    here = [layer for layer in shield.layers if isinstance(layer, SafetyPrompt)]
    prompt = here[0] if here else SafetyPrompt.default()
    clauses = dict(prompt.clauses)
    risks = sorted({risk for risk, _ in findings.weak})
    for language, clause in _CLAUSE.items():  # an attack may wrap a goal in the other language
        clauses[language] = (*clauses.get(language, ()), clause.format(risks=_names(risks, language)))
    mended = replace(prompt, clauses=clauses)
    return _replaced(shield, prompt.kind, mended) if here else Shield((*shield.layers, mended))


def _names(risks: Sequence[str], language: Language) -> str:
    if language == "zh":
        return "、".join(risk_of(risk).name_zh for risk in risks)
    return ", ".join(risk_of(risk).name_en.lower() for risk in risks)


def _add_goal_priority(findings: Findings, shield: Shield) -> Shield | None:
    if any(layer.kind == "goal_priority" for layer in shield.layers):
        return None
    return Shield((*shield.layers, GoalPriority("suffix")))


def _both(
    first: Callable[[Findings, Shield], Shield | None], second: Callable[[Findings, Shield], Shield | None]
) -> Callable[[Findings, Shield], Shield | None]:
    def make(findings: Findings, shield: Shield) -> Shield | None:
        mended = first(findings, shield)
        return None if mended is None else second(findings, mended)

    return make


fitted_guard = Repair(
    "fitted_guard",
    10,
    True,
    "An input guard fitted on the requests that got through and on their benign twins.",
    "用攻破模型的请求及其无害的孪生问题拟合的输入护栏。",
    _fit_guard,
)
intent_guard = Repair(
    "intent_guard",
    5,
    True,
    "A small language model that reads what a request is after, fitted on what was found and on its twins.",
    "用小语言模型判断请求意图的护栏，并以所发现的请求及其无害孪生问题拟合。",
    _add_intent_guard,
)
intent_guard_alone = Repair(
    "intent_guard_alone",
    6,
    True,
    "The guard of intent in the place of the general guards, where those block benign requests and answers.",
    "在通用护栏误拦无害请求与回答之处，用意图护栏取而代之。",
    _swap_intent_guard,
)
intent_guard_and_fitted_guard = Repair(
    "intent_guard_and_fitted_guard",
    45,
    True,
    "The guard of intent and the fitted input guard together.",
    "意图护栏与拟合的输入护栏并用。",
    _both(_add_intent_guard, _fit_guard),
)
prompt_clauses = Repair(
    "prompt_clauses",
    20,
    True,
    "A clause in the safety prompt that names the risks found.",
    "在安全提示中加入点名所发现风险的条款。",
    _add_clauses,
)
goal_priority = Repair(
    "goal_priority",
    30,
    False,
    "Goal priority: one sentence behind each question puts safety before helpfulness.",
    "目标优先：在每个问题后加一句话，使安全先于有用。",
    _add_goal_priority,
)
guard_and_clauses = Repair(
    "guard_and_clauses",
    40,
    True,
    "The fitted guard and the prompt clause together.",
    "拟合的护栏与提示条款并用。",
    _both(_fit_guard, _add_clauses),
)
guard_and_goal_priority = Repair(
    "guard_and_goal_priority",
    50,
    True,
    "The fitted guard and goal priority together.",
    "拟合的护栏与目标优先并用。",
    _both(_fit_guard, _add_goal_priority),
)
