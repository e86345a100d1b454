from __future__ import annotations

import asyncio
import itertools
import logging
import math
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from fangxin.dialogue import Dialogue, DialoguePrompt
from fangxin.models import ModelError, OpenAIModel, Patience, Sampling, read_key
from fangxin.models._endpoint import _sse, retry_after

from .conftest import Stub, completion, echo, hang

KEY = "sk-very-secret-0123456789"
HELLO = Dialogue(DialoguePrompt(role="You are kind.")).say("hello")
QUICK = Patience(timeout=2, retries=3, first_wait=0.01, longest_wait=0.3)


@pytest.fixture
async def model(stub: Stub) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(stub.url, "m", KEY, patience=QUICK)
    yield model
    await model.close()


async def test_sends_the_dialogue_and_reads_the_reply(stub: Stub, model: OpenAIModel) -> None:
    sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, seed=4, stop=("\n",))
    [reply] = await model.reply(HELLO, sampling)
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.completion_tokens) == (
        "0: hello",
        "stop",
        7,
        3,
    )
    assert reply.seconds > 0
    assert not reply.cached
    assert stub.paths == ["/v1/chat/completions"]
    assert stub.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert stub.bodies[0] == {
        "model": "m",
        "messages": HELLO.messages(),
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 4,
        "stop": ["\n"],
    }


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/api/v3/?version=2", "/api/v3/chat/completions?version=2"),
    ],
)
async def test_base_url_forms(stub: Stub, base: str, path: str) -> None:
    model = OpenAIModel(stub.url + base, "m")
    await model.reply(HELLO, Sampling())
    assert stub.paths == [path]
    assert "Authorization" not in stub.headers[0]
    await model.close()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "", "http://", "http://me:pw@host/v1"])
def test_bad_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ModelError, match=r"http://127|environment variable") as caught:
        OpenAIModel(url, "m")
    assert caught.value.fatal
    assert "pw" not in str(caught.value).replace("password", "")


async def test_n_is_asked_of_the_server_and_made_up_where_short(stub: Stub, model: OpenAIModel) -> None:
    replies = await model.reply(HELLO, Sampling(seed=5), n=3)
    assert [r.text for r in replies] == ["0: hello", "1: hello", "2: hello"]
    assert [r.prompt_tokens for r in replies] == [7, 0, 0]
    assert sum(r.completion_tokens for r in replies) == 9
    assert stub.bodies[0]["n"] == 3

    async def one(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(f"seed {body['seed']}"))

    stub.script = [one]
    replies = await model.reply(HELLO, Sampling(seed=5), n=3)
    assert [r.text for r in replies] == ["seed 5", "seed 6", "seed 7"]


async def test_a_server_that_rejects_n_is_asked_singly(stub: Stub, model: OpenAIModel) -> None:
    async def no_n(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "n" in body:
            return web.json_response({"error": {"message": "n is not supported"}}, status=400)
        return await echo(stub, request, body)

    stub.script = [no_n]
    for _ in range(2):
        assert len(await model.reply(HELLO, Sampling(), n=2)) == 2
    assert ["n" in body for body in stub.bodies] == [True, False, False, False, False]


async def test_a_server_that_wants_max_completion_tokens(stub: Stub, model: OpenAIModel) -> None:
    stub.script = [
        (400, {}, '{"error": {"message": "Use \'max_completion_tokens\' instead of max_tokens."}}'),
        echo,
    ]
    await model.reply(HELLO, Sampling(max_tokens=5))
    assert stub.bodies[1]["max_completion_tokens"] == 5
    assert "max_tokens" not in stub.bodies[1]


async def test_log_probabilities(stub: Stub, model: OpenAIModel) -> None:
    rows = [
        {"token": "Hi", "logprob": -0.1, "top_logprobs": [{"token": "Yo", "logprob": -3}]},
        {"token": "!", "logprob": None},
    ]
    body = completion("Hi!")
    body["choices"][0]["logprobs"] = {"content": rows}
    stub.script = [(200, {}, orjson.dumps(body).decode())]
    [reply] = await model.reply(HELLO, Sampling(logprobs=2))
    assert stub.bodies[0]["top_logprobs"] == 2
    assert [(t.token, t.logprob, t.top) for t in reply.logprobs] == [
        ("Hi", -0.1, (("Yo", -3.0),)),
        ("!", -math.inf, ()),
    ]


@pytest.mark.parametrize(
    ("token", "listed", "read"),
    [
        ("\ufffd", [0xE5, 0xAE], "\udce5\udcae"),
        ("", [0x89], "\udc89"),
        ("bytes:\\xe5", [0x20, 0xE5], " \udce5"),
        ("安", [0xE5, 0xAE, 0x89], "安"),
        ("\u0120safe", [0xC4, 0xA0, 0x73], "\u0120safe"),
        ("a", None, "a"),
        ("a", "a", "a"),
        ("a", 10**12, "a"),
        ("a", [300, -1], "a"),
        ("a", ["x"], "a"),
    ],
)
async def test_a_token_inside_a_character_is_its_bytes(
    stub: Stub, model: OpenAIModel, token: str, listed: Any, read: str
) -> None:
    row = {"token": token, "bytes": listed, "logprob": -0.5}
    body = completion("安")
    body["choices"][0]["logprobs"] = {"content": [row | {"top_logprobs": [row]}]}
    stub.script = [(200, {}, orjson.dumps(body).decode())]
    [reply] = await model.reply(HELLO, Sampling(logprobs=1))
    assert [(t.token, t.top) for t in reply.logprobs] == [(read, ((read, -0.5),))]


async def test_a_grammar_is_sent_only_where_there_is_one(stub: Stub, model: OpenAIModel) -> None:
    await model.reply(HELLO, Sampling(grammar='root ::= "yes"'))
    await model.reply(HELLO, Sampling())
    assert [body.get("grammar") for body in stub.bodies] == ['root ::= "yes"', None]


@pytest.mark.parametrize("content", ["", None])
async def test_an_empty_text_is_a_valid_reply(stub: Stub, model: OpenAIModel, content: str | None) -> None:
    body = completion("")
    body["choices"][0]["message"]["content"] = content
    stub.script = [(200, {}, orjson.dumps(body).decode())]
    [reply] = await model.reply(HELLO, Sampling())
    assert reply.text == ""
    assert reply.finish == "stop"


@pytest.mark.parametrize(
    ("status", "body", "kind", "fatal", "words"),
    [
        (
            401,
            '{"error": {"message": "bad key sk-very-secret-0123456789"}}',
            "auth",
            True,
            "check the API key",
        ),
        (403, "no", "auth", True, "check the API key"),
        (404, '{"error": {"message": "model m not found"}}', "missing", True, "model m not found"),
        (
            400,
            '{"error": {"message": "key sk-very-secret-0123456789 \\u001b[2J odd"}}',
            "rejected",
            False,
            "key ***",
        ),
        (302, "", "rejected", True, "redirects"),
        (429, '{"error": {"message": "pay", "code": "insufficient_quota"}}', "rate_limited", True, "quota"),
        (200, '{"choices": [', "bad_reply", False, "broken JSON"),
        (200, "[" * 100_000, "bad_reply", False, "broken JSON"),
        (200, "{}", "bad_reply", False, "without any choices"),
        (200, "[]", "bad_reply", False, "without any choices"),
        (200, '{"choices": []}', "bad_reply", False, "without any choices"),
        (200, '{"choices": [{"text": "old API"}]}', "bad_reply", False, "no message"),
        (200, '{"choices": [{"message": {"content": 3}}]}', "bad_reply", False, "not text"),
    ],
)
async def test_refusals_and_bad_bodies(
    stub: Stub, model: OpenAIModel, status: int, body: str, kind: str, fatal: bool, words: str
) -> None:
    stub.script = [(status, {"Location": "http://127.0.0.1:1/"} if status == 302 else {}, body)]
    with pytest.raises(ModelError, match=words.replace("*", r"\*")) as caught:
        await model.reply(HELLO, Sampling())
    assert (caught.value.kind, caught.value.fatal) == (kind, fatal)
    assert KEY not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(stub.bodies) == 1


async def test_no_key_given_is_said(stub: Stub) -> None:
    stub.script = [(401, {}, "")]
    model = OpenAIModel(stub.url, "m")
    with pytest.raises(ModelError, match="none was given"):
        await model.reply(HELLO, Sampling())
    await model.close()


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_passing_faults_are_retried(stub: Stub, model: OpenAIModel, status: int) -> None:
    stub.script = [(status, {}, "oh"), (status, {}, "oh"), echo]
    assert (await model.reply(HELLO, Sampling()))[0].text == "0: hello"
    assert len(stub.bodies) == 3


async def test_a_storm_that_does_not_end(stub: Stub, model: OpenAIModel) -> None:
    stub.script = [(500, {}, '{"error": "out of memory"}')]
    with pytest.raises(ModelError, match="status 500: out of memory") as caught:
        await model.reply(HELLO, Sampling())
    assert caught.value.kind == "server_error"
    assert not caught.value.fatal
    assert len(stub.bodies) == 1 + QUICK.retries


async def test_a_limit_that_does_not_end(stub: Stub, model: OpenAIModel) -> None:
    stub.script = [(429, {"Retry-After": "0"}, "")]
    with pytest.raises(ModelError, match="429") as caught:
        await model.reply(HELLO, Sampling())
    assert caught.value.kind == "rate_limited"


async def test_retry_after_holds_every_call_back(stub: Stub, model: OpenAIModel) -> None:
    stub.script = [(429, {"Retry-After": "0.2"}, ""), echo]
    first = asyncio.create_task(model.reply(HELLO, Sampling()))
    await asyncio.sleep(0.1)
    await asyncio.gather(first, model.reply(HELLO, Sampling()))
    assert all(later - stub.times[0] >= 0.19 for later in stub.times[1:])
    assert len(stub.times) == 3


def test_retry_after_header() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < (retry_after(format_datetime(soon, usegmt=True)) or 0) <= 30
    assert retry_after("3") == 3
    assert retry_after("-3") == 0
    assert [retry_after(text) for text in (None, "soon", "nan", "inf", "")] == [None] * 5
    assert QUICK.wait(0, 3600) == QUICK.longest_wait
    assert all(0.005 <= QUICK.wait(0, None) <= 0.01 for _ in range(20))
    assert all(QUICK.wait(50, None) <= QUICK.longest_wait for _ in range(20))


async def test_nobody_there(stub: Stub) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        model = OpenAIModel(f"http://127.0.0.1:{held.getsockname()[1]}", "m", patience=QUICK)
        with pytest.raises(ModelError, match=r"Can't reach .*refused.*Check that the server runs") as caught:
            await model.reply(HELLO, Sampling())
        assert caught.value.kind == "unreachable"
        await model.close()


async def test_a_hanging_server_is_left_and_not_asked_again(stub: Stub) -> None:
    stub.script = [hang]
    model = OpenAIModel(stub.url, "m", timeout=0.2)
    with pytest.raises(ModelError, match=r"did not answer within 0\.2 s") as caught:
        await model.reply(HELLO, Sampling())
    assert caught.value.kind == "timeout"
    assert len(stub.bodies) == 1
    await model.close()


async def test_a_connection_cut_in_the_answer_is_tried_again(stub: Stub, model: OpenAIModel) -> None:
    async def cut(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices"')
        assert request.transport is not None
        request.transport.abort()
        return response

    stub.script = [cut, echo]
    assert (await model.reply(HELLO, Sampling()))[0].text == "0: hello"


async def test_the_total_bounds_attempts_and_waits(stub: Stub) -> None:
    stub.script = [(500, {}, "")]
    patience = Patience(timeout=5, retries=10_000, first_wait=0.05, longest_wait=0.05, total=0.3)
    model = OpenAIModel(stub.url, "m", patience=patience)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ModelError, match="status 500"):
        await model.reply(HELLO, Sampling())
    assert asyncio.get_running_loop().time() - started < 1
    await model.close()


async def test_concurrency_is_bounded(stub: Stub) -> None:
    async def slow(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return await echo(stub, request, body)

    stub.script = [slow]
    model = OpenAIModel(stub.url, "m", concurrency=3)
    await asyncio.gather(*(model.reply(HELLO, Sampling()) for _ in range(12)))
    assert stub.busiest == 3
    await model.close()


async def test_a_cancelled_call_gives_its_slot_back(stub: Stub) -> None:
    stub.script = [hang, echo]
    model = OpenAIModel(stub.url, "m", concurrency=1)
    task = asyncio.create_task(model.reply(HELLO, Sampling()))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(2):
        assert (await model.reply(HELLO, Sampling()))[0].text == "0: hello"
    await model.close()


def events(*pieces: str, end: bytes = b"data: [DONE]\n\n", pause: float = 0.0) -> Any:
    async def answer(stub: Stub, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert body["stream"] is True
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            data = orjson.dumps({"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
            # Cut inside the event and inside a character.
            middle = len(data) - 50
            await response.write(b": ping\n\ndata: " + data[:middle])
            await asyncio.sleep(pause)
            await response.write(data[middle:] + b"\r\n\r\n")
        await response.write(end)
        return response

    return answer


async def test_stream(stub: Stub, model: OpenAIModel) -> None:
    stub.script = [(503, {}, ""), events("放", "心", "", "!", pause=0.05)]
    assert [piece async for piece in model.stream(HELLO, Sampling())] == ["放", "心", "!"]


@pytest.mark.parametrize(
    ("answer", "words", "kind"),
    [
        (events("a", end=b""), "before its end", "bad_reply"),
        (events("a", end=b'data: {"error": {"message": "boom"}}\n\n'), "boom", "bad_reply"),
        (events("a", end=b"data: {\n\n"), "broken JSON", "bad_reply"),
        (events("a", end=b"data: {}\n\n"), "without choices", "bad_reply"),
        (events("a", "b", pause=0.6), "did not answer within 0.3", "timeout"),
    ],
)
async def test_a_stream_that_fails_after_its_first_piece_is_not_begun_again(
    stub: Stub, answer: Any, words: str, kind: str
) -> None:
    stub.script = [answer]
    model = OpenAIModel(stub.url, "m", timeout=0.3)
    pieces: list[str] = []

    async def read() -> None:
        async for piece in model.stream(HELLO, Sampling()):
            pieces.append(piece)

    with pytest.raises(ModelError, match=words) as caught:
        await read()
    assert caught.value.kind == kind
    assert pieces == ([] if kind == "timeout" else ["a"])
    assert len(stub.bodies) == 1
    await model.close()


async def test_a_stream_ended_by_a_finish_reason_alone(stub: Stub, model: OpenAIModel) -> None:
    stub.script = [events("a", end=b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n')]
    assert [piece async for piece in model.stream(HELLO, Sampling())] == ["a"]


async def test_lone_surrogates(stub: Stub, model: OpenAIModel) -> None:
    with pytest.raises(ModelError, match="not valid Unicode"):
        await model.reply(Dialogue().say("a\ud800"), Sampling())
    stub.script = [(200, {}, '{"choices": [{"message": {"content": "a\\ud800 \\ud83d\\ude00"}}]}')]
    [reply] = await model.reply(HELLO, Sampling())
    assert reply.text == "a\ufffd 😀"


async def test_the_key_is_nowhere(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    model = OpenAIModel(stub.url, "m", KEY, patience=QUICK)
    stub.script = [(400, {}, f"you sent {KEY}"), echo]
    with pytest.raises(ModelError) as caught:
        await model.reply(HELLO, Sampling())
    await model.reply(HELLO, Sampling())
    seen = f"{model!r} {model._endpoint!r} {caught.value!r} {caplog.text} {model.identity} {model.describe()}"
    assert KEY not in seen
    assert "very-secret" not in seen
    await model.close()


def test_read_key(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "  from-env ")
    assert read_key() == "from-env"
    assert read_key(env="FANGXIN_NO_SUCH_KEY") is None
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert read_key(file=file) == "from-file"
    for bad in ("", "two\nkeys", "two keys"):
        file.write_text(bad)
        with pytest.raises(ModelError, match="one key on one line"):
            read_key(file=file)
    with pytest.raises(ModelError, match="can't be read"):
        read_key(file=tmp_path / "none")
    with pytest.raises(ModelError, match="characters that no key has"):
        OpenAIModel("http://127.0.0.1:1", "m", "a\nb")


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))),
    st.lists(st.integers(0, 400)),
    st.sampled_from(["\n", "\r\n"]),
)
def test_events_come_out_however_the_bytes_are_cut(texts: list[str], cuts: list[int], end: str) -> None:
    raw = "".join(f": note{end}data: {text}{end}{end}" for text in texts).encode()
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]

    async def chunks() -> AsyncIterator[bytes]:
        for start, stop in itertools.pairwise(edges):
            yield raw[start:stop]

    async def read() -> list[str]:
        return [data.decode() async for data in _sse(chunks(), "here")]

    assert asyncio.run(read()) == texts
