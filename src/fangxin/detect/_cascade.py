from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fangxin.detect._calibrate import Band
from fangxin.detect._many import check_many
from fangxin.detect._metrics import Floats
from fangxin.detect._registry import ChoiceError, Task, detectors, registered
from fangxin.detect._verdict import Detector, Verdict

JUDGE = "judge"
_UNSURE, _LAST = Band(0.1, 0.9), Band(0.5, 0.5)


@dataclass(frozen=True)
class Tier:
    """A detector's place in a cascade.

    Attributes:
        name: what it is registered as; `judge` for a model that judges.
        detector: who judges.
        band: where it is sure.
        digest: what changes when its verdicts may.
        clears: whether its "safe" counts; a list of terms can only block.
    """

    name: str
    detector: Detector
    band: Band = _UNSURE
    digest: str = ""
    clears: bool = True


@dataclass(frozen=True)
class Cascade:
    """Detectors, cheap ones first; a dearer one is asked only where those before it are unsure.

    Its verdict is that of the tier that decided, which it names; its probability is that tier's, moved so
    that 0.5 is where the label turns. What each tier took is in `Verdict.tiers`.

    Attributes:
        tiers: in the order in which they are asked.
        name: on its verdicts, before that of who decided.
    """

    tiers: tuple[Tier, ...]
    name: str = "cascade"

    def __post_init__(self) -> None:
        if not self.tiers:
            raise ChoiceError("A cascade needs at least one detector.")
        bands = [tier.band for tier in self.tiers]
        if any(band.low > band.high for band in bands) or bands[-1].low != bands[-1].high:
            raise ChoiceError(
                "A tier's band must not end before it begins, and the last one must have no width."
            )

    @classmethod
    def of(cls, task: Task, judge: Tier | None = None) -> Cascade:
        """The default cascade of a task, not calibrated: unsure from 0.1 to 0.9, and 0.5 at the end.

        Raises:
            ChoiceError: no detector is registered for the task, and no judge given.
            DetectorError: one can't be loaded.
        """
        return cls(banded(tiers_of(task, judge=judge)))

    @classmethod
    def load(cls, path: str | Path, *, judge: Tier | None = None) -> Cascade:
        """The cascade of a calibration file (see `calibrate`).

        Raises:
            ChoiceError: the file isn't one, it needs a judge, or a detector is no longer what it was.
            DetectorError: a detector can't be loaded.
        """
        return cascade_from(read_calibration(path), judge=judge)

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text`, as the reply to `question` where there is one."""
        return (await self.check_many([text], [question]))[0]

    async def check_many(self, texts: Sequence[str], questions: Sequence[str | None]) -> list[Verdict]:
        """What `check` gives, each tier judging all that the one before it was unsure of."""
        found: list[Verdict | None] = [None] * len(texts)
        spent: list[tuple[tuple[str, float], ...]] = [()] * len(texts)
        unsure = list(range(len(texts)))
        for tier in self.tiers:
            if not unsure:
                break
            said = await check_many(tier.detector, [texts[i] for i in unsure], [questions[i] for i in unsure])
            left = []
            for i, verdict in zip(unsure, said, strict=True):
                spent[i] = (*spent[i], (tier.detector.name, verdict.ms))
                if tier.band.low <= verdict.probability < tier.band.high:
                    left.append(i)
                else:
                    found[i] = self._decided(verdict, tier, spent[i])
            unsure = left
        return [verdict for verdict in found if verdict is not None]

    def _decided(self, verdict: Verdict, tier: Tier, spent: tuple[tuple[str, float], ...]) -> Verdict:
        unsafe = verdict.probability >= tier.band.high
        label = "unsafe" if unsafe else "controversial" if verdict.label == "controversial" else "safe"
        return replace(
            verdict,
            label=label,  # type: ignore[arg-type]
            probability=_moved(verdict.probability, tier.band.high if unsafe else tier.band.low, unsafe),
            by=f"{self.name}:{tier.detector.name}",
            ms=sum(ms for _, ms in spent),
            tiers=spent,
        )


def _moved(probability: float, end: float, unsafe: bool) -> float:
    """The probability, stretched where it would lie on the other side of 0.5 than the label."""
    if unsafe:
        return probability if end >= 0.5 else 1 - (1 - probability) * 0.5 / (1 - end)
    return probability if end <= 0.5 else probability * (0.5 - 1e-9) / end


def tiers_of(
    task: Task, names: Sequence[str] | None = None, *, judge: Tier | None = None
) -> tuple[Tier, ...]:
    """Registered detectors as tiers, without bands of their own; the judge last.

    Args:
        task: what is looked for.
        names: which ones, in order; those of the task's default cascade where not given.
        judge: a model that judges.

    Raises:
        ChoiceError: one isn't registered for the task.
        DetectorError: one can't be loaded.
    """
    if names is None:
        able = [one for one in detectors().values() if task in one.tasks and one.tier is not None]
        chosen = sorted(able, key=lambda one: one.tier or 0)
        if not chosen and judge is None:
            chosen = [registered(task)]
    else:
        chosen = [registered(task, name) for name in names]
    made = tuple(Tier(one.name, one.make(task), digest=one.the_digest(), clears=one.clears) for one in chosen)
    return made if judge is None else (*made, judge)


def judge_tier(judge: Detector, about: Mapping[str, Any]) -> Tier:
    """A model that judges as the last tier; `about` is what its verdicts depend on (model, rules, stance)."""
    text = json.dumps(about, sort_keys=True, ensure_ascii=False)
    return Tier(JUDGE, judge, digest=hashlib.sha256(text.encode()).hexdigest())


def banded(tiers: Sequence[Tier], bands: Sequence[Band] | None = None) -> tuple[Tier, ...]:
    """Tiers with these bands; with those of no calibration where none are given."""
    if bands is None:
        bands = [_UNSURE if tier.clears else Band(0.0, 1.0) for tier in tiers[:-1]] + [_LAST]
    return tuple(replace(tier, band=band) for tier, band in zip(tiers, bands, strict=True))


async def scores_of(
    tiers: Sequence[Tier], texts: Sequence[str], questions: Sequence[str | None], *, at_once: int = 64
) -> Floats:
    """Each tier's probability of each row, [n, tiers]: what `promise` takes.

    Raises:
        DetectorError: a tier could not judge a row.
    """
    out = np.empty((len(texts), len(tiers)))
    for k, tier in enumerate(tiers):
        for start in range(0, len(texts), at_once):
            part = slice(start, start + at_once)
            said = await check_many(tier.detector, texts[part], questions[part])
            out[part, k] = [verdict.probability for verdict in said]
    return out


def read_calibration(path: str | Path) -> dict[str, Any]:
    """A calibration file, checked for what a cascade needs of it.

    Raises:
        ChoiceError: it can't be read or isn't one.
    """
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ChoiceError(f"{path} can't be read: {error.strerror}.") from None
    except ValueError:
        data = None
    try:
        right = data["format"] == 1 and isinstance(data["task"], str) and bool(data["tiers"])
        for row in data["tiers"]:
            ends = isinstance(row["low"], float | int) and isinstance(row["high"], float | int)
            right &= ends and isinstance(row["name"], str) and isinstance(row["digest"], str)
            right &= isinstance(row["clears"], bool)
    except (KeyError, TypeError):
        right = False
    if not right:
        raise ChoiceError(
            f"{path} is no calibration that this version reads: make it with `detect calibrate`."
        )
    found: dict[str, Any] = data
    return found


def cascade_from(data: Mapping[str, Any], *, judge: Tier | None = None) -> Cascade:
    """The cascade of what `read_calibration` gave.

    Raises:
        ChoiceError: it needs a judge, or a detector is no longer what it was.
        DetectorError: a detector can't be loaded.
    """
    task: Task = data["task"]
    rows = data["tiers"]
    if any(row["name"] == JUDGE for row in rows) != (judge is not None):
        wants = "was made with a judge: name it with --judge" if judge is None else "was made without a judge"
        raise ChoiceError(f"The calibration {wants}.")
    tiers = tiers_of(task, [row["name"] for row in rows if row["name"] != JUDGE], judge=judge)
    for tier, row in zip(tiers, rows, strict=True):
        if tier.digest != row["digest"]:
            raise ChoiceError(f"{tier.name} is not what it was when it was calibrated: calibrate again.")
    return Cascade(banded(tiers, [Band(float(row["low"]), float(row["high"])) for row in rows]))
