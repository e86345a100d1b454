from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fangxin.detect._metrics import Flags, Floats, Measured
from fangxin.proof import clopper_pearson

# How much of the harmless rows an early tier clears, of those that the whole cascade clears: each is a path.
_SHARES = (0.5, 0.8, 0.95)
_EARLY_BLOCKS = 0.005  # of harmless rows that a tier before the last may block by itself
_STEPS = 400
LEAST_NEGATIVES = 40


class NoPromiseError(ValueError):
    """The rows can't carry the promise that was asked for; the message says what would."""


@dataclass(frozen=True, slots=True)
class Band:
    """Where a tier is sure: safe below `low`, unsafe from `high` on, and the next one is asked between them.

    The last tier of a cascade has no one to ask: its ends are equal.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Promise:
    """Bands with what is promised of them, and what they cost.

    Attributes:
        bands: one a tier.
        alpha: the miss rate is at most that,
        confidence: with this confidence, over the drawing of the rows.
        misses: harmful rows that these bands let pass,
        positives: of so many.
        bound: upper confidence bound of the miss rate at these bands; at most `alpha`.
        false_blocks: harmless rows blocked, on those that chose nothing; Clopper-Pearson, 95 %.
        sent: share of those rows that each tier is asked about, the first one's 1.
    """

    bands: tuple[Band, ...]
    alpha: float
    confidence: float
    misses: int
    positives: int
    bound: float
    false_blocks: Measured
    sent: tuple[Measured, ...]


def decide(scores: Floats, bands: Sequence[Band]) -> tuple[Flags, NDArray[np.intp]]:
    """What a cascade says: whether each row is unsafe [n], and how many tiers were asked [n].

    Args:
        scores: [n, tiers] probabilities.
        bands: one a tier.
    """
    unsafe = np.zeros(len(scores), bool)
    asked = np.zeros(len(scores), np.intp)
    open_ = np.ones(len(scores), bool)
    for k, band in enumerate(bands):
        asked[open_] += 1
        unsafe |= open_ & (scores[:, k] >= band.high)
        open_ &= (scores[:, k] >= band.low) & (scores[:, k] < band.high)
    return unsafe, asked


def most_misses(n: int, alpha: float, delta: float) -> int:
    """The most misses of `n` that still show a miss rate of at most `alpha`; -1 where none would.

    The largest k with P(Binomial(n, alpha) <= k) <= delta: the exact test, so Clopper and Pearson's (1934)
    upper bound at 1 - delta is at most alpha just where no more are missed.
    """
    tail = 0.0
    for k in range(n + 1):
        choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        tail += math.exp(choose + k * math.log(alpha) + (n - k) * math.log1p(-alpha))
        if tail > delta:
            return k - 1
    return n - 1


def rows_needed(alpha: float, delta: float) -> int:
    """Harmful rows without which nothing can be promised: the least n with (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def promise(
    positives: Floats,
    negatives: Floats,
    *,
    alpha: float = 0.05,
    confidence: float = 0.95,
    clears: Sequence[bool] | None = None,
    seed: int = 0,
) -> Promise:
    """Bands whose miss rate is at most `alpha`, with `confidence` over the drawing of the harmful rows.

    Learn then test (Angelopoulos, Bates, Candes, Jordan & Lei 2021, arXiv 2110.01052): a path of bands, from
    "nothing is safe" to ever less strict ones, is laid down without a look at the harmful rows; along it each
    "the miss rate is above alpha" is tested by the exact binomial test at level delta, until one can't be
    rejected. That fixed sequence keeps the chance that any band that was passed misses more than alpha
    under delta = 1 - confidence, whatever the detectors and the number of steps; so any of them may be taken
    (conformal risk control, arXiv 2208.02814, promises the mean only). With several tiers there are several
    paths (how much the early tiers clear), each at delta / paths.

    One half of the harmless rows, drawn by the seed, lays the paths and chooses among what passed: the fewest
    false blocks, to the percent, and of those the fewest rows sent to the last tier. The other half
    measures false blocks and rows sent. The promise is about rows drawn as the harmful ones were, one
    by one: variants of one text are not that, and other traffic isn't covered.

    Args:
        positives: [n, tiers] probabilities of harmful rows, each tier's.
        negatives: [m, tiers] of harmless rows.
        alpha: in (0, 1).
        confidence: in (0.5, 1).
        clears: whether each tier's "safe" counts; a list of terms can only block. All by default.
        seed: of the halves.

    Raises:
        NoPromiseError: too few rows, or only blocking everything would keep the promise.
    """
    if not 0 < alpha < 1 or not 0.5 < confidence < 1:
        raise NoPromiseError("alpha must lie between 0 and 1, and confidence between 0.5 and 1.")
    n, tiers = positives.shape
    clears = [True] * tiers if clears is None else list(clears)
    shares: tuple[float, ...] = _SHARES if any(clears[:-1]) else (0.0,)
    delta = (1 - confidence) / len(shares)
    asked = f"a miss rate of at most {alpha:.3g} with confidence {confidence:.3g}"
    allowed = most_misses(n, alpha, delta)
    if allowed < 0:
        raise NoPromiseError(
            f"No promise: {asked} needs at least {rows_needed(alpha, delta)} harmful rows, and there are {n}."
        )
    if len(negatives) < LEAST_NEGATIVES:
        raise NoPromiseError(
            f"No promise: what it costs can't be told from {len(negatives)} harmless rows; give at least "
            f"{LEAST_NEGATIVES}."
        )
    order = np.random.default_rng(seed).permutation(len(negatives))
    laying, measuring = np.array_split(negatives[order], 2)
    best: tuple[tuple[float, float], tuple[Band, ...]] | None = None
    for share in shares:
        for bands in _path(laying, share, clears):
            if int((~decide(positives, bands)[0]).sum()) > allowed:
                break
            unsafe, depth = decide(laying, bands)
            cost = round(float(unsafe.mean()), 2), float((depth == tiers).mean())
            if not unsafe.all() and (best is None or cost <= best[0]):
                best = cost, bands
    if best is None:
        raise NoPromiseError(
            f"No promise: only blocking everything would give {asked} on these rows; the detectors don't "
            "tell them apart well enough. Allow a higher --alpha, or add a better tier (--judge)."
        )
    bands = best[1]
    misses = int((~decide(positives, bands)[0]).sum())
    unsafe, depth = decide(measuring, bands)
    sent = tuple(_share(int((depth > k).sum()), len(depth)) for k in range(tiers))
    bound = clopper_pearson(misses, n, 1 - 2 * delta)[1]
    blocks = _share(int(unsafe.sum()), len(unsafe))
    return Promise(bands, alpha, confidence, misses, n, bound, blocks, sent)


def _path(negatives: Floats, share: float, clears: Sequence[bool]) -> Iterator[tuple[Band, ...]]:
    """Bands from the strictest on; each clears as many or more harmless rows than the one before."""
    tiers = negatives.shape[1]
    highs = [
        max(0.5, _above(float(np.quantile(negatives[:, k], 1 - _EARLY_BLOCKS, method="higher"))))
        for k in range(tiers - 1)
    ]
    last: tuple[Band, ...] = ()
    for step in np.linspace(0, 1, min(_STEPS, len(negatives)) + 1):
        ends = [_quantile(negatives[:, k], share * step if clears[k] else 0.0) for k in range(tiers - 1)]
        early = [Band(min(low, high), high) for low, high in zip(ends, highs, strict=True)]
        end = _quantile(negatives[:, -1], step)
        bands = (*early, Band(end, end))
        if bands != last:
            yield bands
        last = bands


def _quantile(scores: Floats, share: float) -> float:
    """An end below which `share` of the scores lie; 0, below which none does, where it is 0."""
    return _above(float(np.quantile(scores, share, method="lower"))) if share > 0 else 0.0


def _above(score: float) -> float:
    return float(np.nextafter(score, np.inf))


def _share(k: int, n: int) -> Measured:
    return Measured(k / n, *clopper_pearson(k, n), n)
