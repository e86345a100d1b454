from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.agent import Agent
from fangxin.defend import Block, DefenceError, GoalPriority, PersonalData, Shield
from fangxin.detect.personal import KINDS, PersonalDataDetector
from fangxin.dialogue import Dialogue, Turn
from fangxin.models import CallableModel

MASK, REDACT, BLOCK = PersonalData(), PersonalData("redact"), PersonalData("block")
TALK = (
    Dialogue()
    .say("I am Ada: my name is Ada Smith, ada@corp.org")
    .answer("Noted, Ada Smith (ada@corp.org).")
    .say("Write to bob@corp.org about 415-555-2671")
)


def before(layer: PersonalData, dialogue: Dialogue) -> Dialogue | Block:
    return asyncio.run(layer.before(dialogue))


def after(layer: PersonalData, text: str, *, dialogue: Dialogue = TALK, final: bool = True) -> Any:
    return asyncio.run(layer.after(dialogue, text, final=final))


# Mask


def test_the_model_sees_placeholders_in_every_turn() -> None:
    sent = before(MASK, TALK)
    assert isinstance(sent, Dialogue)
    assert [turn.text for turn in sent.turns] == [
        "I am Ada: my name is <NAME_1>, <EMAIL_1>",
        "Noted, <NAME_1> (<EMAIL_1>).",
        "Write to <EMAIL_2> about <PHONE_1>",
    ]
    assert [turn.role for turn in sent.turns] == [turn.role for turn in TALK.turns]


def test_its_reply_gets_the_values_back() -> None:
    assert after(MASK, "Dear Bob (<EMAIL_2>), call <phone 1>. <EMAIL_1>") == (
        "Dear Bob (bob@corp.org), call 415-555-2671. ada@corp.org"
    )


def test_what_applications_say_is_masked_too() -> None:
    sent = before(MASK, Dialogue(turns=(Turn("system", "Customer: 13800138000"), Turn("user", "你好"))))
    assert isinstance(sent, Dialogue)
    assert sent.turns[0].text == "Customer: <PHONE_1>"


async def test_dialogues_at_the_same_time_do_not_mix() -> None:
    talks = [Dialogue().say(f"my mail is person{i}@corp.org") for i in range(50)]
    sent = await asyncio.gather(*(MASK.before(talk) for talk in talks))
    assert all(isinstance(one, Dialogue) and one.question == "my mail is <EMAIL_1>" for one in sent)
    said = await asyncio.gather(*(MASK.after(talk, "so <EMAIL_1>") for talk in reversed(talks)))
    assert said == [f"so person{i}@corp.org" for i in reversed(range(50))]


async def test_through_an_agent_the_model_never_has_the_value() -> None:
    seen = []

    def answer(messages: list[dict[str, str]]) -> str:
        seen.append(messages[-1]["content"])
        return "I shall write to <EMAIL_1>. And call <PHONE_1>!"

    agent = Agent(CallableModel(answer), shield=Shield((MASK, GoalPriority("suffix"))))
    pieces: list[str] = []
    answered = await agent.respond(
        Dialogue().say("mail ada@corp.org, call 415-555-2671"), on_piece=pieces.append
    )
    assert answered.text == "".join(pieces) == "I shall write to ada@corp.org. And call 415-555-2671!"
    assert "<EMAIL_1>" in seen[0]
    assert "corp.org" not in seen[0]


# Redact


def test_replies_lose_what_the_people_did_not_say() -> None:
    reply = "Ada's mail is ada@corp.org, Carl's is carl@corp.org. He lives at 12 Main St.\nSpringfield, IL 62704\nBye"
    assert after(REDACT, reply) == (
        "Ada's mail is ada@corp.org, Carl's is [e-mail address removed]. He lives at [postal address removed]\nBye"
    )
    assert before(REDACT, TALK) is TALK


def test_what_an_application_said_is_nobodys_to_repeat() -> None:
    talk = Dialogue(turns=(Turn("system", "The customer's phone: 13800138000"), Turn("user", "他的电话？")))
    assert after(REDACT, "是13800138000。", dialogue=talk) == "是［电话已略去］。"


def test_the_same_number_written_otherwise_may_be_said_back() -> None:
    assert after(REDACT, "You said (415) 555-2671.") == "You said (415) 555-2671."


# Block


def test_a_question_with_personal_data_is_blocked_and_none_else() -> None:
    outcome = before(BLOCK, TALK)
    assert isinstance(outcome, Block)
    assert (outcome.stage, outcome.by, outcome.verdict.risk) == ("input", "personal_data", "privacy")
    assert "corp" not in repr(outcome)
    asked = Dialogue().answer("my mail is ada@corp.org").say("hello")
    assert before(BLOCK, asked) is asked


def test_a_reply_with_personal_data_is_blocked() -> None:
    outcome = after(BLOCK, "Carl's mail is carl@corp.org.")
    assert isinstance(outcome, Block)
    assert (outcome.stage, outcome.verdict.reason) == ("output", "Personal data: e-mail address.")
    assert after(BLOCK, "Your mail is ada@corp.org.") == "Your mail is ada@corp.org."


# Streams

parts = st.sampled_from(
    ["<", "EMAIL_", "<EMAIL_2>", "1>", "〔姓名1〕", "〔", "carl@corp.org", "call 415", "-555-1234", ". ", "\n", "12 Main St", "Oak, IL 62704", "。", "Hi "]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(parts, max_size=10), st.sampled_from([MASK, REDACT, BLOCK]))
def test_beginnings_give_beginnings(said: list[str], layer: PersonalData) -> None:
    whole, shown = after(layer, "".join(said)), ""
    for end in range(len(said) + 1):
        more = after(layer, "".join(said[:end]), final=False)
        if isinstance(more, Block):
            assert isinstance(whole, Block)
            return
        assert more.startswith(shown)
        assert isinstance(whole, Block) or whole.startswith(more)
        shown = more


# Settings


def test_it_survives_a_bundle(tmp_path: Path) -> None:
    layer = PersonalData("redact", PersonalDataDetector(frozenset({"email", "phone"}), 0.7))
    assert PersonalData.load(layer.save(tmp_path), tmp_path) == layer
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mode": "hide"}, "mode must be"),
        ({"kinds": []}, "kinds must be"),
        ({"kinds": ["shoe_size"]}, "kinds must be"),
        ({"kinds": [["email"]]}, "kinds must be"),
        ({"least": 2}, "least must be"),
        ({"least": True}, "least must be"),
        ({"least": None}, "least must be"),
    ],
)
def test_wrong_settings_are_errors(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    good = {"mode": "mask", "kinds": sorted(KINDS), "least": 0.5}
    with pytest.raises(DefenceError, match=said):
        PersonalData.load(good | change, tmp_path)


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for layer in (MASK, REDACT, BLOCK):
            before(layer, TALK)
            after(layer, "carl@corp.org <EMAIL_1>")
    assert "corp.org" not in caplog.text
