from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from fangxin.dialogue import Dialogue
from fangxin.models import ModelError, Patience, Sampling, connect, describe

from .conftest import Stub, completion

HELLO = Dialogue().say("hello")
QUICK = Patience(timeout=2, retries=1, first_wait=0.01)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


async def test_a_url_finds_its_only_model(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "k-1")
    stub.script = [
        (200, {}, '{"data": [{"id": "the-one"}]}'),
        (200, {}, web.json_response(completion("yes")).text or ""),
    ]
    async with connect(stub.url, key_env="MY_KEY", patience=QUICK, cache=tmp_path / "c.db") as model:
        assert model.name == "the-one"
        assert (await model.reply(HELLO, Sampling()))[0].text == "yes"
        assert (await model.reply(HELLO, Sampling()))[0].cached
        assert describe(model)["url"] == stub.url + "/v1"
    assert stub.paths == ["/v1/models", "/v1/chat/completions"]
    assert {headers["Authorization"] for headers in stub.headers} == {"Bearer k-1"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {}, '{"data": [{"id": "a"}, {"id": "b"}]}'), "one of a, b"),
        ((404, {}, ""), "it lists none"),
        ((200, {}, "hello"), "it lists none"),
        ((401, {}, ""), "none was given"),
    ],
)
async def test_a_url_that_leaves_the_model_open(
    stub: Stub, answer: tuple[int, dict[str, str], str], words: str
) -> None:
    stub.script = [answer]
    with pytest.raises(ModelError, match=words):
        async with connect(stub.url, patience=QUICK):
            pass


async def test_an_application_and_a_function(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.toml"
    path.write_text(f'url = "{stub.url}"\nreply_path = "a"\nbody = {{q = "{{{{question}}}}"}}\n')
    stub.script = [(200, {}, '{"a": "app"}')]
    async with connect(f"app:{path}") as model:
        assert (await model.reply(HELLO, Sampling()))[0].text == "app"
    (tmp_path / "fx_connect_app.py").write_text(
        "def answer(messages): return messages[-1]['content'] + '!'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with connect("python:fx_connect_app:answer") as model:
        assert (await model.reply(HELLO, Sampling()))[0].text == "hello!"
        assert model.identity == "python:fx_connect_app:answer"


async def test_what_it_does_not_know() -> None:
    for spec in ("gpt-4", "ftp://x", ""):
        with pytest.raises(ModelError, match="Unknown model"):
            async with connect(spec):
                pass


@pytest.mark.engine
async def test_embedded() -> None:
    async with connect("embedded", threads=1, concurrency=1, context=128) as model:
        [reply] = await model.reply(HELLO, Sampling(max_tokens=3))
        assert reply.completion_tokens == 3
        assert describe(model)["slots"] == 1
