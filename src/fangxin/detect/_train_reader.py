from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from gguf import dequantize
from torch import Tensor, nn

from fangxin.detect._intent import fit_intent
from fangxin.detect._reader import LINEAR, WIDTH, byte_pairs, framed, gguf_model
from fangxin.detect._sources import Rows, Sources, capped
from fangxin.detect._train_guard import contrast_rows, held_out, instructions, joined, say, wrapped

_LAYERS = 16
_RANK, _SCALE = 16, 2.0
_EPOCHS, _BATCH, _RATE = 2, 32, 6e-4
_WEIGHT = {"fangxin_contrasts": 1.0, "fangxin_lookalikes": 0.7, "wrapped": 0.7}
_ELSE = 0.4  # a public row's weight: most are easy, and some harmful ones barely are
_SHORT = 300  # characters of a public prompt, at the most
_SHRINK = 0.1  # states are some ten times the size that a fresh head likes


class _Map(nn.Module):  # type: ignore[misc]
    """A frozen linear map and its low-rank adapter."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight.bfloat16()
        self.a = nn.Parameter(torch.randn(_RANK, weight.shape[1]) / math.sqrt(weight.shape[1]))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], _RANK))

    def forward(self, x: Tensor) -> Tensor:
        added = functional.linear(functional.linear(x, self.a.bfloat16()), self.b.bfloat16())
        return functional.linear(x, self.weight) + added * _SCALE


class _Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, tensors: dict[str, Tensor], layer: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({kind: _Map(tensors[f"blk.{layer}.{kind}.weight"]) for kind in LINEAR})
        self.before, self.between = (tensors[f"blk.{layer}.{kind}_norm.weight"] for kind in ("attn", "ffn"))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, width = x.shape
        h = _norm(x, self.before)
        q, k, v = (self.maps[kind](h).view(rows, length, -1, 64).transpose(1, 2) for kind in LINEAR[:3])
        q, k = _turned(q, cos, sin), _turned(k, cos, sin)
        k, v = k.repeat_interleave(3, 1), v.repeat_interleave(3, 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.maps["attn_output"](mixed.transpose(1, 2).reshape(rows, length, width))
        h = _norm(x, self.between)
        out: Tensor = self.maps["ffn_down"](
            functional.silu(self.maps["ffn_gate"](h)) * self.maps["ffn_up"](h)
        )
        return x + out


class _Network(nn.Module):  # type: ignore[misc]
    """The layers that `Reader` runs, with a head of one output, for training."""

    def __init__(self) -> None:
        super().__init__()
        model = gguf_model()
        tensors = {
            t.name: torch.tensor(np.asarray(dequantize(t.data, t.tensor_type), np.float32))
            for t in model.tensors
        }
        self.embedding = tensors["token_embd.weight"].bfloat16()
        self.layers = nn.ModuleList(_Layer(tensors, layer) for layer in range(_LAYERS))
        self.gain = tensors["output_norm.weight"]
        self.head = nn.Linear(WIDTH, 1)
        base = float(model.fields["llama.rope.freq_base"].contents())
        self.turns = base ** (-torch.arange(0, 64, 2) / 64)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        angles = torch.arange(ids.shape[1])[:, None] * self.turns
        cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
        x = self.embedding[ids]
        for layer in self.layers:
            x = layer(x, cos, sin)
        last = _norm(x[torch.arange(len(ids)), lengths - 1].float(), self.gain)
        out: Tensor = self.head(last * _SHRINK)
        return out[:, 0]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The adapter as `Reader` takes it, and the head."""
        found: dict[str, npt.NDArray[Any]] = {}
        for number, layer in enumerate(self.layers):
            for kind, adapted in layer.maps.items():
                found[f"blk.{number}.{kind}.a"] = adapted.a.detach().numpy().astype(np.float16)
                found[f"blk.{number}.{kind}.b"] = (adapted.b.detach() * _SCALE).numpy().astype(np.float16)
        found["linear"] = (self.head.weight.detach()[0] * _SHRINK).numpy().astype(np.float32)
        found["offset"] = np.array(self.head.bias.item())
        return found


def _norm(x: Tensor, gain: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5) * gain).to(x.dtype)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def train_reader(sources: Sources, seed: int) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Arrays of the reader's adapter and of the intent detector's head and cuts.

    Our contrast pairs are most of the rows; a few public prompts keep the rest of the world in view. (With
    five times as many of those, the look-alikes of other authors were told apart less well.) A fifth
    of the pairs (both sides of each) and of the other rows sets handicap and cuts and trains nothing.
    Takes about a quarter of an hour on two cores that know bfloat16.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed)
    public = sources.prompts("guard", lambda row: len(row["text"]) <= _SHORT)
    rows = [row for row in public if row["source"] == "fangxin_lookalikes"]
    rows += capped([row for row in public if row["source"] != "fangxin_lookalikes"], 20, rng)
    rows += instructions(rng, 100)
    rows = contrast_rows(sources) + [{**row, "held": held_out(row["text"])} for row in rows]
    fit, rest = ([row for row in rows if row["held"] == side] for side in (False, True))
    fit += wrapped(fit, sources, rng, 250)
    rest += wrapped(rest, sources, rng, 100) + joined(rest, rng, 60)
    say(f"reader: {len(fit)} rows to fit, {len(rest)} held out")
    network = _Network()
    _fit(network, fit, rng)
    stored = network.arrays()
    head = {key: stored.pop(key) for key in ("linear", "offset")}
    return {"reader": stored, "intent": fit_intent(head, stored, rest)}


def _fit(network: _Network, rows: Rows, rng: random.Random) -> None:
    ids = [framed(byte_pairs(), row["text"]) for row in rows]
    wanted = torch.tensor([float(row["label"] == "harmful") for row in rows])
    weight = torch.tensor([_WEIGHT.get(row["source"], _ELSE) for row in rows])
    free = [p for name, p in network.named_parameters() if not name.startswith("head")]
    groups = [{"params": free, "lr": _RATE}, {"params": network.head.parameters(), "lr": 3 * _RATE}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = _EPOCHS * math.ceil(len(rows) / _BATCH)

    def pace(step: int) -> float:
        return min(1.0, step / 40) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    start = time.monotonic()
    for epoch in range(_EPOCHS):
        total = 0.0
        for batch in _batches(ids, rng):
            lengths = torch.tensor([len(ids[i]) for i in batch])
            padded = torch.zeros(len(batch), int(lengths.max()), dtype=torch.long)
            for row, i in enumerate(batch):
                padded[row, : lengths[row]] = torch.tensor(ids[i])
            loss = functional.binary_cross_entropy_with_logits(
                network(padded, lengths), wanted[batch], weight[batch]
            )
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(batch)
        minutes = (time.monotonic() - start) / 60
        say(f"reader: pass {epoch + 1} of {_EPOCHS}, loss {total / len(rows):.4f}, {minutes:.1f} min")


def _batches(ids: Sequence[Sequence[int]], rng: random.Random) -> Iterator[list[int]]:
    """Every row once, in random order, neighbours of about one length."""
    order = rng.sample(range(len(ids)), len(ids))
    span = _BATCH * 16
    batches = []
    for start in range(0, len(order), span):
        near = sorted(order[start : start + span], key=lambda i: len(ids[i]))
        batches += [near[i : i + _BATCH] for i in range(0, len(near), _BATCH)]
    rng.shuffle(batches)
    yield from batches
