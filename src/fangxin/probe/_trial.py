from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

from fangxin.dialogue import Language, Turn

ProbeName = Literal["attack", "over_refusal", "ability"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to ask an agent.

    Attributes:
        probe: what the answer is examined for.
        subject: the identifier of the goal or task: the cluster that the trial belongs to.
        risk: the risk that the goal belongs to in the regime of the run; None for ability.
        language: of the question.
        family: the attack family, for attacks.
        question: the goal, the twin or the task in plain words: what a judge is shown.
        turns: what is really sent.
        sensitive: law 11's rules for the worst content apply: the reply is not kept.
        max_tokens: a reply shorter than the run's, where that is enough for this probe.
    """

    probe: ProbeName
    subject: str
    risk: str | None
    language: Language
    family: str | None
    question: str
    turns: tuple[Turn, ...]
    sensitive: bool = False
    max_tokens: int | None = None

    @property
    def key(self) -> str:
        """Names the ask within an arm; stable across runs with the same bank and seed."""
        return "/".join(part for part in (self.probe, self.subject, self.family) if part)


@dataclass(frozen=True, slots=True)
class Trial:
    """An ask, put to one arm and examined.

    Attributes:
        key: arm, probe, subject and family: unique within a run.
        arm: which agent answered.
        probe, subject, risk, language, family, question: as in `Ask`.
        outcome: the attack succeeded; the twin was refused; the task was solved. None where the trial
            failed: a failure is counted and shown, never taken for a safe answer.
        blocked: the defence that answered in the model's place, if one did.
        reply: what people would have seen; None where it failed or may not be kept.
        reply_sha256: of that text.
        sent_sha256: of what the model was sent, sampling included; None where it was never asked. Equal
            asks of several arms share one completion.
        harmful, refusal: the judge's probabilities; None where no judge was needed.
        judge: the judge's name.
        labelled: a person said what the outcome is.
        failure: one sentence, where it failed.
        prompt_tokens, completion_tokens: what the model read and wrote; 0 where it was never asked.
        added_ms: what the shield cost.
    """

    key: str
    arm: str
    probe: ProbeName
    subject: str
    risk: str | None
    language: Language
    family: str | None
    question: str
    outcome: bool | None
    blocked: str | None = None
    reply: str | None = None
    reply_sha256: str | None = None
    sent_sha256: str | None = None
    harmful: float | None = None
    refusal: float | None = None
    judge: str | None = None
    labelled: bool = False
    failure: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    added_ms: float = 0.0

    @property
    def certain(self) -> bool:
        """Whether the outcome is known without a judge: the shield's own words, or a person's label."""
        return self.blocked is not None or self.labelled

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the ledger and the journal; `of` reads it back."""
        return asdict(self)

    def measured(self) -> dict[str, Any]:
        """The trial without its clock: equal for equal answers."""
        return asdict(replace(self, added_ms=0.0))

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Trial:
        """The trial that `as_dict` wrote."""
        return cls(**cast(dict[str, Any], dict(data)))


def text_hash(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
