from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.defend import (
    Block,
    Blocklist,
    Defence,
    GoalPriority,
    OutputGuard,
    ReplyStream,
    SafetyPrompt,
    Shield,
    StreamingDefence,
)
from fangxin.dialogue import Dialogue

from .conftest import Tagged, Words

HELLO = Dialogue().say("hello")


@dataclass(frozen=True)
class Counting:
    """A third party's layer that knows no streams and counts what it is given."""

    seen: list[str] = field(default_factory=list)
    kind: str = "counting"

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        self.seen.append(text)
        return text

    def save(self, folder: Path) -> dict[str, Any]:
        return {}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> Counting:
        return cls()


async def fed(stream: ReplyStream, pieces: list[str]) -> tuple[list[str], Block | None]:
    out: list[str] = []
    for piece in [*pieces, None]:
        outcome = await (stream.close() if piece is None else stream.feed(piece))
        if isinstance(outcome, Block):
            return out, outcome
        out.append(outcome)
    return out, None


def cut(text: str, sizes: list[int]) -> list[str]:
    ends = sorted({min(size, len(text)) for size in sizes} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(ends)]


def output_guard(*words: str) -> tuple[OutputGuard, Words]:
    detector = Words(words)
    return OutputGuard(detector), detector  # type: ignore[arg-type]


texts = st.lists(
    st.one_of(
        st.sampled_from(["kill ", "yourself", "Ok. ", "。", "!", "\n", "\ud800", "去死", "好的，", "word "]),
        st.text(max_size=20),
        st.integers(1, 500).map(lambda n: "y" * n),
    ),
    max_size=20,
).map("".join)


async def test_an_empty_shield_holds_nothing_back() -> None:
    assert await fed(Shield().stream(HELLO), ["a", "", "bc"]) == (["a", "", "bc", ""], None)


@pytest.mark.parametrize(
    "layer", [SafetyPrompt.default(), GoalPriority("suffix"), GoalPriority(), output_guard()[0]]
)
def test_shipped_layers_stream(layer: Defence) -> None:
    assert isinstance(layer, StreamingDefence)


async def test_a_layer_without_streams_is_asked_for_prefixes() -> None:
    out, block = await fed(Shield((Tagged(tag="#"),)).stream(HELLO), ["One. Tw", "o. Th", "ree"])
    assert (out, block) == (["One.", " Two.", "", " Three#"], None)
    out, block = await fed(Shield((Tagged(word="BAD"),)).stream(HELLO), ["One. B", "AD. ", "Three. "])
    assert out == ["One."]
    assert block is not None


@settings(deadline=None)
@given(texts, st.lists(st.integers(0, 2000)))
def test_prefixes_cost_at_most_nine_times_the_reply(text: str, sizes: list[int]) -> None:
    layer = Counting()
    out, _ = asyncio.run(fed(Shield((layer,)).stream(HELLO), cut(text, sizes)))
    assert "".join(out) == text
    assert sum(map(len, layer.seen)) <= 9 * len(text)
    assert all(b.startswith(a) for a, b in pairwise(layer.seen))


async def test_prefixes_stay_linear_at_length() -> None:
    for text in ("!" * 30_000, "z" * 30_000, "Ok. " * 8_000):
        layer = Counting()
        out, _ = await fed(Shield((layer,)).stream(HELLO), list(text))
        assert "".join(out) == text
        assert sum(map(len, layer.seen)) <= 9 * len(text)


async def test_a_sentence_without_an_end_is_not_held_for_ever() -> None:
    guard, _ = output_guard("~")
    for layer, most in ((guard, 121), (Counting(), 241)):
        held, longest = 0, 0
        stream = Shield((layer,)).stream(HELLO)  # type: ignore[arg-type]
        for _ in range(1500):
            outcome = await stream.feed("x")
            assert isinstance(outcome, str)
            held += 1 - len(outcome)
            longest = max(longest, held)
        assert longest <= most


@settings(deadline=None)
@given(texts, st.lists(st.integers(0, 2000)))
def test_what_leaves_is_what_the_whole_gives(text: str, sizes: list[int]) -> None:
    shield = Shield((Blocklist(("kill yourself", "去死")), Counting(), GoalPriority("suffix")))

    async def both() -> None:
        out, block = await fed(shield.stream(HELLO), cut(text, sizes))
        assert block is None
        assert "".join(out) == await shield.after(HELLO, text)

    asyncio.run(both())


@settings(deadline=None)
@given(texts, st.lists(st.integers(0, 2000)))
def test_a_guard_shows_nothing_of_what_earns_the_block(text: str, sizes: list[int]) -> None:
    guard, detector = output_guard("yourself", "死")

    async def both() -> None:
        out, block = await fed(Shield((guard,)).stream(HELLO), cut(text, sizes))
        shown = "".join(out)
        assert text.startswith(shown)
        assert (block is not None) == ("yourself" in text or "死" in text)
        if block is None:
            assert shown == text
        else:
            assert "yourself" not in shown
            assert "死" not in shown
        assert sum(len(seen) for seen, _ in detector.seen) <= 8 * len(text) + 320

    asyncio.run(both())


async def test_a_guard_reads_a_sentence_with_what_was_before_it() -> None:
    guard, detector = output_guard("two. Three")
    out, block = await fed(Shield((guard,)).stream(HELLO), ["One and two. ", "Three. Four."])
    assert out == ["One and two."]
    assert block is not None
    assert (block.stage, block.by) == ("output", "output_guard")
    assert detector.seen[-1] == ("One and two. Three.", "hello")


async def test_layers_read_what_the_inner_one_lets_go() -> None:
    shield = Shield((Tagged(tag="!"), Blocklist(("Secret",)), GoalPriority()))
    pieces = ["[Internal thoughts] x. [Final response] ", "Hi. The Secret", " thing. Bye"]
    out, block = await fed(shield.stream(HELLO), pieces)
    assert (out, block) == (["", "", "", "Hi. The [removed] thing. Bye!"], None)


async def test_after_a_block_there_is_nothing_but_the_block() -> None:
    guard, detector = output_guard("BAD")
    stream = Shield((Tagged(), guard)).stream(HELLO)
    block = await stream.feed("This is BAD. ")
    assert isinstance(block, Block)
    seen = len(detector.seen)
    assert await stream.feed("More. ") is block
    assert await stream.close() is block
    assert len(detector.seen) == seen


async def test_a_megabyte_passes_a_guard() -> None:
    guard, detector = output_guard("~")
    text = "Some words here. " * 60_000
    out, block = await fed(Shield((guard,)).stream(HELLO), [text])
    assert block is None
    assert "".join(out) == text
    assert sum(len(seen) for seen, _ in detector.seen) <= 8 * len(text) + 320
