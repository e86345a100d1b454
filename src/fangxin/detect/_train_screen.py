from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._hashing import BITS
from fangxin.detect._screen import KINDS, Screen
from fangxin.detect._sources import Rows, Sources, capped
from fangxin.detect._text import identity
from fangxin.detect._train_classifier import fit_grams, row_weights, rows_of
from fangxin.detect._train_guard import contrast_rows, held_out, instructions, say, wrapped
from fangxin.detect._views import clean

_LANGUAGES = ("en", "zh")
_MISSED = 0.05  # of held-out harmful texts of each kind that may pass
_STOPPED = 0.005  # of held-out harmless texts that may be stopped


def _harm(sources: Sources, rng: random.Random) -> Rows:
    """Prompts of the guards' side, plain and wrapped, and our contrast pairs."""
    rows = capped(sources.prompts("guard"), 1500, rng) + instructions(rng, 900)
    rows = [{**row, "held": held_out(row["text"])} for row in rows] + contrast_rows(sources)
    rows += wrapped(rows, sources, rng, 900)
    return [
        {**row, "text": clean(row["text"]), "label": float(row["label"] == "harmful"), "weight": 1.0}
        for row in rows
    ]


def train_screen(sources: Sources, seed: int) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Arrays of the screen: three linear models, each with marks from rows that it did not see."""
    harm = _harm(sources, random.Random(seed))
    tally, taken = sources.tally.copy(), set(sources.taken)
    plain = [
        row for row in harm if not row["label"] and row["source"] not in ("wrapped", "fangxin_contrasts")
    ]
    table = np.zeros((1 << BITS, len(KINDS)), np.int8)
    lines = {code: np.zeros((len(KINDS), 2), np.float32) for code in _LANGUAGES}
    marks = {code: np.zeros((len(KINDS), 2), np.float32) for code in _LANGUAGES}
    for k, kind in enumerate(KINDS):
        if kind == "harm":
            rows = harm
        else:
            rows = rows_of(kind, sources, random.Random(seed))  # type: ignore[arg-type]
            tally.update(sources.tally)
            taken |= sources.taken
            known = {identity(row["text"]) for row in rows}
            rows = rows + [row for row in plain if identity(row["text"]) not in known]
        fit = [row for row in rows if not row["held"]]
        rest = [row for row in rows if row["held"]]
        say(f"screen: {kind}, {len(fit)} rows to fit, {len(rest)} held out")
        y = np.array([row["label"] for row in fit])
        found = fit_grams([row["text"] for row in fit], y, row_weights(fit), seed)
        scale = float(np.quantile(np.abs(found[found != 0]), 0.9995)) / 127
        table[:, k] = np.clip(np.round(found / scale), -127, 127)
        _marks(k, table, rest, lines, marks)
    sources.tally, sources.taken = tally, taken
    return {"screen": Screen(table, lines, marks).arrays()}


def _marks(
    k: int,
    table: npt.NDArray[np.int8],
    rest: Rows,
    lines: dict[str, npt.NDArray[np.float32]],
    marks: dict[str, npt.NDArray[np.float32]],
) -> None:
    """Slope, offset and marks of one kind, from its held-out rows."""
    from sklearn.linear_model import LogisticRegression

    even = {code: np.tile(np.array([1.0, 0.0], np.float32), (len(KINDS), 1)) for code in _LANGUAGES}
    sums = Screen(table, even, even).logits([row["text"] for row in rest])[:, k]
    y = np.array([row["label"] >= 0.5 for row in rest])
    code = np.array([row["lang"] for row in rest])
    for of in _LANGUAGES:
        mine = code == of
        model = LogisticRegression(C=100.0).fit(sums[mine, None] / 100, y[mine])
        line = (float(model.coef_[0, 0]) / 100, float(model.intercept_[0]))
        score = sums[mine] * line[0] + line[1]
        low = float(np.quantile(score[y[mine]], _MISSED))
        high = max(float(np.quantile(score[~y[mine]], 1 - _STOPPED)), low)
        lines[of][k], marks[of][k] = line, (low, high)
        passed, stopped = np.mean(score[~y[mine]] < low), np.mean(score[y[mine]] >= high)
        say(f"  {KINDS[k]} {of}: passes {passed:.3f} of the harmless, stops {stopped:.3f} of the harmful")
