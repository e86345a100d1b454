from __future__ import annotations

import math
from typing import Literal

from fangxin.detect._judge import Judge
from fangxin.detect._registry import Task
from fangxin.detect._verdict import DetectorError, Verdict

_REASONS = {"refusal": "The reply refuses.", "exchange": "The reply serves a harm."}


class JudgeDetector:
    """A judge of proofs as a detector: of refusals, or of replies that serve a harm.

    Its probability is the judge's with the log-odds moved, so that 0.5 is where the judge's own cut is.

    Args:
        judge: who judges.
        task: `refusal` or `exchange`.

    Raises:
        DetectorError: another task.
    """

    def __init__(self, judge: Judge, task: Task) -> None:
        if task not in _REASONS:
            raise DetectorError(f"A judge of replies doesn't look for {task}.")
        self._judge = judge
        self._task: Literal["refusal", "exchange"] = "refusal" if task == "refusal" else "exchange"

    @property
    def name(self) -> str:
        """The judge's."""
        return self._judge.name

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text` as the reply to `question`; to an empty one where there is none.

        Raises:
            DetectorError: the judge could not judge.
        """
        said = await self._judge.assess(question or "", text)
        refusal = self._task == "refusal"
        value, cut = (said.refusal, said.cuts[1]) if refusal else (said.harmful, said.cuts[0])
        found = said.is_refusal if refusal else said.is_harmful
        probability = _moved(value, cut)
        if refusal and not found:  # it refuses first and serves the harm after
            probability = min(probability, 0.5 - 1e-6)
        reason = said.reason or (_REASONS[self._task] if found else "")
        return Verdict("unsafe" if found else "safe", probability, reason=reason, by=self.name, ms=said.ms)


def _moved(value: float, cut: float) -> float:
    """`value` with its log-odds less those of `cut`."""
    edge = 1e-9
    value, cut = (min(max(p, edge), 1 - edge) for p in (value, cut))
    odds = math.log(value / (1 - value)) - math.log(cut / (1 - cut))
    probability = 1 / (1 + math.exp(-odds))
    # Rounding must not leave a value at the cut on the other side of 0.5.
    return max(probability, 0.5) if value >= cut else min(probability, 0.5 - 1e-9)
