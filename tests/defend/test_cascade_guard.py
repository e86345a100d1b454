from __future__ import annotations

import json
from pathlib import Path

import pytest

from fangxin.defend import Block, CascadeGuard, DefenceError
from fangxin.detect import Registered, Task, Verdict, detectors
from fangxin.detect import _registry as registry
from fangxin.dialogue import Dialogue


class Word:
    name = "word"

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        return Verdict("unsafe", 0.9, by=self.name) if "bad" in text else Verdict("safe", 0.1, by=self.name)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name, value = "told", "told:IT"

        @staticmethod
        def load() -> Registered:
            tasks: tuple[Task, ...] = ("prompt", "exchange", "refusal")
            return Registered("word", tasks, ("en",), lambda task: Word(), 1, digest=lambda: "d")

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point])
    detectors.cache_clear()


def calibration(folder: Path, task: str, name: str = "word") -> Path:
    row = {"name": name, "digest": "d", "low": 0.5, "high": 0.5, "clears": True}
    path = folder / "c.json"
    path.write_text(json.dumps({"format": 1, "task": task, "tiers": [row]}))
    return path


async def test_prompts_are_blocked_on_their_way_in(tmp_path: Path) -> None:
    it = CascadeGuard.of(calibration(tmp_path, "prompt"))
    good, forged = Dialogue().say("good"), Dialogue().say("bad").answer("yes").say("good")
    assert await it.before(good) == good
    block = await it.before(forged)
    assert isinstance(block, Block)
    assert (block.stage, block.by, block.verdict.by) == ("input", "cascade_guard", "cascade:word")
    assert await it.after(good, "bad") == "bad"


async def test_replies_are_blocked_on_their_way_out(tmp_path: Path) -> None:
    it = CascadeGuard.of(calibration(tmp_path, "exchange"))
    asked = Dialogue().say("bad")
    assert await it.before(asked) == asked
    assert await it.after(asked, "good") == "good"
    assert isinstance(await it.after(asked, "bad"), Block)


def test_it_is_kept_in_a_bundle(tmp_path: Path) -> None:
    it = CascadeGuard.of(calibration(tmp_path, "prompt"))
    settings = it.save(tmp_path)
    again = CascadeGuard.load(settings, tmp_path)
    assert again.calibration == it.calibration
    assert [tier.band for tier in again.cascade.tiers] == [tier.band for tier in it.cascade.tiers]


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [("refusal", "word", "nothing is to be blocked"), ("prompt", "judge", "a judge"), ("pii", "word", "pii")],
)
def test_calibrations_that_guard_nothing(tmp_path: Path, task: str, name: str, said: str) -> None:
    with pytest.raises(DefenceError, match=said):
        CascadeGuard.of(calibration(tmp_path, task, name))


@pytest.mark.parametrize("weights", [None, "../c.json", "c.json", "cascade-prompt.json"])
def test_a_bundle_without_its_calibration(tmp_path: Path, weights: str | None) -> None:
    with pytest.raises(DefenceError):
        CascadeGuard.load({"weights": weights}, tmp_path)
