from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from fangxin.dialogue import Dialogue, DialoguePrompt
from fangxin.models import ModelError, Patience, Sampling, TemplateModel

from .conftest import Stub

QUICK = Patience(timeout=2, retries=1, first_wait=0.01)
HELLO = Dialogue(DialoguePrompt(role="Be kind.")).say("hi").answer("yes?").say('say "放心"')
TOML = """
name = "shop"
url = "{url}/ask?user=7"
reply_path = "data.0.answer"
body = '''{{"q": "{{{{question}}}}", "all": "{{{{messages}}}}", "note": "as {{{{ system }}}} to {{{{messages}}}}",
  "limit": "{{{{max_tokens}}}}", "seed": "{{{{seed}}}}", "n": 3, "key": "k-${{APP_KEY}}"}}'''

[headers]
Authorization = "Token ${{APP_TOKEN}}"
"""


async def test_asks_an_application(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_TOKEN", "tok-{{question}}-secret")
    monkeypatch.setenv("APP_KEY", "{{question}} ${APP_TOKEN}")
    path = tmp_path / "shop.toml"
    path.write_text(TOML.format(url=stub.url), "utf-8")
    stub.script = [(503, {}, ""), (200, {}, '{"data": [{"answer": "rest easy"}]}')]
    model = TemplateModel.load(path, patience=QUICK)
    [reply] = await model.reply(HELLO, Sampling(max_tokens=9))
    assert reply.text == "rest easy"
    assert stub.paths[-1] == "/ask?user=7"
    assert stub.headers[-1]["Authorization"] == "Token tok-{{question}}-secret"
    messages = HELLO.messages()
    body = stub.bodies[-1]
    assert json.loads(body["note"].removeprefix("as Be kind. to ")) == messages
    assert {k: v for k, v in body.items() if k != "note"} == {
        "q": 'say "放心"',
        "all": messages,
        "limit": 9,
        "seed": None,
        "n": 3,
        "key": "k-{{question}} ${APP_TOKEN}",
    }
    assert [piece async for piece in model.stream(HELLO, Sampling())] == ["rest easy"]
    assert len(await model.reply(HELLO, Sampling(), n=3)) == 3
    shown = f"{model!r} {model.identity} {model.describe()}"
    assert "secret" not in shown
    assert model.name == "shop"
    stub.script = [(400, {}, "you sent tok-{{question}}-secret")]
    with pytest.raises(ModelError, match=r"\*\*\*"):
        await model.reply(HELLO, Sampling())
    await model.close()


async def test_a_get_with_the_question_in_the_url(stub: Stub) -> None:
    async def answer(stub: Stub, request: web.Request, body: Any) -> web.StreamResponse:
        return web.json_response(request.query["q"])

    stub.script = [answer]
    template = {"url": stub.url + "/?q={{question}}&k=1", "method": "get", "reply_path": ""}
    model = TemplateModel(template, patience=QUICK)
    text = "a&k=2 #放心?%20"
    assert (await model.reply(Dialogue().say(text), Sampling()))[0].text == text
    await model.close()


@pytest.mark.parametrize(
    "answer",
    [
        '{"data": []}',
        '{"data": {"x": 1}}',
        "[]",
        '{"data": [{"answer": 3}]}',
        "3",
        '{"data": [{"answer": null}]}',
    ],
)
async def test_an_answer_elsewhere_is_said(stub: Stub, answer: str) -> None:
    stub.script = [(200, {}, answer)]
    template = {"url": stub.url, "body": {"q": "{{question}}"}, "reply_path": "data.0.answer"}
    model = TemplateModel(template, patience=QUICK)
    with pytest.raises(ModelError, match=r"reply_path 'data\.0\.answer'") as caught:
        await model.reply(HELLO, Sampling())
    assert caught.value.kind == "bad_reply"
    await model.close()


texts = st.text(st.characters(codec="utf-8"))


@given(texts, texts, texts, st.sampled_from(["{{question}}", "${PATH}", '"}', "\\u0022", ""]))
def test_any_text_placed_gives_json_that_reads_back(role: str, before: str, question: str, trap: str) -> None:
    question += trap
    dialogue = Dialogue(DialoguePrompt(role=role)).say(before).answer(trap).say(question)
    template = {
        "url": "http://127.0.0.1:1/{{question}}",
        "body": {"a": ["{{question}}", {"b": "<{{question}}|{{system}}>"}], "m": "{{messages}}"},
        "reply_path": "x",
    }
    url, body = TemplateModel(template).request_of(dialogue, Sampling())
    assert body is not None
    assert json.loads(body) == {
        "a": [question, {"b": f"<{question}|{role}>"}],
        "m": dialogue.messages(),
    }
    assert set('"{}\n\r ?#&') & set(url) == set()


async def test_lone_surrogates_are_said() -> None:
    for template in (
        {"url": "http://x/", "body": {"q": "{{question}}"}, "reply_path": "x"},
        {"url": "http://x/{{question}}", "reply_path": "x"},
    ):
        model = TemplateModel(template)
        with pytest.raises(ModelError, match="not valid Unicode"):
            await model.reply(Dialogue().say("a\ud800"), Sampling())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "unknown setting 'colour'"),
        ({"url": None}, "url must be given"),
        ({"url": "file:///etc/passwd"}, "must start with http"),
        ({"url": "http://h:99999999/"}, "not a URL"),
        ({"url": "http://h/${APP}"}, "belong in headers"),
        ({"reply_path": 3}, "reply_path must be given"),
        ({"headers": {"a": 1}}, "headers must be"),
        ({"body": {"q": "hello"}}, "nothing would be asked"),
        ({"body": {"q": "{{question}} {{name}}"}}, r"unknown placeholder \{\{name\}\}"),
        ({"body": "{{question}}"}, "put placeholders inside quotes"),
        ({"headers": {"a": "${FANGXIN_NO_SUCH}"}}, "FANGXIN_NO_SUCH: set it"),
    ],
)
def test_a_bad_template_is_refused_at_once(change: dict[str, Any], words: str) -> None:
    template = {"url": "http://h/", "body": {"q": "{{question}}"}, "reply_path": "x"} | change
    with pytest.raises(ModelError, match=words) as caught:
        TemplateModel(template)
    assert caught.value.fatal


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.toml", b"= 3"),
        ("a.json", b"{"),
        ("a.json", b"[]"),
        ("a.toml", b"\xff"),
        ("a.toml", None),
        ("a.toml", b""),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        TemplateModel.load(tmp_path / name)
