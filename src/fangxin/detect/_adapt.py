from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from fangxin.detect._guard import PromptGuard
from fangxin.detect._head import Array, Cuts, Head, Residual, fit_logistic
from fangxin.detect._text import language
from fangxin.detect._weights import weights

Float = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_LANGUAGES = ("en", "zh")
_FOLDS = 4
_GAMMA = 1.5
_LANDMARKS = 64
_DIRECTIONS = 64
# What cross-validation chooses from: how loud the linear part is beside the kernel's, and the penalty.
_LOUDNESS = (0.0, 4.0)
_PENALTIES = (0.1, 0.5, 2.0, 8.0)


@cache
def anchors() -> tuple[Array, Flags, tuple[str, ...]]:
    """A sample of what the base guard was trained on, kept against forgetting.

    Returns:
        Embeddings [n, 512] (stored as int8), whether each is harmful [n], and each one's language.
    """
    stored = weights("anchors")
    x = stored["embeddings"].astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, stored["harmful"].astype(bool), tuple("zh" if zh else "en" for zh in stored["chinese"])


@dataclass(frozen=True)
class _Texts:
    """The found texts, then the anchors: one entry each.

    Attributes:
        harmful: the label.
        code: the language.
        fold: which fold leaves it out.
        found: False for anchors.
    """

    harmful: Flags
    code: npt.NDArray[np.str_]
    fold: npt.NDArray[np.intp]
    found: Flags


def adapt(
    guard: PromptGuard,
    harmful: Sequence[str],
    benign: Sequence[str],
    *,
    groups: Sequence[int] | None = None,
    false_positives: float = 0.02,
    seed: int = 0,
) -> PromptGuard:
    """A guard fitted on a found weakness: the base guard plus a small residual head.

    The residual is a logistic regression with the base's score as its offset, on similarities to found
    texts and on the main directions in which they differ. It is fitted on the found texts, their harmless
    counterparts and the shipped anchors. Its shape and penalty are chosen by cross-validation over groups
    (leaving the guard as it was is among the choices), and the cuts are set from the out-of-fold scores of
    harmless texts.

    Args:
        guard: the guard to start from; a residual that it already has is replaced.
        harmful: texts that it should have stopped.
        benign: harmless texts like them (the same wrappings or words), which it must let through.
        groups: for `harmful` then `benign`, the goal that each comes from: no goal is on both sides of a
            fold. By default every text is its own goal.
        false_positives: the share of harmless texts that may be stopped, in (0, 1): held both for the
            found harmless texts and for the anchors', per language.
        seed: of the folds and landmarks; the same arguments give the same guard.

    Raises:
        ValueError: no harmful text, or `groups` has another length than the texts.
    """
    words = [*harmful, *benign]
    if not harmful:
        raise ValueError("adapt needs at least one harmful text.")
    if groups is not None and len(groups) != len(words):
        raise ValueError(f"groups has {len(groups)} entries for {len(words)} texts.")
    rng = np.random.default_rng(seed)
    base = replace(guard, residual=None)
    goal = np.arange(len(words)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    ax, ay, alang = anchors()
    texts = _Texts(
        np.concatenate([np.arange(len(words)) < len(harmful), ay]),
        np.array([*(language(text) for text in words), *alang]),
        np.concatenate(
            [rng.permutation(int(goal.max()) + 1)[goal] % _FOLDS, rng.integers(_FOLDS, size=len(ax))]
        ),
        np.arange(len(words) + len(ax)) < len(words),
    )
    # Every reading of every text; an anchor has one. All are scored, some are fitted on.
    parts = [x for _, x in base.read(words)] + list(ax[:, None, :])
    x = np.concatenate(parts)
    counts = np.array([len(part) for part in parts])
    owner = np.repeat(np.arange(len(parts)), counts)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    logits = base.logits(x).astype(np.float64)
    handicap = np.zeros(len(x))
    late = np.ones(len(x), bool)
    late[firsts] = False
    first, more = base.handicap
    handicap[late] = first + more * np.log(counts[owner[late]])

    rows = _fitted_on(logits - handicap, firsts, counts)
    weight = _weights(texts, owner[rows])
    kernel = Head(
        _spread(x[rows][texts.found[owner[rows]]], _LANDMARKS, rng), np.zeros(0, np.float32), 0.0, _GAMMA
    )
    y = texts.harmful[owner].astype(np.float64)
    similar = kernel.features(x).astype(np.float64)
    directions = _directions(x[rows][texts.found[owner[rows]]])

    best = (_recall(_pooled(logits - handicap, firsts), texts, false_positives), 0.0, 0.0)
    kept = _pooled(logits - handicap, firsts)
    for loudness in _LOUDNESS:
        f = _features(similar, x, directions, loudness)
        for penalty in _PENALTIES:
            out = np.empty(len(parts))
            for k in range(_FOLDS):
                train = rows[texts.fold[owner[rows]] != k]
                use = texts.fold[owner[rows]] != k
                beta = fit_logistic(f[train], y[train], weight[use], logits[train], penalty, steps=6)
                held = texts.fold == k
                out[held] = _pooled(logits + f @ beta - handicap, firsts)[held]
            value = _recall(out, texts, false_positives)
            if value > best[0]:
                best, kept = (value, loudness, penalty), out
    _, loudness, penalty = best
    residual = None
    if penalty:
        f = _features(similar, x, directions, loudness)
        beta = fit_logistic(f[rows], y[rows], weight, logits[rows], penalty)
        m = len(kernel.landmarks)
        residual = Residual(
            replace(kernel, weights=beta[1 : m + 1].astype(np.float32), bias=float(beta[0])),
            (loudness * directions @ beta[m + 1 :]).astype(np.float32),
        )
    unsafe, unsure = dict(guard.cuts.unsafe), dict(guard.cuts.unsure)
    for code in _LANGUAGES:
        cut = _cut(kept, texts, code, false_positives)
        unsure[code] += cut - unsafe[code]
        unsafe[code] = cut
    return replace(
        base,
        residual=residual,
        cuts=Cuts(unsafe, unsure, guard.cuts.slope),
        name=f"{guard.name.removesuffix('+')}+",
    )


def _features(similar: Float, x: Array, directions: Array, loudness: float) -> Float:
    """A column of ones, the similarities, and the loudened linear part; [n, 1 + m + k]."""
    ones = np.ones((len(x), 1))
    return np.concatenate([ones, similar, loudness * (x @ directions).astype(np.float64)], axis=1)


def _fitted_on(
    scores: Float, firsts: npt.NDArray[np.intp], counts: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Rows to fit on: each text's whole, and the part that the base finds worst."""
    rows = set(firsts.tolist())
    for start, count in zip(firsts, counts, strict=True):
        if count > 1:
            rows.add(int(start + 1 + np.argmax(scores[start + 1 : start + count])))
    return np.array(sorted(rows))


def _weights(texts: _Texts, owner: npt.NDArray[np.intp]) -> Float:
    """Found harmful, found harmless, and anchors: each a third, no row heavier than ten anchors."""
    out = np.ones(len(owner))
    total = float((~texts.found[owner]).sum())
    for label in (True, False):
        mine = texts.found[owner] & (texts.harmful[owner] == label)
        if mine.any():
            out[mine] = min(10.0, total / 2 / float(mine.sum()))
    return out


def _spread(x: Array, count: int, rng: np.random.Generator) -> Array:
    """At most `count` rows far from each other (farthest-point sampling)."""
    if len(x) <= count:
        return x
    chosen = [int(rng.integers(len(x)))]
    near = x @ x[chosen[0]]
    for _ in range(count - 1):
        chosen.append(int(np.argmin(near)))
        near = np.maximum(near, x @ x[chosen[-1]])
    return x[chosen]


def _directions(x: Array) -> Array:
    """The main directions in which rows differ, [512, k], each scaled to even out their spread by half."""
    centred = x - x.mean(axis=0)
    _, size, v = np.linalg.svd(centred, full_matrices=False)
    k = int(min(_DIRECTIONS, (size > 1e-4).sum()))
    if not k:
        return np.zeros((x.shape[1], 0), np.float32)
    return np.asarray(v[:k].T * np.sqrt(size[0] / size[:k]), np.float32)


def _pooled(scores: Float, firsts: npt.NDArray[np.intp]) -> Float:
    """Each text's best reading, handicaps already taken off."""
    return np.asarray(np.maximum.reduceat(scores, firsts), np.float64)


def _cut(scores: Float, texts: _Texts, code: str, rate: float) -> float:
    """The lowest cut that keeps harmless texts, found ones and anchors alike, to the rate."""
    levels = []
    for found in (True, False):
        mine = (texts.code == code) & ~texts.harmful & (texts.found == found)
        if mine.sum() >= 10:
            levels.append(float(np.quantile(scores[mine], 1 - rate)))
    return max(levels) + 1e-6


def _recall(scores: Float, texts: _Texts, rate: float) -> float:
    """Recall at the rate: of what was found, three quarters; of what was known before, one quarter."""
    above = np.zeros(len(scores), bool)
    for code in _LANGUAGES:
        above |= (texts.code == code) & (scores > _cut(scores, texts, code, rate))
    new, known = texts.harmful & texts.found, texts.harmful & ~texts.found
    return 0.75 * float(above[new].mean()) + 0.25 * float(above[known].mean())
