from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import FULL, Done, Shell
from .scripted import Style


@pytest.fixture
def copied(finished: tuple[Shell, Done], tmp_path: Path) -> tuple[Shell, Path]:
    """A copy of a finished run and its register."""
    shell, _ = finished
    shutil.copytree(shell.folder / "run", tmp_path / "run")
    shutil.copy(shell.folder / "register.json", tmp_path / "register.json")
    shell.endpoint.styled(Style())
    shell.endpoint.forget()
    return shell, tmp_path / "run/bundle"


def test_a_repaired_bundle_holds(finished: tuple[Shell, Done], copied: tuple[Shell, Path]) -> None:
    shell, bundle = copied
    done = shell("check", str(bundle), "--json", code=FULL)
    assert (done.code, done.json["status"]) == (0, "holds"), done.json
    assert done.json["failed"] == 0
    ids = [row["id"] for row in done.json["weaknesses"]]
    assert ids[-1] == "all together"
    repaired = [row for row in finished[1].json["weaknesses"] if row["state"] != "found"]
    assert ids[:-1] == sorted(row["id"] for row in repaired)
    assert "exact binomial" in done.json["test"]
    assert done.json["judge"] == "llm-judge:judge"  # whoever judged the run
    assert shell.endpoint.count() > 0


def test_the_repair_taken_out_is_caught(copied: tuple[Shell, Path]) -> None:
    shell, bundle = copied
    path = bundle / "shield.json"
    shield = json.loads(path.read_text("utf-8"))
    assert shield["layers"]
    path.write_text(json.dumps({**shield, "layers": [], "sha256": {}}), "utf-8")
    before = (bundle.parent.parent / "register.json").read_bytes()
    done = shell("check", str(bundle), "--json", code=FULL)
    assert (done.code, done.json["status"]) == (1, "came_back"), done.json
    rows = {row["id"]: row for row in done.json["weaknesses"]}
    assert rows["all together"]["came_back"]
    assert rows["all together"]["low"] > done.json["tolerance"]
    assert "all together" in done.json["sentence"]
    register = bundle.parent.parent / "register.json"
    back = [name for name, row in rows.items() if row["came_back"] and name != "all together"]
    assert back
    assert register.read_bytes() != before
    reopened = [w for w in json.loads(register.read_text("utf-8"))["weaknesses"] if w["state"] == "reopened"]
    assert {f"{w['risk']}/{w['language']}" for w in reopened} == set(back)
    assert {w["history"][-1]["run"] for w in reopened} == {"check of run"}
    said = shell("check", str(bundle), code=FULL)
    assert said.code == 1
    assert "has come back" in said.err
    assert said.out == ""


def test_cases_that_are_not_answered_are_no_good_news(copied: tuple[Shell, Path]) -> None:
    shell, bundle = copied
    shield = json.loads((bundle / "shield.json").read_text("utf-8"))
    (bundle / "shield.json").write_text(json.dumps({**shield, "layers": [], "sha256": {}}), "utf-8")
    shell.endpoint.styled(Style(mode="broken"))
    done = shell("check", str(bundle), "--json", code=FULL)
    assert done.code == 3
    assert "nothing is known" in done.sentence
    assert done.json["status"] == "error"


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("bundle.json", None, 2, "is not a bundle"),
        ("register.json", None, 2, "nothing to replay"),
        ("register.json", "{", 2, "can't be read as a register"),
        ("register.json", '{"format": 1, "weaknesses": []}', 2, "nothing to replay"),
        ("shield.json", "{", 3, "shield.json can't be read"),
    ],
)
def test_a_bundle_that_can_not_be_checked(
    copied: tuple[Shell, Path], name: str, content: str | None, code: int, said: str
) -> None:
    shell, bundle = copied
    (bundle / name).unlink() if content is None else (bundle / name).write_text(content)
    done = shell("check", str(bundle), "--json", code=FULL)
    assert done.code == code
    assert said in done.sentence
    assert shell.endpoint.count() == 0


def test_cases_that_this_bank_does_not_have(copied: tuple[Shell, Path]) -> None:
    shell, bundle = copied
    register = json.loads((bundle / "register.json").read_text("utf-8"))
    for row in register["weaknesses"]:
        row["cases"] = [["en-unknown-99", "academic"]]
    (bundle / "register.json").write_text(json.dumps(register))
    done = shell("check", str(bundle), "--json", code=FULL)
    assert done.code == 2
    assert "en-unknown-99" in done.sentence


def test_another_judge_can_be_named(copied: tuple[Shell, Path]) -> None:
    shell, bundle = copied
    done = shell("check", str(bundle), "--judge", "nonsense", "--json", code=FULL)
    assert done.code == 3
    assert "'nonsense'" in done.sentence
