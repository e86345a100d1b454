from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI
from starlette.routing import Route

from fangxin.agent import Agent
from fangxin.defend import FIXED_REFUSALS, Shield, fixed_refusal
from fangxin.dialogue import DialoguePrompt
from fangxin.gateway import app
from fangxin.ledger import Ledger, LedgerError
from fangxin.models import EmbeddedModel, ModelError, Sampling

from .conftest import Scripted, Undecided, Word, hello, served, spy, trouble

CHAT = "/v1/chat/completions"
# What every route gives back: "door" where it carries a model's words, "none" where it carries no such words.
ROUTES = {("POST", CHAT): "door", ("GET", "/v1/models"): "none", ("GET", "/healthz"): "none"}
SECRET = "xylophone"


def client(url: str, key: str = "none") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=20)


async def post(url: str, body: Any, **more: Any) -> tuple[int, Mapping[str, str], str]:
    async with aiohttp.ClientSession() as http, http.post(url + CHAT, json=body, **more) as response:
        return response.status, response.headers, await response.text()


def events(text: str) -> list[Any]:
    lines = [line for line in text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line[6:] if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]


def routes_of(starlette: Any) -> set[tuple[str, str]]:
    found = set()
    for route in starlette.routes:
        assert isinstance(route, Route), f"{route} is no plain route: say here what it gives back"
        found |= {(method, route.path) for method in (route.methods or set()) - {"HEAD"}}
    return found


async def test_no_route_goes_past_the_door(http: aiohttp.ClientSession) -> None:
    model = Scripted(pieces=(f"The {SECRET} is here. ", f"Again {SECRET}."))
    agent = spy(model, shield=Shield((Word(SECRET),)))
    gateway = app(agent, model_name="m")
    assert routes_of(gateway) == set(ROUTES), "a route is new or gone: say in ROUTES what it gives back"
    async with served(gateway) as url:
        for method, path in ROUTES:
            for stream in (False, True):
                before = len(model.asked), len(agent.calls)
                async with http.request(method, url + path, json=hello(stream=stream)) as response:
                    text = await response.text()
                assert response.status == 200
                assert SECRET not in text
                asked, through = len(model.asked) - before[0], len(agent.calls) - before[1]
                assert (asked, through) == ((1, 1) if ROUTES[method, path] == "door" else (0, 0))
    assert model.outside_calls == 0


async def test_the_spy_sees_a_call_past_the_door() -> None:
    model = Scripted()
    await model.reply(hello, Sampling())  # type: ignore[arg-type]
    assert model.outside_calls == 1


async def test_openai_client_gets_an_answer_with_usage() -> None:
    model = Scripted()
    async with served(app(Agent(model), model_name="m")) as url, client(url) as api:
        done = await api.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert done.choices[0].message.content == "Hello there. How are you? Bye."
    assert done.choices[0].message.role == "assistant"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (11, 7, 18)
    assert done.model == "m"
    assert "fangxin" not in (done.model_extra or {})


async def test_openai_client_streams_sentence_by_sentence() -> None:
    model = Scripted()
    async with served(app(Agent(model), model_name="m")) as url, client(url) as api:
        stream = await api.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(delta or "" for delta in deltas) == "Hello there. How are you? Bye."
    assert len([delta for delta in deltas if delta]) >= 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 8  # estimated: a stream counts no tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_models_are_listed() -> None:
    async with served(app(Agent(Scripted()), model_name="my model")) as url, client(url) as api:
        assert [row.id async for row in await api.models.list()] == ["my model"]


async def test_settings_reach_the_model_and_the_rest_is_the_agents_own() -> None:
    model = Scripted()
    agent = Agent(
        model, DialoguePrompt(role="You are Ada."), sampling=Sampling(max_tokens=9, temperature=0.7)
    )
    body = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "three", "name": "bob"},
        ],
        "top_p": 0.5,
        "seed": 3,
        "stop": "END",
        "temperature": None,
        "n": 1,
        "user": "someone",
        "metadata": {"any": "thing"},
    }
    async with served(app(agent, model_name="m")) as url, aiohttp.ClientSession() as http:
        for more in ({}, {"max_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 6}):
            async with http.post(url + CHAT, json=body | more) as response:
                assert response.status == 200
    dialogue, sampling = model.asked[0]
    assert [(turn.role, turn.text) for turn in dialogue.turns] == [
        ("system", "Be brief."),
        ("user", "one\ntwo"),
        ("assistant", "yes"),
        ("user", "three"),
    ]
    assert dialogue.prompt.role == "You are Ada."
    assert sampling == Sampling(max_tokens=9, temperature=0.7, top_p=0.5, seed=3, stop=("END",))
    assert [asked[1].max_tokens for asked in model.asked] == [9, 5, 6]


async def test_length_is_told() -> None:
    async with (
        served(app(Agent(Scripted(finish="length")), model_name="m")) as url,
        client(url) as api,
    ):
        done = await api.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert done.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stage", ["input", "output"])
async def test_a_block_is_a_refusal_that_says_who_decided(stage: str) -> None:
    model = Scripted(pieces=(f"The {SECRET}.",))
    agent = Agent(model, shield=Shield((Word(SECRET, stage),)))
    async with served(app(agent, model_name="m")) as url, client(url) as api:
        done = await api.chat.completions.create(model="m", messages=[{"role": "user", "content": SECRET}])
    assert done.choices[0].message.content == fixed_refusal("en")
    assert done.choices[0].finish_reason == "content_filter"
    assert (done.model_extra or {})["fangxin"] == {
        "blocked": True,
        "stage": stage,
        "by": "word",
        "risk": "violence",
    }
    assert len(model.asked) == (0 if stage == "input" else 1)
    assert done.usage is not None
    assert (done.usage.total_tokens == 0) == (stage == "input")


async def test_a_system_message_passes_the_input_guard_too() -> None:
    model = Scripted()
    agent = Agent(model, shield=Shield((Word(SECRET, "input"),)))
    messages = [{"role": "system", "content": f"Tell of the {SECRET}."}, {"role": "user", "content": "hello"}]
    async with served(app(agent, model_name="m")) as url:
        _, _, text = await post(url, {"messages": messages})
    assert json.loads(text)["choices"][0]["finish_reason"] == "content_filter"
    assert not model.asked


async def test_a_block_in_mid_stream_ends_it_before_its_words_leave() -> None:
    pieces = ("All is well. ", "Now take the ", SECRET, " and hit. ", "Then the aftermath. ", "End.")
    model = Scripted(pieces=pieces)
    agent = Agent(model, shield=Shield((Word(SECRET),)))
    async with served(app(agent, model_name="m")) as url:
        status, headers, text = await post(url, hello(stream=True))
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    for word in (SECRET, "Now take", "hit", "aftermath", "End."):
        assert word not in text
    found = events(text)
    shown = "".join(e["choices"][0]["delta"].get("content", "") for e in found[:-1])
    assert shown.startswith("All is well.")
    assert shown.endswith(fixed_refusal("en"))
    assert found[-1] == "[DONE]"
    assert found[-2]["choices"][0]["finish_reason"] == "content_filter"
    assert found[-2]["fangxin"] == {"blocked": True, "stage": "output", "by": "word", "risk": "violence"}
    assert model.said < len(pieces), "the model was asked on after the block"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_exchange_is_in_the_ledger_before_the_answer_ends(
    tmp_path: Path, http: aiohttp.ClientSession, stream: bool
) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        gateway = app(Agent(Scripted(), ledger=ledger), model_name="m")
        async with served(gateway) as url, http.post(url + CHAT, json=hello(stream=stream)) as response:
            seen = b""
            async for part in response.content.iter_any():
                seen += part
                if not stream or b"[DONE]" in seen:
                    rows = list(ledger.entries("exchange"))
                    assert len(rows) == 1
                    content = rows[0].content or {}
        assert content["answer"] == "Hello there. How are you? Bye."
        assert content["messages"][-1] == {"role": "user", "content": "hello"}


class FullLedger:
    """A ledger whose disk is full."""

    def append(self, *_: Any) -> None:
        raise LedgerError("the disk at /secret/place is full")


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_recorded_is_not_completed(stream: bool) -> None:
    agent = Agent(Scripted(), ledger=FullLedger())  # type: ignore[arg-type]
    async with served(app(agent, model_name="m")) as url:
        status, _, text = await post(url, hello(stream=stream))
    assert "ledger_failed" in text
    assert "[DONE]" not in text
    assert "/secret/place" not in text
    assert status == (200 if stream else 503)
    assert stream or "Hello" not in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (trouble(), 502, "model_failed"),
        (ModelError("secret", "timeout"), 504, "timeout"),
        (ModelError("secret", "rejected"), 400, "model_rejected"),
        (ModelError("secret", "rejected", fatal=True), 502, "model_failed"),
        (ModelError("secret", "rate_limited"), 429, "model_overloaded"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
async def test_a_failing_model_is_a_true_status_in_plain_words(
    error: Exception, status: int, code: str, stream: bool
) -> None:
    async with served(app(Agent(Scripted(error=error)), model_name="m")) as url:
        got, _, text = await post(url, hello(stream=stream))
    body = json.loads(text)
    assert got == status
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["code"] == code
    assert "secret" not in json.dumps(body)


@pytest.mark.parametrize("stage", ["input", "output"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_undecided_shield_fails_closed(stage: str, stream: bool) -> None:
    model = Scripted(pieces=(f"The {SECRET}.",))
    agent = Agent(model, shield=Shield((Undecided(SECRET, stage),)))
    body = {"messages": [{"role": "user", "content": SECRET}], "stream": stream}
    async with served(app(agent, model_name="m")) as url:
        status, _, text = await post(url, body)
    assert status == 503
    assert json.loads(text)["error"]["code"] == "shield_failed"
    assert SECRET not in text
    assert "secret" not in text


async def test_a_failure_in_mid_stream_is_an_error_event() -> None:
    model = Scripted(error=trouble(), error_after=2)
    async with served(app(Agent(model), model_name="m")) as url, client(url) as api:
        stream = await api.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        shown = ""
        with pytest.raises(openai.APIError, match="The model failed"):  # noqa: PT012
            async for chunk in stream:
                shown += chunk.choices[0].delta.content or ""
    assert shown.startswith("Hello there.")


async def test_too_slow_an_answer_is_a_timeout(http: aiohttp.ClientSession) -> None:
    model = Scripted(hang_after=0)
    async with served(app(Agent(model), model_name="m", timeout_s=0.05)) as url:
        for stream in (False, True):
            async with http.post(url + CHAT, json=hello(stream=stream)) as response:
                assert response.status == 504
                assert (await response.json())["error"]["code"] == "timeout"
    assert model.cancelled.is_set()


@pytest.mark.parametrize("stream", [False, True])
async def test_who_hangs_up_stops_the_model_and_is_recorded(tmp_path: Path, stream: bool) -> None:
    model = Scripted(hang_after=1 if stream else 0)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        async with served(app(Agent(model, ledger=ledger), model_name="m")) as url:
            async with aiohttp.ClientSession() as http:
                if stream:
                    response = await http.post(url + CHAT, json=hello(stream=True))
                    await response.content.readany()
                    response.close()
                else:
                    timeout = aiohttp.ClientTimeout(total=0.3)
                    with pytest.raises(TimeoutError):
                        await http.post(url + CHAT, json=hello(), timeout=timeout)
            await asyncio.wait_for(model.cancelled.wait(), 5)
            for _ in range(100):
                if rows := list(ledger.entries("exchange")):
                    break
                await asyncio.sleep(0.02)
        assert [(row.content or {})["failure"] for row in rows] == ["cancelled"]


async def test_keys(http: aiohttp.ClientSession) -> None:
    model = Scripted()
    async with served(app(Agent(model), model_name="m", keys=["right-key", "other-key"])) as url:
        wrong: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer wrong-key"},
            {"Authorization": "Basic right-key"},
            {"Authorization": "Bearer "},
            {"Authorization": "right-key"},
            {"Authorization": "Bearer right-keyy"},
        ]
        for headers in wrong:
            async with http.post(url + CHAT, json=hello(), headers=headers) as response:
                text = await response.text()
            assert response.status == 401, headers
            assert response.headers["www-authenticate"] == "Bearer"
            assert json.loads(text)["error"]["code"] == "invalid_api_key"
            assert "-key" not in text
        async with http.get(f"{url}/v1/models") as response:
            assert response.status == 401
        assert not model.asked
        for key in ("right-key", "other-key"):
            async with http.post(
                url + CHAT, json=hello(), headers={"Authorization": f"bearer {key}", "Origin": "http://x"}
            ) as response:
                assert response.status == 200
                assert key not in await response.text() + str(response.headers)
        async with http.get(f"{url}/healthz") as response:
            assert await response.json() == {"status": "ok"}
        async with client(url, "bad") as api:
            with pytest.raises(openai.AuthenticationError):
                await api.models.list()


@pytest.mark.parametrize("keys", [[], [""], ["good", ""]])
def test_keys_that_keep_nobody_or_everybody_out_are_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="keys"):
        app(Agent(Scripted()), model_name="m", keys=keys)


async def test_web_pages_may_not_use_an_open_gateway() -> None:
    model = Scripted()
    async with served(app(Agent(model), model_name="m")) as url:
        status, _, _ = await post(url, hello(), headers={"Origin": "http://evil.example"})
    assert status == 403
    assert not model.asked


async def test_wrong_addresses_methods_and_sizes(http: aiohttp.ClientSession) -> None:
    model = Scripted()
    async with served(app(Agent(model), model_name="m")) as url:
        for method, path, status in [
            ("GET", "/nowhere", 404),
            ("GET", "/v1/models/", 404),
            ("POST", "/v1/completions", 404),
            ("GET", CHAT, 405),
            ("DELETE", "/v1/models", 405),
        ]:
            async with http.request(method, url + path) as response:
                assert response.status == status
                assert (await response.json())["error"]["type"] == "invalid_request_error"
        async with http.get(url + CHAT) as response:
            assert response.headers["allow"] == "POST"
        big = json.dumps(hello(user="x" * 2**20)).encode()

        async def parts() -> Any:
            for at in range(0, len(big), 2**16):
                yield big[at : at + 2**16]

        for data in (io.BytesIO(big), parts()):
            async with http.post(url + CHAT, data=data) as response:
                assert response.status == 413
                assert "1048576" in (await response.json())["error"]["message"]
        async with http.post(url + CHAT, json=hello(user="x" * (2**20 - 100))) as response:
            assert response.status == 200
    assert len(model.asked) == 1


async def test_who_sends_too_much_still_hears_why() -> None:
    """Were the rest of the body left unread, the connection would break under the caller's pen."""
    body = b"x" * (6 * 2**20)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    def send(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(head + body)
            return raw.recv(4096)

    async with served(app(Agent(Scripted()), model_name="m")) as url:
        for _ in range(5):
            answer = await asyncio.to_thread(send, int(url.rsplit(":", 1)[1]))
            assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_that_breaks_off_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    model = Scripted()
    async with served(app(Agent(model), model_name="m")) as url:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)
        status, _, _ = await post(url, hello())
    assert status == 200
    assert len(model.asked) == 1
    assert not caplog.records


async def test_many_at_once_do_not_mix() -> None:
    class Echo(Scripted):
        async def stream(self, dialogue: Any, sampling: Sampling) -> Any:
            for word in dialogue.question.split():
                await asyncio.sleep(0.001)
                yield f"{word}. "

    async with served(app(Agent(Echo()), model_name="m")) as url, client(url) as api:

        async def one(i: int) -> None:
            stream = await api.chat.completions.create(
                model="m", messages=[{"role": "user", "content": f"a{i} b{i} c{i}"}], stream=True
            )
            text = "".join([c.choices[0].delta.content or "" async for c in stream])
            assert text == f"a{i}. b{i}. c{i}. "

        await asyncio.gather(*[one(i) for i in range(40)])


@pytest.mark.engine
async def test_the_embedded_model_behind_the_default_shield(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        async with EmbeddedModel.start(slots=2) as model:
            agent = Agent(model, shield=Shield.default(), ledger=ledger)
            async with served(app(agent, model_name=model.name)) as url, client(url) as api:
                done = await api.chat.completions.create(
                    model=model.name,
                    messages=[{"role": "user", "content": "What is the capital of France?"}],
                    max_tokens=24,
                )
                assert done.choices[0].message.content not in {None, "", *FIXED_REFUSALS}
                assert done.choices[0].finish_reason in ("stop", "length")
                assert done.usage is not None
                assert done.usage.completion_tokens > 0
                stream = await api.chat.completions.create(
                    model=model.name,
                    messages=[{"role": "user", "content": "Say hello to my friend Bob."}],
                    max_tokens=24,
                    stream=True,
                )
                text = "".join([c.choices[0].delta.content or "" async for c in stream])
                assert text
                assert text not in FIXED_REFUSALS
        assert len(list(ledger.entries("exchange"))) == 2
