from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fangxin.defend._defence import Block, DefenceError
from fangxin.detect import Cascade, ChoiceError, DetectorError, cascade_from, read_calibration
from fangxin.dialogue import Dialogue

_ASKED = ("prompt", "injection", "fraud")
_REPLIED = ("exchange", "toxicity", "pii")


@dataclass(frozen=True)
class CascadeGuard:
    """Blocks what a calibrated cascade holds to be unsafe: what people write, or what the model replies.

    Which of them the calibration's task says. It keeps the promise of `fangxin detect calibrate` for traffic
    like the rows that it was made on.

    Attributes:
        cascade: judges.
        calibration: what it was made of, as `read_calibration` gives it.
    """

    cascade: Cascade
    calibration: Mapping[str, Any]
    kind: str = "cascade_guard"

    @classmethod
    def of(cls, path: str | Path) -> CascadeGuard:
        """The guard of a calibration file; one without a judge, which a bundle can't hold.

        Raises:
            DefenceError: the file can't be used, or its detectors can't be loaded.
        """
        try:
            calibration = read_calibration(path)
            cascade = cascade_from(calibration)
        except (ChoiceError, DetectorError) as error:
            raise DefenceError(f"cascade_guard: {error}") from error
        if calibration["task"] not in _ASKED + _REPLIED:
            raise DefenceError(f"cascade_guard: nothing is to be blocked for the task {calibration['task']}.")
        return cls(cascade, calibration)

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Block at the first unsafe turn that people or applications wrote, the last turn first."""
        if self.calibration["task"] in _ASKED:
            for turn in reversed(dialogue.turns):
                if turn.role != "assistant" and turn.text.strip():
                    verdict = await self.cascade.check(turn.text)
                    if verdict.unsafe:
                        return Block("input", self.kind, verdict)
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Judge the reply in the light of the last question."""
        if self.calibration["task"] in _REPLIED and text.strip():
            verdict = await self.cascade.check(text, question=dialogue.question)
            if verdict.unsafe:
                return Block("output", self.kind, verdict)
        return text

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the calibration; the detectors are the installed ones, held to by their digests."""
        name = f"cascade-{self.calibration['task']}.json"
        text = json.dumps(self.calibration, ensure_ascii=False, indent=1)
        (folder / name).write_text(text + "\n", "utf-8")
        return {"weights": name}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> CascadeGuard:
        """The guard that `save` wrote."""
        weights = settings.get("weights")
        if not isinstance(weights, str) or weights not in {f"cascade-{t}.json" for t in _ASKED + _REPLIED}:
            raise DefenceError("cascade_guard: weights must be the name of its calibration in the bundle.")
        return cls.of(folder / weights)
