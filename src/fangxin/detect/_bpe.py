from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

# GPT-2's division of a text before pairs are merged, each digit on its own as SmolLM2 has it; letters and
# digits as Python's `re` knows them.
_PIECE = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?(?:[^\s\w]|_)+|\d|\s+(?!\S)|\s+")
_KEPT = 1 << 16  # pieces whose tokens are remembered


def _letters() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (Radford et al., 2019)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


class BytePairs:
    """A byte-level byte-pair encoding, as GPT-2 and SmolLM2 use it.

    Text is data here: what looks like a control token is spelled out in ordinary ones.

    Args:
        tokens: the vocabulary; a token's place is its number.
        merges: pairs of tokens, parted by a space, the earliest merged first.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[str]) -> None:
        self._number = {token: i for i, token in enumerate(tokens)}
        self._rank = {tuple(merge.split(" ")): i for i, merge in enumerate(merges)}
        self._letter = _letters()
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's tokens; bytes outside the vocabulary are left out."""
        found: list[int] = []
        for piece in _PIECE.findall(text):
            ids = self._known.get(piece)
            if ids is None:
                if len(self._known) >= _KEPT:
                    self._known.clear()
                ids = self._known[piece] = self._merged(piece)
            found += ids
        return found

    def _merged(self, piece: str) -> list[int]:
        parts = [self._letter[byte] for byte in piece.encode("utf-8", "replace")]
        worst = len(self._rank)
        while len(parts) > 1:
            ranks = [self._rank.get(pair, worst) for pair in pairwise(parts)]
            best = min(ranks)
            if best == worst:
                break
            joined, i = [], 0
            while i < len(parts):
                if i < len(ranks) and ranks[i] == best:
                    joined.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    joined.append(parts[i])
                    i += 1
            parts = joined
        return [self._number[part] for part in parts if part in self._number]
