from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from fangxin.detect import Verdict
from fangxin.dialogue import Dialogue, Language

Stage = Literal["input", "output"]

_REFUSALS: dict[Language, str] = {
    "en": "I'm sorry, but I can't help with that. Is there something else I can do for you?",
    "zh": "抱歉，这个请求我不能协助。请问还有什么可以帮您？",
}
FIXED_REFUSALS = frozenset(_REFUSALS.values())


def fixed_refusal(language: Language) -> str:
    """The neutral text that a shield sends in place of what it blocks."""
    return _REFUSALS[language]


def language_of(text: str) -> Language:
    """The language to answer in: Chinese when at least a fifth of the letters are Han, else English."""
    letters = [c for c in text if c.isalpha()]
    han = sum("\u3400" <= c <= "\u9fff" for c in letters)
    return "zh" if letters and han * 5 >= len(letters) else "en"


@dataclass(frozen=True, slots=True)
class Block:
    """A shield's decision to answer in the model's place.

    Attributes:
        stage: whether the question or the reply earned it.
        by: the defence that decided.
        verdict: why.
    """

    stage: Stage
    by: str
    verdict: Verdict


class DefenceError(Exception):
    """A defence that can't be loaded or can't decide: an error, never a pass."""


class Defence(Protocol):
    """Changes what goes in or what comes out, or blocks it. One layer of a shield."""

    @property
    def kind(self) -> str:
        """The registered name of this sort of defence."""
        ...

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """The dialogue as the model shall see it, or a block."""
        ...

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """The reply as people shall see it, or a block.

        `dialogue` is the one that people had, before any layer changed it. A streamed reply comes in
        growing prefixes with `final` false: what a longer prefix gives must begin with what a shorter
        one gave, and a layer that can't tell yet gives an empty text. A `StreamingDefence` is not asked so.
        """
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write weights under `folder` and give the plain settings that `load` needs."""
        ...

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Defence:
        """The defence that `save` wrote.

        Raises:
            DefenceError: settings or weights are missing or wrong.
        """
        ...


class ReplyStream(Protocol):
    """One reply on its way through a layer, piece by piece.

    What `feed` and `close` give, joined, is what people see: nothing is ever called back. Pieces may be of
    any length. After a block nothing more is fed.
    """

    async def feed(self, piece: str) -> str | Block:
        """What may leave now that `piece` has come, perhaps nothing; or a block.

        Raises:
            DefenceError, DetectorError: the layer could not decide.
        """
        ...

    async def close(self) -> str | Block:
        """What is left, now that the reply has ended; or a block.

        Raises:
            DefenceError, DetectorError: the layer could not decide.
        """
        ...


@runtime_checkable
class StreamingDefence(Defence, Protocol):
    """A defence that reads a streamed reply as it comes, with work that grows as the reply does.

    Any other defence has its `after` asked for growing prefixes, each longer by an eighth.
    """

    def stream(self, dialogue: Dialogue) -> ReplyStream:
        """A stream for one reply to `dialogue`, as people had it."""
        ...
