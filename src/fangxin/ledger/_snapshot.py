from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fangxin.ledger._chain import LedgerError

_TRIES = 50
_WAL_HEADER = 32
_LOGS = ("-wal", "-journal")

Mark = tuple[tuple[int, int, int] | None, ...]


def mark(path: Path) -> Mark:
    """Something that differs when the file or its logs were written to in between."""
    return tuple(_stat(_beside(path, end)) for end in ("", *_LOGS))


@contextmanager
def still(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a SQLite file as it is now, which changes and leaves nothing beside it.

    SQLite makes files beside a database in WAL mode even for a reader. So a file without a log is opened as
    immutable, and one with a log is copied, with it, into a temporary folder of the same size and read there.

    Raises:
        LedgerError: the file can't be read or copied.
        sqlite3.DatabaseError: it is damaged.
    """
    if not _logs(path):
        with closing(_open(f"{path.resolve().as_uri()}?mode=ro&immutable=1")) as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix="fangxin-verify-") as folder:
        copy = Path(folder) / "ledger.db"
        try:
            _copy(path, copy)
        except OSError as error:
            raise LedgerError(f"{path} can't be copied for reading: {error.strerror}.") from None
        with closing(_open(copy.as_uri())) as connection:
            yield connection


def _open(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.text_factory = bytes  # what is stored, be it text or not
    return connection


def _copy(path: Path, copy: Path) -> None:
    # A writer may be at work. Frames added to the log while we copy do no harm (a torn one is ignored), but
    # pages moved from the log into the file, or a log begun anew, would mix two moments: then try again.
    for _ in range(_TRIES):
        before = _moment(path)
        logs = _logs(path)
        try:
            for end in ("", *logs):
                shutil.copyfile(_beside(path, end), _beside(copy, end))
            if logs == _logs(path) and _moment(path) == before:
                return
        except FileNotFoundError:
            pass  # the last writer closed and took its log with it
        for end in _LOGS:
            _beside(copy, end).unlink(missing_ok=True)
    raise LedgerError(f"{path} is written to too fast to be read: end the writer and try again.")


def _moment(path: Path) -> tuple[object, bytes | None]:
    return _stat(path), _start(_beside(path, "-wal"))


def _logs(path: Path) -> list[str]:
    """The logs beside the file that hold anything."""
    return [end for end in _LOGS if (_stat(_beside(path, end)) or (0, 0, 0))[1] > 0]


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _start(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_WAL_HEADER)
    except FileNotFoundError:
        return None
