from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from fangxin.ledger import Ledger
from fangxin.models import Sampling
from fangxin.probe import text_hash
from fangxin.report import verify_folder

from .conftest import CHEAP, Shell, furnished
from .scripted import Served, Style, draw

STYLE = Style(slow=0.03, fails=0.03, refuses=0.05)
AT_ONCE = 16  # requests that are under way at a time, at the most


def sent(body: dict[str, Any]) -> str:
    """The name that a trial gives to what its model was sent."""
    sampling = Sampling(body["max_tokens"], body["temperature"], body["top_p"], body["seed"])
    return text_hash(json.dumps([body["messages"], asdict(sampling)], ensure_ascii=False))


def safe(folder: Path) -> dict[str, dict[str, Any]]:
    """The trials that are on disk after a kill."""
    rows: list[tuple[str]] = []
    if (folder / "journal.sqlite").exists():
        with closing(sqlite3.connect(folder / "journal.sqlite")) as db:
            tables = db.execute("SELECT name FROM sqlite_master").fetchall()
            rows = db.execute("SELECT trial FROM trials").fetchall() if tables else []
    return {trial["key"]: trial for trial in (json.loads(row) for (row,) in rows)}


@dataclass
class Whole:
    """A run that nobody interrupted."""

    verdict: bytes
    asked: Counter[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, endpoint: Served) -> tuple[Whole, Path]:
    # The run's folder is named in no verdict, but the register of a parent is: each run has its own.
    shell = furnished(tmp_path_factory.mktemp("whole"), endpoint)
    endpoint.styled(STYLE)
    done = shell.harden()
    assert done.code in (0, 1), done.err
    folder = shell.folder / "run"
    return Whole((folder / "verdict.json").read_bytes(), Counter(map(sent, endpoint.asked()))), shell.folder


def killed(shell: Shell, moment: Callable[[], bool], wait: float = 0.0) -> None:
    """One life of the run, killed a while after a moment comes."""
    process = shell.start("harden", *shell.options(), "--json", code=CHEAP)  # the end takes its time
    start = time.monotonic()
    while not moment():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - start < 100
        time.sleep(0.002)
    time.sleep(wait)
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_killed_at_ten_moments_the_end_is_the_same(shell: Shell, whole: tuple[Whole, Path]) -> None:
    wanted, other = whole
    shell.endpoint.styled(STYLE)
    folder, rng = shell.folder / "run", random.Random(20261122)
    known: dict[str, dict[str, Any]] = {}
    twice: list[str] = []
    before = 0

    def look() -> None:
        nonlocal before, known
        asked = shell.endpoint.asked()
        # The worst replies are in no cache, so that two arms may well ask the same; so is what failed.
        done = {trial["sent_sha256"] for trial in known.values() if trial["reply"] is not None}
        twice.extend(name for name in map(sent, asked[before:]) if name in done)
        before, now = len(asked), safe(folder)
        assert now.items() >= known.items()  # finished ones are all there, and unchanged
        known = now

    total = sum(wanted.asked.values())
    for number in sorted(rng.sample(range(1, total - 20), 7)):
        killed(shell, lambda number=number: shell.endpoint.count() >= number)
        look()
    for name in ("verdict.json", "bundle/shield.json", "result.json"):
        killed(shell, (folder / name).exists, rng.uniform(0, 0.05))
        look()
    done = shell.harden()
    assert done.code in (0, 1), done.err
    look_last = shell.endpoint.asked()[before:]
    assert not {sent(body) for body in look_last if draw(body["messages"], "fails") >= STYLE.fails}
    assert twice == []
    assert (folder / "verdict.json").read_bytes() == wanted.verdict
    assert verify_folder(folder) == ([], [])
    with Ledger.open(folder / "ledger.sqlite", create=False) as ledger:
        rows = Counter((entry.kind, entry.key) for entry in ledger.entries())
    assert set(rows.values()) == {1}
    bodies = shell.endpoint.asked()
    fine = Counter(sent(body) for body in bodies if draw(body["messages"], "fails") >= STYLE.fails)
    assert set(fine) <= set(wanted.asked)
    # Only what was under way at a kill may have been asked once more.
    assert sum((fine - wanted.asked).values()) <= 7 * AT_ONCE
    first, second = (
        json.loads((place / "register.json").read_text("utf-8")) for place in (shell.folder, other)
    )
    assert first == second
    assert (folder / "bundle/register.json").read_bytes() == (other / "run/bundle/register.json").read_bytes()


def test_what_a_kill_left_half_written_is_never_signed(shell: Shell) -> None:
    shell.endpoint.styled(Style(yields=0.0))
    folder = shell.folder / "run"
    (folder / "bundle").mkdir(parents=True)
    for name in (
        "manifest.json.new",
        "verdict.json.new",
        "bundle/manifest.json.new",
        "bundle/register.json.new",
    ):
        (folder / name).write_text("{")
    done = shell.harden()
    assert done.code == 0, done.err
    assert verify_folder(folder) == ([], [])
    assert verify_folder(folder / "bundle") == ([], [])
    assert not list(folder.rglob("*.new"))


def test_a_killed_run_lets_go_of_its_folder(shell: Shell) -> None:
    shell.endpoint.styled(Style(yields=0.0, slow=0.2))
    killed(shell, lambda: shell.endpoint.count() > 3)
    second = shell.start("harden", *shell.options(), "--json")
    while shell.endpoint.count() < 40:
        time.sleep(0.01)
        assert second.poll() is None
    third = shell.harden()
    assert third.code == 3
    assert "another run" in third.sentence
    second.kill()
    second.communicate()
