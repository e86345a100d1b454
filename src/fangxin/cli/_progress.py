from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from fangxin.probe import Trial


class Bars:
    """A progress bar a stage, on stderr: how many, how fast, how long still.

    Where stderr is no terminal, a line a stage instead.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._total = self._count = self._tokens = self._blocked = self._failed = 0
        self._start = time.monotonic()

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """Begin a stage; one of the same name goes on."""
        if name == self._name and self._task is not None:
            self._total += total
            self._bars.update(self._task, total=self._total)
            return
        self._close()
        self._name, self._total = name, total
        self._count = self._tokens = self._blocked = self._failed = 0
        self._start = time.monotonic()
        self._task = self._bars.add_task(name, total=total, rate="", note="")

    def done(self, trial: Trial) -> None:
        """Count a finished trial."""
        if self._task is None:
            return
        self._count += 1
        self._tokens += trial.completion_tokens
        self._blocked += trial.blocked is not None
        self._failed += trial.failure is not None
        seconds = max(time.monotonic() - self._start, 1e-3)
        rate = f"{self._count / seconds:5.1f}/s {self._tokens / seconds:5.0f} tok/s"
        self._bars.update(self._task, completed=self._count, rate=rate, note=self._note())

    def _note(self) -> str:
        notes = []
        if self._blocked:
            notes.append(f"{self._blocked} blocked")
        if self._failed:
            notes.append(f"[red]{self._failed} failed[/red]")
        return ", ".join(notes)

    def _close(self) -> None:
        if self._task is not None and self._bars.disable:
            seconds = time.monotonic() - self._start
            self._console.print(f"{self._name}: {self._count} asked in {seconds:.1f} s {self._note()}")
        self._task = None
