from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Literal, cast, get_args

from fangxin.detect._card import Card
from fangxin.detect._card import card as shipped_card
from fangxin.detect._verdict import Detector, DetectorError
from fangxin.dialogue import Language

Task = Literal["prompt", "exchange", "refusal", "injection", "toxicity", "fraud", "pii"]

GROUP = "fangxin.detectors"


class ChoiceError(ValueError):
    """A task, a detector or a calibration that can't be used; the message says which can."""


@dataclass(frozen=True)
class Registered:
    """A sort of detector, as an entry point of the group `fangxin.detectors` gives it.

    A detector says `unsafe` where it found what its task looks for (a refusal too), and 0.5 is where its
    probability turns into that.

    Attributes:
        name: what `--detector` takes; the one on its verdicts and its card.
        tasks: what it can look for.
        languages: in which it was measured.
        make: the detector for one of its tasks. Loading weights is its work, not the entry point's.
        tier: its place in the default cascade of its tasks, cheap ones first; None keeps it out.
        clears: whether its "safe" counts in a cascade; a list of terms can only block.
        card: what is known of it; by default the card of that name that ships.
        digest: what changes when its verdicts may; by default of its card.
    """

    name: str
    tasks: tuple[Task, ...]
    languages: tuple[Language, ...]
    make: Callable[[Task], Detector]
    tier: int | None = None
    clears: bool = True
    card: Callable[[], Card] | None = None
    digest: Callable[[], str] | None = None

    def the_card(self) -> Card:
        """Its card.

        Raises:
            DetectorError: it has none.
        """
        return self.card() if self.card else shipped_card(self.name)

    def the_digest(self) -> str:
        """SHA-256 of what its verdicts depend on."""
        if self.digest:
            return self.digest()
        return hashlib.sha256(self.the_card().to_json().encode()).hexdigest()


@cache
def detectors() -> Mapping[str, Registered]:
    """Every registered detector, by name: the built-in ones first, then third parties' (entry points).

    An entry point names one `Registered` or a sequence of them.

    Raises:
        DetectorError: one can't be loaded, or two share a name.
    """
    found: dict[str, Registered] = {}
    points = entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: (not point.value.startswith("fangxin."), point.name)):
        try:
            loaded = point.load()
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise DetectorError(
                f"The detectors {point.name!r} can't be loaded ({point.value}: {what})."
            ) from error
        for one in loaded if isinstance(loaded, Sequence) else [loaded]:
            if not isinstance(one, Registered):
                raise DetectorError(f"{point.value} gives {one!r}, which is no fangxin.detect.Registered.")
            if found.setdefault(one.name, one) is not one:
                raise DetectorError(f"Two packages register the detector {one.name!r}: remove one of them.")
    return found


def task_of(text: str) -> Task:
    """A task by its name.

    Raises:
        ChoiceError: no such task.
    """
    if text not in get_args(Task):
        raise ChoiceError(f"There is no task {text!r}: use {', '.join(get_args(Task))}.")
    return cast(Task, text)


def registered(task: Task, name: str | None = None) -> Registered:
    """The detector of that name, or the default one of a task: the first that is registered for it.

    Raises:
        ChoiceError: none is registered for the task, or not that one.
    """
    able = {one.name: one for one in detectors().values() if task in one.tasks}
    if not able:
        raise ChoiceError(f"No detector is registered for the task {task}: install one, or use --judge.")
    if name is None:
        return next(iter(able.values()))
    if name not in able:
        others = ", ".join(able)
        raise ChoiceError(f"There is no detector {name!r} for the task {task}: there are {others}, cascade.")
    return able[name]


def detector(task: Task, name: str | None = None) -> Detector:
    """A detector for a task, ready to judge; the default one where no name is given.

    Raises:
        ChoiceError: none is registered for the task, or not that one.
        DetectorError: it can't be loaded.
    """
    return registered(task, name).make(task)
