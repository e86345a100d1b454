from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.dialogue import Dialogue, DialoguePrompt, PromptError, Turn

GOOD = """
language = "zh"
role = "你是一位耐心的老师。"
setting = "在小学的网站上。"
rules = ["说普通话。", "不谈政治。"]

[[samples]]
role = "user"
text = "你好"

[[samples]]
role = "assistant"
text = "同学你好！"
"""
FULL = DialoguePrompt(
    "zh",
    "你是一位耐心的老师。",
    "在小学的网站上。",
    ("说普通话。", "不谈政治。"),
    (Turn("user", "你好"), Turn("assistant", "同学你好！")),
)


def written(folder: Path, data: str | bytes) -> Path:
    path = folder / "prompt.toml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])  # Notepad puts a byte order mark before UTF-8
def test_a_good_file(tmp_path: Path, head: bytes) -> None:
    assert DialoguePrompt.load(written(tmp_path, head + GOOD.encode())) == FULL


def test_an_empty_file_is_an_empty_prompt(tmp_path: Path) -> None:
    prompt = DialoguePrompt.load(written(tmp_path, ""))
    assert prompt == DialoguePrompt()
    assert prompt.system() == ""
    assert Dialogue(prompt).say("hi").messages() == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GOOD.encode("gb18030"), ["not UTF-8", "save it as UTF-8"]),
        (GOOD.encode("utf-16"), ["not UTF-8"]),
        ("role = ", ["not valid TOML", "at end of document"]),
        ("roel = 'x'", ["unknown setting 'roel'", "role, setting, rules"]),
        ("role = 5", ["role must be text"]),
        ("setting = ['x']", ["setting must be text"]),
        ("rules = 'one'", ["rules must be a list"]),
        ("rules = ['one', 2]", ["rules must be a list"]),
        ("language = 'fr'", ["unknown language 'fr'", "'en' or 'zh'"]),
        ("language = ['en']", ["unknown language", "'en' or 'zh'"]),
        ("samples = 'x'", ["samples must be a list"]),
        ("samples = ['x']", ["each sample must have a role and a text"]),
        ("samples = [{role = 'user'}]", ["each sample must have a role and a text"]),
        ("samples = [{role = 'user', text = 'x', name = 'y'}]", ["each sample must have"]),
        ("samples = [{role = 'user', text = 1}]", ["each sample must have"]),
        ("samples = [{role = 'system', text = 'x'}]", ["'user' or 'assistant', not 'system'"]),
        ("samples = [{role = 'assistant', text = 'x'}]", ["must alternate"]),
        ("samples = [{role = 'user', text = 'x'}]", ["must alternate"]),
        ("samples = [{role = 'user', text = 'x'}, {role = 'user', text = 'y'}]", ["must alternate"]),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(
    tmp_path: Path, data: str | bytes, words: list[str]
) -> None:
    path = written(tmp_path, data)
    with pytest.raises(PromptError) as caught:
        DialoguePrompt.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    assert all(word in message for word in words)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"nowhere\.toml can't be read: No such file"):
        DialoguePrompt.load(tmp_path / "nowhere.toml")
    with pytest.raises(PromptError, match="can't be read"):
        DialoguePrompt.load("a\0b")
    with pytest.raises(PromptError, match="can't be read"):
        DialoguePrompt.load(tmp_path)


lines = st.text(max_size=20)
prompts = st.builds(
    DialoguePrompt,
    language=st.sampled_from(["en", "zh"]),
    role=lines,
    setting=lines,
    rules=st.lists(lines, max_size=3).map(tuple),
    samples=st.lists(
        st.tuples(st.builds(Turn, st.just("user"), lines), st.builds(Turn, st.just("assistant"), lines)),
        max_size=2,
    ).map(lambda pairs: tuple(turn for pair in pairs for turn in pair)),
)


@given(prompts)
def test_a_prompt_survives_json(prompt: DialoguePrompt) -> None:
    assert DialoguePrompt.of(json.loads(json.dumps(prompt.as_dict()))) == prompt


scraps: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["language", "role", "setting", "rules", "samples", "other"]), scraps))
def test_any_data_is_a_prompt_or_a_prompt_error(data: dict[str, Any]) -> None:
    try:
        prompt = DialoguePrompt.of(data)
    except PromptError:
        return
    assert set(data) <= {"language", "role", "setting", "rules", "samples"}
    assert all(isinstance(message["content"], str) for message in Dialogue(prompt).messages())


def test_nothing_can_be_changed() -> None:
    dialogue = Dialogue(FULL).say("hi")
    for thing, name in ((dialogue, "turns"), (FULL, "role"), (dialogue.turns[0], "text")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, "x")
    assert hash(dialogue) == hash(Dialogue(FULL).say("hi"))


def test_adding_a_turn_makes_a_new_dialogue() -> None:
    first = Dialogue().say("a")
    second = first.answer("b")
    assert len(first.turns) == 1
    assert [turn.role for turn in second.turns] == ["user", "assistant"]


def test_the_system_message_holds_role_setting_and_rules() -> None:
    assert FULL.system() == "你是一位耐心的老师。\n\n在小学的网站上。\n\n规则：\n- 说普通话。\n- 不谈政治。"
    assert DialoguePrompt(rules=("Be kind.",)).system() == "Rules:\n- Be kind."


def test_messages_are_system_then_samples_then_turns() -> None:
    assert Dialogue(FULL).say("1").answer("2").say("3").messages() == [
        {"role": "system", "content": FULL.system()},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "同学你好！"},
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3"},
    ]


def test_the_question_is_the_last_user_turn() -> None:
    dialogue = Dialogue().say("a").answer("b").say("c").answer("d")
    assert dialogue.question == "c"
    changed = dialogue.with_question("C")
    assert [turn.text for turn in changed.turns] == ["a", "b", "C", "d"]
    assert changed.question == "C"


def test_without_a_user_turn_there_is_no_question_to_change() -> None:
    dialogue = Dialogue(FULL).answer("hello")  # the prompt's samples are no question
    assert dialogue.question == ""
    assert dialogue.with_question("x") is dialogue


@given(st.lists(st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), lines)), lines)
def test_with_question_changes_one_turn_at_most(turns: list[Turn], text: str) -> None:
    before = Dialogue(turns=tuple(turns))
    after = before.with_question(text)
    changed = [i for i, (old, new) in enumerate(zip(before.turns, after.turns, strict=True)) if old != new]
    assert len(changed) <= 1
    if any(turn.role == "user" for turn in turns):
        assert after.question == text
