from __future__ import annotations

import sys

import typer

from fangxin.cli import _chat, _check, _detect, _doctor, _harden, _label, _serve, _verify
from fangxin.cli._terminal import failing, leave
from fangxin.cli._threads import one_blas_thread

app = typer.Typer(
    name="fangxin",
    help="Find where a language model is unsafe, repair it, prove the repair, serve it behind a guard.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("harden")(_harden.harden)
app.command("check")(_check.check)
app.command("serve")(_serve.serve)
app.command("chat")(_chat.chat)
app.command("label")(_label.label)
app.command("verify")(_verify.verify)
app.command("doctor")(_doctor.doctor)
app.add_typer(_detect.app, name="detect")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        from fangxin import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line: known errors become one sentence and a true exit code."""
    one_blas_thread()
    as_json = "--json" in sys.argv
    with failing(as_json):
        sys.exit(leave(app))
