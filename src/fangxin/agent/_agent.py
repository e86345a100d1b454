from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from fangxin.defend import Block, Shield, fixed_refusal, language_of
from fangxin.dialogue import Dialogue, DialoguePrompt
from fangxin.ledger import Ledger
from fangxin.models import Model, Reply, Sampling


@dataclass(frozen=True, slots=True)
class Answer:
    """What the one door gives back.

    Attributes:
        text: what people see: the reply after the shield, or the fixed refusal.
        reply: what the model said, unshielded; None where it was never asked.
        block: the shield's decision, where it answered in the model's place.
        added_ms: wall milliseconds that the shield spent.
        sent: the dialogue as the model had it; None where it was never asked.
    """

    text: str
    reply: Reply | None
    block: Block | None
    added_ms: float
    sent: Dialogue | None = None


@dataclass(frozen=True)
class Agent:
    """A model, a dialogue prompt and a shield: what people talk to, probes measure, the gateway serves.

    Attributes:
        model: continues the dialogue.
        prompt: the agent's own dialogue prompt; a dialogue's prompt is replaced by it.
        shield: applied to everything that passes.
        sampling: used where a call brings none.
        ledger: where exchanges are recorded; runs leave it out and record trials instead, in key order.
    """

    model: Model
    prompt: DialoguePrompt = field(default_factory=DialoguePrompt)
    shield: Shield = field(default_factory=Shield)
    sampling: Sampling = field(default_factory=Sampling)
    ledger: Ledger | None = None

    async def respond(
        self,
        dialogue: Dialogue,
        sampling: Sampling | None = None,
        *,
        on_piece: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer a dialogue. **The one door**: all text to and from the model passes here.

        Args:
            dialogue: the turns so far, the last one a user's.
            sampling: how the reply is drawn; the agent's own by default.
            on_piece: receives the answer piece by piece as soon as the shield lets it go; the pieces
                joined are the answer's text, unless a block came after some were gone: then the fixed
                refusal follows them in a paragraph of its own, and the text is the refusal alone.

        Returns:
            The answer; recorded in the ledger, where there is one, before this returns.

        Raises:
            ModelError: the model gave no usable reply.
            DefenceError, DetectorError: a layer could not decide (it fails closed).
        """
        asked = replace(dialogue, prompt=self.prompt)
        sampling = sampling or self.sampling
        answer: Answer | None = None
        failure = "cancelled"
        shown: list[str] = []

        def show(piece: str) -> None:
            assert on_piece is not None
            shown.append(piece)
            on_piece(piece)

        try:
            answer = await self._respond(asked, sampling, show if on_piece else None)
        except Exception as error:
            failure = str(error) or type(error).__name__
            raise
        finally:
            if self.ledger is not None:
                await _recorded(self.ledger, asked, answer, failure, "".join(shown))
        return answer

    async def _respond(
        self, asked: Dialogue, sampling: Sampling, on_piece: Callable[[str], None] | None
    ) -> Answer:
        watch = _Watch()
        with watch:
            sent = await self.shield.before(asked)
        if isinstance(sent, Block):
            return self._refuse(asked, Answer("", None, sent, watch.ms), on_piece)
        if on_piece is None:
            reply = (await self.model.reply(sent, sampling))[0]
            with watch:
                outcome = await self.shield.after(asked, reply.text)
            if isinstance(outcome, Block):
                return self._refuse(asked, Answer("", reply, outcome, watch.ms, sent), None)
            return Answer(outcome, reply, None, watch.ms, sent)
        return await self._stream(asked, sent, sampling, on_piece, watch)

    async def _stream(
        self,
        asked: Dialogue,
        sent: Dialogue,
        sampling: Sampling,
        on_piece: Callable[[str], None],
        watch: _Watch,
    ) -> Answer:
        start = time.perf_counter()
        said: list[str] = []
        shown: list[str] = []
        stream = self.shield.stream(asked)

        def show(outcome: str | Block) -> Block | None:
            if isinstance(outcome, Block):
                return outcome
            if outcome:
                shown.append(outcome)
                on_piece(outcome)
            return None

        async with _closing(self.model.stream(sent, sampling)) as pieces:
            async for piece in pieces:
                said.append(piece)
                with watch:
                    outcome = await stream.feed(piece)
                if block := show(outcome):
                    blocked = Answer("", Reply("".join(said)), block, watch.ms, sent)
                    return self._refuse(asked, blocked, on_piece, begun=bool(shown))
        reply = Reply("".join(said), seconds=time.perf_counter() - start)
        with watch:
            outcome = await stream.close()
        if block := show(outcome):
            blocked = Answer("", reply, block, watch.ms, sent)
            return self._refuse(asked, blocked, on_piece, begun=bool(shown))
        return Answer("".join(shown), reply, None, watch.ms, sent)

    def _refuse(
        self, asked: Dialogue, blocked: Answer, on_piece: Callable[[str], None] | None, *, begun: bool = False
    ) -> Answer:
        text = fixed_refusal(language_of(asked.question))
        if on_piece is not None:
            on_piece(f"\n\n{text}" if begun else text)
        return replace(blocked, text=text)


@asynccontextmanager
async def _closing(pieces: AsyncIterator[str]) -> AsyncIterator[AsyncIterator[str]]:
    """Tell the model that nobody listens any more, at once and not when memory is tidied up."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


class _Watch:
    """Adds up the wall time spent inside `with` blocks."""

    def __init__(self) -> None:
        self.ms = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.ms += (time.perf_counter() - self._start) * 1000


async def _recorded(ledger: Ledger, asked: Dialogue, answer: Answer | None, failure: str, shown: str) -> None:
    """Record an exchange; whoever cancels meanwhile waits until it is safe."""
    loop = asyncio.get_running_loop()
    writing = loop.run_in_executor(None, _record, ledger, asked, answer, failure, shown)
    cancelled: asyncio.CancelledError | None = None
    while not writing.done():
        try:
            await asyncio.wait([writing])
        except asyncio.CancelledError as error:
            cancelled = error
    writing.result()
    if cancelled is not None:
        raise cancelled


def _record(ledger: Ledger, asked: Dialogue, answer: Answer | None, failure: str, shown: str) -> None:
    content: dict[str, object] = {"messages": asked.messages()}
    if shown and (answer is None or shown != answer.text):
        content["shown"] = shown  # what had left before a failure or a block
    if answer is None:
        content["failure"] = failure
    else:
        content["answer"] = answer.text
        content["model_said"] = answer.reply.text if answer.reply else None
        content["added_ms"] = round(answer.added_ms, 3)
        if answer.block:
            verdict = answer.block.verdict
            content["block"] = {
                "stage": answer.block.stage,
                "by": answer.block.by,
                "probability": round(verdict.probability, 6),
                "risk": verdict.risk,
                "reason": verdict.reason,
            }
    ledger.append("exchange", uuid.uuid4().hex, content)
