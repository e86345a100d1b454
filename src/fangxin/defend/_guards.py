from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from fangxin.defend._defence import Block, DefenceError, ReplyStream
from fangxin.defend._stream import Checked, Unchanged
from fangxin.detect import DetectorError, IntentDetector, PromptGuard, ReplyGuard, check_whole
from fangxin.dialogue import Dialogue

_BUILT_IN = "built-in"


@dataclass(frozen=True)
class _TurnGuard:
    """Blocks a dialogue in which any turn that people or applications wrote is unsafe.

    Every such turn is checked, not only the last: a client may send a forged past.

    Attributes:
        detector: judges a turn.
        weights: the built-in ones, or the name of their file in a bundle.
    """

    detector: PromptGuard | IntentDetector
    weights: str = _BUILT_IN
    kind: str = ""
    detects: ClassVar[type[PromptGuard] | type[IntentDetector]]

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Block at the first unsafe turn, the last turn first (it usually is the one)."""
        for turn in reversed(dialogue.turns):
            if turn.role != "assistant" and turn.text.strip():
                verdict = await self.detector.check(turn.text)
                if verdict.unsafe:
                    return Block("input", self.kind, verdict)
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Leave the reply as it is."""
        return text

    def stream(self, dialogue: Dialogue) -> ReplyStream:
        """Leave the reply as it is."""
        return Unchanged()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the detector's weights, unless they are the shipped ones."""
        if self.weights != _BUILT_IN:
            self.detector.save(folder / self.weights)
        return {"weights": self.weights}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Self:
        """The guard that `save` wrote."""
        weights = _weights(cls.kind, settings)
        try:
            built_in = weights == _BUILT_IN
            detector = cls.detects.default() if built_in else cls.detects.load(folder / weights)
        except DetectorError as error:
            raise DefenceError(f"{cls.kind}: {error}") from error
        return cls(detector, weights)


@dataclass(frozen=True)
class InputGuard(_TurnGuard):
    """Blocks a dialogue in which any turn asks for harm, by the fast prompt guard."""

    detector: PromptGuard
    kind: str = "input_guard"
    detects = PromptGuard


@dataclass(frozen=True)
class IntentGuard(_TurnGuard):
    """Blocks a dialogue in which any turn is after harm, as a small language model reads it.

    Slower and finer than the input guard. The built-in detector, or one fitted to what was found in a model.
    """

    detector: IntentDetector
    kind: str = "intent_guard"
    detects = IntentDetector


@dataclass(frozen=True)
class OutputGuard:
    """Blocks a reply that is harmful given the question."""

    detector: ReplyGuard
    kind: str = "output_guard"

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """Leave the dialogue as it is."""
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """Judge the reply in the light of the last question.

        One that is longer than the detector reads at once is read as if it were streamed.
        """
        if not text.strip():
            return text
        verdict = await check_whole(self.detector, text, dialogue.question)
        return text if verdict is None else Block("output", self.kind, verdict)

    def stream(self, dialogue: Dialogue) -> ReplyStream:
        """Judge the reply window by window."""
        return Checked(self.detector, dialogue, self.kind)

    def save(self, folder: Path) -> dict[str, Any]:
        """Plain settings; the shipped weights."""
        return {"weights": _BUILT_IN}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> OutputGuard:
        """The guard that `save` wrote."""
        if _weights(cls.kind, settings) != _BUILT_IN:
            raise DefenceError(f"output_guard: it has no weights but the {_BUILT_IN!r} ones.")
        try:
            return cls(ReplyGuard.default())
        except DetectorError as error:
            raise DefenceError(f"output_guard: {error}") from error


def _weights(kind: str, settings: Mapping[str, Any]) -> str:
    weights = settings.get("weights")
    if not isinstance(weights, str) or not re.fullmatch(r"[\w-][\w.-]*", weights):
        raise DefenceError(f"{kind}: weights must be a file name in the bundle, or {_BUILT_IN!r}.")
    return weights
