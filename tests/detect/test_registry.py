from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import get_args

import pytest

from fangxin.detect import (
    Assessment,
    ChoiceError,
    Detector,
    DetectorError,
    JudgeDetector,
    Registered,
    Task,
    Verdict,
    check_many,
    detector,
    detectors,
    registered,
    task_of,
)
from fangxin.detect import _registry as registry
from fangxin.detect._builtin import DETECTORS

ROOT = Path(__file__).parents[2]
ALL = list(({one.name: one for one in DETECTORS} | dict(detectors())).values())
ABLE = [pytest.param(one, task, id=f"{one.name}-{task}") for one in ALL for task in one.tasks]


class Fixed:
    """A detector that finds what it is told to."""

    name = "fixed"

    def __init__(self, probability: float = 0.9, label: str = "unsafe") -> None:
        self.verdict = Verdict(label, probability, by=self.name)  # type: ignore[arg-type]

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        return self.verdict


def points(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    """Entry points of other packages, beside the built-in one."""

    class Point:
        def __init__(self, name: str, value: str, loaded: object) -> None:
            self.name, self.value, self.loaded = name, value, loaded

        def load(self) -> object:
            if isinstance(self.loaded, Exception):
                raise self.loaded
            return self.loaded

    found = [Point(name, f"{name}:IT", loaded) for name, loaded in values.items()]
    found.append(Point("built-in", "fangxin.detect._builtin:DETECTORS", DETECTORS))
    monkeypatch.setattr(registry, "entry_points", lambda group: found)


@pytest.fixture(autouse=True)
def fresh() -> None:
    detectors.cache_clear()


OTHER = Registered("fixed", ("toxicity", "prompt"), ("en",), lambda task: Fixed())


def test_the_built_in_ones_are_registered_as_others_are() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    [value] = group[registry.GROUP].values()
    assert EntryPoint("built-in", value, registry.GROUP).load() is DETECTORS


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_detector_says_what_it_is(one: Registered) -> None:
    assert one.name == one.name.lower().strip() != "cascade"
    assert one.tasks
    assert set(one.tasks) <= set(get_args(Task))
    assert set(one.languages) <= {"en", "zh"}
    assert one.languages
    assert one.the_card().name == one.name
    assert len(one.the_digest()) >= 64


@pytest.mark.parametrize(("one", "task"), ABLE)
async def test_every_detector_judges(one: Registered, task: Task) -> None:
    made: Detector = one.make(task)
    assert made.name == one.name
    texts = ["The weather is fine today.", "", "今天天气很好。"]
    found = await check_many(made, texts, ["How is the weather?", None, "天气怎么样？"])
    assert [verdict.by for verdict in found] == [one.name] * 3
    for verdict, text in zip(found, texts, strict=True):
        alone = await made.check(text, question=None if not text else "How is the weather?")
        assert alone.by == one.name
        # 0.5 is where the label turns.
        assert verdict.unsafe == (verdict.probability >= 0.5)


def test_the_first_of_a_task_is_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, a_package=OTHER)
    assert registered("prompt").name == "prompt-guard"
    assert registered("prompt", "fixed") is OTHER
    assert registered("toxicity").name == "toxicity"
    assert registered("toxicity", "fixed") is OTHER
    assert detector("toxicity", "fixed").name == "fixed"


def test_a_task_without_a_detector_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch)
    without = {name: one for name, one in detectors().items() if "fraud" not in one.tasks}
    monkeypatch.setattr(registry, "detectors", lambda: without)
    with pytest.raises(ChoiceError, match="No detector is registered for the task fraud"):
        registered("fraud")
    with pytest.raises(
        ChoiceError, match=r"no detector 'nobody' .*: there are prompt-guard, intent, cascade"
    ):
        registered("prompt", "nobody")
    with pytest.raises(ChoiceError, match="no task 'mood': use prompt, exchange"):
        task_of("mood")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"broken": ImportError("no torch")}, "'broken' can't be loaded .*no torch"),
        ({"wrong": 7}, "gives 7, which is no"),
        ({"one": OTHER, "two": Registered("fixed", ("pii",), ("en",), lambda task: Fixed())}, "Two packages"),
        ({"one": [Registered("intent", ("prompt",), ("en",), lambda task: Fixed())]}, "'intent'"),
    ],
)
def test_registrations_that_can_not_be_used(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, object], said: str
) -> None:
    points(monkeypatch, **values)
    with pytest.raises(DetectorError, match=said):
        detectors()


@pytest.mark.parametrize(("label", "probability"), [("safe", float("nan")), ("fine", 0.1), ("safe", 1.5)])
async def test_a_verdict_that_is_none_is_an_error(label: str, probability: float) -> None:
    with pytest.raises(DetectorError, match="gave no verdict"):
        await check_many(Fixed(probability, label), ["a"], [None])


async def test_what_a_detector_raises_is_never_a_pass() -> None:
    class Broken(Fixed):
        async def check(self, text: str, *, question: str | None = None) -> Verdict:
            raise KeyError("weights")

    with pytest.raises(DetectorError, match=r"fixed failed .KeyError: 'weights'"):
        await check_many(Broken(), ["a", "b"], [None, None])

    class Short(Fixed):
        async def check_many(self, texts: list[str], questions: list[str | None]) -> list[Verdict]:
            return []

    with pytest.raises(DetectorError, match="0 verdicts on 1 texts"):
        await check_many(Short(), ["a"], [None])


@pytest.mark.parametrize(
    ("harmful", "refusal", "is_refusal"), [(0.1, 0.3, True), (0.1, 0.29, False), (0.9, 0.9, False)]
)
async def test_a_judge_tells_refusals_by_its_own_cut(
    harmful: float, refusal: float, is_refusal: bool
) -> None:
    class Judge:
        name = "judge"

        async def assess(self, question: str, reply: str) -> Assessment:
            return Assessment(harmful, refusal, 0.0, self.name, cuts=(0.5, 0.3))

    verdict = await JudgeDetector(Judge(), "refusal").check("No.", question="Please?")
    assert verdict.unsafe == is_refusal == (verdict.probability >= 0.5)
    with pytest.raises(DetectorError, match="doesn't look for fraud"):
        JudgeDetector(Judge(), "fraud")
