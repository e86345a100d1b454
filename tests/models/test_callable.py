from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path

import pytest

from fangxin.dialogue import Dialogue
from fangxin.models import CallableModel, ModelError, Sampling, load_callable

HELLO = Dialogue().say("hello")


async def test_sync_async_and_callable_objects() -> None:
    def sync(messages: list[dict[str, str]]) -> str:
        return f"{messages[-1]['content']} {threading.current_thread() is threading.main_thread()}"

    async def later(messages: list[dict[str, str]]) -> str:
        await asyncio.sleep(0)
        return messages[-1]["content"]

    class Answerer:
        async def __call__(self, messages: list[dict[str, str]]) -> str:
            return "object"

    assert (await CallableModel(sync).reply(HELLO, Sampling()))[0].text == "hello False"
    assert [r.text for r in await CallableModel(later).reply(HELLO, Sampling(), n=2)] == ["hello"] * 2
    assert [p async for p in CallableModel(Answerer()).stream(HELLO, Sampling())] == ["object"]


async def test_calls_at_a_time_are_bounded() -> None:
    busy: list[int] = []
    now = 0

    def slow(messages: list[dict[str, str]]) -> str:
        nonlocal now
        now += 1
        busy.append(now)
        time.sleep(0.01)
        now -= 1
        return ""

    await CallableModel(slow).reply(HELLO, Sampling(), n=5)
    assert busy == [1] * 5


async def test_failures_are_said() -> None:
    def broken(messages: list[dict[str, str]]) -> str:
        raise KeyError("lost\x1b[2J")

    async def slow(messages: list[dict[str, str]]) -> str:
        await asyncio.sleep(5)
        return ""

    def nothing(messages: list[dict[str, str]]) -> str:
        return None  # type: ignore[return-value]

    with pytest.raises(ModelError, match=r"broken failed: KeyError: 'lost") as caught:
        await CallableModel(broken).reply(HELLO, Sampling())
    assert "\x1b" not in str(caught.value)
    with pytest.raises(ModelError, match=r"within 0\.05 s"):
        await CallableModel(slow, seconds=0.05).reply(HELLO, Sampling())
    with pytest.raises(ModelError, match="returned NoneType"):
        await CallableModel(nothing).reply(HELLO, Sampling())


def test_load_callable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fx_app_one.py").write_text("class A:\n    def f(m): return 'ok'\nx = 3\n")
    (tmp_path / "fx_app_two.py").write_text("1 / 0\n")
    monkeypatch.setattr("sys.path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    assert load_callable("fx_app_one:A.f")([]) == "ok"
    for spec, words in [
        ("fx_app_one", "must be module:function"),
        ("fx_app_one:nope", "can't be loaded"),
        ("fx_app_one:x", "not a function"),
        ("fx_app_two:f", "ZeroDivisionError"),
        ("fx_app_three:f", "No module named"),
    ]:
        with pytest.raises(ModelError, match=words) as caught:
            load_callable(spec)
        assert caught.value.fatal
