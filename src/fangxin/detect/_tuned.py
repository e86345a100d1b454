from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._encoder import BRANCHES, WIDTH, Inner, encoder, second_layer
from fangxin.detect._head import Array
from fangxin.detect._text import runs

_TOKENS = 512  # tokens per pass, so that the work stays in the cache
_EPS = 1e-6


@dataclass(frozen=True)
class Tuned:
    """A network that replaces the sentence encoder's upper half, fitted to one question about a text.

    The encoder's subword vectors and first layer stay as they are. Its second layer is tuned; the features
    of the tokens are pooled by attention, so that the few words that matter outweigh the rest, and by their
    largest; one hidden layer makes a score of it.

    Attributes:
        second: per branch [window, 256, 256].
        second_b: per branch [256].
        look: [1280, heads], what each head attends to.
        take: [heads, 1280, width], what it takes from there.
        most: [1280, m], read from the largest of each feature.
        hidden: [heads * width + m, h].
        hidden_b: [h].
        out: [h].
        out_b: the output's bias.
    """

    second: tuple[Array, ...]
    second_b: tuple[Array, ...]
    look: Array
    take: Array
    most: Array
    hidden: Array
    hidden_b: Array
    out: Array
    out_b: float

    def logits(self, texts: Sequence[str]) -> Array:
        """[n] log-odds; of each text the first 256 tokens are read."""
        scores = np.empty(len(texts), np.float32)
        tokens = encoder().tokens(texts)
        for run in runs(tokens, _TOKENS):
            scores[run] = self._pass(encoder().inner(tokens[run]))
        return scores

    def _pass(self, inner: Inner) -> Array:
        x = second_layer(inner, self.second, self.second_b)
        x -= x.mean(axis=1, keepdims=True)
        x /= np.sqrt(np.einsum("ij,ij->i", x, x) / x.shape[1] + _EPS)[:, None]
        weight = np.exp(np.clip(x @ self.look, -30, 30))
        bounds = [*inner.starts.tolist(), len(x)]
        looked = np.stack(
            [(weight[a:b] / weight[a:b].sum(axis=0)).T @ x[a:b] for a, b in pairwise(bounds)], axis=1
        )  # [heads, texts, 1280]
        taken = np.matmul(looked, self.take).transpose(1, 0, 2).reshape(len(inner.starts), -1)
        largest = np.maximum.reduceat(x, inner.starts, axis=0) @ self.most
        pooled = np.maximum(np.concatenate([taken, largest], axis=1), 0)
        return np.asarray(np.maximum(pooled @ self.hidden + self.hidden_b, 0) @ self.out + self.out_b)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `of` reads back: matrices as int8, a scale per column."""
        stored: dict[str, npt.NDArray[Any]] = {}
        matrices = {
            "second": np.concatenate([w.reshape(-1, WIDTH) for w in self.second]),
            "take": np.concatenate(list(self.take)),
            "most": self.most,
            "hidden": self.hidden,
        }
        for name, matrix in matrices.items():
            scale = np.abs(matrix).max(axis=0) / 127 + 1e-12
            stored[name] = np.round(matrix / scale).astype(np.int8)
            stored[name + "_scale"] = scale.astype(np.float32)
        stored |= {
            "second_b": np.stack(self.second_b).astype(np.float32),
            "look": self.look.astype(np.float32),
            "hidden_b": self.hidden_b.astype(np.float32),
            "out": self.out.astype(np.float32),
            "out_b": np.array(self.out_b),
        }
        return stored

    @classmethod
    def of(cls, stored: Mapping[str, npt.NDArray[Any]]) -> Tuned:
        """Read the arrays that `arrays` gave.

        Raises:
            KeyError: one is missing.
            ValueError: one has another shape.
        """

        def matrix(name: str) -> Array:
            return np.asarray(stored[name].astype(np.float32) * stored[name + "_scale"], np.float32)

        ends = np.cumsum([order for order, _ in BRANCHES]) * WIDTH
        second = np.split(matrix("second"), ends[:-1])
        heads = stored["look"].shape[1]
        take = matrix("take")
        return cls(
            tuple(w.reshape(order, WIDTH, WIDTH) for (order, _), w in zip(BRANCHES, second, strict=True)),
            tuple(stored["second_b"]),
            stored["look"],
            take.reshape(heads, -1, take.shape[1]),
            matrix("most"),
            matrix("hidden"),
            stored["hidden_b"],
            stored["out"],
            float(stored["out_b"]),
        )
