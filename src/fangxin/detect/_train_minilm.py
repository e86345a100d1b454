from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from fangxin.detect._minilm import LAYERS, LINEAR, NORMS, WIDTH, carried, framed
from fangxin.detect._train_judge import say

_RANK, _SCALE, _DROP = 16, 2.0, 0.1
_HEADS, _EPSILON = 12, 1e-12


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and its reply, with what is known of the reply: None where nobody knows.

    Attributes:
        question, reply: the texts.
        labels: one for each output of the head.
        weight: how much the pair counts.
    """

    question: str
    reply: str
    labels: tuple[bool | None, ...]
    weight: float = 1.0


class _Map(nn.Module):  # type: ignore[misc]
    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.a = nn.Parameter(torch.randn(_RANK, weight.shape[1]) / math.sqrt(weight.shape[1]))
        self.b = nn.Parameter(torch.zeros(weight.shape[0], _RANK))

    def forward(self, x: Tensor) -> Tensor:
        added = functional.linear(functional.linear(x, self.a), self.b)
        return functional.linear(x, self.weight, self.bias) + added * _SCALE


class _Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, base: dict[str, Tensor], layer: int) -> None:
        super().__init__()
        stored = f"encoder.layer.{layer}"
        maps = [_Map(base[f"{stored}.{kind}.weight"], base[f"{stored}.{kind}.bias"]) for kind in LINEAR]
        self.maps = nn.ModuleList(maps)
        self.gains = nn.ParameterList(base[f"{stored}.{norm}.weight"].clone() for norm in NORMS)
        self.biases = nn.ParameterList(base[f"{stored}.{norm}.bias"].clone() for norm in NORMS)
        self.drop = nn.Dropout(_DROP)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        rows, length, _ = x.shape
        query, key, value, output, up, down = self.maps
        q, k, v = (m(x).view(rows, length, _HEADS, -1).transpose(1, 2) for m in (query, key, value))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        mixed = output(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
        x = self._norm(x + self.drop(mixed), 0)
        return self._norm(x + self.drop(down(functional.gelu(up(x), approximate="tanh"))), 1)

    def _norm(self, x: Tensor, which: int) -> Tensor:
        return functional.layer_norm(x, (WIDTH,), self.gains[which], self.biases[which], _EPSILON)


class Network(nn.Module):  # type: ignore[misc]
    """The layers that `PairReader` runs, for training.

    Args:
        outputs: of the head.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        base = {name: torch.tensor(values) for name, values in carried()[0].items()}
        self.words = base["embeddings.word_embeddings.weight"]
        self.places = base["embeddings.position_embeddings.weight"]
        self.norm = base["embeddings.LayerNorm.weight"], base["embeddings.LayerNorm.bias"]
        self.sides = nn.Parameter(base["embeddings.token_type_embeddings.weight"].clone())
        self.layers = nn.ModuleList(_Layer(base, layer) for layer in range(LAYERS))
        self.drop = nn.Dropout(_DROP)
        self.head = nn.Linear(2 * WIDTH, outputs)

    def forward(self, ids: Tensor, side: Tensor, real: Tensor) -> Tensor:
        x = self.words[ids] + self.places[: ids.shape[1]] + self.sides[side]
        x = functional.layer_norm(x, (WIDTH,), *self.norm, _EPSILON)
        mask = torch.where(real[:, None, None, :], 0.0, -1e9).to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask)
        shown = real[..., None].float()
        mean = (x * shown).sum(1) / shown.sum(1)
        out: Tensor = self.head(self.drop(torch.cat([x[:, 0], mean], 1)))
        return out

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `PairReader` takes."""
        found: dict[str, npt.NDArray[Any]] = {}
        for number, layer in enumerate(self.layers):
            for kind, adapted in zip(LINEAR, layer.maps, strict=True):
                found[f"{number}.{kind}.a"] = adapted.a.detach().numpy().astype(np.float16)
                found[f"{number}.{kind}.b"] = (adapted.b.detach() * _SCALE).numpy().astype(np.float16)
            for norm, gain, bias in zip(NORMS, layer.gains, layer.biases, strict=True):
                found[f"{number}.{norm}.weight"] = gain.detach().numpy()
                found[f"{number}.{norm}.bias"] = bias.detach().numpy()
        return found | {
            "sides": self.sides.detach().numpy(),
            "head.weight": self.head.weight.detach().numpy(),
            "head.bias": self.head.bias.detach().numpy(),
        }


def fit(
    network: Network, pairs: Sequence[Pair], *, passes: int, batch: int, rate: float, rng: random.Random
) -> None:
    """Tune a network on labelled pairs, by AdamW on the mean cross-entropy of the known labels.

    Args:
        network: changed in place.
        pairs: labelled.
        passes: over all pairs.
        batch: pairs a step.
        rate: the highest learning rate; the head's is twice that.
        rng: the order.
    """
    pieces = carried()[1]
    rows = [framed(pieces, pair.question, pair.reply) for pair in pairs]
    wanted = torch.tensor([[float(bool(label)) for label in pair.labels] for pair in pairs])
    known = torch.tensor([[(label is not None) * pair.weight for label in pair.labels] for pair in pairs])
    free = [p for name, p in network.named_parameters() if not name.startswith("head")]
    optimiser = torch.optim.AdamW(
        [{"params": free, "lr": rate}, {"params": network.head.parameters(), "lr": 2 * rate}],
        weight_decay=0.01,
    )
    steps = passes * math.ceil(len(pairs) / batch)

    def pace(step: int) -> float:
        return min(1.0, step / 30) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
    network.train()
    start = time.monotonic()
    for number in range(passes):
        total = 0.0
        for at in _batches(rows, batch, rng):
            # Within the step alone: what it keeps of the weights in half precision is old after the step.
            with torch.autocast("cpu", torch.bfloat16):
                out = network(*_padded([rows[i] for i in at]))
            losses = functional.binary_cross_entropy_with_logits(out.float(), wanted[at], reduction="none")
            loss = (losses * known[at]).sum() / len(at)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(free, 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(at)
        minutes = (time.monotonic() - start) / 60
        say(f"judge: pass {number + 1} of {passes}, loss {total / len(pairs):.4f}, {minutes:.1f} min")
    network.eval()


def _batches(rows: Sequence[tuple[list[int], int]], batch: int, rng: random.Random) -> Iterator[list[int]]:
    """Every row once, in random order, neighbours of about one length."""
    order = rng.sample(range(len(rows)), len(rows))
    batches = []
    for start in range(0, len(order), 16 * batch):
        near = sorted(order[start : start + 16 * batch], key=lambda i: len(rows[i][0]))
        batches += [near[i : i + batch] for i in range(0, len(near), batch)]
    rng.shuffle(batches)
    yield from batches


def _padded(rows: Sequence[tuple[list[int], int]]) -> tuple[Tensor, Tensor, Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    side = torch.ones(len(rows), longest, dtype=torch.long)
    real = torch.zeros(len(rows), longest, dtype=torch.bool)
    for row, (numbers, asked) in enumerate(rows):
        ids[row, : len(numbers)] = torch.tensor(numbers)
        side[row, :asked] = 0
        real[row, : len(numbers)] = True
    return ids, side, real
