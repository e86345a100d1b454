from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._views import clean

BITS = 18
LONGEST = 4000  # characters read of one text; longer ones are cut into such pieces

Ids = npt.NDArray[np.int32]

_BASE = 0x9E3779B97F4A7C15  # odd, so that powers of it can be inverted modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_WORDS = 3  # n-grams of words up to this length; a Chinese character is a word
_LETTERS = 4  # n-grams of letters of this length, within and across words


@dataclass(frozen=True, slots=True)
class Grams:
    """Hashed n-grams of texts, one text after another.

    Attributes:
        ids: the buckets, in [0, 2**BITS).
        starts: [n] where each text's begin; every text has at least one.
    """

    ids: Ids
    starts: npt.NDArray[np.int64]

    def scores(self, table: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """[n, k] sums of the rows [2**BITS, k] of the buckets, over the root of their number."""
        # The root keeps long texts from drowning short ones, and lets much evidence outweigh little.
        counts = np.diff(np.append(self.starts, len(self.ids)))
        sums = np.add.reduceat(table[self.ids].astype(np.float32), self.starts, axis=0)
        return np.asarray(sums / np.sqrt(counts)[:, None], np.float32)


def _powers(base: int, count: int) -> npt.NDArray[np.uint64]:
    out = np.full(count, base, np.uint64)
    out[:1] = 1
    return np.multiply.accumulate(out)


def fold(text: str) -> str:
    """The text as it is hashed: as a reader sees it, in lower case; plain ASCII goes the short way."""
    return text.lower() if text.isascii() else clean(text).lower()


def grams(texts: Sequence[str]) -> Grams:
    """Hash the words (up to three together) and the letters (four together) of each text.

    Everything is done on one array of code points: no loop over characters, words or texts.
    Only the first `LONGEST` characters of a text are read.

    A word's hash is that of its code points as a polynomial in an odd number modulo 2**64, taken from
    prefix sums (Karp and Rabin, 1987); the top bits of a product with another odd number are the bucket.
    """
    # A newline before and after each text: no n-gram of letters is empty, and none of words crosses it.
    folded = [f"\n{fold(text[:LONGEST])[:LONGEST]}\n" for text in texts]
    code = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), np.uint32)
    return _hash(code, np.array([len(text) for text in folded], np.int64))


def _classes(code: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which code points are of words, and which are words by themselves."""
    alone = ((code >= 0x3040) & (code <= 0x9FFF)) | ((code >= 0xAC00) & (code <= 0xFAFF)) | (code >= 0x1F000)
    inside = ((code >= 97) & (code <= 122)) | ((code >= 48) & (code <= 57)) | (code == 39)
    inside |= (code >= 0xAA) & ~alone & ((code < 0x2000) | (code > 0x303F))
    return inside, alone


def _hash(code: npt.NDArray[np.uint32], lengths: npt.NDArray[np.int64]) -> Grams:
    n = len(code)
    if not len(lengths):
        return Grams(np.empty(0, np.int32), np.empty(0, np.int64))
    wide = code.astype(np.uint64)
    power, inverse = _powers(_BASE, n + 1), _powers(_INVERSE, n + 1)
    prefix = np.zeros(n + 1, np.uint64)
    np.cumsum(wide * power[:n], out=prefix[1:])
    inside, alone = _classes(code)
    begins = alone | (inside & ~np.concatenate([[False], inside[:-1]]))
    ends = alone | (inside & ~np.concatenate([inside[1:], [False]]))
    first, last = np.flatnonzero(begins), np.flatnonzero(ends) + 1
    text_of = np.repeat(np.arange(len(lengths)), lengths)
    words = (prefix[last] - prefix[first]) * inverse[first]
    hashes, owners = [], []
    chained, owner = words, text_of[first]
    for order in range(1, _WORDS + 1):
        if order > 1:
            chained = chained[:-1] * np.uint64(_BASE) + words[order - 1 :]
            same = owner[: len(chained)] == owner[order - 1 :]
        else:
            same = np.ones(len(words), bool)
        hashes.append((chained + np.uint64(order))[same])
        owners.append(owner[: len(chained)][same])
    if n >= _LETTERS:
        at = np.arange(n - _LETTERS + 1)
        letters = (prefix[_LETTERS:] - prefix[: n - _LETTERS + 1]) * inverse[at]
        same = (text_of[: len(at)] == text_of[_LETTERS - 1 :]) & (code[: len(at)] < 0x3040)
        hashes.append((letters + np.uint64(_WORDS + 1))[same])
        owners.append(text_of[: len(at)][same])
    # One bucket of its own for every text, so that the empty one has something to sum.
    hashes.append(np.zeros(len(lengths), np.uint64))
    owners.append(np.arange(len(lengths)))
    every, who = np.concatenate(hashes), np.concatenate(owners)
    order_by = np.argsort(who, kind="stable")
    ids = ((every * _MIX) >> np.uint64(64 - BITS)).astype(np.int32)[order_by]
    return Grams(ids, np.searchsorted(who[order_by], np.arange(len(lengths))))
