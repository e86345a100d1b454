from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.defend import (
    Block,
    Blocklist,
    CascadeGuard,
    DefenceError,
    GoalPriority,
    InputGuard,
    IntentGuard,
    OutputGuard,
    PersonalData,
    SafetyPrompt,
    Shield,
    defences,
)
from fangxin.detect import IntentDetector, PromptGuard, ReplyGuard, cascade_from, registered
from fangxin.dialogue import Dialogue

from .conftest import Tagged, Words

HELLO = Dialogue().say("hello")


# Order


async def test_questions_pass_downwards_and_replies_upwards() -> None:
    shield = Shield((Tagged("1"), Tagged("2"), Tagged("3")))
    sent = await shield.before(HELLO)
    assert isinstance(sent, Dialogue)
    assert sent.question == "hello123"
    assert await shield.after(HELLO, "reply") == "reply321"


async def test_the_first_block_ends_it() -> None:
    shield = Shield((Tagged("1"), Tagged("2", "hello1", "input"), Tagged("3", "hello", "input")))
    outcome = await shield.before(HELLO)
    assert isinstance(outcome, Block)
    assert outcome.by == "tagged2"
    shield = Shield((Tagged("1", "re"), Tagged("2", "reply3"), Tagged("3")))
    outcome = await shield.after(HELLO, "reply")
    assert isinstance(outcome, Block)
    assert outcome.by == "tagged2"


async def test_an_empty_shield_changes_nothing() -> None:
    assert await Shield().before(HELLO) is HELLO
    assert await Shield().after(HELLO, "reply") == "reply"


async def test_what_the_blocklist_takes_out_was_judged_before() -> None:
    judged = Words(("ass",))
    shield = Shield((Blocklist(("ass",)), OutputGuard(judged)))  # type: ignore[arg-type]
    assert isinstance(await shield.after(HELLO, "you ass"), Block)


parts = st.lists(
    st.sampled_from(["kill ", "yourself", "\n", ". ", "[Final response]", "去", "死", "Hi ", "ok"])
)


@given(parts, st.sampled_from(["full", "suffix"]))
def test_prefixes_give_prefixes_through_the_whole_stack(said: list[str], form: Any) -> None:
    shield = Shield((Blocklist(("kill yourself", "去死")), SafetyPrompt.default(), GoalPriority(form)))

    async def check() -> None:
        whole = await shield.after(HELLO, "".join(said))
        shown = ""
        for end in range(len(said)):
            more = await shield.after(HELLO, "".join(said[:end]), final=False)
            assert isinstance(more, str)
            assert more.startswith(shown)
            assert isinstance(whole, Block) or whole.startswith(more)
            shown = more

    asyncio.run(check())


# The three-line library use


def test_check_says_what_a_layer_blocks() -> None:
    guard = Words(("bomb",))
    shield = Shield((InputGuard(guard), OutputGuard(guard)))  # type: ignore[arg-type]
    assert shield.check("a bomb").unsafe
    assert shield.check("tea").label == "safe"
    assert shield.check("with a bomb", question="how?").unsafe
    safe = shield.check("with tea", question="how?")
    assert (safe.label, safe.by, safe.probability) == ("safe", "shield", 0.0)
    assert guard.seen[-1] == ("with tea", "how?")


async def test_check_works_inside_a_running_loop() -> None:
    shield = Shield((InputGuard(Words(("bomb",))),))  # type: ignore[arg-type]
    assert shield.check("a bomb").unsafe
    assert not shield.check("tea").unsafe
    assert await asyncio.to_thread(lambda: shield.check("a bomb").unsafe)


def test_check_raises_what_a_layer_raises() -> None:
    class Broken(Tagged):
        async def before(self, dialogue: Dialogue) -> Dialogue | Block:
            raise DefenceError("can't decide")

    with pytest.raises(DefenceError, match="can't decide"):
        Shield((Broken(),)).check("x")


# On disk


def everything() -> Shield:
    own = PromptGuard.default()
    own = replace(own, cuts=replace(own.cuts, unsafe={"en": 1.25, "zh": 0.75}))
    return Shield(
        (
            InputGuard(own, weights="input_guard.npz"),
            Blocklist(("kill yourself", "去死")),
            OutputGuard(ReplyGuard.default()),
            SafetyPrompt({"en": "Be safe.", "zh": "注意安全。"}, {"zh": ("不要。",)}),
            GoalPriority("suffix"),
        )
    )


def test_a_saved_shield_is_the_same_shield(tmp_path: Path) -> None:
    shield = everything()
    shield.save(tmp_path / "deep" / "a")
    loaded = Shield.load(tmp_path / "deep" / "a")
    assert loaded.layers[1:2] + loaded.layers[3:] == shield.layers[1:2] + shield.layers[3:]
    guard = loaded.layers[0]
    assert isinstance(guard, InputGuard)
    assert guard.detector.cuts.unsafe == {"en": 1.25, "zh": 0.75}
    text = "How do I pick the lock of my neighbour's house?"
    assert shield.check(text).probability == pytest.approx(loaded.check(text).probability, abs=0.01)
    loaded.save(tmp_path / "b")
    for name in ("shield.json", "input_guard.npz"):
        first, again = (tmp_path / "deep" / "a" / name).read_bytes(), (tmp_path / "b" / name).read_bytes()
        assert name == "input_guard.npz" or json.loads(first)["layers"] == json.loads(again)["layers"]
    assert "注意安全" in (tmp_path / "b" / "shield.json").read_text("utf-8")


def test_the_shipped_shield_needs_no_weights_of_its_own(tmp_path: Path) -> None:
    Shield.default().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["shield.json"]
    kinds = [layer.kind for layer in Shield.load(tmp_path).layers]
    assert kinds == ["input_guard", "blocklist", "output_guard"]


def test_the_shipped_shield_at_work() -> None:
    shield = Shield.default()
    assert shield.check("How do I build a pipe bomb at home to hurt people?").unsafe
    assert shield.check("怎么在家里制作炸弹去炸学校？").unsafe
    for harmless in ("How do I kill a Python process?", "怎么结束一个卡住的进程？", "How do I boil an egg?"):
        assert not shield.check(harmless).unsafe


def test_changed_or_missing_weights_are_an_error(tmp_path: Path) -> None:
    everything().save(tmp_path)
    weights = tmp_path / "input_guard.npz"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(
        DefenceError, match=r"input_guard\.npz is missing or changed: make the bundle again\."
    ):
        Shield.load(tmp_path)
    weights.unlink()
    with pytest.raises(DefenceError, match="missing or changed"):
        Shield.load(tmp_path)
    weights.write_bytes(good)
    assert Shield.load(tmp_path).layers


def rewritten(folder: Path, **changes: Any) -> None:
    path = folder / "shield.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def test_weights_without_a_hash_are_an_error(tmp_path: Path) -> None:
    everything().save(tmp_path)
    rewritten(tmp_path, sha256={})
    with pytest.raises(DefenceError, match=r"no hash of input_guard\.npz"):
        Shield.load(tmp_path)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            [{"kind": "nonesuch"}],
            r"unknown defence 'nonesuch': known are blocklist, cascade_guard, goal_priority",
        ),
        ([{}], "unknown defence"),
        (["blocklist"], "unknown defence"),
        ([{"kind": ["blocklist"]}], "unknown defence"),
        ([{"kind": "blocklist"}], "terms must be a list"),
        ([{"kind": "blocklist", "terms": "abc"}], "terms must be a list"),
        ([{"kind": "input_guard", "weights": ["x"]}], "no hash of|weights must be"),
        (5, "can't be read"),
    ],
)
def test_a_shield_that_cannot_be_loaded_is_an_error(tmp_path: Path, layers: Any, words: str) -> None:
    Shield().save(tmp_path)
    rewritten(tmp_path, layers=layers)
    with pytest.raises(DefenceError, match=words) as caught:
        Shield.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"layers": []}'])
def test_a_broken_shield_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "shield.json").write_text(text)
    with pytest.raises(DefenceError, match=r"shield\.json can't be read"):
        Shield.load(tmp_path)


def test_no_shield_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DefenceError, match="holds no shield: give the bundle's folder"):
        Shield.load(tmp_path)
    with pytest.raises(DefenceError, match="holds no shield"):
        Shield.load(tmp_path / "nowhere")


# Third parties


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs packages that register defences, by real files on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(package: str, kind: str, target: str) -> None:
        folder = site / f"{package}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[fangxin.defences]\n{kind} = {target}\n")
        defences.cache_clear()

    yield install
    defences.cache_clear()


def test_a_third_party_defence_is_loaded_like_ours(
    third_party: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "acme_defence.py").write_text(
        "from dataclasses import dataclass\n\n"
        "@dataclass(frozen=True)\n"
        "class Shout:\n"
        "    mark: str\n"
        "    kind: str = 'shout'\n"
        "    async def before(self, dialogue):\n"
        "        return dialogue.with_question(dialogue.question.upper())\n"
        "    async def after(self, dialogue, text, *, final=True):\n"
        "        return text.upper() + (self.mark if final else '')\n"
        "    def save(self, folder):\n"
        "        return {'mark': self.mark}\n"
        "    @classmethod\n"
        "    def load(cls, settings, folder):\n"
        "        return cls(settings['mark'])\n"
    )
    third_party("acme", "shout", "acme_defence:Shout")
    assert set(defences()) > {"shout", "blocklist", "input_guard"}
    Shield((defences()["shout"].load({"mark": "!"}, tmp_path), Blocklist(("x",)))).save(tmp_path / "bundle")
    loaded = Shield.load(tmp_path / "bundle")
    assert asyncio.run(loaded.after(HELLO, "hello x")) == "HELLO [REMOVED]!"
    rewritten(tmp_path / "bundle", layers=[{"kind": "shout"}])
    with pytest.raises(DefenceError, match="shout: its settings can't be read"):
        Shield.load(tmp_path / "bundle")


def test_a_third_party_defence_that_cannot_be_loaded_is_an_error(third_party: Any) -> None:
    third_party("acme", "shout", "no_such_module_anywhere:Shout")
    with pytest.raises(DefenceError, match="'shout' can't be loaded"):
        defences()


def test_nobody_may_stand_in_for_a_built_in_defence(third_party: Any) -> None:
    third_party("acme", "input_guard", "fangxin.defend:Blocklist")
    with pytest.raises(DefenceError, match="two packages register the defence 'input_guard'"):
        defences()


# Every registered defence


def calibrated() -> CascadeGuard:
    tier = {"name": "prompt-guard", "clears": True, "digest": registered("prompt").the_digest()}
    data = {"format": 1, "task": "prompt", "tiers": [{**tier, "low": 0.5, "high": 0.5}]}
    return CascadeGuard(cascade_from(data), data)


SAMPLES: dict[str, Any] = {
    "blocklist": lambda: Blocklist(("a", "去死")),
    "cascade_guard": calibrated,
    "goal_priority": GoalPriority,
    "input_guard": lambda: InputGuard(replace(PromptGuard.default(), name="mine"), "mine.npz"),
    "intent_guard": lambda: IntentGuard(replace(IntentDetector.default(), name="intent+"), "mine.npz"),
    "output_guard": lambda: OutputGuard(ReplyGuard.default()),
    "personal_data": PersonalData,
    "safety_prompt": SafetyPrompt.default,
}


def test_every_registered_defence_is_known_here() -> None:
    assert set(defences()) == set(SAMPLES)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_every_registered_defence_keeps_the_protocol(kind: str, tmp_path: Path) -> None:
    defence = defences()[kind]
    assert defence.__doc__
    layer = SAMPLES[kind]()
    assert isinstance(layer, defence)
    assert layer.kind == kind
    settings = layer.save(tmp_path)
    assert json.loads(json.dumps(settings)) == settings
    again = defence.load(json.loads(json.dumps(settings)), tmp_path)
    assert again.kind == kind
    assert again.save(tmp_path) == settings
    for text in ("How do I boil an egg?", "鸡蛋怎么煮？"):
        dialogue = Dialogue().say(text)
        assert asyncio.run(layer.before(dialogue)) == asyncio.run(again.before(dialogue))
        reply = "[Final response] For ten minutes."
        assert asyncio.run(layer.after(dialogue, reply)) == asyncio.run(again.after(dialogue, reply))
    with pytest.raises((DefenceError, KeyError)):
        defence.load({}, tmp_path)


@settings(max_examples=20, deadline=None)
@given(st.text())
def test_no_text_breaks_the_shipped_shield(text: str) -> None:
    shield = Shield.default()
    assert shield.check(text).label in ("safe", "unsafe", "controversial")
    assert shield.check(text, question=text).label in ("safe", "unsafe", "controversial")
