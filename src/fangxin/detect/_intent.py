from __future__ import annotations

import json
import re
import time
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._text import side
from fangxin.detect._verdict import DetectorError, Verdict

Vector = npt.NDArray[np.float64]

_BUCKETS = 1 << 16
_LONGEST = 3
_FOLDS = 8
_PENALTY = 0.1
_GROUND = 0.25  # log-odds that known words must add
_MOST = 64  # parts of a text that are read; the whole is always one of them
_TOKEN = re.compile(r"[a-z0-9']+|[\u3400-\u9fff]|[?？]")
_PART = re.compile(r"[^.!?。！？\n\"“”]+[.!?。！？]?")


def grams(text: str) -> npt.NDArray[np.int64]:
    """Hashed word n-grams of length 1 to 3, each once; every Chinese character counts as a word."""
    words = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    found = {
        zlib.crc32("\x1f".join(words[i : i + n]).encode()) % _BUCKETS
        for n in range(1, _LONGEST + 1)
        for i in range(len(words) - n + 1)
    }
    return np.array(sorted(found), np.int64)


def parts(text: str) -> list[str]:
    """The text and its sentences of at least four words: a request wrapped in others is one of them."""
    pieces = [piece.strip() for piece in _PART.findall(text)]
    return [text, *(piece for piece in pieces if len(_TOKEN.findall(piece.casefold())) >= 4)][:_MOST]


@dataclass(frozen=True)
class IntentDetector:
    """What a request is after, by its words: made anew for the weaknesses of one model.

    Where a general guard leans on topics, this one is fitted on pairs that share their frightening words
    and differ in intent. A text scores as its most suspicious sentence.

    Attributes:
        weights: of the hashed n-grams [65536].
        offset: added to every score.
        cut: scores from here on are unsafe.
        name: on its verdicts.
    """

    weights: Vector
    offset: float
    cut: float
    name: str = "intent"

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        harmful: Sequence[bool],
        groups: Sequence[int],
        *,
        false_positives: float = 0.05,
    ) -> IntentDetector:
        """Fit a regularised logistic regression; the cut comes from held-out folds.

        Args:
            texts: requests, plain or wrapped.
            harmful: whether each is after harm; both kinds must be there.
            groups: which pair or goal each belongs to: never on both sides of a fold.
            false_positives: the share of held-out benign texts that may be stopped, in (0, 1).

        Raises:
            DetectorError: only one kind of text.
        """
        labels = np.array(harmful, bool)
        if labels.all() or not labels.any():
            raise DetectorError("An intent detector needs harmful and harmless texts to tell apart.")
        rows = [grams(text) for text in texts]
        gram = _similarities(rows)
        fold = np.array([zlib.crc32(str(group).encode()) % _FOLDS for group in groups])
        held = np.empty(len(rows))
        for k in range(_FOLDS):
            out, kept = fold == k, fold != k
            if not out.any() or labels[kept].all() or not labels[kept].any():
                held[out] = 0.0
                continue
            alpha, offset = _logistic(gram[np.ix_(kept, kept)], labels[kept])
            weights = _weights([row for row, keep in zip(rows, kept, strict=True) if keep], alpha)
            held[out] = [_score(text, weights, offset) for text, left in zip(texts, out, strict=True) if left]
        alpha, offset = _logistic(gram, labels)
        cut = float(np.quantile(held[~labels], 1 - false_positives, method="higher"))
        # A text of unknown words scores the offset: that alone is no ground for stopping it.
        return cls(_weights(rows, alpha), offset, max(cut, offset + _GROUND))

    def score(self, text: str) -> float:
        """The log-odds of the most suspicious sentence."""
        return _score(text, self.weights, self.offset)

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge a request; `question` isn't looked at."""
        start = time.perf_counter()
        score = self.score(text)
        unsafe = score >= self.cut
        return Verdict(
            "unsafe" if unsafe else "safe",
            float(1 / (1 + np.exp(-np.clip(score - self.cut, -30, 30)))),
            reason="The request is worded like those that got through before." if unsafe else "",
            by=self.name,
            ms=(time.perf_counter() - start) * 1000,
        )

    def save(self, path: str | Path) -> None:
        """Write the weights as an npz file without pickles."""
        np.savez_compressed(
            path,
            weights=self.weights.astype(np.float16),
            offset=np.array(self.offset),
            cut=np.array(self.cut),
        )

    @classmethod
    def load(cls, path: str | Path) -> IntentDetector:
        """Read what `save` wrote.

        Raises:
            DetectorError: the file is missing or isn't one.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                weights: Any = stored["weights"]
                if weights.shape != (_BUCKETS,):
                    raise DetectorError(f"{path} holds no weights of an intent detector.")
                return cls(weights.astype(np.float64), float(stored["offset"]), float(stored["cut"]))
        except (OSError, ValueError, KeyError) as error:
            raise DetectorError(f"The intent detector's weights {path} can't be read: {error}.") from None


@cache
def contrasts() -> tuple[tuple[str, bool, int], ...]:
    """Our own pairs that share their words and differ in intent, and the guards' share of look-alikes.

    Returns:
        For each text: the text, whether it is after harm, and the number of its pair.
    """
    folder = files("fangxin.detect") / "rows"
    found: list[tuple[str, bool, int]] = []
    for line in (folder / "contrasts.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        pair = len(found)
        found += [(row["harmful"], True, pair), (row["benign"], False, pair)]
    for line in (folder / "lookalikes.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if side(row["text"], answered=False) == "guard":
            found.append((row["text"], row["label"] == "harmful", len(found)))
    return tuple(found)


def _similarities(rows: Sequence[npt.NDArray[np.int64]]) -> Vector:
    """Cosines between sets of n-grams [n, n]."""
    used, columns = np.unique(np.concatenate([*rows, np.zeros(1, np.int64)]), return_inverse=True)
    dense = np.zeros((len(rows), len(used)), np.float32)
    start = 0
    for i, row in enumerate(rows):
        dense[i, columns[start : start + len(row)]] = 1 / np.sqrt(max(1, len(row)))
        start += len(row)
    return np.asarray(dense @ dense.T, np.float64)


def _logistic(gram: Vector, labels: npt.NDArray[np.bool_]) -> tuple[Vector, float]:
    """L2-regularised logistic regression in its dual, classes weighted alike, by Newton's method.

    Returns:
        The coefficients of the rows, and the offset.
    """
    y = labels.astype(np.float64)
    share = np.where(labels, 0.5 / y.sum(), 0.5 / (1 - y).sum()) * len(y)
    alpha, offset = np.zeros(len(y)), 0.0
    for _ in range(12):
        p = 1 / (1 + np.exp(-(gram @ alpha + offset)))
        curve = np.maximum(share * p * (1 - p), 1e-6)
        target = gram @ alpha + offset + share * (y - p) / curve
        # Weighted kernel ridge with a free offset: [K + C/W, 1; 1', 0] [alpha; b] = [target; 0].
        system = np.zeros((len(y) + 1, len(y) + 1))
        system[:-1, :-1] = gram + np.diag(_PENALTY / curve)
        system[:-1, -1] = system[-1, :-1] = 1
        solved = np.linalg.solve(system, np.append(target, 0.0))
        moved = float(np.abs(solved[:-1] - alpha).max())
        alpha, offset = solved[:-1], float(solved[-1])
        if moved < 1e-4:
            break
    return alpha, offset


def _weights(rows: Sequence[npt.NDArray[np.int64]], alpha: Vector) -> Vector:
    weights = np.zeros(_BUCKETS)
    for row, a in zip(rows, alpha, strict=True):
        weights[row] += a / np.sqrt(max(1, len(row)))
    return weights.astype(np.float16).astype(np.float64)  # as they are stored: what is proved is served


def _score(text: str, weights: Vector, offset: float) -> float:
    best = -np.inf
    for part in parts(text):
        row = grams(part)
        if len(row):
            best = max(best, float(weights[row].sum() / np.sqrt(len(row))) + offset)
    return best if np.isfinite(best) else offset
