from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.cli._rows import Row, parsed, row_of
from fangxin.cli._scoring import score
from fangxin.cli._terminal import InputError
from fangxin.detect import DetectorError, Task, Verdict

FULL = "from fangxin.cli import main; main()"
BOT = """
def answer(messages):
    code = messages[-1]["content"].split("[Answer ")[1].split("]")[0]
    return f"[Answer {code}] safe"
"""


class Word:
    """Unsafe is what holds the word; counts how many texts it was given at once."""

    name = "word"

    def __init__(self) -> None:
        self.batches: list[int] = []

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        return (await self.check_many([text], [question]))[0]

    async def check_many(self, texts: Sequence[str], questions: Sequence[str | None]) -> list[Verdict]:
        self.batches.append(len(texts))
        await asyncio.sleep(0.001)
        if any("unjudgeable" in text for text in texts):
            raise DetectorError("That can't be judged.")
        return [
            Verdict("unsafe", 0.9, "privacy", by=self.name) if "bad" in text else Verdict("safe", 0.1)
            for text in texts
        ]


async def scored(
    data: bytes, task: Task = "prompt", detector: Any = None
) -> tuple[list[dict[str, Any]], Any]:
    """The rows that came out, and what was raised."""
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    out = io.BytesIO()
    error: Exception | None = None
    try:
        await score(task, detector or Word(), read, out)
    except (InputError, DetectorError) as raised:
        error = raised
    finally:
        os.close(read)
    return [json.loads(line) for line in out.getvalue().decode("utf-8").splitlines()], error


async def test_a_row_gives_a_row() -> None:
    rows, error = await scored(
        b'{"text": "fine"}\n\n{"text": "bad", "id": 7}\n{"prompt": "a bad one", "response": ""}'
    )
    assert error is None
    assert [row["label"] for row in rows] == ["safe", "unsafe", "unsafe"]
    assert set(rows[0]) == {"label", "probability", "risk", "detector", "ms"}
    assert rows[1]["risk"] == "privacy"
    assert rows[0]["detector"] == "word"
    assert await scored(b"") == ([], None)
    assert await scored(b"\n\n") == ([], None)


async def test_order_is_kept_and_waiting_rows_are_judged_together() -> None:
    said = ["bad" if i % 3 == 0 else "fine" for i in range(500)]
    detector = Word()
    rows, error = await scored(
        "".join(f'{{"text": "{one} {i}"}}\n' for i, one in enumerate(said)).encode(), detector=detector
    )
    assert error is None
    assert [row["label"] == "unsafe" for row in rows] == [one == "bad" for one in said]
    assert len(detector.batches) < 250
    assert max(detector.batches) <= 64


async def test_a_row_is_answered_before_the_next_one_comes() -> None:
    (read, write), (back, out) = os.pipe(), os.pipe()
    with os.fdopen(out, "wb") as writer:
        work = asyncio.create_task(score("prompt", Word(), read, writer))
        for text in ("fine", "bad"):
            os.write(write, f'{{"text": "{text}"}}\n'.encode())
            line = await asyncio.wait_for(asyncio.to_thread(os.read, back, 4096), 20)
            assert json.loads(line)["label"] == {"fine": "safe", "bad": "unsafe"}[text]
        os.close(write)
        assert await work == 2
    os.close(read)
    os.close(back)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"text": "x"', "line 3 is not JSON"),
        (b"[" * 30_000, "line 3 is not JSON"),
        (b'["text"]', "line 3 is no JSON object"),
        (b'{"text": 5}', "line 3 has no text"),
        (b'{"response": "x"}', "line 3 has no prompt"),
        (b'{"text": "\xff"}', "line 3 is not UTF-8"),
        ('{"text": "x"}'.encode("utf-16"), "line 3 is not UTF-8"),
    ],
)
async def test_a_row_that_can_not_be_used_loses_none_before_it(line: bytes, said: str) -> None:
    rows, error = await scored(b'{"text": "bad"}\n{"text": "fine"}\n' + line + b'\n{"text": "after"}\n')
    assert [row["label"] for row in rows] == ["unsafe", "safe"]
    assert isinstance(error, InputError)
    assert said in str(error)
    assert "\n" not in str(error)


async def test_a_row_that_can_not_be_judged_is_never_safe() -> None:
    rows, error = await scored(b'{"text": "fine"}\n{"text": "unjudgeable"}\n{"text": "fine"}\n')
    assert len(rows) == 1
    assert isinstance(error, DetectorError)
    assert "line 2 got no verdict" in str(error)


async def test_refusals_are_named_as_such() -> None:
    data = b'{"prompt": "p", "response": "bad"}\n{"prompt": null, "response": "fine"}\n'
    rows, _ = await scored(data, "refusal")
    assert [row["label"] for row in rows] == ["refusal", "compliance"]


@pytest.mark.parametrize(
    ("task", "row", "expected"),
    [
        ("prompt", {"prompt": "p", "response": "r"}, Row("p")),
        ("prompt", {"text": "t", "prompt": "p"}, Row("t")),
        ("exchange", {"prompt": "p", "response": "r"}, Row("r", "p")),
        ("exchange", {"text": "t"}, Row("t")),
        ("refusal", {"prompt": None, "response": "r"}, Row("r")),
        ("toxicity", {"prompt": "p", "response": "r"}, Row("r", "p")),
        ("pii", {"text": "a\ud800b"}, Row("a\ufffdb")),
    ],
)
def test_what_is_judged_of_a_row(task: Task, row: dict[str, Any], expected: Row) -> None:
    assert row_of(row, task, "line 1") == expected


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_a_line_holds_is_a_row_or_a_sentence(line: bytes) -> None:
    said = ""
    try:
        text = row_of(parsed(line, "line 1"), "exchange", "line 1").text
    except InputError as error:
        text = said = str(error)
    assert text.encode("utf-8") is not None
    assert not said or said.startswith("line 1 ")


def shell(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    (folder / "bot.py").write_text(BOT)
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", FULL, "detect", "score", *arguments]
    return subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe)


def test_a_reader_that_hangs_up_is_no_error_worth_words(tmp_path: Path) -> None:
    it = shell(tmp_path, "--task", "prompt", "--judge", "python:bot:answer")
    assert it.stdin
    assert it.stdout
    assert it.stderr
    it.stdin.write(b'{"text": "a"}\n')
    it.stdin.flush()
    assert json.loads(it.stdout.readline())["label"] == "safe"
    it.stdout.close()
    until = time.monotonic() + 60
    while it.poll() is None and time.monotonic() < until:
        try:
            it.stdin.write(b'{"text": "b"}\n')
            it.stdin.flush()
        except BrokenPipeError:
            break
        time.sleep(0.05)
    assert it.wait(60) == 3
    assert it.stderr.read() == b""
    it.stderr.close()
    with suppress(BrokenPipeError):
        it.stdin.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "mood"], b"There is no task 'mood': use prompt, exchange"),
        (["--task", "pii", "--judge", "python:bot:answer"], b"tell it by --judge-rules"),
        (["--task", "prompt", "--calibration", "none.json"], b"none.json can't be read"),
    ],
)
def test_options_that_can_not_be_used(tmp_path: Path, arguments: list[str], said: bytes) -> None:
    out, err = shell(tmp_path, *arguments).communicate(b'{"text": "a"}\n', timeout=120)
    assert out == b""
    assert said in err
    assert err.count(b"\n") == 1
