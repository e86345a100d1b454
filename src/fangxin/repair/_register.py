from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from fangxin.dialogue import Language

State = Literal["found", "repaired", "proved", "reopened"]


@dataclass(frozen=True, slots=True)
class Weakness:
    """A risk in a language at which an agent fails more often than is tolerated.

    Attributes:
        agent: which agent: a digest of its model and dialogue prompt.
        risk: the risk's identifier.
        language: the language it shows in.
        state: where it is in its life.
        families: attack family to its success rate when it was found.
        before, after: success on held-out attacks before and after the repair, as plain estimates.
        cases: held-out (goal, family) pairs: its regression test.
        history: what happened to it, oldest first: `{"state", "run"}`.
    """

    agent: str
    risk: str
    language: Language
    state: State
    families: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    cases: tuple[tuple[str, str], ...] = ()
    history: tuple[Mapping[str, str], ...] = ()

    @property
    def id(self) -> str:
        """Its name in the register."""
        return f"{self.risk}/{self.language}"

    def moved(self, state: State, run: str) -> Weakness:
        """The weakness in another state, the step remembered."""
        return replace(self, state=state, history=(*self.history, {"state": state, "run": run}))

    def before_run(self, run: str) -> Weakness | None:
        """The weakness as it was before a run touched it; None where that run found it.

        A run that was killed while it wrote, or is re-estimated from labels, writes its steps anew.
        """
        steps = tuple(step for step in self.history if step["run"] != run)
        return replace(self, state=cast(State, steps[-1]["state"]), history=steps) if steps else None


_FORMAT = 1


class RegisterError(ValueError):
    """A register file that can't be read."""


@dataclass(frozen=True)
class Register:
    """The weaknesses ever found, for life: it outlives runs."""

    weaknesses: tuple[Weakness, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Register:
        """Read a register; an absent file is an empty one.

        Raises:
            RegisterError: the file is there and can't be read.
        """
        if not path.exists():
            return cls()
        try:
            data = json.loads(path.read_text("utf-8"))
            if data["format"] != _FORMAT:
                raise ValueError(f"it has format {data['format']!r}, this version reads {_FORMAT}")
            rows = data["weaknesses"]
            return cls(
                tuple(
                    Weakness(
                        **{
                            **row,
                            "cases": tuple((goal, family) for goal, family in row["cases"]),
                            "history": tuple(row["history"]),
                        }
                    )
                    for row in rows
                )
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RegisterError(
                f"{path} can't be read as a register of weaknesses ({error}): mend it or move it away."
            ) from None

    def save(self, path: Path) -> None:
        """Write the register in one step, so that a kill leaves the old one or the new one."""
        data = {"format": _FORMAT, "weaknesses": [asdict(weakness) for weakness in self.weaknesses]}
        beside = path.with_name(path.name + ".new")
        with beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(data, ensure_ascii=False, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)

    def of(self, agent: str) -> tuple[Weakness, ...]:
        """The weaknesses of one agent."""
        return tuple(weakness for weakness in self.weaknesses if weakness.agent == agent)

    def find(self, agent: str, risk: str, language: str) -> Weakness | None:
        """One weakness, where it is known."""
        wanted = (agent, risk, language)
        return next((w for w in self.weaknesses if (w.agent, w.risk, w.language) == wanted), None)

    def with_(self, weaknesses: Iterable[Weakness]) -> Register:
        """The register with weaknesses added, or put in the place of their older selves."""
        new = {(w.agent, w.risk, w.language): w for w in weaknesses}
        kept = [w for w in self.weaknesses if (w.agent, w.risk, w.language) not in new]
        rows = sorted([*kept, *new.values()], key=lambda w: (w.agent, w.risk, w.language))
        return Register(tuple(rows))


def amend(path: Path, change: Callable[[Register], Register]) -> Register:
    """Change the register in a file, while no other run can.

    Args:
        path: of the register; an absent one is empty.
        change: from the register as it is now to the one that is written, if it is another.

    Raises:
        RegisterError: the file is there and can't be read.
        OSError: its folder can't be written.
    """
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        known = Register.load(path)
        register = change(known)
        if register != known:
            register.save(path)
        return register
    finally:
        os.close(handle)
