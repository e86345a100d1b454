from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.agent import Agent, Answer
from fangxin.defend import (
    Blocklist,
    DefenceError,
    GoalPriority,
    OutputGuard,
    SafetyPrompt,
    Shield,
    fixed_refusal,
)
from fangxin.dialogue import Dialogue, DialoguePrompt
from fangxin.ledger import Ledger, LedgerError
from fangxin.models import ModelError, Sampling

from ..defend.conftest import Words
from .conftest import Scripted, Word

HELLO, ZH = Dialogue().say("hello"), Dialogue().say("你好")
REFUSAL = fixed_refusal("en")
LATE = "\n\n" + REFUSAL  # behind what had left already
WHOLE = "Hello there. How are you? Bye."
NO_TILDE = Shield((Word("~"),))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "ledger.sqlite") as opened:
        yield opened


def recorded(ledger: Ledger) -> list[dict[str, Any]]:
    return [dict(entry.content or {}) for entry in ledger.entries("exchange")]


async def streamed(agent: Agent, dialogue: Dialogue = HELLO) -> tuple[Answer, list[str]]:
    pieces: list[str] = []
    return await agent.respond(dialogue, on_piece=pieces.append), pieces


# Without a stream


async def test_a_reply_passes_the_door() -> None:
    model = Scripted()
    prompt = DialoguePrompt(role="You are a cook.")
    agent = Agent(model, prompt, Shield((SafetyPrompt({"en": "Be safe."}, {}),)), Sampling(max_tokens=7))
    answer = await agent.respond(Dialogue(DialoguePrompt(role="Somebody else's role.")).say("hello"))
    assert (answer.text, answer.block) == (WHOLE, None)
    assert answer.reply is not None
    assert (answer.reply.prompt_tokens, answer.reply.completion_tokens) == (3, 5)
    [(sent, sampling)] = model.asked
    assert sent == answer.sent
    assert sent.prompt.role == "Be safe.\n\nYou are a cook."  # never what a caller put there
    assert sampling.max_tokens == 7
    await agent.respond(HELLO, Sampling(max_tokens=9))
    assert model.asked[1][1].max_tokens == 9
    assert answer.added_ms >= 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("dialogue", "refusal"), [(HELLO, REFUSAL), (ZH, fixed_refusal("zh"))])
async def test_what_is_blocked_on_its_way_in_never_reaches_the_model(
    stream: bool, dialogue: Dialogue, refusal: str
) -> None:
    model = Scripted()
    agent = Agent(model, shield=Shield((Word("", "input"),)))
    pieces: list[str] = []
    answer = await agent.respond(dialogue, on_piece=pieces.append if stream else None)
    assert model.asked == []
    assert answer.text == refusal
    assert (answer.reply, answer.sent) == (None, None)
    assert answer.block is not None
    assert answer.block.stage == "input"
    assert pieces == ([refusal] if stream else [])


async def test_a_blocked_reply_is_replaced() -> None:
    answer = await Agent(Scripted(), shield=Shield((Word("Bye"),))).respond(HELLO)
    assert answer.text == REFUSAL
    assert answer.block is not None
    assert answer.reply is not None
    assert answer.reply.text == WHOLE


# Streamed


async def test_pieces_joined_are_the_text() -> None:
    answer, pieces = await streamed(Agent(Scripted()))
    assert "".join(pieces) == answer.text == WHOLE
    assert pieces == ["Hello there. ", "How are you? ", "Bye."]  # nothing waits where nothing is judged
    assert answer.reply is not None
    assert answer.reply.text == WHOLE


async def test_a_judged_reply_leaves_sentence_by_sentence() -> None:
    answer, pieces = await streamed(Agent(Scripted(), shield=NO_TILDE))
    assert "".join(pieces) == answer.text == WHOLE
    assert pieces == ["Hello there.", " How are you?", " Bye."]
    assert answer.reply is not None
    assert answer.reply.text == WHOLE


async def test_after_a_block_in_mid_stream_nothing_leaves() -> None:
    model = Scripted(("One. ", "Two. ", "Bad. ", "Three. ", "Four. "))
    answer, pieces = await streamed(Agent(model, shield=Shield((Word("Bad"),))))
    assert pieces == ["One.", " Two.", LATE]
    assert answer.text == REFUSAL
    assert answer.block is not None
    assert model.said < 5
    assert model.stopped  # and at once: nobody pays for what nobody sees


async def test_an_unfinished_sentence_waits_for_its_end() -> None:
    model = Scripted(("One. Bad", " and more"))
    _, pieces = await streamed(Agent(model, shield=Shield((Word("more"),))))
    assert pieces == ["One.", LATE]


async def test_a_number_is_no_sentence_end() -> None:
    _, pieces = await streamed(Agent(Scripted(("Pi is 3", ".", "14. ", "So.")), shield=NO_TILDE))
    assert pieces == ["Pi is 3.14.", " So."]


async def test_thoughts_are_never_streamed() -> None:
    model = Scripted(("[Internal thoughts] Secret. ", "More secret.\n", "[Final ", "response] Hi. ", "Bye."))
    answer, pieces = await streamed(Agent(model, shield=Shield((GoalPriority(),))))
    assert "".join(pieces) == answer.text == "Hi. Bye."
    answer, pieces = await streamed(
        Agent(Scripted(("Secret. ", "Thoughts.")), shield=Shield((GoalPriority(),)))
    )
    assert pieces == [answer.text] == [REFUSAL]


async def test_pieces_of_any_size_and_bad_unicode(ledger: Ledger) -> None:
    said = ("", "Ok. ", "\ud83d", "", "!\x00", "\ude00 ", "x" * 1_000_000, *"Bye. 再见。")
    shield = Shield((Blocklist(("~",)), OutputGuard(Words(("~",)))))  # type: ignore[arg-type]
    for each in (Shield(), shield):
        answer, pieces = await streamed(Agent(Scripted(said), shield=each, ledger=ledger))
        assert answer.text == "".join(pieces) == "".join(said)
        assert "" not in pieces
    assert [content["answer"] for content in recorded(ledger)] == ["".join(said)] * 2


async def test_an_empty_reply_is_an_empty_answer() -> None:
    answer, pieces = await streamed(Agent(Scripted(())))
    assert (answer.text, pieces, answer.block) == ("", [], None)


SHIELDS = {
    "none": Shield(),
    "blocklist": Shield((Blocklist(("kill yourself", "去死", "ass")),)),
    "goal priority": Shield((Blocklist(("ass",)), GoalPriority())),
    "suffix": Shield((GoalPriority("suffix"), Blocklist(("a.\nb",)))),
    "output guard": Shield((Blocklist(("kill yourself",)), OutputGuard(Words(("yourself. Ok",))))),  # type: ignore[arg-type]
    "word": Shield((Word("去死。"),)),
}
words = st.sampled_from(
    [
        "kill ",
        "yourself",
        "ass",
        "Ok",
        ". ",
        ".",
        "\n",
        "去",
        "死",
        "。",
        "3.1",
        "[Final response]",
        "［内心想法］",
        "！",
        "ａｓｓ",
    ]
)


@given(
    st.sampled_from(sorted(SHIELDS)),
    st.lists(words, max_size=15).map("".join),
    st.lists(st.integers(0, 80)),
    st.booleans(),
)
def test_streamed_text_equals_the_unstreamed(name: str, said: str, cuts: list[int], chinese: bool) -> None:
    ends = sorted({min(cut, len(said)) for cut in cuts} | {0, len(said)})
    pieces = tuple(said[a:b] for a, b in pairwise(ends))
    agent = Agent(Scripted(pieces), shield=SHIELDS[name])
    dialogue = ZH if chinese else HELLO

    async def both() -> None:
        whole = await agent.respond(dialogue)
        answer, seen = await streamed(agent, dialogue)
        assert answer.text == whole.text
        assert (answer.block is None) == (whole.block is None)
        if answer.block is None:
            assert "".join(seen) == answer.text
        else:
            assert seen[-1].lstrip() == answer.text
            assert answer.reply is None or said.startswith(answer.reply.text)

    asyncio.run(both())


# The ledger


@pytest.mark.parametrize("stream", [False, True])
async def test_the_exchange_is_in_the_ledger_when_the_answer_is_there(ledger: Ledger, stream: bool) -> None:
    agent = Agent(Scripted(), DialoguePrompt(role="You are a cook."), ledger=ledger)
    await agent.respond(HELLO, on_piece=(lambda piece: None) if stream else None)
    [content] = recorded(ledger)
    assert content["messages"][0] == {"role": "system", "content": "You are a cook."}
    assert content["messages"][1] == {"role": "user", "content": "hello"}
    assert content["answer"] == content["model_said"] == WHOLE
    assert "block" not in content
    assert "shown" not in content


async def test_a_block_is_in_the_ledger(ledger: Ledger) -> None:
    await Agent(Scripted(), shield=Shield((Word("hello", "input"),)), ledger=ledger).respond(HELLO)
    await streamed(Agent(Scripted(), shield=Shield((Word("How"),)), ledger=ledger))
    first, second = recorded(ledger)
    assert first["model_said"] is None
    assert first["answer"] == REFUSAL
    assert first["block"] == {
        "stage": "input",
        "by": "word",
        "probability": 0.9,
        "risk": "hate",
        "reason": "A word.",
    }
    assert second["answer"] == REFUSAL
    assert second["model_said"].startswith("Hello there. How are you?")
    assert second["shown"] == "Hello there." + LATE  # what people really saw


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "shield", "failure"),
    [
        (Scripted(error=ModelError("The model is away.", "unreachable")), Shield(), "The model is away."),
        (Scripted(), Shield((Word("Bye", error=DefenceError("can't decide")),)), "can't decide"),
        (Scripted(error=RuntimeError()), Shield(), "RuntimeError"),
    ],
)
async def test_a_failure_is_in_the_ledger(
    ledger: Ledger, stream: bool, model: Scripted, shield: Shield, failure: str
) -> None:
    pieces: list[str] = []
    agent = Agent(model, shield=shield, ledger=ledger)
    with pytest.raises((ModelError, DefenceError, RuntimeError)):
        await agent.respond(HELLO, on_piece=pieces.append if stream else None)
    [content] = recorded(ledger)
    assert content["failure"] == failure
    assert "answer" not in content
    assert content.get("shown", "") == "".join(pieces)
    assert ("shown" in content) == stream


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_exchange_is_in_the_ledger(ledger: Ledger, stream: bool) -> None:
    model = Scripted(hang=True)
    agent = Agent(model, ledger=ledger)
    pieces: list[str] = []
    work = asyncio.create_task(agent.respond(HELLO, on_piece=pieces.append if stream else None))
    await model.begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    [content] = recorded(ledger)
    assert content["failure"] == "cancelled"
    assert content.get("shown", "") == (WHOLE if stream else "")
    assert not stream or model.stopped


class SlowLedger:
    """A ledger whose disk takes its time."""

    def __init__(self, error: Exception | None = None) -> None:
        self.writing = threading.Event()
        self.written: list[dict[str, Any]] = []
        self.error = error

    def append(self, kind: str, key: str, content: dict[str, Any]) -> None:
        self.writing.set()
        time.sleep(0.1)
        if self.error:
            raise self.error
        self.written.append(content)


async def test_whoever_cancels_while_it_is_written_waits_until_it_is() -> None:
    slow = SlowLedger()
    work = asyncio.create_task(Agent(Scripted(), ledger=slow).respond(HELLO))  # type: ignore[arg-type]
    await asyncio.to_thread(slow.writing.wait)
    for _ in range(3):
        work.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [content["answer"] for content in slow.written] == [WHOLE]


async def test_a_timeout_stays_a_timeout() -> None:
    slow = SlowLedger()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await Agent(Scripted(), ledger=slow).respond(HELLO)  # type: ignore[arg-type]
    assert len(slow.written) == 1


async def test_what_cannot_be_recorded_is_no_answer() -> None:
    full = SlowLedger(LedgerError("the disk is full"))
    with pytest.raises(LedgerError, match="disk is full"):
        await Agent(Scripted(), ledger=full).respond(HELLO)  # type: ignore[arg-type]


async def test_a_listener_that_fails_ends_it(ledger: Ledger) -> None:
    def hang_up(piece: str) -> None:
        raise ConnectionResetError("gone")

    model = Scripted()
    with pytest.raises(ConnectionResetError):
        await Agent(model, ledger=ledger).respond(HELLO, on_piece=hang_up)
    assert model.stopped
    assert recorded(ledger)[0]["failure"] == "gone"


async def test_many_at_once_are_each_recorded_once(ledger: Ledger) -> None:
    agent = Agent(Scripted(), ledger=ledger)
    answers = await asyncio.gather(*(agent.respond(Dialogue().say(f"q{i}")) for i in range(20)))
    assert {answer.text for answer in answers} == {WHOLE}
    asked = sorted(content["messages"][-1]["content"] for content in recorded(ledger))
    assert asked == sorted(f"q{i}" for i in range(20))
