from __future__ import annotations

from collections.abc import Sequence

from fangxin.defend._defence import Block, Defence, ReplyStream, StreamingDefence
from fangxin.detect import SENTENCE_END, Detector, StreamCheck
from fangxin.dialogue import Dialogue

_SHARE = 8  # a prefix is judged once an eighth of it is new
_LONGEST = 240  # characters after which a sentence without an end counts as one


class Unchanged:
    """A reply that a layer leaves as it is."""

    async def feed(self, piece: str) -> str | Block:
        """The piece."""
        return piece

    async def close(self) -> str | Block:
        """Nothing was held back."""
        return ""


class Whole:
    """A reply that a layer has to know to its end: nothing leaves before."""

    def __init__(self, layer: Defence, dialogue: Dialogue) -> None:
        self._layer, self._dialogue = layer, dialogue
        self._said: list[str] = []

    async def feed(self, piece: str) -> str | Block:
        """Hold the piece back."""
        self._said.append(piece)
        return ""

    async def close(self) -> str | Block:
        """What the layer makes of the whole."""
        return await self._layer.after(self._dialogue, "".join(self._said))


class Prefixes:
    """A reply before a layer that knows no streams: `after` is asked for growing prefixes.

    Each ends with a sentence and is longer than the last one by an eighth of itself, so that all of them
    together are at most eight times as long as the reply; the whole comes once more at the end.
    """

    def __init__(self, layer: Defence, dialogue: Dialogue) -> None:
        self._layer, self._dialogue = layer, dialogue
        self._said: list[str] = []
        self._length = 0
        self._last = ""  # the last character: it may be a full stop
        self._end = 0  # where the last sentence ended
        self._judged = 0
        self._shown = ""

    async def feed(self, piece: str) -> str | Block:
        """What the layer lets go once a sentence has ended."""
        if not piece:
            return ""
        near, start = self._last + piece, self._length - len(self._last)
        for match in SENTENCE_END.finditer(near):
            self._end = start + match.end()
        self._said.append(piece)
        self._length += len(piece)
        self._last = piece[-1]
        if self._length - max(self._end, self._judged) > _LONGEST:
            self._end = self._length
        if self._end == self._judged or (self._end - self._judged) * _SHARE < self._end:
            return ""
        said = "".join(self._said)
        self._said, self._judged = [said], self._end
        outcome = await self._layer.after(self._dialogue, said[: self._end], final=False)
        if isinstance(outcome, Block) or not outcome.startswith(self._shown):
            return outcome if isinstance(outcome, Block) else ""
        return self._more(outcome)

    async def close(self) -> str | Block:
        """The rest of what the layer makes of the whole."""
        outcome = await self._layer.after(self._dialogue, "".join(self._said))
        # A layer that rewrites what is already gone can't call it back; what follows it is still shown.
        return outcome if isinstance(outcome, Block) else self._more(outcome)

    def _more(self, outcome: str) -> str:
        more = outcome[len(self._shown) :]
        self._shown += more
        return more


class Checked:
    """A reply that a detector reads window by window: a sentence leaves when it is cleared."""

    def __init__(self, detector: Detector, dialogue: Dialogue, by: str) -> None:
        self._check = StreamCheck(detector, dialogue.question)
        self._by = by
        self._held = ""
        self._gone = 0

    async def feed(self, piece: str) -> str | Block:
        """What is cleared, or a block at the first window that earns it."""
        self._held += piece
        verdict = await self._check.feed(piece)
        return self._released() if verdict is None else Block("output", self._by, verdict)

    async def close(self) -> str | Block:
        """The rest, or a block."""
        verdict = await self._check.close()
        return self._released() if verdict is None else Block("output", self._by, verdict)

    def _released(self) -> str:
        count = self._check.cleared - self._gone
        out, self._held = self._held[:count], self._held[count:]
        self._gone += count
        return out


class Stack:
    """A reply before several layers: what one lets go, the next one reads.

    After a block every further call gives that block.
    """

    def __init__(self, streams: Sequence[ReplyStream]) -> None:
        self._streams = streams
        self._block: Block | None = None

    async def feed(self, piece: str) -> str | Block:
        """What all layers let go, or the first block."""
        return await self._pass(piece, closing=False)

    async def close(self) -> str | Block:
        """What all layers let go at the end, or the first block."""
        return await self._pass("", closing=True)

    async def _pass(self, piece: str, *, closing: bool) -> str | Block:
        if self._block is not None:
            return self._block
        for stream in self._streams:
            outcome = await stream.feed(piece) if piece else ""
            if closing and not isinstance(outcome, Block):
                rest = await stream.close()
                outcome = rest if isinstance(rest, Block) else outcome + rest
            if isinstance(outcome, Block):
                self._block = outcome
                return outcome
            piece = outcome
        return piece


def stream_of(layer: Defence, dialogue: Dialogue) -> ReplyStream:
    """The layer's own stream of a reply to `dialogue`, or one over its `after`."""
    return layer.stream(dialogue) if isinstance(layer, StreamingDefence) else Prefixes(layer, dialogue)
