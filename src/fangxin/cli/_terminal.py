"""What commands share of the terminal: one JSON object on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

T = TypeVar("T")

# Exit codes: 0 well; 1 the answer is bad news; 2 the input can't be used; 3 something failed while running.
BAD_NEWS, BAD_INPUT, FAILED = 1, 2, 3
_STOPPED = 130  # as shells count a process that SIGINT ended


class InputError(Exception):
    """Something that the user gave can't be used; the message says what to do."""


def emit(data: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; a reader that hung up ends the command."""
    try:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=1) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def say(text: str) -> None:
    """Print a line for people, on stderr, with rich's markup; `plain` keeps a text's own brackets."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def plain(text: object) -> str:
    """A text that `say` prints as it is."""
    from rich.markup import escape

    return escape(str(text))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run an asynchronous command to its end."""
    return asyncio.run(work)


def leave(app: typer.Typer) -> int:
    """Run a command and give its exit code; a mistake on the command line is an `InputError`.

    Raises:
        InputError: an option or argument that can't be used.
        KeyboardInterrupt: stopped from the keyboard.
    """
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, EOFError):
        raise KeyboardInterrupt from None
    except Exception as error:
        # Typer may carry its own copy of click: its errors are known by what they can do.
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        usage = getattr(error, "ctx", None)
        path = usage.command_path if usage is not None else "fangxin"
        if not said().strip():  # the help was printed for want of a command
            return BAD_INPUT
        raise InputError(f"{said().strip().rstrip('.')}: see `{path} --help`.") from None
    if code == _STOPPED:  # Typer's word for a Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


@contextmanager
def failing(as_json: bool) -> Iterator[None]:
    """Turn known errors into one sentence on stderr and the right exit code."""
    try:
        yield
    except KeyboardInterrupt:
        _stop("Stopped. What was finished is kept; harden goes on with the same --out.", _STOPPED, as_json)
    except Exception as error:
        known = _known(error)
        if known is None:
            raise
        _stop(known[0], known[1], as_json)


def _stop(message: str, code: int, as_json: bool) -> None:
    if as_json:
        emit({"status": "error", "error": message})
    sys.stderr.write(f"fangxin: {message}\n")
    sys.exit(code)


def _known(error: Exception) -> tuple[str, int] | None:
    """The sentence and the exit code of an error that users may meet; None for a fault of ours."""
    from fangxin.agent import BundleError
    from fangxin.defend import DefenceError
    from fangxin.detect import ChoiceError, DetectorError, NoPromiseError
    from fangxin.dialogue import PromptError
    from fangxin.ledger import LedgerError
    from fangxin.models import ModelError
    from fangxin.proof import ProofError
    from fangxin.repair import PlanError, RegisterError, RunError
    from fangxin.risks import RiskError

    if isinstance(error, NoPromiseError):
        return str(error), BAD_NEWS
    if isinstance(error, InputError | ChoiceError | PromptError | BundleError | PlanError):
        return str(error), BAD_INPUT
    if isinstance(error, RegisterError | RiskError | ProofError):
        return str(error), BAD_INPUT
    if isinstance(error, ModelError | DefenceError | DetectorError | LedgerError | RunError):
        return str(error), FAILED
    if isinstance(error, sqlite3.DatabaseError):
        return (
            f"The run's files can't be written ({error}): free some space and give the command again.",
            FAILED,
        )
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}: mend that and give the command again.", FAILED
    return None
