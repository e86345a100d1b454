from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Label = Literal["safe", "unsafe", "controversial"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a detector says of a text.

    Attributes:
        label: safe, unsafe or controversial.
        probability: of being unsafe, in [0, 1].
        risk: the identifier of the risk (see `fangxin.risks`), where the detector knows it.
        spans: half-open character ranges that earned the verdict.
        reason: one short sentence for a person.
        by: the detector's name.
        ms: wall milliseconds spent.
        tiers: in a cascade, each detector that was asked and its milliseconds; the last one decided.
    """

    label: Label
    probability: float
    risk: str | None = None
    spans: tuple[tuple[int, int], ...] = ()
    reason: str = ""
    by: str = ""
    ms: float = 0.0
    tiers: tuple[tuple[str, float], ...] = ()

    @property
    def unsafe(self) -> bool:
        """Whether the label is `unsafe`."""
        return self.label == "unsafe"


class DetectorError(Exception):
    """A detector that can't load or can't judge: an error, never a pass (it fails closed)."""


class UnjudgedError(DetectorError):
    """A text that got no judgement, where the next one may: an error all the same, never a pass."""


class Detector(Protocol):
    """Judges a text, alone or as the reply to a question."""

    @property
    def name(self) -> str:
        """The name on its verdicts and on its card."""
        ...

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text`; with `question`, judge it as the reply to that question.

        Raises:
            DetectorError: it could not judge.
        """
        ...
