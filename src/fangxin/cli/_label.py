from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fangxin.cli._terminal import emit, say


def label(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    labels: Annotated[
        Path | None, typer.Option(help="Labels from a file (JSONL: key, harmful or refusal).")
    ] = None,
    who: Annotated[str, typer.Option(help="Who labels; kept with each label.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Label the run's named sample by hand; the proof then re-estimates itself.

    A labelled trial counts as the person says; for the rest, the judge's error is counted again on the
    labels. Stop and go on whenever you like: each label is in the ledger when it is acknowledged.
    """
    from fangxin.cli import _labelling

    result = _labelling.label_run(run_folder, labels, who)
    if as_json:
        emit(result)
        return
    from fangxin.cli._loop import reader_language
    from fangxin.report import summary

    say(summary(result, reader_language()))
