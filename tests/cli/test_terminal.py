from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import unittest.mock
from collections.abc import Callable

import pytest
import typer

from fangxin.agent import BundleError
from fangxin.cli._terminal import InputError, failing, leave, plain, say
from fangxin.defend import DefenceError
from fangxin.detect import DetectorError
from fangxin.dialogue import PromptError
from fangxin.ledger import LedgerError
from fangxin.models import ModelError
from fangxin.proof import ProofError
from fangxin.repair import PlanError, RegisterError, RunError
from fangxin.risks import RiskError

BAD_INPUT = [InputError, PromptError, BundleError, PlanError, RegisterError, RiskError, ProofError]
FAILED: list[Callable[[str], Exception]] = [
    DefenceError,
    DetectorError,
    LedgerError,
    RunError,
    lambda text: ModelError(text, "timeout"),
]


@pytest.mark.parametrize(("kinds", "code"), [(BAD_INPUT, 2), (FAILED, 3)], ids=["bad input", "failed"])
def test_known_errors_become_a_sentence_and_a_code(
    kinds: list[Callable[[str], Exception]], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in kinds:
        for as_json in (False, True):
            with pytest.raises(SystemExit) as left, failing(as_json):
                raise kind("Do this.")
            out, err = capsys.readouterr()
            assert left.value.code == code
            assert err == "fangxin: Do this.\n"
            assert (json.loads(out) if as_json else out) == (
                {"status": "error", "error": "Do this."} if as_json else ""
            )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "runs/a"), "No space left on device (runs/a)"),
        (PermissionError(13, "Permission denied", "runs/a"), "Permission denied (runs/a)"),
        (sqlite3.OperationalError("database or disk is full"), "disk is full"),
        (sqlite3.DatabaseError("database disk image is malformed"), "malformed"),
    ],
)
def test_files_that_fail_are_said_plainly(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, failing(False):
        raise error
    assert left.value.code == 3
    assert said in capsys.readouterr().err


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), failing(True):
        raise ZeroDivisionError


def test_stopping_has_its_own_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left, failing(False):
        raise KeyboardInterrupt
    assert left.value.code == 130
    assert "Stopped" in capsys.readouterr().err


def test_a_reader_that_hangs_up_is_no_fault() -> None:
    code = "from fangxin.cli import main; import sys; sys.argv[1:] = ['detect', 'cards', '--json']; main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 3
    assert b"Traceback" not in err


def test_a_command_says_how_it_left() -> None:
    app = typer.Typer()

    @app.command()
    def go(number: int, wrong: bool = False) -> None:
        if wrong:
            raise ValueError("ours")
        raise typer.Exit(number)

    for arguments, code in ((["0"], 0), (["1"], 1)):
        with unittest.mock.patch.object(sys, "argv", ["x", *arguments]):
            assert leave(app) == code
    for arguments, said in (
        (["many"], "Invalid value"),
        ([], "Missing argument"),
        (["1", "--no"], "No such option"),
    ):
        with (
            unittest.mock.patch.object(sys, "argv", ["x", *arguments]),
            pytest.raises(InputError, match=said),
        ):
            leave(app)
    with unittest.mock.patch.object(sys, "argv", ["x", "130"]), pytest.raises(KeyboardInterrupt):
        leave(app)
    with (
        unittest.mock.patch.object(sys, "argv", ["x", "1", "--wrong"]),
        pytest.raises(ValueError, match="ours"),
    ):
        leave(app)


@pytest.mark.parametrize("text", ["[/red]", "[bold]x", "a [1.0 %, 2.0 %]", "runs/[/b]"])
def test_brackets_of_others_are_no_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"[green]✓[/green] {plain(text)}")
    assert capsys.readouterr().err == f"✓ {text}\n"
