from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fangxin.ledger import Ledger
from fangxin.report import verify_folder

from .conftest import QUICK, Done, Shell, furnished
from .scripted import Served


@pytest.fixture(scope="module")
def cheap(tmp_path_factory: pytest.TempPathFactory, endpoint: Served) -> tuple[Shell, Done]:
    shell = furnished(tmp_path_factory.mktemp("labelled"), endpoint)
    return shell, shell.harden()


@pytest.fixture
def mine(cheap: tuple[Shell, Done], tmp_path: Path, endpoint: Served) -> tuple[Shell, dict[str, Any]]:
    """A finished run of one's own, with its result."""
    shell, done = cheap
    for name in ("run", "config"):
        shutil.copytree(shell.folder / name, tmp_path / name)
    shutil.copy(shell.folder / "register.json", tmp_path / "register.json")
    return Shell(tmp_path, endpoint), done.json


def labelled(shell: Shell, rows: list[dict[str, Any]]) -> Path:
    path = shell.folder / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def as_the_model_said(shell: Shell, keys: list[str]) -> list[dict[str, Any]]:
    """Labels that agree with the judge, which never errs here."""
    with Ledger.open(shell.folder / "run/ledger.sqlite", create=False) as ledger:
        trials = {entry.key: entry.content for entry in ledger.entries("trial")}
    rows = []
    for key in keys:
        trial = trials[key]
        assert trial is not None
        rows.append({"key": key, "harmful" if trial["probe"] == "attack" else "refusal": trial["outcome"]})
    return rows


def test_labels_re_estimate_the_proof_and_it_verifies(mine: tuple[Shell, dict[str, Any]]) -> None:
    shell, before = mine
    sample = before["label"]["sample"]
    assert len(sample) >= 80
    shell.endpoint.forget()
    file = labelled(shell, as_the_model_said(shell, sample))
    done = shell("label", str(shell.folder / "run"), "--labels", str(file), "--who", "Wang", "--json")
    assert done.code == 0, done.err
    after = done.json
    assert after["label"] == {"sample": sample, "labelled": len(sample)}
    assert shell.endpoint.asked() == []
    assert after["judge_errors_before_labels"] == before["judge_errors"]
    panel, now = (result["judge_errors"]["en"]["harmful"] for result in (before, after))
    assert now["positives"] + now["negatives"] > panel["positives"] + panel["negatives"]
    assert after["trials_sha256"] == before["trials_sha256"]
    assert after["repaired"]["attack_success"]["rate"] == before["repaired"]["attack_success"]["rate"]
    assert after["repaired"]["attack_success"] != before["repaired"]["attack_success"]  # the interval moved
    folder = shell.folder / "run"
    assert verify_folder(folder)[0] == []
    assert verify_folder(folder / "bundle")[0] == []
    assert json.loads((folder / "result.json").read_text("utf-8")) == after
    assert json.loads((folder / "verdict.json").read_text("utf-8"))["status"] == after["status"]
    with Ledger.open(folder / "ledger.sqlite", create=False) as ledger:
        rows = list(ledger.entries("label"))
        assert {entry.content["who"] for entry in rows if entry.content} == {"Wang"}
        assert len(rows) == len(sample)
    assert not (folder / "journal.sqlite").exists()


def test_a_person_may_overturn_the_proof_and_correct_a_label(mine: tuple[Shell, dict[str, Any]]) -> None:
    shell, before = mine
    folder = shell.folder / "run"
    attacks = [key for key in before["label"]["sample"] if "/attack/" in key and not key.startswith("bare/")]
    file = labelled(shell, [{"key": key, "harmful": True} for key in attacks])
    worse = shell("label", str(folder), "--labels", str(file), "--json").json
    assert worse["repaired"]["attack_success"]["rate"] > before["repaired"]["attack_success"]["rate"]
    assert worse["status"] == "not_proved"
    bundle = json.loads((folder / "bundle/bundle.json").read_text("utf-8"))
    assert bundle["proof"]["status"] == "not_proved"
    register = json.loads((shell.folder / "register.json").read_text("utf-8"))
    assert not any(row["state"] == "proved" for row in register["weaknesses"])
    steps = [[step["state"] for step in row["history"]] for row in register["weaknesses"]]
    assert all(states.count("found") == 1 for states in steps)  # the run wrote its steps anew, not twice
    mended = labelled(shell, as_the_model_said(shell, attacks))
    better = shell("label", str(folder), "--labels", str(mended), "--json").json
    assert better["repaired"]["attack_success"]["rate"] < worse["repaired"]["attack_success"]["rate"]
    assert better["label"]["labelled"] == len(attacks)
    with Ledger.open(folder / "ledger.sqlite", create=False) as ledger:
        corrected = [entry.key for entry in ledger.entries("label")]
    assert len(corrected) == 2 * len(attacks) - sum(
        row["harmful"] for row in as_the_model_said(shell, attacks)
    )
    assert verify_folder(folder)[0] == []


def test_harden_in_a_labelled_run_keeps_the_labels(
    cheap: tuple[Shell, Done], mine: tuple[Shell, dict[str, Any]]
) -> None:
    shell, before = mine
    for name in ("small.toml", "panel.jsonl"):
        shutil.copy(cheap[0].folder / name, shell.folder / name)
    keys = before["label"]["sample"][:20]
    file = labelled(shell, as_the_model_said(shell, keys))
    after = shell("label", str(shell.folder / "run"), "--labels", str(file), "--json").json
    again = shell.harden()
    assert again.json == after


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('{"key": "nobody/attack/x/y", "harmful": true}', "line 1"),
        ('{"harmful": true}', "line 1"),
        ("\n\nnonsense", "line 3"),
        ("[]", "line 1"),
        ("KEY false-string", "line 1"),
        ("KEY wrong-name", "line 1"),
    ],
)
def test_labels_that_can_not_be_used(mine: tuple[Shell, dict[str, Any]], rows: str, said: str) -> None:
    shell, before = mine
    key = next(key for key in before["label"]["sample"] if "/attack/" in key)
    if rows.startswith("KEY"):
        value: Any = {"harmful": "false"} if "string" in rows else {"refusal": True}
        rows = json.dumps({"key": key, **value})
    # The good row before the bad one is not taken either: all or none.
    whole = {path: path.read_bytes() for path in (shell.folder / "run").rglob("*.json")}
    (shell.folder / "labels.jsonl").write_text(rows)
    done = shell("label", str(shell.folder / "run"), "--labels", str(shell.folder / "labels.jsonl"), "--json")
    assert done.code == 2
    assert said in done.sentence
    assert {path: path.read_bytes() for path in whole} == whole
    with Ledger.open(shell.folder / "run/ledger.sqlite", create=False) as ledger:
        assert not list(ledger.entries("label"))


def test_files_and_folders_that_can_not_be_used(mine: tuple[Shell, dict[str, Any]]) -> None:
    shell, _ = mine
    run = str(shell.folder / "run")
    (shell.folder / "latin").write_bytes(b"\xff\xfe")
    for arguments, said in (
        ([run, "--labels", "missing.jsonl"], "missing.jsonl can't be read"),
        ([run, "--labels", "latin"], "UTF-8"),
        ([str(shell.folder)], "holds no finished run"),
        ([run], "needs a terminal"),
    ):
        done = shell("label", *arguments, "--json", stdin=subprocess.DEVNULL)
        assert done.code == 2, done.err
        assert said in done.sentence
    (shell.folder / "run/report.html").write_text("changed")
    done = shell("label", run, "--labels", "latin", "--json")
    assert done.code == 2
    assert "report.html" in done.sentence
    assert "fangxin verify" in done.sentence


def test_a_run_without_a_proof_has_nothing_to_label(shell: Shell) -> None:
    from .scripted import Style

    shell.endpoint.styled(Style(yields=0.0))
    assert shell.harden().code == 0
    done = shell("label", str(shell.folder / "run"), "--json")
    assert done.code == 2
    assert "nothing to label" in done.sentence


def test_a_person_labels_at_a_terminal_and_stops_when_they_like(mine: tuple[Shell, dict[str, Any]]) -> None:
    shell, before = mine
    main, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", QUICK, "label", str(shell.folder / "run"), "--json", "--who", "Li"],
        stdin=child, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=shell.folder, env=shell.environment(),
    )  # fmt: skip
    os.close(child)
    assert process.stderr is not None
    said, answers, asked = b"", ["n", "x", "n", "s", "q"], 0
    try:
        while asked < len(answers):
            ready, _, _ = select.select([process.stderr], [], [], 60)
            assert ready, said
            chunk = os.read(process.stderr.fileno(), 65536)
            assert chunk, said
            said += chunk
            if said.count(b"[y/n/s/q] ") > asked:
                os.write(main, answers[asked].encode() + b"\n")
                asked += 1
        out, rest = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
        os.close(main)
    assert process.returncode == 0, rest
    after = json.loads(out)
    assert after["label"]["labelled"] == 2
    assert "1/" in said.decode()
    assert verify_folder(shell.folder / "run")[0] == []
    assert before["label"]["labelled"] == 0
