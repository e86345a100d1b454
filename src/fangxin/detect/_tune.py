from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._encoder import BRANCHES, DIM, PAD, WIDTH, Inner, encoder
from fangxin.detect._head import Array
from fangxin.detect._tuned import Tuned

_HEADS, _TAKEN, _MOST, _HIDDEN = 4, 64, 128, 128
_FEATURES = DIM + len(BRANCHES) * WIDTH
_TOKENS = 2048  # of a batch
_LOST = 0.08  # tokens left out of a text at each reading, so that no single word decides
_DROPOUT = 0.3


def tune(
    texts: Sequence[str],
    labels: npt.NDArray[np.floating[Any]],
    weight: npt.NDArray[np.floating[Any]],
    seed: int,
    passes: int = 3,
    longest: int = 128,
    rate: float = 1e-3,
) -> Tuned:
    """Fit a `Tuned` network by AdamW on one thread (needs torch); takes about 3 ms a text and pass.

    Args:
        texts: cleaned.
        labels: [n] in [0, 1]; between them where sources disagree.
        weight: [n] of each text in the loss.
        seed: of the start, the order and the tokens left out.
        passes: over all texts.
        longest: tokens read of a text while fitting.
        rate: the head's first learning rate; the second layer has a fifth of it.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    numbers = np.random.default_rng(seed)
    kernels, biases = encoder().second
    second = [nn.Parameter(torch.tensor(w)) for w in kernels]
    second_b = [nn.Parameter(torch.tensor(b)) for b in biases]
    pooled = _HEADS * _TAKEN + _MOST

    def drawn(*shape: int) -> Any:
        return nn.Parameter(torch.randn(*shape) / math.sqrt(shape[-2]))

    look, take, most = drawn(_FEATURES, _HEADS), drawn(_HEADS, _FEATURES, _TAKEN), drawn(_FEATURES, _MOST)
    hidden, hidden_b = drawn(pooled, _HIDDEN), nn.Parameter(torch.zeros(_HIDDEN))
    out, out_b = nn.Parameter(torch.zeros(_HIDDEN)), nn.Parameter(torch.zeros(()))

    def forward(inner: Inner, training: bool) -> Any:
        parts = [torch.from_numpy(inner.vectors)]
        rows = torch.from_numpy(inner.rows)
        for branch, (order, left) in enumerate(BRANCHES):
            h = torch.from_numpy(inner.branches[branch])
            size = len(h) - 2 * PAD
            y = second_b[branch]
            for place in range(order):
                shift = PAD + place - left
                y = y + h[shift : shift + size] @ second[branch][place]
            parts.append((functional.relu(y) + h[PAD : PAD + size])[rows - PAD])
        x = functional.layer_norm(torch.cat(parts, 1), (_FEATURES,), eps=1e-6)
        text = torch.from_numpy(np.repeat(np.arange(len(inner.starts)), inner.lengths))
        score = torch.exp(torch.clamp(x @ look, -30, 30))
        total = torch.zeros(len(inner.starts), _HEADS).index_add(0, text, score)
        share = score / total[text]
        looked = torch.stack(
            [
                torch.zeros(len(inner.starts), _FEATURES).index_add(0, text, x * share[:, i : i + 1])
                for i in range(_HEADS)
            ]
        )
        taken = torch.bmm(looked, take).transpose(0, 1).reshape(len(inner.starts), -1)
        largest = torch.segment_reduce(x, "max", lengths=torch.from_numpy(inner.lengths)) @ most
        z = functional.dropout(functional.relu(torch.cat([taken, largest], 1)), _DROPOUT, training)
        z = functional.dropout(functional.relu(z @ hidden + hidden_b), _DROPOUT, training)
        return z @ out + out_b

    head = [look, take, most, hidden, hidden_b, out, out_b]
    optimizer = torch.optim.AdamW(
        [{"params": head, "lr": rate}, {"params": [*second, *second_b], "lr": rate / 5}], weight_decay=0.02
    )
    tokens = [ids[:longest] for ids in encoder().tokens(texts)]
    lengths = np.array([len(ids) for ids in tokens])
    batches = [batch for _ in range(passes) for batch in _batches(numbers.permutation(len(tokens)), lengths)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [rate, rate / 5], total_steps=len(batches) + 1, pct_start=0.1
    )
    for batch in batches:
        inner = encoder().inner([_without(tokens[i], numbers) for i in batch])
        logits = forward(inner, True)
        loss = functional.binary_cross_entropy_with_logits(
            logits,
            torch.tensor(labels[batch], dtype=torch.float32),
            torch.tensor(weight[batch], dtype=torch.float32),
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*head, *second, *second_b], 1.0)
        optimizer.step()
        schedule.step()
    torch.set_num_threads(threads)

    def plain(parameter: Any) -> Array:
        return np.asarray(parameter.detach().numpy(), np.float32)

    return Tuned(
        second=tuple(plain(w) for w in second),
        second_b=tuple(plain(b) for b in second_b),
        look=plain(look),
        take=plain(take),
        most=plain(most),
        hidden=plain(hidden),
        hidden_b=plain(hidden_b),
        out=plain(out),
        out_b=float(out_b.detach()),
    )


def _batches(order: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """The order cut where a batch has its fill of tokens."""
    fill = np.cumsum(lengths[order]) // _TOKENS
    return np.split(order, np.flatnonzero(np.diff(fill)) + 1)


def _without(ids: list[int], numbers: np.random.Generator) -> list[int]:
    kept = numbers.random(len(ids)) >= _LOST
    kept[0] = True
    return [i for i, keep in zip(ids, kept, strict=True) if keep]
