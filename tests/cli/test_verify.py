from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fangxin.cli import app
from fangxin.ledger import SigningKey
from fangxin.report import verify_folder

from .conftest import Done, Shell

FILES = [
    "run.json",
    "verdict.json",
    "result.json",
    "report.html",
    "manifest.json",
    "ledger.sqlite",
    "bundle/bundle.json",
    "bundle/shield.json",
    "bundle/register.json",
    "bundle/manifest.json",
]


@pytest.fixture
def run(finished: tuple[Shell, Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shell, _ = finished
    monkeypatch.setenv("FANGXIN_CONFIG", str(shell.folder / "config"))
    shutil.copytree(shell.folder / "run", tmp_path / "run")
    return tmp_path / "run"


def verified(target: Path, *more: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["verify", str(target), "--json", *more])
    return done.exit_code, json.loads(done.stdout)


def test_an_untouched_run_and_bundle_verify(run: Path) -> None:
    fingerprint = SigningKey.load().fingerprint()
    for target in (run, run / "bundle"):
        assert verified(target) == (0, {"status": "verified", "problems": [], "notes": []})
        assert verified(target, "--key", fingerprint)[0] == 0


def test_every_file_is_named_here(run: Path) -> None:
    there = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} - {".lock"}
    assert there - {name for name in there if name.endswith(".npz")} == set(FILES)


def test_a_changed_byte_in_any_file_is_found_and_the_file_named(run: Path) -> None:
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.name != ".lock"):
        name, whole = str(path.relative_to(run)), path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            changed = bytearray(whole)
            changed[place] ^= 1
            path.write_bytes(changed)
            problems, _ = verify_folder(run)
            named = {problem.where for problem in problems}
            if name == "ledger.sqlite" and not problems:
                # Bytes of the file that SQLite itself doesn't use hold no evidence.
                assert same_rows(run / name, whole, run.parent / "whole.sqlite")
                continue
            assert problems, (name, place)
            short = Path(name).name
            assert any(short in where or "row" in where or "manifest" in where for where in named), (
                name,
                named,
            )
        path.write_bytes(whole)
        assert verify_folder(run)[0] == []


def same_rows(path: Path, whole: bytes, beside: Path) -> bool:
    beside.write_bytes(whole)
    rows = []
    for file in (path, beside):
        with closing(sqlite3.connect(file)) as db:
            rows.append(db.execute("SELECT * FROM ledger_entries ORDER BY seq").fetchall())
    return rows[0] == rows[1]


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    code, said = verified(run)
    assert code == 1
    assert name in {problem["where"] for problem in said["problems"]}


def test_a_file_that_nobody_signed_is_named(run: Path) -> None:
    (run / "bundle/extra.py").write_text("")
    code, said = verified(run)
    assert (code, [problem["where"] for problem in said["problems"]]) == (1, ["bundle/extra.py"])
    assert verified(run / "bundle")[0] == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE ledger_entries SET content = replace(content, 'bare', 'bear') WHERE seq = 7", "7"),
        ("UPDATE ledger_entries SET key = 'x' WHERE seq = 9", "9"),
        ("DELETE FROM ledger_entries WHERE seq = 11", "11"),
        ("DELETE FROM ledger_entries WHERE seq > (SELECT max(seq) - 3 FROM ledger_entries)", ""),
        ("DELETE FROM ledger_checkpoints", ""),
        ("DELETE FROM ledger_entries", ""),
    ],
    ids=["content", "key", "row gone", "tail cut", "checkpoints gone", "all gone"],
)
def test_a_changed_ledger_is_found_and_the_row_named(run: Path, change: str, named: str) -> None:
    with closing(sqlite3.connect(run / "ledger.sqlite")) as db, db:
        last = db.execute("SELECT max(seq) FROM ledger_entries").fetchone()[0]
        assert db.execute(change).rowcount > 0
    code, said = verified(run)
    if change == "DELETE FROM ledger_checkpoints":  # the result holds the checkpoint, and the rows are whole
        assert said["problems"] == [] or code == 1
        return
    assert code == 1
    text = json.dumps(said["problems"])
    assert (named or str(last)) in text, text


def test_a_cut_tail_is_found_without_the_users_memory(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever verifies elsewhere has the result's checkpoint alone."""
    monkeypatch.setenv("FANGXIN_CONFIG", str(tmp_path / "somebody else"))
    with closing(sqlite3.connect(run / "ledger.sqlite")) as db, db:
        cut = "DELETE FROM {} WHERE seq > (SELECT max(seq) - 2 FROM ledger_entries)"
        db.execute(cut.format("ledger_checkpoints"))
        db.execute(cut.format("ledger_entries"))
    code, said = verified(run)
    assert code == 1
    assert any("row" in problem["where"] + problem["what"] for problem in said["problems"])


def test_another_fingerprint_is_refused(run: Path) -> None:
    other = "fx1:" + "0" * 32
    for target in (run, run / "bundle"):
        code, said = verified(target, "--key", other)
        assert code == 1
        assert other in json.dumps(said["problems"])


def test_what_somebody_signs_anew_is_found_by_the_fingerprint(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fangxin.report import publish

    mine = SigningKey.load().fingerprint()
    result = json.loads((run / "result.json").read_text("utf-8"))
    monkeypatch.setenv("FANGXIN_CONFIG", str(tmp_path / "forger"))
    publish(run, {**result, "status": "proved"}, SigningKey.load())
    code, _ = verified(run, "--key", mine)
    assert code == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"files": 3}', '{"files": [3]}', '{"files": []}', "\x00"]
)
def test_a_broken_manifest_is_a_problem_and_no_crash(run: Path, text: str) -> None:
    (run / "manifest.json").write_text(text)
    code, said = verified(run)
    assert code == 1
    assert "manifest" in said["problems"][0]["where"]


@pytest.mark.parametrize("text", ["[]", "{}", '{"ledger": {"checkpoint": {}}}', '{"ledger": 3}'])
def test_a_result_without_a_checkpoint_is_a_problem(run: Path, text: str) -> None:
    (run / "result.json").write_text(text)
    code, said = verified(run)
    assert code == 1
    assert "result.json" in {problem["where"] for problem in said["problems"]}


def test_nothing_to_verify_is_bad_input(finished: tuple[Shell, Done], tmp_path: Path) -> None:
    shell, _ = finished
    for target in (tmp_path, tmp_path / "not there"):
        done = shell("verify", str(target), "--json")
        assert done.code == 2
        assert "manifest.json" in done.sentence


def test_people_are_told_too(finished: tuple[Shell, Done], run: Path) -> None:
    shell, _ = finished
    good = shell("verify", str(run))
    assert (good.code, good.out) == (0, "")
    assert "nothing was changed" in good.err
    named = run.with_name("[red]run")  # rich would take it for markup
    os.rename(run, named)
    (named / "report.html").write_text("x")
    bad = shell("verify", str(named))
    assert bad.code == 1
    assert "report.html" in bad.err
    assert "Traceback" not in bad.err
