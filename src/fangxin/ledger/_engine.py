from __future__ import annotations

import sqlite3
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from fangxin.ledger._chain import LedgerError

_WAIT_S = 60.0


def address(where: str | Path) -> sa.URL:
    """The database URL of a path or a URL.

    Raises:
        LedgerError: a URL of another database, or not a URL.
    """
    text = str(where)
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        url = sa.make_url(text)
    except SQLAlchemyError:
        raise LedgerError("the ledger's URL can't be read: write postgresql://user@host/database.") from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise LedgerError("a ledger must outlive its process: give it a file instead of memory.")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise LedgerError(f"a ledger can't live in {url.drivername}: use a file or a postgresql:// URL.")
    return url


def postgres(url: sa.URL) -> sa.Engine:
    """An engine for a PostgreSQL URL.

    Raises:
        LedgerError: the driver isn't installed.
    """
    try:
        return sa.create_engine(url)
    except ModuleNotFoundError:
        raise LedgerError("PostgreSQL needs its driver: pip install 'fangxin[postgres]'.") from None


def connect(where: str | Path, create: bool) -> tuple[sa.Engine, str]:
    """An engine for a ledger's path or URL, and the name to call it by in messages.

    Raises:
        LedgerError: the address is wrong, or its folder (without `create`, its file) isn't there.
    """
    url = address(where)
    if url.drivername != "sqlite":
        return postgres(url), url.render_as_string(hide_password=True)
    path = Path(url.database or "")
    if not path.exists() and not create:
        raise LedgerError(f"there is no ledger at {path}.")
    if not path.parent.is_dir():
        raise LedgerError(f"the folder {path.parent} isn't there: make it first.")
    engine = sa.create_engine(url, connect_args={"timeout": _WAIT_S})

    @sa.event.listens_for(engine, "connect")
    def _prepare(dbapi: sqlite3.Connection, _: object) -> None:
        dbapi.isolation_level = None  # transactions are begun below, not by the driver
        _use_wal(dbapi)
        dbapi.execute("PRAGMA synchronous=FULL")
        dbapi.execute("PRAGMA secure_delete=ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if statement := connection.get_execution_options().get("fangxin_begin", "BEGIN"):
            connection.exec_driver_sql(statement)

    return engine, str(path)


def _use_wal(dbapi: sqlite3.Connection) -> None:
    # Two processes that open a new file at once both want the change; SQLite doesn't queue them for it.
    until = clock.monotonic() + _WAIT_S
    while dbapi.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            dbapi.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.monotonic() > until:
                raise
            clock.sleep(0.01)


@contextmanager
def plainly(where: str) -> Iterator[None]:
    """Turn what the database raises into a `LedgerError` of one sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        raise LedgerError(_sentence(where, error)) from error


def _sentence(where: str, error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = str(cause)
    # 53100 is PostgreSQL's code for a full disk, 57P03 and the 08 class for a server that doesn't answer.
    code = getattr(cause, "sqlstate", None) or ""
    if "database or disk is full" in text or code == "53100":
        return f"the disk that holds {where} is full: free some space; nothing of this append was written."
    if "database is locked" in text:
        return (
            f"{where} has been locked by another program for {_WAIT_S:.0f} s: end that program and try again."
        )
    if "readonly" in text or "unable to open" in text:
        return f"{where} can't be opened for writing: check the rights of the file and its folder."
    if "not a database" in text or "malformed" in text:
        return f"{where} is damaged or not a ledger: run `fangxin verify` on it and restore it from a copy."
    return f"{where} can't be used: {text.strip().splitlines()[0] if text.strip() else type(cause).__name__}."
