from __future__ import annotations

import asyncio
import os
import signal

import aiohttp
import pytest

from fangxin.agent import Agent
from fangxin.gateway import app, is_loopback, serve

from .conftest import Scripted, free_port, hello


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "127.0.0.1.example.com"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


async def test_a_port_in_use_is_an_error_and_not_shared() -> None:
    gateway = app(Agent(Scripted()), model_name="m")
    port = free_port()
    up = asyncio.Event()
    first = asyncio.create_task(serve(gateway, port=port, on_ready=up.set))
    await asyncio.wait_for(up.wait(), 5)
    with pytest.raises(OSError, match=f"port {port}: Address already in use"):
        await serve(gateway, port=port)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_signal_lets_the_answer_under_way_end() -> None:
    class Slow(Scripted):
        async def reply(self, *args: object) -> list[object]:  # type: ignore[override]
            await asyncio.sleep(0.3)
            return await super().reply(*args)  # type: ignore[arg-type,return-value]

    port = free_port()
    up, told = asyncio.Event(), asyncio.Event()
    work = asyncio.create_task(
        serve(app(Agent(Slow()), model_name="m"), port=port, on_ready=up.set, on_stop=told.set)
    )
    await asyncio.wait_for(up.wait(), 5)
    async with aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        answer = asyncio.create_task(http.post(url, json=hello()))
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        response = await asyncio.wait_for(answer, 5)
        assert response.status == 200
        assert "Hello" in await response.text()
    await asyncio.wait_for(work, 5)
    assert told.is_set()
