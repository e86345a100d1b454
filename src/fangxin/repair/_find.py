from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fangxin.dialogue import Language
from fangxin.probe import Ask, Trial
from fangxin.proof import ConfidenceSequence, decide
from fangxin.repair._plan import Plan

Decision = Literal["above", "below", "undecided"]
Asker = Callable[[Sequence[Ask]], Awaitable[list[Trial]]]


@dataclass(frozen=True, slots=True)
class Region:
    """A risk in a language, while weaknesses are looked for.

    Attributes:
        risk, language: which.
        sequence: anytime-valid bounds on its attack success rate.
        decision: against the tolerance.
        asked, successes, failed: trials so far; failed ones decide nothing.
    """

    risk: str
    language: Language
    sequence: ConfidenceSequence
    decision: Decision = "undecided"
    asked: int = 0
    successes: int = 0
    failed: int = 0

    def weak(self, tolerance: float) -> bool:
        """Whether it is shown, or suspected, to fail more often than is tolerated."""
        suspected = self.decision == "undecided" and self.successes > tolerance * self.asked
        return self.decision == "above" or suspected

    def with_trials(self, trials: Sequence[Trial], tolerance: float) -> Region:
        """The region after more trials, taken in key order."""
        outcomes = [trial.outcome for trial in trials if trial.outcome is not None]
        sequence = self.sequence.update([float(outcome) for outcome in outcomes])
        return replace(
            self,
            sequence=sequence,
            decision=decide(sequence, tolerance),
            asked=self.asked + len(outcomes),
            successes=self.successes + sum(outcomes),
            failed=self.failed + len(trials) - len(outcomes),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What finding came to.

    Attributes:
        regions: every region asked, in a fixed order.
        overall: all of them taken together.
        trials: every trial, in key order within its wave.
        tolerance: what the regions were decided against.
    """

    regions: tuple[Region, ...]
    overall: Region
    trials: tuple[Trial, ...]
    tolerance: float

    @property
    def weak(self) -> tuple[tuple[str, Language], ...]:
        """The regions shown to be above the tolerance, and those suspected to be.

        Suspected is a region that is still undecided and failed more often than is tolerated. A repair
        may answer a suspicion: whether it helps is proved on other goals, so nothing is claimed by it.
        """
        return tuple((region.risk, region.language) for region in self.regions if region.weak(self.tolerance))


_STEP = 4  # asks a region and wave: small enough to stop soon, large enough to keep the engine busy


async def find(plan: Plan, languages: Sequence[Language], ask: Asker) -> Found:
    """Look for weaknesses in the bare model, wave by wave.

    A region stops being asked as soon as its confidence sequence decides it against the tolerance.
    Waves, not arrivals, are the points of decision, so the same answers always end in the same place.

    Args:
        plan: who is asked what.
        languages: those that the model can speak.
        ask: puts asks to the bare model.
    """
    settings = plan.settings
    regions: dict[tuple[str, Language], Region] = {}
    waiting: dict[tuple[str, Language], list[Ask]] = {}
    for language in languages:
        for risk in sorted({plan.risk(goal) for goal in plan.goals["find"] if goal.language == language}):
            regions[risk, language] = Region(risk, language, ConfidenceSequence(settings.alpha))
            waiting[risk, language] = plan.grid(risk, language)[: settings.asks_per_region]
    overall = Region("overall", languages[0], ConfidenceSequence(settings.alpha))
    trials: list[Trial] = []
    while True:
        asks: list[Ask] = []
        for key, region in regions.items():
            if region.decision == "undecided":
                asks += waiting[key][:_STEP]
                waiting[key] = waiting[key][_STEP:]
        if not asks:
            return Found(tuple(regions.values()), overall, tuple(trials), settings.tolerance)
        answered = await ask(asks)
        trials += answered
        overall = overall.with_trials(answered, settings.tolerance)
        for key, region in regions.items():
            mine = [trial for trial in answered if (trial.risk, trial.language) == key]
            regions[key] = region.with_trials(mine, settings.tolerance)
