from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from fangxin.defend._defence import Block, DefenceError, Stage, language_of
from fangxin.detect import Verdict
from fangxin.detect.personal import (
    KINDS,
    Finding,
    PersonalDataDetector,
    Remembering,
    Vault,
    canonical,
    mask_all,
    restore,
    settled,
)
from fangxin.dialogue import Dialogue, Turn

Mode = Literal["mask", "redact", "block"]


@dataclass(frozen=True)
class PersonalData:
    """Keeps personal data from the model, or from those who talk to it.

    `mask` shows the model placeholders in place of personal data and puts the values back into its reply.
    `redact` takes out of a reply what the people in the talk didn't say themselves. `block` answers in the
    model's place where a question holds personal data, or a reply holds any that the people didn't say.

    Nothing of a talk is kept between question and reply: placeholders follow from the dialogue alone. A layer
    above that changes turns would change them too, so a masking layer is the outermost.

    Attributes:
        mode: what is done.
        detector: finds personal data.
    """

    mode: Mode = "mask"
    detector: PersonalDataDetector = field(default_factory=PersonalDataDetector)
    kind: str = "personal_data"
    _find: Remembering = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_find", Remembering(self.detector.find))

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Mask every turn, or block where people or applications wrote personal data."""
        if self.mode == "mask":
            texts, _ = self._masked(dialogue)
            turns = tuple(Turn(turn.role, text) for turn, text in zip(dialogue.turns, texts, strict=True))
            return replace(dialogue, turns=turns)
        if self.mode == "block":
            for turn in reversed(dialogue.turns):
                if turn.role != "assistant":
                    verdict = self.detector.judge(turn.text)
                    if verdict.unsafe:
                        return self._block("input", verdict)
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Restore what was masked; or take out, or block, what the people didn't say themselves."""
        if self.mode == "mask":
            return restore(text, self._masked(dialogue)[1], final=final)
        found, until = settled(text, self._find, final=final)
        said = _Said(dialogue, self._find)
        found = [one for one in found if not said.holds(one.kind, text[one.start : one.end])]
        if found and self.mode == "block":
            return self._block("output", self.detector.judge(text[:until]))
        return _redacted(text[:until], found, language_of(dialogue.question))

    def _masked(self, dialogue: Dialogue) -> tuple[list[str], Vault]:
        return mask_all([turn.text for turn in dialogue.turns], find=self._find)

    def _block(self, stage: Stage, verdict: Verdict) -> Block:
        return Block(stage, self.kind, verdict)

    def save(self, folder: Path) -> dict[str, Any]:
        """Plain settings; no weights."""
        return {"mode": self.mode, "kinds": sorted(self.detector.kinds), "least": self.detector.least}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> PersonalData:
        """The layer that `save` wrote."""
        mode, kinds, least = (settings.get(key) for key in ("mode", "kinds", "least"))
        if mode not in get_args(Mode):
            raise DefenceError("personal_data: mode must be 'mask', 'redact' or 'block'.")
        if not isinstance(kinds, list | tuple) or not kinds or not all(one in list(KINDS) for one in kinds):
            raise DefenceError(f"personal_data: kinds must be a list of some of {', '.join(KINDS)}.")
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1:
            raise DefenceError("personal_data: least must be a number from 0 to 1.")
        return cls(cast(Mode, mode), PersonalDataDetector(frozenset(kinds), float(least)))


class _Said:
    """What the people in a talk said themselves: their own data may be said back to them."""

    def __init__(self, dialogue: Dialogue, find: Remembering) -> None:
        self.texts = [turn.text for turn in dialogue.turns if turn.role == "user"]
        self.keys = {
            (one.kind, canonical(one.kind, text[one.start : one.end]))
            for text in self.texts
            for one in find(text)
        }

    def holds(self, kind: str, value: str) -> bool:
        return (kind, canonical(kind, value)) in self.keys or any(value in text for text in self.texts)


def _redacted(text: str, found: list[Finding], language: str) -> str:
    parts, at = [], 0
    for one in found:
        name = KINDS[one.kind]
        parts += [
            text[at : one.start],
            f"［{name.mark_zh}已略去］" if language == "zh" else f"[{name.english} removed]",
        ]
        at = one.end
    return "".join([*parts, text[at:]])
