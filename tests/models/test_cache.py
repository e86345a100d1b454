from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fangxin.dialogue import Dialogue
from fangxin.models import CachedModel, ModelError, OpenAIModel, Reply, Sampling, TokenLogprob

from .conftest import Stub, completion


class Counting:
    """A model that numbers what it says."""

    name = "counting"
    identity = "counting:1"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, int]] = []
        self.fail = False

    def describe(self) -> dict[str, Any]:
        return {"kind": "test"}

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        self.asked.append((dialogue.question, sampling.seed, n))
        await asyncio.sleep(0)
        if self.fail:
            raise ModelError("no", "bad_reply")
        logprobs = (TokenLogprob("放", -0.5, (("心", -1.5), ("\udce5\udcbf", -2.0))),)
        number = len(self.asked)
        return [Reply(f"{number}.{i}", "length", 5, 2, 0.25, logprobs) for i in range(n)]

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> Any:
        self.asked.append((dialogue.question, sampling.seed, 1))
        for piece in "ab":
            yield piece

    async def close(self) -> None: ...


ONE, TWO = Dialogue().say("one"), Dialogue().say("two")


async def test_each_reply_is_asked_for_once_and_comes_back_whole(tmp_path: Path) -> None:
    inner = Counting()
    model = CachedModel(inner, tmp_path / "sub" / "c.db")
    [first] = await model.reply(ONE, Sampling(seed=3))
    [again] = await model.reply(ONE, Sampling(seed=3))
    assert not first.cached
    assert again.cached
    assert (again.text, again.finish, again.prompt_tokens, again.completion_tokens, again.logprobs) == (
        first.text,
        first.finish,
        5,
        2,
        first.logprobs,
    )
    more = await model.reply(ONE, Sampling(seed=3), n=3)
    assert [(r.text, r.cached) for r in more] == [("1.0", True), ("2.0", False), ("2.1", False)]
    assert inner.asked == [("one", 3, 1), ("one", 4, 2)]
    await model.close()
    later = CachedModel(inner, tmp_path / "sub" / "c.db")
    assert [r.text for r in await later.reply(ONE, Sampling(seed=3), n=3)] == ["1.0", "2.0", "2.1"]
    assert len(inner.asked) == 2
    await later.close()


async def test_whatever_decides_a_reply_is_in_its_key(tmp_path: Path) -> None:
    inner = Counting()
    model = CachedModel(inner, tmp_path / "c.db")
    variants = [
        Sampling(),
        Sampling(max_tokens=5),
        Sampling(temperature=0.1),
        Sampling(top_p=0.5),
        Sampling(seed=0),
        Sampling(stop=("x",)),
        Sampling(logprobs=1),
    ]
    for dialogue in (ONE, TWO, ONE.answer("one")):
        for sampling in variants:
            [reply] = await model.reply(dialogue, sampling)
            assert not reply.cached
    other = CachedModel(inner, tmp_path / "c.db", identity="counting:2")
    assert not (await other.reply(ONE, Sampling()))[0].cached
    await other.close()
    await model.close()


async def test_the_same_question_at_the_same_time_is_asked_once(tmp_path: Path) -> None:
    inner = Counting()
    model = CachedModel(inner, tmp_path / "c.db")
    replies = await asyncio.gather(*(model.reply(ONE, Sampling()) for _ in range(20)))
    assert len(inner.asked) == 1
    assert {reply[0].text for reply in replies} == {"1.0"}
    await model.close()


async def test_failures_are_not_kept(tmp_path: Path) -> None:
    inner = Counting()
    model = CachedModel(inner, tmp_path / "c.db")
    inner.fail = True
    with pytest.raises(ModelError):
        await model.reply(ONE, Sampling())
    inner.fail = False
    assert (await model.reply(ONE, Sampling()))[0].text == "2.0"
    await model.close()


async def test_streams_are_answered_from_it_and_not_kept(tmp_path: Path) -> None:
    inner = Counting()
    model = CachedModel(inner, tmp_path / "c.db")
    for _ in range(2):
        assert [piece async for piece in model.stream(ONE, Sampling())] == ["a", "b"]
    assert len(inner.asked) == 2
    await model.reply(ONE, Sampling())
    assert [piece async for piece in model.stream(ONE, Sampling())] == ["3.0"]
    await model.close()


async def test_prompts_are_not_in_it_and_others_can_t_read_it(tmp_path: Path) -> None:
    model = CachedModel(Counting(), tmp_path / "c.db")
    await model.reply(Dialogue().say("a private question"), Sampling())
    names = ["c.db", "c.db-shm", "c.db-wal"]
    assert sorted(os.listdir(tmp_path)) == names
    for file in (tmp_path / name for name in names):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"private" not in file.read_bytes()
    await model.close()


async def test_a_file_that_is_not_a_cache_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.db"
    text.write_text("my notes, much longer than a header of sixteen bytes" * 50)
    with pytest.raises(ModelError, match=r"notes\.db can't be used") as caught:
        CachedModel(Counting(), text)
    assert caught.value.kind == "storage"
    assert text.read_text().startswith("my notes")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE mine (x)")
    file.close()
    with pytest.raises(ModelError, match="not a completion cache"):
        CachedModel(Counting(), other)
    with pytest.raises(ModelError, match="can't be used"):
        CachedModel(Counting(), tmp_path)


async def test_a_file_that_can_t_be_written_any_more_is_said(tmp_path: Path) -> None:
    model = CachedModel(Counting(), tmp_path / "c.db")
    model._file.execute("PRAGMA query_only=1")
    with pytest.raises(ModelError, match=r"c\.db can't be used") as caught:
        await model.reply(ONE, Sampling())
    assert caught.value.fatal
    await model.close()


async def test_a_model_without_identity_needs_one(tmp_path: Path) -> None:
    class Bare:
        name = "bare"
        reply = Counting.reply
        stream = Counting.stream
        close = Counting.close

    with pytest.raises(ModelError, match="'bare' has no identity"):
        CachedModel(Bare(), tmp_path / "c.db")


PROGRAM = """
import asyncio, sys
from fangxin.dialogue import Dialogue
from fangxin.models import CachedModel, OpenAIModel, Sampling
async def main():
    model = CachedModel(OpenAIModel(sys.argv[1], "m", concurrency=4), sys.argv[2])
    async def ask(i):
        [reply] = await model.reply(Dialogue().say(f"question {i}"), Sampling())
        print(i, flush=True)
    await asyncio.gather(*(ask(i) for i in range(200)))
asyncio.run(main())
"""


async def test_a_killed_run_loses_nothing_that_was_answered(tmp_path: Path, stub: Stub) -> None:
    async def slow(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.json_response(completion("answer"))

    stub.script = [slow]
    path = tmp_path / "c.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, stub.url, str(path), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    seen = [int(await process.stdout.readline()) for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    seen += [int(line) for line in (await process.stdout.read()).split(b"\n") if line]
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]
    assert 40 <= len(seen) < 200
    before = len(stub.bodies)
    model = CachedModel(OpenAIModel(stub.url, "m"), path)
    for i in seen:
        [reply] = await model.reply(Dialogue().say(f"question {i}"), Sampling())
        assert reply.cached
    assert len(stub.bodies) == before
    assert "question" not in json.dumps([str(row) for row in model._file.execute("SELECT * FROM replies")])
    await model.close()
