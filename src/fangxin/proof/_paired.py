from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fangxin.proof._interval import (
    Floats,
    ProofError,
    as_outcomes,
    cluster_sums,
    ratio_variance,
)
from fangxin.proof._special import normal_quantile

_MAX_ENUMERATED = 20
_MAX_DENOMINATOR = 55_440  # has every whole number to 12 as a divisor: goals of up to 12 trials
_MAX_LATTICE = 4_000_000


def mcnemar_exact(b: int, c: int, *, one_sided: bool = False) -> float:
    """McNemar's exact test on discordant pairs that are independent of each other.

    Given b + c, b is Binomial(b + c, 1/2) under no change (McNemar 1947).

    Args:
        b: pairs that failed before and pass after (mended).
        c: pairs that passed before and fail after (broken).
        one_sided: test only for more mended than broken; else twice the smaller tail, at most 1.
    """
    if b < 0 or c < 0:
        raise ProofError("discordant pairs can't be fewer than none.")
    if one_sided:
        return _half_tail(b, b + c)
    return min(1.0, 2.0 * _half_tail(max(b, c), b + c))


def _half_tail(k: int, n: int) -> float:
    """P(X >= k) for X ~ Binomial(n, 1/2), in whole numbers until the last division."""
    term = math.comb(n, k)
    total = 0
    for i in range(k, n + 1):
        total += term
        term = term * (n - i) // (i + 1)
    return float(Fraction(total, 2**n))


def paired_sign_flip(
    differences: Sequence[float], *, one_sided: bool = True, flips: int = 99_999, seed: int = 0
) -> float:
    """The sign-flip (permutation) test on one difference a goal: the test that a proof uses.

    Trials of one goal aren't independent, so McNemar's test over all pairs rejects too often. If the
    repair does nothing, before and after are exchangeable within a goal, whatever the trials of a
    goal share: each goal's difference is as likely to have either sign, and the sum over goals has a known
    distribution (Fisher 1935; Pesarin & Salmaso 2010). With one pair a goal the one-sided p-value *is*
    McNemar's exact one. McNemar on one randomly drawn pair a goal would be valid too, but throws
    the other pairs away and makes the answer hang on the draw.

    Exact, without a seed, where the differences are multiples of 1/m for m up to 55,440 (means over up to
    12 trials are) or at most 20 goals differ; else Monte Carlo with (1 + hits) / (1 + flips), so
    never 0 (Phipson & Smyth 2010).

    Args:
        differences: mean before - mean after of each goal; positive is better after.
        one_sided: test only for better after; else both directions.
        flips: Monte Carlo draws, where they are needed.
        seed: of those draws.
    """
    given = np.asarray(differences, dtype=np.float64)
    if given.ndim != 1 or given.size == 0:
        raise ProofError("no goal was given: a test needs at least one pair.")
    if not bool(np.all(np.isfinite(given))):
        raise ProofError("a difference is not a number.")
    moved = given[given != 0.0]
    if moved.size == 0:
        return 1.0
    scaled = _on_lattice(moved)
    if scaled is not None:
        return _lattice_p(scaled, one_sided)
    seen = float(moved.sum()) if one_sided else abs(float(moved.sum()))
    edge = seen - 1e-9 * float(np.abs(moved).sum())
    if moved.size <= _MAX_ENUMERATED:
        sums = np.zeros(1)
        for size in np.abs(moved):
            sums = np.concatenate([sums + size, sums - size])
        return float(np.mean((sums if one_sided else np.abs(sums)) >= edge))
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, flips, 4096):
        signs = rng.integers(0, 2, size=(min(4096, flips - start), moved.size)) * 2.0 - 1.0
        sums = signs @ moved
        hits += int(np.count_nonzero((sums if one_sided else np.abs(sums)) >= edge))
    return (1 + hits) / (1 + flips)


def _on_lattice(values: Floats) -> list[int] | None:
    """The values as whole multiples of a common fraction, where there is a manageable one."""
    fractions = [Fraction(float(v)).limit_denominator(_MAX_DENOMINATOR) for v in values]
    if any(abs(float(f) - v) > 1e-12 for f, v in zip(fractions, values, strict=True)):
        return None
    unit = math.lcm(*(f.denominator for f in fractions))
    if unit > _MAX_DENOMINATOR:
        return None
    scaled = [int(f * unit) for f in fractions]
    return scaled if sum(map(abs, scaled)) <= _MAX_LATTICE else None


def _lattice_p(scaled: list[int], one_sided: bool) -> float:
    sizes = [abs(s) for s in scaled]
    step = math.gcd(*sizes)
    sizes = [s // step for s in sizes]
    half = sum(sizes)
    law = np.zeros(half + 1)  # law[j]: P(the goals with a plus sign weigh j)
    law[0] = 1.0
    reach = 0
    for size in sizes:
        shifted = np.zeros_like(law)
        shifted[size : size + reach + 1] = law[: reach + 1]
        law = 0.5 * (law + shifted)
        reach += size
    seen = sum(scaled) // step
    plus = (half + (seen if one_sided else abs(seen))) // 2
    tail = float(law[plus:].sum())
    return min(1.0, tail if one_sided else 2.0 * tail)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the order given.

    The i-th smallest of m is max over j <= i of (m - j + 1) p_(j), at most 1. Holds the chance of any
    false rejection at alpha whatever the dependence.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ProofError("a p-value lies outside [0, 1].")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def mcnemar_power(n: int, p10: float, p01: float, alpha: float = 0.05, *, one_sided: bool = True) -> float:
    """The chance that McNemar's exact test on `n` independent pairs rejects.

    Exact and unconditional (Duffy 1984): the sum over d of Binomial(d; n, p10 + p01) times
    P(rejected | d discordant), where the mended are Binomial(d, p10 / (p10 + p01)).

    Args:
        n: pairs.
        p10: chance that a pair is mended.
        p01: chance that a pair is broken; p10 + p01 <= 1.
        alpha: level of the test.
        one_sided: as in `mcnemar_exact`.
    """
    if n < 1 or p10 < 0 or p01 < 0 or not 0 < p10 + p01 <= 1 or not 0 < alpha < 1:
        raise ProofError("power needs n >= 1, chances with 0 < p10 + p01 <= 1 and alpha between 0 and 1.")
    discordant = p10 + p01
    weights = _binomial(n, discordant)
    power = 0.0
    for d in np.flatnonzero(weights > 1e-13):
        fair = np.cumsum(_binomial(int(d), 0.5)[::-1])[::-1]  # fair[k] = P(X >= k)
        tail = alpha if one_sided else alpha / 2
        first = int(np.argmax(np.append(fair, 0.0) <= tail * (1 + 1e-12)))
        if first > d:
            continue
        law = _binomial(int(d), p10 / discordant)
        hit = float(law[first:].sum()) + (0.0 if one_sided else float(law[: d - first + 1].sum()))
        power += float(weights[d]) * hit
    return min(1.0, power)


def _binomial(n: int, p: float) -> Floats:
    if p in (0.0, 1.0):
        law = np.zeros(n + 1)
        law[n if p else 0] = 1.0
        return law
    k = np.arange(n + 1)
    logs = np.array([math.lgamma(i + 1.0) for i in range(n + 1)])
    result: Floats = np.exp(logs[n] - logs - logs[::-1] + k * math.log(p) + (n - k) * math.log1p(-p))
    return result


def pairs_needed(
    p10: float,
    p01: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    one_sided: bool = True,
    design_effect: float = 1.0,
) -> int:
    """How many pairs a proof must have, fixed before it starts.

    The least n with exact power (`mcnemar_power`) at n and at the next four sizes, because exact power
    is a saw; started from Miettinen's (1968) formula as given by Connor (1987). Multiplied by the
    design effect of clustering, 1 + (trials a goal - 1) * intra-goal correlation (Kish 1965).

    Raises:
        ProofError: p10 <= p01 (nothing to show), or chances, power or design effect out of range.
    """
    if not p10 > p01 >= 0 or p10 + p01 > 1:
        raise ProofError("a size needs more pairs mended than broken: p10 > p01, together at most 1.")
    if not 0 < power < 1 or not 0 < alpha < 1 or design_effect < 1:
        raise ProofError("power and alpha lie between 0 and 1, a design effect is at least 1.")
    total, gain = p10 + p01, p10 - p01
    z_alpha = normal_quantile(1 - alpha / (1 if one_sided else 2))
    z_power = normal_quantile(power)
    guess = (z_alpha * math.sqrt(total) + z_power * math.sqrt(max(0.0, total - gain**2))) ** 2 / gain**2
    n = max(1, math.floor(0.8 * guess))

    def enough(size: int) -> bool:
        return mcnemar_power(size, p10, p01, alpha, one_sided=one_sided) >= power

    while n > 1 and enough(n):
        n = max(1, n // 2)
    run = 0
    while run < 5:
        run = run + 1 if enough(n) else 0
        n += 1
    return math.ceil((n - 5) * design_effect - 1e-9)


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """What a paired comparison of failures counts to.

    Attributes:
        b: failed before, passes after (mended).
        c: passed before, fails after (broken).
        n: pairs.
        clusters: goals.
        design_effect: of goals on the difference, >= 1.
        differences: mean before - mean after of each goal, for `paired_sign_flip`.
    """

    b: int
    c: int
    n: int
    clusters: int
    design_effect: float
    differences: tuple[float, ...]


def paired_counts(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[Hashable]
) -> PairedCounts:
    """Count pairs, aligned by position, of 0/1 outcomes (1 is a failure)."""
    first, second = as_outcomes(before), as_outcomes(after)
    if len(first) != len(second):
        raise ProofError(f"{len(first)} trials before but {len(second)} after: pair each with itself.")
    if not bool(np.all(np.isin(first, (0.0, 1.0)) & np.isin(second, (0.0, 1.0)))):
        raise ProofError("pairs are counted on outcomes of 0 or 1.")
    change = first - second
    sums, sizes = cluster_sums(change, clusters)
    return PairedCounts(
        b=int((change > 0).sum()),
        c=int((change < 0).sum()),
        n=len(change),
        clusters=len(sizes),
        design_effect=difference_design_effect(sums, sizes, change),
        differences=tuple(float(d) for d in sums / sizes),
    )


def difference_design_effect(sums: Floats, sizes: Floats, change: Floats) -> float:
    """The design effect of goals on a mean paired difference, >= 1.

    As `clustered_rate`, steadied by one goal that is wholly mended and one that is wholly broken.
    """
    heavy = float((sizes**2).sum() / sizes.sum())
    total = float(sizes.sum()) + 2 * heavy
    mean = float(sums.sum()) / total
    spread = (float((change**2).sum()) + 2 * heavy) / total - mean**2
    clustered = ratio_variance(
        np.concatenate([sums, [heavy, -heavy]]), np.concatenate([sizes, [heavy, heavy]])
    )
    return max(1.0, clustered * (total - 1) / spread)
