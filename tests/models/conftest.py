from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

Answer = Callable[["Stub", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def completion(*texts: str, **more: Any) -> dict[str, Any]:
    """A chat completion's body."""
    return {
        "choices": [
            {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for i, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3 * len(texts)},
    } | more


class Stub:
    """A real HTTP server whose answers follow a script; the last step repeats."""

    def __init__(self) -> None:
        self.script: list[Answer | web.Response | tuple[int, dict[str, str], str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.busy = 0
        self.busiest = 0
        self.released = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.bodies.append(json.loads(text) if text else {})
        self.headers.append(dict(request.headers))
        self.paths.append(request.path_qs)
        self.times.append(asyncio.get_running_loop().time())
        step = self.script[min(len(self.bodies), len(self.script)) - 1] if self.script else echo
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            if isinstance(step, tuple):
                status, headers, body = step
                return web.Response(status=status, headers=headers, text=body)
            return await step(self, request, self.bodies[-1])  # type: ignore[operator]
        finally:
            self.busy -= 1


async def echo(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    said = body["messages"][-1]["content"]
    return web.json_response(completion(*[f"{i}: {said}" for i in range(body.get("n", 1))]))


async def hang(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    await stub.released.wait()
    return web.Response(status=500)


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    stub = Stub()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stub
    stub.released.set()
    await runner.cleanup()
