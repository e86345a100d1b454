from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fangxin.ledger._chain import LedgerError


@contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Hold a run's folder, so that no second run uses it; released at the end, or when the process dies.

    Raises:
        LedgerError: another run holds it, or the folder can't be written.
    """
    try:
        file = os.open(Path(folder) / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LedgerError(f"{folder} can't be locked: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Empty for the instant between the other run's lock and its number.
            pid = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise LedgerError(f"another run (pid {pid}) is using this folder: {folder}.") from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
        # The file stays: were it removed, a third run could lock a new one while a second waits on the old.
        os.ftruncate(file, 0)
    finally:
        os.close(file)
