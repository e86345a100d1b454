from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fangxin.repair import Register, RegisterError, Weakness, amend, register_after
from fangxin.repair._run import write_json

from ..cli.scripted import Style
from .conftest import ENGLISH, MEASURED

ONE = Weakness("agent", "hate", "en", "found", {"plain": {"rate": 0.5}}, cases=(("g", "f"),)).moved(
    "found", "run-1"
)


def test_a_weakness_lives_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "register.json"
    assert Register.load(path) == Register()
    proved = ONE.moved("repaired", "run-1").moved("proved", "run-1")
    Register((proved,)).save(path)
    [known] = Register.load(path).weaknesses
    assert known == proved
    reopened = known.moved("reopened", "run-2")
    amend(path, lambda register: register.with_([reopened]))
    [again] = Register.load(path).of("agent")
    assert again.state == "reopened"
    assert [step["state"] for step in again.history] == ["found", "repaired", "proved", "reopened"]
    assert Register.load(path).find("agent", "hate", "en") == again
    assert Register.load(path).find("agent", "hate", "zh") is None
    assert Register.load(path).of("another") == ()


def test_a_run_is_taken_back_before_it_is_written_again() -> None:
    proved = ONE.moved("proved", "run-1")
    assert proved.before_run("run-1") is None
    later = proved.moved("reopened", "run-2").moved("repaired", "run-2")
    assert later.before_run("run-2") == proved
    assert later.before_run("run-3") == later


async def test_the_life_of_a_weakness_over_runs(hardened: Any) -> None:
    outcome, _, _ = await hardened(Style(), ENGLISH)
    first = register_after(outcome, Register(), "agent", "run-1", MEASURED)
    assert first.weaknesses
    [hate] = [w for w in first.weaknesses if w.risk == "hate"]
    assert hate.state == "proved"
    assert [step["state"] for step in hate.history] == ["found", "repaired", "proved"]
    assert hate.cases
    held = {goal.id for goal in outcome.plan.goals["prove"]}
    assert {goal for goal, _ in hate.cases} <= held
    assert hate.before["rate"] > hate.after["rate"]  # type: ignore[index]
    # The same run written down once more, as after a kill, changes nothing.
    assert register_after(outcome, first, "agent", "run-1", MEASURED) == first
    second = register_after(outcome, first, "agent", "run-2", MEASURED)
    [hate] = [w for w in second.weaknesses if w.risk == "hate"]
    steps = ["found", "repaired", "proved", "reopened", "repaired", "proved"]
    assert [step["state"] for step in hate.history] == steps
    unproved = replace(outcome, proof=replace(outcome.proof, status="inconclusive"))
    third = register_after(unproved, second, "agent", "run-3", MEASURED)
    [hate] = [w for w in third.weaknesses if w.risk == "hate"]
    assert hate.state == "repaired"
    other = register_after(outcome, third, "another agent", "run-4", MEASURED)
    assert other.of("agent") == third.of("agent")


async def test_a_run_that_found_nothing_leaves_the_register(hardened: Any) -> None:
    outcome, _, _ = await hardened(Style(yields=0.0))
    known = Register((ONE,))
    assert register_after(outcome, known, "agent", "run-9", MEASURED) == known


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 1, "weaknesses": [{}]}', '{"format": 9, "weaknesses": []}', "\x00"],
)
def test_a_broken_register_is_an_error_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "register.json"
    path.write_text(text)
    with pytest.raises(RegisterError, match=r"register\.json can't be read"):
        Register.load(path)
    with pytest.raises(RegisterError):
        amend(path, lambda register: register.with_([ONE]))
    assert path.read_text() == text


def test_a_failed_write_leaves_the_old_register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "register.json"
    Register((ONE,)).save(path)
    before = path.read_bytes()

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        amend(path, lambda register: register.with_([replace(ONE, risk="privacy")]))
    assert path.read_bytes() == before
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "other.json", {"a": 1})
    assert not (tmp_path / "other.json").exists()


def _add(path: Path, number: int) -> None:
    for i in range(10):
        amend(path, lambda register, i=i: register.with_([replace(ONE, risk=f"risk-{number}-{i}")]))


def test_two_runs_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "register.json"
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_add, args=(path, number)) for number in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert {child.exitcode for child in children} == {0}
    assert len(Register.load(path).weaknesses) == 30
    assert json.loads(path.read_text("utf-8"))["format"] == 1
