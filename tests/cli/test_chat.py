from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fangxin.agent import Agent
from fangxin.cli import _chat
from fangxin.cli._terminal import InputError
from fangxin.defend import Block, Shield, fixed_refusal
from fangxin.detect import Verdict
from fangxin.dialogue import Dialogue, PromptError
from fangxin.models import ModelError, Reply, Sampling

from ._stub import stubbed


@dataclass
class Scripted:
    """A model that says its pieces."""

    pieces: tuple[str, ...] = ("Fine. ", "Thanks.")
    name: str = "scripted"
    error: Exception | None = None
    asked: list[Dialogue] = field(default_factory=list)

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        return [Reply("".join(self.pieces))]

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        self.asked.append(dialogue)
        if self.error is not None:
            raise self.error
        for piece in self.pieces:
            yield piece

    async def close(self) -> None: ...


@dataclass(frozen=True)
class NoPurple:
    """A defence that blocks questions about purple."""

    kind: str = "no_purple"

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        if any("purple" in turn.text for turn in dialogue.turns):
            verdict = Verdict("unsafe", 0.875, risk="violence", reason="It is \x1b[31mpurple.")
            return Block("input", self.kind, verdict)
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        return text

    def save(self, folder: Path) -> dict[str, Any]:
        return {}

    @classmethod
    def load(cls, settings: Mapping[str, Any], folder: Path) -> NoPurple:
        return cls()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def talk(
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    lines: str,
    model: Scripted,
    *,
    language: str = "en",
    verdicts: bool = False,
    save: Path | None = None,
    shield: Shield | None = None,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    agent = Agent(model, shield=shield or Shield())
    _chat.Talk(agent, Sampling(), runner.run, language, verdicts).go(save)


def test_a_talk_over_pipes(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Scripted()
    talk(runner, monkeypatch, "How are you?\n\n  And now?  \n", model)
    out, err = capsys.readouterr()
    assert out == "Fine. Thanks.\nFine. Thanks.\n"
    assert "scripted, without a shield" in err
    assert [turn.text for turn in model.asked[1].turns] == ["How are you?", "Fine. Thanks.", "And now?"]


def test_commands(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Scripted()
    lines = "one\n/new\ntwo\n/verdicts\n/etc/passwd is a file\n/wrong\n/quit\nnever said\n"
    talk(runner, monkeypatch, lines, model)
    err = capsys.readouterr().err
    assert [len(asked.turns) for asked in model.asked] == [1, 1, 3]
    assert model.asked[2].question == "/etc/passwd is a file"
    assert "Unknown command /wrong" in err
    assert err.count("no shield") == 1


def test_a_blocked_question_is_left_out_of_what_follows(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Scripted()
    lines = "Tell me of purple.\nOf green, then.\n"
    talk(runner, monkeypatch, lines, model, verdicts=True, shield=Shield((NoPurple(),)))
    out, err = capsys.readouterr()
    assert out.splitlines() == [fixed_refusal("en"), "Fine. Thanks."]
    assert [turn.text for turn in model.asked[0].turns] == ["Of green, then."]
    assert "question blocked by no_purple, violence, p = 0.88. It is [31mpurple." in err
    assert "shield: let through" in err
    assert "\x1b" not in err


def test_the_program_speaks_chinese(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    talk(runner, monkeypatch, "/new\n", Scripted(), language="zh")
    err = capsys.readouterr().err
    assert "正在与 scripted 对话" in err
    assert "新的对话。" in err


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({}, "en"),
    ],
)
def test_language(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _chat.language() == expected


def test_both_languages_say_the_same_things() -> None:
    english, chinese = _chat._WORDS["en"], _chat._WORDS["zh"]
    assert english.keys() == chinese.keys()
    for key in english:
        assert set(_fields(english[key])) == set(_fields(chinese[key])), key


def _fields(text: str) -> list[str]:
    import string

    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


def test_escape_sequences_never_reach_the_terminal_even_when_split(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = ("a\x1b", "[31mb. ", "c\x1b]0;title", "\x07d\x9b", "2Je. ", "\u202ef\r\x08g\x00.", "\nh\ti")
    talk(runner, monkeypatch, "hello\n", Scripted(pieces))
    out = capsys.readouterr().out
    assert out == "a[31mb. c]0;titled2Je. fg.\nh\ti\n"


def test_the_talk_is_saved_after_every_turn_for_its_owner_only(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "talk.json"
    seen: list[Any] = []

    class Watched(Scripted):
        async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
            seen.append(json.loads(path.read_text("utf-8"))["talks"] if path.exists() else None)
            yield "好的。"

    lines = "一\n二\n/new\npurple\n三\n"
    talk(runner, monkeypatch, lines, Watched(), save=path, shield=Shield((NoPurple(),)))
    first = {"question": "一", "answer": "好的。", "block": None}
    assert seen[0] is None
    assert seen[1] == [[first]]
    saved = json.loads(path.read_text("utf-8"))
    assert [[row["question"] for row in rows] for rows in saved["talks"]] == [["一", "二"], ["purple", "三"]]
    assert saved["talks"][1][0]["block"]["by"] == "no_purple"
    assert saved["model"] == "scripted"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_is_not_overwritten(
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "mine.json"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        talk(runner, monkeypatch, "hello\n", Scripted(), save=path)
    with pytest.raises(InputError, match="isn't there"):
        talk(runner, monkeypatch, "hello\n", Scripted(), save=tmp_path / "no" / "talk.json")
    talk(runner, monkeypatch, f"/save {path}\n/save {tmp_path}/b.json\nhello\n", Scripted())
    assert "exists: choose another" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert json.loads((tmp_path / "b.json").read_text("utf-8"))["talks"][0][0]["question"] == "hello"


def test_a_failing_model_ends_a_scripted_talk(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="broken"):
        talk(runner, monkeypatch, "hello\n", Scripted(error=ModelError("It is broken.", "server_error")))


app = typer.Typer()
app.command()(_chat.chat)


def test_the_command_talks_with_an_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    (tmp_path / "ada.toml").write_text('role = "You are Ada."\n')
    (tmp_path / "key").write_text("sk-test\n")
    arguments = ["--prompt", str(tmp_path / "ada.toml"), "--key-file", str(tmp_path / "key")]
    with stubbed() as stub:
        result = CliRunner().invoke(
            app, [stub.url, *arguments, "--max-tokens", "7", "--temperature", "0.5"], input="Hello?\nMore?\n"
        )
    assert result.exit_code == 0, result.output
    assert result.stdout == "Hello. Bye.\nHello. Bye.\n"
    assert stub.bodies[0]["messages"] == [
        {"role": "system", "content": "You are Ada."},
        {"role": "user", "content": "Hello?"},
    ]
    assert len(stub.bodies[1]["messages"]) == 4
    assert (stub.bodies[0]["max_tokens"], stub.bodies[0]["temperature"]) == (7, 0.5)
    assert stub.bodies[0]["model"] == "stub-model"
    assert stub.keys == ["Bearer sk-test"] * 2


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["embedded", "--model-name", "x"], InputError, "goes with a URL"),
        ([".", "--prompt", "x.toml"], InputError, "its own dialogue prompt"),
        (["embedded", "--prompt", "missing.toml"], PromptError, "can't be read"),
        (["nowhere"], ModelError, "Unknown model"),
    ],
)
def test_what_cannot_be_used(arguments: list[str], error: type[Exception], words: str) -> None:
    result = CliRunner().invoke(app, arguments, input="")
    assert isinstance(result.exception, error)
    assert words in str(result.exception)


def test_in_a_terminal_ctrl_c_stops_a_reply_and_not_the_talk() -> None:
    pieces = [f"Sentence {i}. " for i in range(200)]
    with stubbed(pieces=pieces, wait=0.05) as stub:
        main, side = pty.openpty()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import typer; from fangxin.cli._chat import chat; typer.run(chat)",
                stub.url,
            ],
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env={**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm"},
        )
        os.close(side)
        seen = _until(main, "you> ")
        os.write(main, b"Count.\n")
        seen += _until(main, "Sentence 2.")
        os.write(main, b"\x03")
        stopped = _until(main, "you> ")
        assert "Stopped" in stopped
        assert "Sentence 199" not in seen + stopped
        os.write(main, b"/quit\n")
        assert process.wait(20) == 0
        os.close(main)
    assert len(stub.bodies) == 1


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _until(terminal: int, words: str, seconds: float = 20.0) -> str:
    seen, end = "", time.monotonic() + seconds
    while words not in seen:
        assert time.monotonic() < end, f"no {words!r} in {seen!r}"
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 4096).decode("utf-8", "replace")
    return seen
