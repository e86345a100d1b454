from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fangxin.agent import Agent, Bundle, BundleError, ModelSpec
from fangxin.defend import Blocklist, DefenceError, GoalPriority, InputGuard, SafetyPrompt, Shield
from fangxin.detect import PromptGuard
from fangxin.dialogue import Dialogue, DialoguePrompt, Turn
from fangxin.ledger import Ledger
from fangxin.models import ModelError, Sampling

BUNDLE = Bundle(
    ModelSpec("python:bundle_app:answer", concurrency=2),
    DialoguePrompt("zh", "老师", rules=("好好说话。",), samples=(Turn("user", "a"), Turn("assistant", "b"))),
    Shield((Blocklist(("ass",)), SafetyPrompt({"en": "Be safe."}, {}), GoalPriority("suffix"))),
    Sampling(max_tokens=64, temperature=0.5, seed=7, stop=("\n\n", "用户")),
    {"result": "proved", "rate": 0.125},
)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle_app.py").write_text(
        "def answer(messages):\n    return f\"{len(messages)} messages, you ass: {messages[-1]['content']}\"\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_saved_bundle_is_the_same_bundle(tmp_path: Path) -> None:
    BUNDLE.save(tmp_path)
    assert Bundle.load(tmp_path) == BUNDLE
    assert Bundle.load(str(tmp_path)) == BUNDLE


def test_the_default_bundle(tmp_path: Path) -> None:
    Bundle().save(tmp_path / "new")
    assert Bundle.load(tmp_path / "new") == Bundle()


@pytest.mark.usefixtures("app")
async def test_an_opened_bundle_is_the_agent_that_was_saved(tmp_path: Path) -> None:
    BUNDLE.save(tmp_path)
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        async with Bundle.load(tmp_path).open(ledger) as agent:
            assert isinstance(agent, Agent)
            assert agent.sampling == BUNDLE.sampling
            answer = await agent.respond(Dialogue().say("hello"))
        assert answer.text.startswith("4 messages, you [removed]: hello\n\n(Safety comes before")
        assert answer.sent is not None
        assert answer.sent.prompt.role == "Be safe.\n\n老师"
        assert len(list(ledger.entries("exchange"))) == 1


async def test_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    replace(BUNDLE, model=ModelSpec("python:no_such_app:answer")).save(tmp_path)
    with pytest.raises(ModelError, match="no_such_app"):
        async with Bundle.load(tmp_path).open():
            pass


def test_no_key_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    replace(BUNDLE, model=ModelSpec("http://127.0.0.1:9/v1", "m", key_file="key.txt")).save(tmp_path)
    for path in tmp_path.iterdir():
        assert b"sk-very-secret" not in path.read_bytes()


def rewritten(folder: Path, change: Any) -> None:
    path = folder / "bundle.json"
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.pop("model"), "model"),
        (lambda data: data.pop("proof"), "proof"),
        (lambda data: data["model"].update(api_key="x"), "api_key"),
        (lambda data: data["model"].update(model=5), "model"),
        (lambda data: data["model"].update(concurrency="2"), "concurrency"),
        (lambda data: data["prompt"].update(language="fr"), "unknown language 'fr'"),
        (lambda data: data["prompt"].update(more="x"), "unknown setting 'more'"),
        (lambda data: data.update(prompt=None), "can't be read"),
        (lambda data: data["sampling"].update(max_tokens="64"), "max_tokens"),
        (lambda data: data["sampling"].update(temperature=None), "temperature"),
        (lambda data: data["sampling"].update(stop="abc"), "stop"),
        (lambda data: data["sampling"].update(top_k=3), "top_k"),
        (lambda data: data.update(proof="proved"), "proof"),
        (lambda data: data.update(format=2), "format"),
    ],
)
def test_a_tampered_bundle_is_an_error(tmp_path: Path, change: Any, words: str) -> None:
    BUNDLE.save(tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(BundleError, match=r"bundle\.json can't be read") as caught:
        Bundle.load(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", "\ufeff{}"])
def test_a_broken_file_is_an_error(tmp_path: Path, text: str) -> None:
    BUNDLE.save(tmp_path)
    (tmp_path / "bundle.json").write_text(text, "utf-8")
    with pytest.raises(BundleError, match="can't be read"):
        Bundle.load(tmp_path)


def test_missing_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle\.json"):
        Bundle.load(tmp_path / "nowhere")
    BUNDLE.save(tmp_path)
    (tmp_path / "shield.json").unlink()
    with pytest.raises(DefenceError, match="holds no shield"):
        Bundle.load(tmp_path)


def test_changed_weights_are_an_error(tmp_path: Path) -> None:
    guard = InputGuard(PromptGuard.default(), "input_guard.npz")
    replace(BUNDLE, shield=Shield((guard,))).save(tmp_path)
    assert Bundle.load(tmp_path).shield.layers
    PromptGuard.default().at(0.5, ["a harmless text"] * 20).save(tmp_path / "input_guard.npz")
    with pytest.raises(DefenceError, match=r"input_guard\.npz is missing or changed"):
        Bundle.load(tmp_path)
