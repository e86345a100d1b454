from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fangxin.agent import Agent, Answer
from fangxin.gateway._errors import ApiError, as_json, told
from fangxin.gateway._request import ChatRequest, parse
from fangxin.models import estimate_tokens

_OPEN_PATHS = frozenset({"/healthz"})
_BODY_S = 60.0
_WORDS = {404: "There is nothing at this address.", 405: "This address does not take that method."}


def app(
    agent: Agent,
    *,
    model_name: str,
    keys: Collection[str] | None = None,
    timeout_s: float = 300.0,
    largest_body: int = 2**20,
) -> Starlette:
    """An OpenAI-compatible API in front of an agent: everything that is said passes `Agent.respond`.

    Routes: `POST /v1/chat/completions` (streamed or not), `GET /v1/models`, `GET /healthz`.

    Args:
        agent: who answers; its ledger, where it has one, records each exchange.
        model_name: the name that callers see and may ask for.
        keys: what callers must bring as a bearer token; None lets everybody in, web pages apart.
        timeout_s: seconds that an answer may take, to its last piece.
        largest_body: bytes of a request.

    Raises:
        ValueError: `keys` is empty, or holds an empty key: nobody or anybody could come in.
    """
    if keys is not None and (not keys or not all(keys)):
        raise ValueError("keys must hold at least one key, and no empty one")
    gateway = _Gateway(agent, model_name, timeout_s, largest_body)
    routes = [
        Route("/v1/chat/completions", gateway.chat, methods=["POST"]),
        Route("/v1/models", gateway.models, methods=["GET"]),
        Route("/healthz", _health, methods=["GET"]),
    ]
    starlette = Starlette(
        routes=routes,
        middleware=[Middleware(_Doorkeeper, keys=keys)],
        exception_handlers={ApiError: _shown, HTTPException: _shown_http, Exception: _shown},
        lifespan=gateway.lifespan,
    )
    starlette.router.redirect_slashes = False
    return starlette


class _Gateway:
    def __init__(self, agent: Agent, model_name: str, timeout_s: float, largest_body: int) -> None:
        self._agent = agent
        self._model_name = model_name
        self._timeout_s = timeout_s
        self._largest_body = largest_body
        self._since = int(time.time())
        # Exchanges whose caller has gone still have to reach the ledger.
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def models(self, request: Request) -> Response:
        row = {"id": self._model_name, "object": "model", "created": self._since, "owned_by": "fangxin"}
        return as_json({"object": "list", "data": [row]})

    async def chat(self, request: Request) -> Response:
        body = await _body(request, self._largest_body)
        asked = parse(body, self._model_name, self._agent.sampling)
        head = _Head(self._model_name)
        if asked.stream:
            return _Stream(asked, head, self._start)
        work = self._start(asked, None)
        gone = asyncio.create_task(_gone(request.receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return Response(status_code=499)  # nobody is there to read it
            return as_json(head.completion(work.result()))
        finally:
            await _end(work, gone)

    def _start(self, asked: ChatRequest, on_piece: Callable[[str], None] | None) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self._respond(asked, on_piece))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _respond(self, asked: ChatRequest, on_piece: Callable[[str], None] | None) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._agent.respond(asked.dialogue, asked.sampling, on_piece=on_piece)
        except Exception as error:
            raise told(error) from None

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await _end(*self._under_way)


class _Head:
    """What all chunks of one answer share."""

    def __init__(self, model_name: str) -> None:
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model_name,
        }

    def completion(self, answer: Answer) -> dict[str, Any]:
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
        data = {"object": "chat.completion", **self._common, "choices": [choice], "usage": _usage(answer)}
        return data | _blocked(answer)

    def chunk(self, delta: dict[str, str], answer: Answer | None = None) -> dict[str, Any]:
        finish = None if answer is None else _finish(answer)
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        data = {"object": "chat.completion.chunk", **self._common, "choices": [choice]}
        return data if answer is None else data | _blocked(answer)

    def usage_chunk(self, answer: Answer) -> dict[str, Any]:
        return {"object": "chat.completion.chunk", **self._common, "choices": [], "usage": _usage(answer)}


class _Stream(Response):
    """An answer as server-sent events. A failure before the first piece is still an HTTP error."""

    def __init__(
        self,
        asked: ChatRequest,
        head: _Head,
        start: Callable[[ChatRequest, Callable[[str], None]], asyncio.Task[Answer]],
    ) -> None:
        super().__init__()
        self._asked = asked
        self._head = head
        self._start = start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        queue: asyncio.Queue[str | asyncio.Task[Any]] = asyncio.Queue()
        work = self._start(self._asked, queue.put_nowait)
        gone = asyncio.create_task(_gone(receive))
        for task in (work, gone):
            task.add_done_callback(queue.put_nowait)
        started = False
        try:
            while isinstance(item := await queue.get(), str):
                if not started:
                    started = True
                    await self._begin(send)
                await _send(send, self._head.chunk({"content": item}))
            if item is gone:
                return
            answer = work.result()
            if not started:
                started = True
                await self._begin(send)
            await _send(send, self._head.chunk({}, answer))
            if self._asked.stream_usage:
                await _send(send, self._head.usage_chunk(answer))
            await _send(send, None)
        except ApiError as error:
            if not started:
                raise
            await _send(send, error.data(), last=True)
        finally:
            await _end(work, gone)

    async def _begin(self, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send(send, self._head.chunk({"role": "assistant", "content": ""}))


async def _send(send: Send, data: dict[str, Any] | None, *, last: bool = False) -> None:
    body = b"data: " + (b"[DONE]" if data is None else orjson.dumps(data)) + b"\n\n"
    more = data is not None and not last
    await send({"type": "http.response.body", "body": body, "more_body": more})


def _finish(answer: Answer) -> str:
    if answer.block is not None:
        return "content_filter"
    return "length" if answer.reply is not None and answer.reply.finish == "length" else "stop"


def _blocked(answer: Answer) -> dict[str, Any]:
    if answer.block is None:
        return {}
    block = answer.block
    return {"fangxin": {"blocked": True, "stage": block.stage, "by": block.by, "risk": block.verdict.risk}}


def _usage(answer: Answer) -> dict[str, int]:
    """What the model spent, as it counts; estimated where it doesn't say, 0 where it was never asked."""
    read = written = 0
    if answer.reply is not None and answer.sent is not None:
        read = answer.reply.prompt_tokens or sum(
            estimate_tokens(message["content"]) for message in answer.sent.messages()
        )
        written = answer.reply.completion_tokens or estimate_tokens(answer.reply.text)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def _body(request: Request, largest: int) -> bytes:
    refusal = ApiError(
        413,
        f"The body is too large: send at most {largest} bytes.",
        "invalid_request_error",
        code="too_large",
    )
    # Who is cut off in mid-sentence sees a broken connection instead of the refusal: hear out what is near.
    most = 8 * largest
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most:
        raise refusal
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(_BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise refusal
                if size <= largest:
                    body += part
    except TimeoutError:
        message = f"The body was not there within {_BODY_S:.0f} s."
        raise ApiError(408, message, "invalid_request_error", code="timeout") from None
    except ClientDisconnect:
        raise ApiError(499, "The caller hung up.", "invalid_request_error") from None
    if size > largest:
        raise refusal
    return bytes(body)


async def _gone(receive: Receive) -> None:
    """Wait until the caller hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _health(request: Request) -> Response:
    return as_json({"status": "ok"})


async def _shown(request: Request, error: Exception) -> Response:
    return told(error).response()


async def _shown_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = _WORDS.get(error.status_code, str(error.detail))
    return ApiError(error.status_code, words, "invalid_request_error", headers=error.headers).response()


class _Doorkeeper:
    """Lets in who brings a key; where there are no keys, everybody but web pages."""

    def __init__(self, app: ASGIApp, keys: Collection[str] | None) -> None:
        self._app = app
        self._digests = None if keys is None else [_digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None
        if scope["type"] == "http" and scope["path"] not in _OPEN_PATHS:
            refusal = self._refusal(Request(scope))
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if self._digests is None:
            # A page that somebody visits may send requests to their own machine: browsers say so here.
            if "origin" not in request.headers:
                return None
            message = "Web pages may not use a gateway that asks for no key: start it with one."
            return ApiError(403, message, "invalid_request_error", code="no_web_pages").response()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = _digest(token.strip() if scheme.lower() == "bearer" else "")
        # Every key is compared, so that the time tells nothing.
        if sum([hmac.compare_digest(given, digest) for digest in self._digests]):
            return None
        message = "The API key is missing or wrong: send it as 'Authorization: Bearer KEY'."
        challenge = {"WWW-Authenticate": "Bearer"}
        return ApiError(
            401, message, "invalid_request_error", code="invalid_api_key", headers=challenge
        ).response()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
