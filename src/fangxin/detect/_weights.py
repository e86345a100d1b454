from __future__ import annotations

import hashlib
import io
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._verdict import DetectorError


def weights(name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of `weights/<name>.npz` in the package.

    Raises:
        DetectorError: the file is missing or isn't an npz of plain arrays.
    """
    path = files("fangxin.detect") / "weights" / f"{name}.npz"
    try:
        return arrays(path.read_bytes())
    except (OSError, ValueError, KeyError) as error:
        raise DetectorError(
            f"The weights of {name} can't be read ({error}); reinstall fangxin, or make them with `train`."
        ) from None


@cache
def digest(name: str) -> str:
    """SHA-256 of `weights/<name>.npz` in the package, or "" where it isn't there."""
    path = files("fangxin.detect") / "weights" / f"{name}.npz"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an npz; objects (pickles) are refused.

    Raises:
        ValueError: it isn't such a file.
    """
    import zipfile

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(str(error) or "not an npz file") from None
