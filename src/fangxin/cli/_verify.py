from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fangxin.cli._terminal import BAD_NEWS, emit, plain, say


def verify(
    target: Annotated[Path, typer.Argument(help="The folder of a run or of a bundle.")],
    key: Annotated[
        str | None, typer.Option(help="Fingerprint (fx1:…) of the one key that may have signed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Check hashes, chain and signatures of report, bundle and ledger.

    Exit code: 0 all good; 1 something was changed, cut or signed by another key; 2 nothing to verify.
    """
    from fangxin.cli._terminal import InputError
    from fangxin.ledger import LedgerError
    from fangxin.report import verify_folder

    try:
        problems, notes = verify_folder(target, key)
    except LedgerError as error:
        raise InputError(str(error)) from None
    if as_json:
        rows = [{"where": problem.where, "what": problem.what} for problem in problems]
        emit({"status": "changed" if problems else "verified", "problems": rows, "notes": notes})
    else:
        for problem in problems:
            say(f"[red]✗[/red] {plain(problem)}")
        for note in notes:
            say(f"[dim]note: {plain(note)}[/dim]")
        if not problems:
            pinned = f"signed by {plain(key)}" if key else "signatures hold, but no key was pinned (--key)"
            say(f"[green]✓[/green] {plain(target)}: nothing was changed; {pinned}.")
    if problems:
        raise typer.Exit(BAD_NEWS)
