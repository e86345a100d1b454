from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fangxin.proof import wilson

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# What recall is given at: the share of harmless rows that may be taken for harmful.
ALLOWED = (0.01, 0.02, 0.05)
_PROPORTIONS = {"accuracy": "rows", "recall": "positives", "false_blocks": "negatives"}


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with its interval.

    Attributes:
        value: the figure, in [0, 1].
        low: lower end of its 95 % interval.
        high: upper end.
        n: the rows that it rests on.
    """

    value: float
    low: float
    high: float
    n: int


class Scored:
    """Scores and labels, sorted once, so that resampling them costs no more sorting.

    Rows of one score stand or fall together, as in scikit-learn.

    Args:
        truth: [n], whether each row is what is looked for.
        score: [n], the higher the likelier; finite.
        said: [n], what was decided at the default threshold; score >= 0.5 where not given.

    Raises:
        ValueError: no row, lengths that differ, or a score that isn't finite.
    """

    def __init__(self, truth: ArrayLike, score: ArrayLike, said: ArrayLike | None = None) -> None:
        y = np.asarray(truth, dtype=bool)
        s = np.asarray(score, dtype=np.float64)
        d = s >= 0.5 if said is None else np.asarray(said, dtype=bool)
        if not y.size or not y.shape == s.shape == d.shape or y.ndim != 1:
            raise ValueError("Labels, scores and decisions must be as many, and at least one.")
        if not np.isfinite(s).all():
            raise ValueError("A score is not finite.")
        order = np.argsort(-s, kind="stable")
        self.truth: Flags = y[order]
        self.said: Flags = d[order]
        distinct = s[order]
        # The first row of each score, from the highest score on.
        self._firsts = np.flatnonzero(np.concatenate([[True], distinct[1:] != distinct[:-1]]))

    def figures(self, weight: Floats | None = None) -> dict[str, float]:
        """All figures, each row counting `weight` times; those that need both kinds of row only then.

        - `f1`, `macro_f1` (the mean of F1 of the positives and F1 of the negatives), `accuracy`, `recall` and
          `false_blocks` (false positives among the negatives) at the default threshold;
        - `auroc` (Mann-Whitney, ties a half), `auprc` (average precision, sum of precision times the step in
          recall; not interpolated);
        - `recall_at_1`, `_2`, `_5`: the best recall at a threshold with at most 1, 2, 5 % false positives.
        """
        w = np.ones(len(self.truth)) if weight is None else weight
        positive, negative = np.where(self.truth, w, 0.0), np.where(self.truth, 0.0, w)
        p, n = float(positive.sum()), float(negative.sum())
        hit, false = float(positive[self.said].sum()), float(negative[self.said].sum())
        missed, passed = p - hit, n - false
        wrong = false + missed
        ours, theirs = _ratio(2 * hit, 2 * hit + wrong), _ratio(2 * passed, 2 * passed + wrong)
        out = {
            "f1": ours,
            "macro_f1": (ours + theirs) / 2,
            "accuracy": (hit + passed) / (p + n),
        }
        if p:
            out["recall"] = hit / p
        if n:
            out["false_blocks"] = false / n
        if not p or not n:
            return out
        steps_up, steps_out = (np.add.reduceat(of, self._firsts) for of in (positive, negative))
        up, along = np.cumsum(steps_up), np.cumsum(steps_out)
        out["auroc"] = float((steps_out * (up - steps_up / 2)).sum() / (p * n))
        total = up + along
        precision = np.divide(up, total, out=np.zeros_like(up), where=total > 0)
        out["auprc"] = float((precision * steps_up).sum() / p)
        for allowed in ALLOWED:
            # A hair more than allowed, so that 1 of 100 is 1 % whatever the rounding.
            inside = along <= allowed * n + 1e-9
            out[f"recall_at_{allowed:.0%}".rstrip("%")] = float(up[inside].max(initial=0.0) / p)
        return out


def measured(scored: Scored, *, resamples: int = 1000, seed: int = 0) -> dict[str, Measured]:
    """Every figure with a 95 % interval: the percentile bootstrap (Efron & Tibshirani 1993, ch. 13).

    Positives and negatives are resampled apart, so that their numbers stay. Percentiles have no width where
    all rows agree (0 of 30): no interval of a proportion is therefore narrower than Wilson's.

    Args:
        scored: the rows.
        resamples: how many; 0 gives Wilson's intervals, and for the rest none (the ends are the value).
        seed: of the resampling.
    """
    values = scored.figures()
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for weight in _resamples(scored.truth, resamples, seed):
        for name, value in scored.figures(weight).items():
            drawn[name].append(value)
    count = {"rows": len(scored.truth), "positives": int(scored.truth.sum())}
    count["negatives"] = count["rows"] - count["positives"]
    out = {}
    for name, value in values.items():
        low, high = np.quantile(drawn[name], [0.025, 0.975]) if drawn[name] else (value, value)
        of = "positives" if name.startswith("recall") else _PROPORTIONS.get(name)
        if of:
            ends = wilson(value * count[of], count[of])
            low, high = min(low, ends[0]), max(high, ends[1])
        n = count[of or "rows"]
        out[name] = Measured(value, float(min(low, value)), float(max(high, value)), n)
    return out


def _resamples(truth: Flags, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, a resample at a time."""
    rng = np.random.default_rng(seed)
    kinds = [rows for rows in (np.flatnonzero(truth), np.flatnonzero(~truth)) if len(rows)]
    for _ in range(resamples):
        weight = np.zeros(len(truth))
        for rows in kinds:
            weight[rows] = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
        yield weight


def by_language(
    truth: Sequence[bool],
    score: Sequence[float],
    said: Sequence[bool],
    languages: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """`measured` over all rows (`all`), then over those of each language; with counts of both kinds."""
    y, s, d = np.asarray(truth, bool), np.asarray(score, np.float64), np.asarray(said, bool)
    codes = np.asarray(languages)
    groups = {"all": np.ones(len(y), bool)} | {code: codes == code for code in sorted(set(languages))}
    out: dict[str, dict[str, Any]] = {}
    for code, of in groups.items():
        figures = measured(Scored(y[of], s[of], d[of]), resamples=resamples, seed=seed)
        out[code] = {"positives": int(y[of].sum()), "negatives": int((~y[of]).sum()), "figures": figures}
    return out


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
