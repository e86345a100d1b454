from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from fangxin.detect._guard import PromptGuard
from fangxin.detect._head import Array, Cuts, Head, fit_logistic
from fangxin.detect._text import language
from fangxin.detect._weights import weights

Float = npt.NDArray[np.float64]

_LANGUAGES = ("en", "zh")
_FOLDS = 4
_GAMMAS = (1.0, 2.0)
_PENALTIES = (0.3, 1.0, 3.0, 10.0)
_LANDMARKS = 160


@cache
def anchors() -> tuple[Array, npt.NDArray[np.bool_], tuple[str, ...]]:
    """A sample of what the base guard was trained on, kept against forgetting.

    Returns:
        Embeddings [n, 512] (stored as int8), whether each is harmful [n], and each one's language.
    """
    stored = weights("anchors")
    x = stored["embeddings"].astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, stored["harmful"].astype(bool), tuple("zh" if zh else "en" for zh in stored["chinese"])


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

    The residual is a kernel logistic regression with the base's score as its offset, fitted on the found
    texts, their harmless counterparts and the shipped anchors; width and penalty are chosen by
    cross-validation over groups, and the cuts are set from the out-of-fold scores of harmless texts.

    Args:
        guard: the guard to start from; a residual it already has is replaced.
        harmful: texts that it should have stopped.
        benign: harmless texts like them (the same wrappings or words), which it must let through.
        groups: for `harmful` then `benign`, the goal that each comes from: no goal is on both sides of a
            fold. By default every text is its own goal.
        false_positives: the share of harmless texts that may be stopped, in (0, 1).
        seed: of the folds and landmarks; the same arguments give the same guard.

    Raises:
        ValueError: no harmful text, or `groups` has another length than the texts.
    """
    texts = [*harmful, *benign]
    if not harmful:
        raise ValueError("adapt needs at least one harmful text.")
    if groups is not None and len(groups) != len(texts):
        raise ValueError(f"groups has {len(groups)} entries for {len(texts)} texts.")
    rng = np.random.default_rng(seed)
    base = replace(guard, residual=None)
    label = np.array([1.0] * len(harmful) + [0.0] * len(benign))
    goal = np.arange(len(texts)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    fold = rng.permutation(int(goal.max()) + 1)[goal] % _FOLDS

    readings = [x for _, x in base.read(texts)]
    rows: list[Array] = []
    owner: list[int] = []
    for i, x in enumerate(readings):
        # What decides a text's score: the whole, and the part that the base finds worst.
        worst = 1 + int(np.argmax(base.head.logits(x[1:]))) if len(x) > 1 else 0
        for j in {0, worst}:
            rows.append(x[j])
            owner.append(i)
    ax, ay, alang = anchors()
    afold = rng.integers(_FOLDS, size=len(ax))
    own = np.array(owner)
    x_all = np.concatenate([np.array(rows, np.float32), ax])
    y_all = np.concatenate([label[own], ay.astype(np.float64)])
    f_all = np.concatenate([fold[own], afold])
    offset = base.head.logits(x_all).astype(np.float64)
    share = np.bincount(own, minlength=len(texts))[own].astype(np.float64)
    # The found texts together weigh as much as a third of the anchors, each text the same in its class.
    found = np.where(label[own] > 0, 1.0 / max(len(harmful), 1), 1.0 / max(len(benign), 1)) / share
    w_all = np.concatenate([found * len(ax) / 6.0, np.ones(len(ax))])
    w_all[: len(own)] = np.minimum(w_all[: len(own)], 8.0)

    picked = _spread(x_all[: len(own)], _LANDMARKS * 3 // 4, rng)
    landmarks = np.concatenate([picked, _spread(ax, _LANDMARKS - len(picked), rng)])
    code = [language(text) for text in texts]
    best: tuple[float, float, float] | None = None
    kept: Float = np.empty(0)
    for gamma in _GAMMAS:
        kernel = Head(landmarks, np.zeros(len(landmarks), np.float32), 0.0, gamma)
        f = np.concatenate([kernel.features(x_all), np.ones((len(x_all), 1), np.float32)], 1).astype(
            np.float64
        )
        for penalty in _PENALTIES:
            score, out = _cross(
                base, kernel, penalty, f, (y_all, w_all, offset, f_all), readings, label, fold
            )
            anchor = out[len(texts) :]
            value = _quality(score, anchor, label, ay, code, alang, false_positives)
            if best is None or value > best[0]:
                best, kept = (value, gamma, penalty), out
    assert best is not None
    _, gamma, penalty = best
    kernel = Head(landmarks, np.zeros(len(landmarks), np.float32), 0.0, gamma)
    f = np.concatenate([kernel.features(x_all), np.ones((len(x_all), 1), np.float32)], 1).astype(np.float64)
    beta = fit_logistic(f, y_all, w_all, offset, penalty)
    residual = replace(kernel, weights=beta[:-1].astype(np.float32), bias=float(beta[-1]))
    cuts = _cuts(guard.cuts, kept, label, ay, code, alang, false_positives)
    return replace(base, residual=residual, cuts=cuts, name=f"{guard.name.removesuffix('+')}+")


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


def _cross(
    base: PromptGuard,
    kernel: Head,
    penalty: float,
    f: Float,
    rows: tuple[Float, Float, Float, npt.NDArray[np.intp]],
    readings: list[Array],
    label: Float,
    fold: npt.NDArray[np.intp],
) -> tuple[Float, Float]:
    """Out-of-fold scores of the texts, and of texts and anchors together."""
    y, w, offset, f_all = rows
    anchors_from = len(y) - len(anchors()[1])
    out = np.empty(len(readings) + len(y) - anchors_from)
    for k in range(_FOLDS):
        train = f_all != k
        beta = fit_logistic(f[train], y[train], w[train], offset[train], penalty, steps=6)
        head = replace(kernel, weights=beta[:-1].astype(np.float32), bias=float(beta[-1]))
        guard = replace(base, residual=head)
        for i in np.flatnonzero(fold == k):
            out[i] = guard.pool(guard.logits(readings[i]), len(readings[i]))[0]
        mine = np.flatnonzero(~train[anchors_from:])
        out[len(readings) + mine] = offset[anchors_from + mine] + f[anchors_from + mine] @ beta
    return out[: len(readings)], out


def _threshold(
    out: Float,
    label: Float,
    ay: npt.NDArray[np.bool_],
    code: Sequence[str],
    alang: Sequence[str],
    of: str,
    rate: float,
) -> float:
    n = len(label)
    levels = []
    mine = np.array([c == of for c in code], bool) & (label == 0)
    theirs = np.array([c == of for c in alang], bool) & ~ay
    for scores in (out[:n][mine], out[n:][theirs]):
        if len(scores) >= 10:
            levels.append(float(np.quantile(scores, 1 - rate)))
    # Both kinds of harmless text must keep to the rate: the stricter of the two cuts.
    return max(levels) if levels else float("nan")


def _quality(
    score: Float,
    anchor: Float,
    label: Float,
    ay: npt.NDArray[np.bool_],
    code: Sequence[str],
    alang: Sequence[str],
    rate: float,
) -> float:
    """Recall at the rate: of the found texts first, of the anchors' harmful ones at a third's weight."""
    out = np.concatenate([score, anchor])
    caught = total = remembered = known = 0.0
    for of in _LANGUAGES:
        cut = _threshold(out, label, ay, code, alang, of, rate)
        mine = score[(label > 0) & np.array([c == of for c in code], bool)]
        theirs = anchor[ay & np.array([c == of for c in alang], bool)]
        caught, total = caught + float(np.sum(mine > cut)), total + len(mine)
        remembered, known = remembered + float(np.sum(theirs > cut)), known + len(theirs)
    return 0.75 * caught / max(total, 1.0) + 0.25 * remembered / max(known, 1.0)


def _cuts(
    old: Cuts,
    out: Float,
    label: Float,
    ay: npt.NDArray[np.bool_],
    code: Sequence[str],
    alang: Sequence[str],
    rate: float,
) -> Cuts:
    unsafe, unsure = dict(old.unsafe), dict(old.unsure)
    for of in _LANGUAGES:
        cut = _threshold(out, label, ay, code, alang, of, rate)
        if np.isfinite(cut):
            gap = old.unsafe[of] - old.unsure[of]
            unsafe[of], unsure[of] = cut + 1e-6, cut + 1e-6 - gap
    return Cuts(unsafe, unsure, old.slope)
