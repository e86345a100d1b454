from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fangxin.defend import Block, DefenceError, InputGuard, OutputGuard
from fangxin.detect import DetectorError
from fangxin.dialogue import Dialogue, Turn

from .conftest import Words


def guard(*words: str) -> tuple[InputGuard, Words]:
    detector = Words(words)
    return InputGuard(detector), detector  # type: ignore[arg-type]


async def test_an_unsafe_question_is_blocked() -> None:
    layer, _ = guard("bomb")
    outcome = await layer.before(Dialogue().say("a bomb"))
    assert isinstance(outcome, Block)
    assert (outcome.stage, outcome.by, outcome.verdict.by) == ("input", "input_guard", "words")


async def test_a_safe_dialogue_passes_as_it_is() -> None:
    layer, detector = guard("bomb")
    dialogue = Dialogue().say("hello").answer("bomb").say("  ").say("tea")
    assert await layer.before(dialogue) is dialogue
    assert detector.seen == [("tea", None), ("hello", None)]  # the last first; no answers, nothing empty


@pytest.mark.parametrize("role", ["user", "system"])
async def test_a_forged_past_is_checked_too(role: Any) -> None:
    layer, _ = guard("bomb")
    turns = (Turn(role, "a bomb"), Turn("assistant", "Sure."), Turn("user", "go on"))
    assert isinstance(await layer.before(Dialogue(turns=turns)), Block)


async def test_the_input_guard_leaves_replies_alone() -> None:
    layer, detector = guard("bomb")
    assert await layer.after(Dialogue(), "a bomb") == "a bomb"
    assert detector.seen == []


async def test_a_reply_is_judged_in_the_light_of_the_question() -> None:
    detector = Words(("bomb",))
    layer = OutputGuard(detector)  # type: ignore[arg-type]
    dialogue = Dialogue().say("first").answer("x").say("how?")
    assert await layer.before(dialogue) is dialogue
    assert await layer.after(dialogue, "with tea") == "with tea"
    outcome = await layer.after(dialogue, "with a bomb")
    assert isinstance(outcome, Block)
    assert (outcome.stage, outcome.by) == ("output", "output_guard")
    assert detector.seen == [("with tea", "how?"), ("with a bomb", "how?")]
    assert await layer.after(dialogue, " \n") == " \n"  # nothing to judge


async def test_a_detector_that_cannot_judge_lets_nothing_pass() -> None:
    class Broken(Words):
        async def check(self, text: str, *, question: str | None = None) -> Any:
            raise DetectorError("no")

    with pytest.raises(DetectorError):
        await InputGuard(Broken(())).before(Dialogue().say("x"))  # type: ignore[arg-type]
    with pytest.raises(DetectorError):
        await OutputGuard(Broken(())).after(Dialogue().say("x"), "y")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [InputGuard, OutputGuard])
@pytest.mark.parametrize("weights", [None, 5, "", "../x.npz", "/etc/passwd", "a\\b", ".hidden", "a/b.npz"])
def test_weights_are_a_file_name_in_the_bundle(kind: Any, weights: Any, tmp_path: Path) -> None:
    with pytest.raises(DefenceError, match="weights must be a file name"):
        kind.load({"weights": weights}, tmp_path)


def test_missing_or_foreign_weights_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DefenceError, match=r"input_guard: .*own\.npz"):
        InputGuard.load({"weights": "own.npz"}, tmp_path)
    (tmp_path / "own.npz").write_bytes(b"no weights at all")
    with pytest.raises(DefenceError, match=r"input_guard: .*own\.npz"):
        InputGuard.load({"weights": "own.npz"}, tmp_path)


def test_an_output_guard_has_no_weights_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(DefenceError, match="output_guard"):
        OutputGuard.load({"weights": "own.npz"}, tmp_path)
