from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fangxin.agent import Agent
from fangxin.detect import Judge
from fangxin.ledger import Ledger
from fangxin.models import Model, Sampling
from fangxin.probe import Ask, Journal, Task, Trial, ask


class RunError(Exception):
    """A run that can't start or go on; the message says what to do."""


_GIVE_UP = 64  # asks that fail one after another before a run stops: a model that is gone, not a hard ask
_GIVE_UP_FIRST = 24  # the same while nothing has been answered yet


class Watcher(Protocol):
    """Told how a run goes; a terminal shows it."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` asks begins."""
        ...

    def done(self, trial: Trial) -> None:
        """An ask of the stage has been answered."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def stage(self, name: str, total: int) -> None:
        """Ignore it."""

    def done(self, trial: Trial) -> None:
        """Ignore it."""


@dataclass
class Run:
    """A run's folder: its journal and its ledger, and what has been asked so far.

    Attributes:
        folder: everything the run writes is in here.
        judge: examines the answers.
        sampling: how replies are drawn.
        tasks: ability tasks by identifier.
        uncached: answers sensitive asks, past any cache.
        concurrency: asks in flight.
        watcher: told of progress.
        trials: every finished trial, in the order in which decisions took them.
    """

    folder: Path
    judge: Judge
    sampling: Sampling
    tasks: Mapping[str, Task]
    uncached: Model | None = None
    concurrency: int = 32
    watcher: Watcher = field(default_factory=Silent)
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger.open(self.folder / "ledger.sqlite")
        self._journal = _Answered(self.folder / "journal.sqlite")
        self._recorded = {(entry.kind, entry.key) for entry in self.ledger.entries()}
        self._failed: dict[str, Trial] = {}
        self._trials = {
            entry.key: Trial.of(entry.content) for entry in self.ledger.entries("trial") if entry.content
        }
        if not self.decided:
            self._failed = {key: trial for key, trial in self._trials.items() if trial.failure}
            self._trials = {key: trial for key, trial in self._trials.items() if not trial.failure}
        self._in_a_row, self._any = 0, bool(self._trials)

    @property
    def decided(self) -> bool:
        """Whether an earlier life of the run came to its end: its trials, failed ones too, are final."""
        return ("decision", "verdict") in self._recorded

    @property
    def how_to_go_on(self) -> str:
        """What a person does after a failure."""
        return f"What was answered is kept: mend that, then give the same command with --out {self.folder}."

    async def ask(self, stage: str, arm: str, agent: Agent, asks: Sequence[Ask]) -> list[Trial]:
        """Put asks to an arm; what was answered before a kill is not asked again, what failed is.

        The trials go to the ledger in the order of `asks`, once the last of them is there.

        Raises:
            RunError: one ask after another failed: the model is gone.
        """
        waiting = [item for item in asks if f"{arm}/{item.key}" not in self._trials]
        self.watcher.stage(stage, len(waiting))
        answered = await ask(
            agent,
            waiting,
            arm=arm,
            judge=self.judge,
            sampling=self.sampling,
            tasks=self.tasks,
            journal=self._journal,
            uncached=self.uncached,
            concurrency=self.concurrency,
            on_done=self._done,
        )
        self._keep(answered)
        self._trials |= {trial.key: trial for trial in answered}
        trials = [self._trials[f"{arm}/{item.key}"] for item in asks]
        known = {trial.key for trial in self.trials}
        self.trials += [trial for trial in trials if trial.key not in known]
        return trials

    def _done(self, trial: Trial) -> None:
        self.watcher.done(trial)
        self._any = self._any or trial.failure is None
        if trial.failure is None:
            self._in_a_row = 0
        elif trial.key not in self._failed:  # what failed in an earlier life too is no news
            self._in_a_row += 1
        if self._in_a_row >= (_GIVE_UP if self._any else _GIVE_UP_FIRST):
            many = f"The last {self._in_a_row} asks failed one after another"
            raise RunError(f"{many}: {trial.failure} {self.how_to_go_on}")

    def _keep(self, trials: Sequence[Trial]) -> None:
        """Write trials to the ledger; one that failed in an earlier life too is there already."""
        for trial in trials:
            failed = self._failed.pop(trial.key, None)
            if failed is not None and failed.measured() != trial.measured():
                self._recorded.discard(("trial", trial.key))
        self.record([("trial", trial.key, trial.as_dict()) for trial in trials])

    def record(self, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
        """Write rows to the ledger, leaving out those that an earlier life of the run wrote."""
        new = [row for row in rows if row[:2] not in self._recorded]
        if new:
            self.ledger.append_many(new)
            self._recorded |= {row[:2] for row in new}

    def close(self) -> None:
        """Close the files."""
        self._journal.close()
        self.ledger.close()


class _Answered(Journal):
    """Keeps no failures: the run's next life asks them again."""

    def put(self, trial: Trial) -> None:
        if trial.failure is None:
            super().put(trial)


def begin(folder: Path, header: Mapping[str, Any]) -> None:
    """Make a run's folder, or take up the run in it.

    Args:
        folder: the run's own folder.
        header: what makes the run what it is: settings, model, prompt, judge.

    Raises:
        RunError: the folder holds another run, or can't be written.
    """
    path = folder / "run.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            there = json.loads(path.read_text("utf-8"))
            if there != header:
                raise RunError(
                    f"{folder} holds another run ({_differing(there, header)}): choose another --out."
                )
            return
        write_json(path, header)
    except (OSError, json.JSONDecodeError) as error:
        raise RunError(f"{folder} can't hold a run: {error}.") from None


def _differing(there: Any, header: Mapping[str, Any]) -> str:
    """What of a run's header is other than before, for people."""
    if not isinstance(there, dict):
        return "its run.json can't be read"
    names = [name for name in header if there.get(name) != header[name]]
    if "settings" in names and isinstance(there.get("settings"), dict):
        old, new = there["settings"], header["settings"]
        names[names.index("settings")] = ", ".join(
            f"setting {name}" for name in new if old.get(name) != new[name]
        )
    return f"other {', '.join(names)}" if names else "its run.json has more in it"


def write_json(path: Path, data: Any) -> None:
    """Write JSON in one step, so that a kill leaves the old file or the new one."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(data, ensure_ascii=False, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
