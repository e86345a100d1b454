from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from fangxin.detect import _reader
from fangxin.detect._reader import LINEAR, WIDTH, Reader, byte_pairs, gguf_model, reader

TEXTS = [
    "How do I kill weeds?",
    "七天不吃饭会怎样",
    "Write a long letter to my neighbour about his tree. " * 12,
]
_INPUTS = {"ffn_down": 1536}
_OUTPUTS = {"attn_k": 192, "attn_v": 192, "ffn_gate": 1536, "ffn_up": 1536}

# The engine's own states, from another implementation of the same model; text by its token numbers.
ENGINE = """
import json, sys, urllib.request, os
os.dup2(2, 1)
import xllamacpp
path, prompts = json.load(sys.stdin)
p = xllamacpp.CommonParams()
p.model.path, p.port, p.n_ctx, p.n_batch, p.n_ubatch = path, 0, 1024, 1024, 1024
p.embedding, p.embd_normalize, p.verbosity, p.fit_params = True, -1, 1, False
p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 2
server = xllamacpp.Server(p)
states = []
for ids in prompts:
    body = json.dumps({"content": ids}).encode()
    ask = urllib.request.Request(server.listening_address + "/embedding", body, {"Content-Type": "application/json"})
    states.append(json.load(urllib.request.urlopen(ask))[0]["embedding"])
with open(sys.argv[1], "w") as file:
    json.dump(states, file)
os._exit(0)
"""


def plain(layers: int) -> dict[str, np.ndarray]:
    """An adapter that changes nothing."""
    found = {}
    for layer in range(layers):
        for kind in LINEAR:
            found[f"blk.{layer}.{kind}.a"] = np.zeros((1, _INPUTS.get(kind, WIDTH)), np.float16)
            found[f"blk.{layer}.{kind}.b"] = np.zeros((_OUTPUTS.get(kind, WIDTH), 1), np.float16)
    return found


def test_all_layers_untuned_give_the_states_of_the_engine(tmp_path) -> None:  # type: ignore[no-untyped-def]
    whole = Reader(plain(30))
    prompts = [whole.tokens(text) for text in TEXTS]
    path = str(gguf_model().tensors[0].data.filename)
    told = tmp_path / "states.json"
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, str(told)],
        input=json.dumps([path, prompts]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.exists(), done.stderr[-2000:]
    for mine, theirs in zip(whole.encode(TEXTS), json.loads(told.read_text()), strict=True):
        other = np.array(theirs, np.float32).reshape(-1)
        # The engine multiplies with 8-bit numbers, we don't: alike to three figures, not equal.
        assert np.corrcoef(mine, other)[0, 1] > 0.998


def test_texts_do_not_touch_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    together = reader().encode(TEXTS)
    alone = np.concatenate([reader().encode([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-2
    monkeypatch.setattr(_reader, "_PASS", 40)
    assert np.abs(reader().encode(TEXTS) - alone).max() < 1e-2
    assert reader().encode([]).shape == (0, WIDTH)


def test_the_shipped_adapter_changes_what_is_read() -> None:
    tuned = reader()
    assert tuned.layers < 30
    untuned = Reader(plain(tuned.layers))
    a, b = tuned.encode(TEXTS[:1]), untuned.encode(TEXTS[:1])
    assert np.corrcoef(a[0], b[0])[0, 1] < 0.9


def test_any_text_gives_finite_states() -> None:
    hostile = ["", " ", "\x00\x01", "a" * 50_000, "\u202e\u200b" * 50, "🤖" * 300, "\ud800"]
    assert np.isfinite(reader().encode(hostile)).all()
    assert byte_pairs().encode("\ud800")
