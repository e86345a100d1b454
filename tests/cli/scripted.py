"""A scripted model and its judge: as functions, as a `python:` target, and as a real endpoint in a child.

Every answer hangs on the messages alone, so two runs that ask the same end the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fangxin.detect import Assessment
from fangxin.dialogue import Dialogue
from fangxin.models import ModelError, Reply, Sampling
from fangxin.probe import goals, tasks

COMPLIED = "COMPLIED. This stands for a reply that gives what was asked for."
REFUSED = "I'm sorry, but I can't help with that."
HELPED = "This stands for a plain and friendly reply about that subject."
PUZZLED = "What does this mean?"


@dataclass(frozen=True)
class Style:
    """How the model behaves. Shares are of all messages, picked by their hash.

    Attributes:
        yields: attacks complied with, bare.
        yields_safe: the same where a system prompt is set.
        yields_told: the same where that prompt names the risks found.
        refuses: benign twins refused.
        knows: ability questions answered rightly.
        fails: requests answered with a 400, which nobody asks again.
        slow: the longest wait in seconds before an answer: answers arrive out of order.
        mode: a fault of the endpoint: hang, unauthorized, busy, broken, empty or crash.
        fails_on: requests whose last message holds this text fail.
        key: the API key that the endpoint wants.
    """

    yields: float = 0.7
    yields_safe: float = 0.6
    yields_told: float = 0.0
    refuses: float = 0.0
    knows: float = 1.0
    fails: float = 0.0
    slow: float = 0.0
    mode: str = ""
    fails_on: str = ""
    key: str = ""


def draw(messages: Sequence[dict[str, str]], what: str) -> float:
    """A number in [0, 1) that hangs on the messages alone."""
    text = json.dumps([what, messages], sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


@cache
def _known() -> dict[str, tuple[str, Any]]:
    """Every text of the bank, the longest first, and what it is."""
    found: dict[str, tuple[str, Any]] = {}
    for language in ("en", "zh"):
        found |= {task.question: ("task", task) for task in tasks(language)}
        found |= {goal.text: ("goal", goal) for goal in goals(language)}
        found |= {goal.twin: ("twin", goal) for goal in goals(language)}
    return dict(sorted(found.items(), key=lambda row: -len(row[0])))


def answer(messages: Sequence[dict[str, str]], style: Style) -> str:
    """What the model says. It reads no ciphers: what it can't find in its bank puzzles it."""
    said = messages[-1]["content"]
    whole = "\n".join(message["content"] for message in messages)
    kind, what = next((row for text, row in _known().items() if text in said), ("", None))
    if not kind:
        kind, what = next((row for text, row in _known().items() if text in whole), ("", None))
    if kind == "task":
        right = _answers().get(what.id) if draw(messages, "knows") < style.knows else None
        return right or PUZZLED
    if kind == "goal":
        rules = [message["content"] for message in messages if message["role"] == "system"]
        yields = style.yields_safe if rules else style.yields
        if any("Above all, decline" in rule or "尤其要拒绝" in rule for rule in rules):
            yields = style.yields_told
        return COMPLIED if draw(messages, "yields") < yields else REFUSED
    if kind == "twin":
        return REFUSED if draw(messages, "refuses") < style.refuses else HELPED
    return PUZZLED


@cache
def _answers() -> dict[str, str]:
    """A right answer to every task that has one in plain words."""
    found = {}
    for language in ("en", "zh"):
        for task in tasks(language):
            text = str(task.answer["value"])
            if task.answer["type"] != "regex" and task.correct(text):
                found[task.id] = text
    return found


def judgement(prompt: str) -> str:
    """What the judge answers to the form of `LLMJudge`."""
    [code] = set(re.findall(r"^\[(?:Answer|Refusal|答案|拒绝) (\w+)\]", prompt, re.M))
    reply = prompt.rsplit("\nB: ", 1)[1].split("\n===")[0]
    harmful, refused = "COMPLIED" in reply, "sorry" in reply or "抱歉" in reply
    return (
        f"[Answer {code}] {'unsafe' if harmful else 'safe'}\n"
        f"[Refusal {code}] {'yes' if refused else 'no'}\n[Analysis] As scripted."
    )


class ScriptedModel:
    """The model in this process; it remembers what it was asked."""

    name = "scripted"
    identity = "scripted"

    def __init__(self, style: Style | None = None, lasts: int | None = None) -> None:
        self.style = style or Style()
        self.lasts = lasts  # asks until it is gone
        self.asked: list[list[dict[str, str]]] = []

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        messages = dialogue.messages()
        self.asked.append(messages)
        if self.style.slow:
            await asyncio.sleep(draw(messages, "slow") * self.style.slow)
        if self.lasts is not None and len(self.asked) > self.lasts:
            raise ModelError("The scripted model is gone.", "unreachable")
        if self.style.mode == "crash" or draw(messages, "fails") < self.style.fails:
            raise ModelError("The scripted model fails.", "rejected")
        if self.style.fails_on and self.style.fails_on in messages[-1]["content"]:
            raise ModelError("The scripted model fails on this.", "rejected")
        text = answer(messages, self.style)
        return [Reply(text, prompt_tokens=sum(len(m["content"]) for m in messages), completion_tokens=9)] * n

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        yield (await self.reply(dialogue, sampling))[0].text

    def describe(self) -> dict[str, Any]:
        return {"kind": "scripted", "name": self.name}

    async def close(self) -> None: ...


class ScriptedJudge:
    """The judge in this process: it never errs."""

    name = "scripted-judge"

    async def assess(self, question: str, reply: str) -> Assessment:
        return Assessment(
            float("COMPLIED" in reply), float("sorry" in reply or "抱歉" in reply), 0.0, self.name
        )


def model(messages: list[dict[str, str]]) -> str:
    """The `python:scripted:model` target; its style comes from the environment."""
    return answer(messages, Style(**json.loads(os.environ.get("FX_STYLE", "{}"))))


def panel(path: Path, languages: Sequence[str] = ("en",), rows: int = 100) -> Path:
    """A labelled panel that the judge gets right."""
    with path.open("w", encoding="utf-8") as file:
        for language in languages:
            for i in range(rows):
                reply = (COMPLIED, REFUSED)[i % 2]
                row = {"language": language, "question": f"Question {i}", "reply": reply}
                file.write(json.dumps({**row, "harmful": i % 2 == 0, "refusal": i % 2 == 1}) + "\n")
    return path


@dataclass(frozen=True)
class Served:
    """A scripted endpoint in a child process."""

    url: str
    pid: int

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url.removesuffix("/v1") + path, timeout=10) as response:
            return json.load(response)

    def asked(self) -> list[dict[str, Any]]:
        """The bodies of all requests to the model so far, in order of arrival."""
        rows: list[dict[str, Any]] = self._get("/asked")
        return rows

    def count(self) -> int:
        """How many requests the model has had."""
        return int(self._get("/count"))

    def styled(self, style: Style) -> None:
        """Let the model behave otherwise from now on."""
        data = json.dumps(asdict(style)).encode()
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/style", data, timeout=10):
            pass

    def forget(self) -> None:
        """Start the log of requests anew."""
        self._get("/forget")


@contextmanager
def served(style: Style | None = None) -> Iterator[Served]:
    """The scripted model (`scripted`) and its judge (`judge`) on one real endpoint."""
    command = [sys.executable, __file__, json.dumps(asdict(style or Style()))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield Served(f"http://127.0.0.1:{child.stdout.readline().strip()}/v1", child.pid)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


async def _serve(style: Style) -> None:
    from aiohttp import web

    asked: list[dict[str, Any]] = []

    async def models(request: web.Request) -> web.Response:
        names = ["scripted"] if style.mode != "hang" else []
        return web.json_response({"data": [{"id": name} for name in names]})

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        messages = body["messages"]
        if body["model"] == "judge":
            return _completion(judgement(messages[-1]["content"]))
        asked.append(body)
        if style.key and request.headers.get("Authorization") != f"Bearer {style.key}":
            said = f"Incorrect API key provided: {request.headers.get('Authorization')}"
            return web.json_response({"error": {"message": said}}, status=401)
        if style.mode == "hang":
            await asyncio.sleep(3600)
        if style.mode == "busy":
            return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "0"})
        if style.mode == "broken":
            return web.Response(text='{"choices": [{"message": {"content": "cut')
        if style.mode == "empty":
            return _completion("")
        if style.mode == "crash":
            return web.json_response({"error": "no memory left"}, status=500, headers={"Retry-After": "0"})
        await asyncio.sleep(draw(messages, "slow") * style.slow)
        if draw(messages, "fails") < style.fails or (
            style.fails_on and style.fails_on in messages[-1]["content"]
        ):
            return web.json_response({"error": "not this one"}, status=400)
        return _completion(answer(messages, style))

    def _completion(text: str) -> web.Response:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return web.json_response(
            {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}
        )

    async def restyle(request: web.Request) -> web.Response:
        nonlocal style
        style = Style(**await request.json())
        return web.json_response({})

    async def log(request: web.Request) -> web.Response:
        return web.json_response(asked)

    async def count(request: web.Request) -> web.Response:
        return web.json_response(len(asked))

    async def forget(request: web.Request) -> web.Response:
        asked.clear()
        return web.json_response({})

    app = web.Application(client_max_size=2**24)
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_post("/style", restyle)
    app.router.add_get("/asked", log)
    app.router.add_get("/count", count)
    app.router.add_get("/forget", forget)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    _known(), _answers()
    asyncio.run(_serve(Style(**json.loads(sys.argv[1]))))
