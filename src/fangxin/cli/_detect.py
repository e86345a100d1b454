from __future__ import annotations

import os
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from fangxin.cli._terminal import InputError, emit, plain, say

app = typer.Typer(help="Train detectors and read their cards.", no_args_is_help=True)


@app.command("train")
def train(
    data: Annotated[
        Path | None, typer.Option(help="The data folder (train/, dev/); FANGXIN_DATA by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where weights and cards go; the package's own by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 7,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Names of detectors, as `detect cards` prints them; all by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train every shipped detector from public data, with one seed (needs the extra `train`)."""
    from fangxin.detect import train as train_detectors

    folder = data or (Path(os.environ["FANGXIN_DATA"]) if os.environ.get("FANGXIN_DATA") else None)
    if folder is None:
        raise InputError("Name the data folder: --data FOLDER or FANGXIN_DATA (see docs/data.md).")
    if not (folder / "train").is_dir():
        raise InputError(f"{folder} has no train/ in it: give the folder that docs/data.md describes.")
    where = out or Path(str(files("fangxin.detect")))
    train_detectors(folder, where, seed, only=only)
    if as_json:
        emit({"status": "trained", "out": str(where)})
    else:
        say(f"Weights and cards are in {plain(where)}.")


@app.command("cards")
def cards(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Print the card of every shipped detector."""
    from fangxin.detect import cards as shipped

    if as_json:
        emit({"cards": [asdict(one) for one in shipped()]})
        return
    from rich.console import Console
    from rich.pretty import Pretty

    console = Console()
    for one in shipped():
        console.rule(one.name)
        console.print(Pretty(asdict(one), expand_all=False))
