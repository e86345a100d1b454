from __future__ import annotations

import secrets
import threading
import time as clock
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from fangxin.ledger._chain import (
    ERASED,
    GENESIS,
    VERSION,
    Entry,
    LedgerError,
    canonical,
    content_hash,
    label,
    ledger_id,
    row_hash,
    timestamp,
)
from fangxin.ledger._engine import connect, plainly

_metadata = sa.MetaData()
# SQLite gives only INTEGER PRIMARY KEY the row's own number; BIGINT would get a second index.
_Seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

head_table = sa.Table(
    "ledger",
    _metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("nonce", sa.Text, nullable=False),
)
entry_table = sa.Table(
    "ledger_entries",
    _metadata,
    sa.Column("seq", _Seq, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("salt", sa.Text),
    sa.Column("content", sa.Text),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("ledger_entries_kind_key", "kind", "key"),
)
checkpoint_table = sa.Table(
    "ledger_checkpoints",
    _metadata,
    sa.Column("ledger_id", sa.Text, nullable=False),
    sa.Column("seq", _Seq, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("public_key", sa.Text, primary_key=True),
    sa.Column("signature", sa.Text, nullable=False),
)

_PAGE = 1000
# Any fixed number will do, so long as nothing else in the database locks it ("fangxin" in hex).
_PG_LOCK = 0x66616E6778696E


class NewEntry(NamedTuple):
    """What `Ledger.append_many` takes, one a row; a plain tuple does as well."""

    kind: str
    key: str
    content: Mapping[str, Any]
    time: datetime | None = None


class Ledger:
    """An append-only, hash-chained record in SQLite or PostgreSQL.

    Any number of threads and processes may append to one ledger at once. An append returns only after the
    database has made it durable. Content can be erased, rows can't; the chain holds all the same.
    """

    def __init__(self, engine: sa.Engine, where: str) -> None:
        """Use `Ledger.open`."""
        self._engine = engine
        self._turn = threading.Lock()
        self.where = where
        self.id = ""

    @classmethod
    def open(cls, where: str | Path, *, create: bool = True) -> Ledger:
        """Open the ledger at a path (SQLite) or a PostgreSQL URL; make it when it isn't there.

        Args:
            where: a path, `sqlite:///path` or `postgresql://user@host/database`.
            create: False to insist that it exists.

        Raises:
            LedgerError: it can't be opened or made, or (with `create=False`) isn't there.
        """
        engine, name = connect(where, create)
        ledger = cls(engine, name)
        try:
            with plainly(name):
                ledger._begin_life(create)
        except BaseException:
            engine.dispose()
            raise
        return ledger

    def _begin_life(self, create: bool) -> None:
        if create:
            with self._write() as connection:
                _metadata.create_all(connection)
                row = connection.execute(sa.select(head_table)).first()
                if row is None:
                    created, nonce = timestamp(), secrets.token_hex(16)
                    self.id = ledger_id(VERSION, created, nonce)
                    values = {"id": self.id, "version": VERSION, "created": created, "nonce": nonce}
                    connection.execute(head_table.insert(), values)
                    return
        else:
            with self._engine.connect() as connection:
                there = sa.inspect(connection).has_table(head_table.name)
                row = connection.execute(sa.select(head_table)).first() if there else None
            if row is None:
                raise LedgerError(f"there is no ledger at {self.where}.")
        if row.version != VERSION:
            raise LedgerError(
                f"{self.where} was written by a newer version (format {row.version}): upgrade fangxin."
            )
        self.id = row.id

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. What was appended is already safe."""
        self._engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        # One writer at a time, so that two can't both continue from the same head: a lock among the threads
        # here, BEGIN IMMEDIATE or an advisory lock among processes, and seq's uniqueness behind them.
        with self._turn, self._engine.connect() as connection:
            connection = connection.execution_options(fangxin_begin="BEGIN IMMEDIATE")
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(sa.text("SET LOCAL synchronous_commit = on"))
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PG_LOCK)))
                yield connection

    def append(self, kind: str, key: str, content: Mapping[str, Any], time: datetime | None = None) -> Entry:
        """Append one row; it is durable when this returns.

        Args:
            kind: what sort of thing this is; `erased` is the ledger's own.
            key: what it is about.
            content: plain JSON data.
            time: when it happened; now when None. Needs a time zone.

        Raises:
            LedgerError: a wrong argument, or the database refuses (disk full, no access, locked too long).
        """
        return self.append_many([NewEntry(kind, key, content, time)])[0]

    def append_many(self, rows: Iterable[tuple[Any, ...]]) -> list[Entry]:
        """Append rows in one transaction: all of them or none.

        Args:
            rows: `NewEntry`s, or tuples `(kind, key, content)` or `(kind, key, content, time)`.

        Raises:
            LedgerError: as `append`.
        """
        drafts = []
        for row in rows:
            new = NewEntry(*row)
            if new.kind == ERASED:
                raise LedgerError(f"the kind {ERASED!r} is the ledger's own: use erase().")
            text, salt = canonical(new.content), secrets.token_hex(16)
            drafts.append((label("kind", new.kind), label("key", new.key), timestamp(new.time), salt, text))
        if not drafts:
            return []
        with plainly(self.where), self._write() as connection:
            return self._insert(connection, drafts)

    def _insert(self, connection: sa.Connection, drafts: list[tuple[str, str, str, str, str]]) -> list[Entry]:
        seq, prev = head(connection)
        rows = []
        for kind, key, time, salt, text in drafts:
            seq += 1
            inner = content_hash(salt, text)
            outer = row_hash(self.id, seq, kind, key, time, inner, prev)
            rows.append((seq, kind, key, time, salt, text, inner, prev, outer))
            prev = outer
        names = entry_table.columns.keys()
        connection.execute(entry_table.insert(), [dict(zip(names, row, strict=True)) for row in rows])
        return [Entry(*row) for row in rows]

    def entries(self, kind: str | None = None, after: int = 0) -> Iterator[Entry]:
        """The rows after number `after`, in order; only those of one kind when it is given.

        Read in pages of a thousand, so that a slow reader holds no transaction open.

        Raises:
            LedgerError: the database can't be read.
        """
        while True:
            query = sa.select(entry_table).where(entry_table.c.seq > after)
            if kind is not None:
                query = query.where(entry_table.c.kind == kind)
            with plainly(self.where), self._engine.connect() as connection:
                page = connection.execute(query.order_by(entry_table.c.seq).limit(_PAGE)).all()
            for row in page:
                yield Entry(*row)
            if len(page) < _PAGE:
                return
            after = page[-1].seq

    def get(self, kind: str, key: str) -> Entry | None:
        """The latest row of this kind and key, erased or not; None when there is none.

        Raises:
            LedgerError: the database can't be read.
        """
        query = sa.select(entry_table).where(entry_table.c.kind == kind, entry_table.c.key == key)
        with plainly(self.where), self._engine.connect() as connection:
            row = connection.execute(query.order_by(entry_table.c.seq.desc()).limit(1)).first()
        return None if row is None else Entry(*row)

    def erase(self, seq: int, reason: str = "") -> Entry:
        """Drop the salt and content of a row for good, and append an entry that says so.

        On SQLite the bytes are overwritten in the file and its write-ahead log at once. On PostgreSQL they
        are gone after the next vacuum, and from its archives when those are rotated. Kind and key stay:
        put nothing personal into them.

        Returns:
            The new entry, of kind `erased`, with content `{"seq": seq, "reason": reason}`.

        Raises:
            LedgerError: there is no such row, it is erased already, or it is itself a record of an erasure.
        """
        with plainly(self.where), self._write() as connection:
            row = connection.execute(sa.select(entry_table).where(entry_table.c.seq == seq)).first()
            if row is None:
                raise LedgerError(f"there is no row {seq} to erase.")
            if row.kind == ERASED:
                raise LedgerError(f"row {seq} records an erasure and can't be erased.")
            if row.content is None:
                raise LedgerError(f"row {seq} is erased already.")
            connection.execute(
                entry_table.update().where(entry_table.c.seq == seq).values(salt=None, content=None)
            )
            text = canonical({"seq": seq, "reason": reason})
            draft = (ERASED, str(seq), timestamp(), secrets.token_hex(16), text)
            entry = self._insert(connection, [draft])[0]
        self._flush()
        return entry

    def _flush(self) -> None:
        # The write-ahead log still holds the pages as they were before the erasure.
        if self._engine.dialect.name != "sqlite":
            return
        with plainly(self.where), self._turn, self._engine.connect() as connection:
            connection = connection.execution_options(fangxin_begin="")
            for _ in range(50):
                busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
                if not busy:
                    return
                clock.sleep(0.02)
        # A reader is in the way: the next erasure or the last close does it.

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for the room's own readers, with errors in plain words."""
        with plainly(self.where), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A write transaction for the room's own writers, with errors in plain words."""
        with plainly(self.where), self._write() as connection:
            yield connection


def head(connection: sa.Connection) -> tuple[int, str]:
    """The number and hash of the last row; `(0, GENESIS)` of an empty ledger."""
    columns = entry_table.c.seq, entry_table.c.hash
    row = connection.execute(sa.select(*columns).order_by(columns[0].desc()).limit(1)).first()
    return (0, GENESIS) if row is None else (row.seq, row.hash)
