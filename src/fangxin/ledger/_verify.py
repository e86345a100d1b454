from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fangxin.ledger._chain import ERASED, GENESIS, VERSION, Entry, LedgerError, ledger_id, row_faults
from fangxin.ledger._checkpoint import Checkpoint, remembered, remembered_at
from fangxin.ledger._engine import address, plainly, postgres
from fangxin.ledger._keys import fingerprint_of
from fangxin.ledger._ledger import checkpoint_table, entry_table, head_table
from fangxin.ledger._snapshot import mark, still

_MOST = 100
_TABLES = (head_table, entry_table, checkpoint_table)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the evidence.

    Attributes:
        where: the row, checkpoint or file.
        what: one sentence.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What a check of a ledger found.

    Attributes:
        problems: what is wrong; empty means good. At most 100, then one that counts the rest.
        notes: what is not wrong but should be known, such as rows that nobody has signed yet.
        ledger_id: the ledger's name; empty when it can't be read.
        rows: how many rows were read.
        erased: how many of them have no content any more.
        signed: the number of the last row under a good checkpoint; 0 when there is none.
        signers: the fingerprints of the keys behind good checkpoints.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    ledger_id: str = ""
    rows: int = 0
    erased: int = 0
    signed: int = 0
    signers: tuple[str, ...] = ()


def verify(
    where: str | Path,
    fingerprint: str | None = None,
    expected: Checkpoint | None = None,
    heads: bool = True,
) -> list[Problem]:
    """The problems that `audit` finds; empty means good. Arguments and errors are `audit`'s."""
    return list(audit(where, fingerprint, expected, heads).problems)


def audit(
    where: str | Path,
    fingerprint: str | None = None,
    expected: Checkpoint | None = None,
    heads: bool = True,
) -> Audit:
    """Recompute a whole ledger and check every signature. Changes nothing; the ledger may be in use.

    Without `expected` and `heads` a forger who can rewrite the whole file and leaves out the checkpoints, or
    signs it with a key of their own, is only found by `fingerprint`.

    Args:
        where: the path or URL, as for `Ledger.open`.
        fingerprint: the one key that may have signed; None accepts any key.
        expected: a checkpoint kept elsewhere, such as in the report: the ledger must contain it.
        heads: whether the ledger must also contain what this user's folder remembers of it.

    Raises:
        LedgerError: it can't be checked at all: no right to read, no answer from the server.
    """
    url = address(where)
    if url.drivername != "sqlite":
        audit = _Audit(url.render_as_string(hide_password=True), fingerprint, expected, heads)
        with _postgres(url) as connection:
            audit.read(*(connection.execute(query) for query in _queries()))
        return audit.done()
    path = Path(url.database or "")
    try:
        for _ in range(3):
            before = mark(path)
            audit = _Audit(str(path), fingerprint, expected, heads)
            _read_file(audit, path)
            # A writer that came in while the file was read unguarded looks like damage: look again.
            if not audit.problems or mark(path) == before:
                break
    except OSError as error:
        raise LedgerError(f"{path} can't be read: {error.strerror}.") from None
    return audit.done()


def _queries() -> list[sa.Select[Any]]:
    return [sa.select(table).order_by(*table.primary_key.columns) for table in _TABLES]


@contextmanager
def _postgres(url: sa.URL) -> Iterator[sa.Connection]:
    engine = postgres(url)
    try:
        with plainly(url.render_as_string(hide_password=True)), engine.connect() as connection:
            connection = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True, stream_results=True
            )
            if not sa.inspect(connection).has_table(head_table.name):
                raise LedgerError(f"there is no ledger at {url.render_as_string(hide_password=True)}.")
            yield connection
    finally:
        engine.dispose()


def _read_file(audit: _Audit, path: Path) -> None:
    if not path.is_file():
        audit.fault(path.name, "there is no such file.")
        return
    with path.open("rb"):
        pass  # SQLite's own message doesn't say that the rights are missing
    try:
        with still(path) as connection:
            names = {row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master")}
            if missing := [table.name for table in _TABLES if table.name not in names]:
                audit.fault(path.name, f"the table {missing[0]} is missing: this is not a whole ledger.")
                return
            for (line,) in connection.execute("PRAGMA integrity_check(5)"):
                if line != b"ok":
                    audit.fault(path.name, f"the file is damaged: {line.decode(errors='replace')}.")
            foreign = "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"
            for kind, name in connection.execute(foreign):
                audit.fault(path.name, f"it holds a {kind.decode()} {name.decode()!r} that no ledger has.")
            audit.read(*(connection.execute(str(query)) for query in _queries()))
    except sqlite3.DatabaseError as error:
        audit.fault(path.name, f"the file is damaged or not a ledger: {error}.")
    except UnicodeDecodeError:
        audit.fault(path.name, "the file is damaged: a name in its schema is not text.")


@dataclass(slots=True)
class _Audit:
    """An audit under way: reads rows once, in order, and remembers only what later rows are held against."""

    where: str
    fingerprint: str | None
    expected: Checkpoint | None
    heads: bool
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    notes: list[str] = field(default_factory=list)
    id: str = ""
    rows: int = 0
    last: int = 0
    empty: set[int] = field(default_factory=set)
    erasures: dict[int, int] = field(default_factory=dict)
    points: list[Checkpoint] = field(default_factory=list)

    def fault(self, where: str, what: str) -> None:
        if len(self.problems) < _MOST:
            self.problems.append(Problem(where, what))
        else:
            self.more += 1

    def done(self) -> Audit:
        if self.more:
            self.problems.append(Problem(Path(self.where).name, f"{self.more} more problems were found."))
        return Audit(
            tuple(self.problems),
            tuple(self.notes),
            self.id,
            self.rows,
            len(self.empty),
            max((point.seq for point in self.points), default=0),
            tuple(dict.fromkeys(fingerprint_of(point.public_key) for point in self.points)),
        )

    def read(self, ledgers: Iterable[Any], entries: Iterable[Any], checkpoints: Iterable[Any]) -> None:
        heads = list(ledgers)
        if len(heads) != 1:
            self.fault("ledger", f"it must have one name and has {len(heads)}.")
            return
        row = self._texts("ledger", head_table, heads[0])
        self.id, version, created, nonce = row
        if version != VERSION or self.id != ledger_id(version, created, nonce):
            self.fault("ledger", "its id doesn't fit its version, time and nonce: one of them was changed.")
        points = [
            Checkpoint(*self._texts(f"checkpoint at row {raw[1]}", checkpoint_table, raw))
            for raw in checkpoints
        ]
        promises = self._promises()
        hashes = self._chain(entries, {point.seq for _, point in promises} | {p.seq for p in points})
        self.points = [p for p in points if self._holds(f"checkpoint at row {p.seq}", p, hashes)]
        for where, point in promises:
            self._holds(where, point, hashes)
        self._signed()

    def _texts(self, where: str, table: sa.Table, row: Iterable[Any]) -> list[Any]:
        # SQLite keeps whatever is stored, of any type; a ledger has only text and whole numbers.
        values: list[Any] = []
        for column, value in zip(table.columns, row, strict=True):
            if isinstance(value, bytes):
                try:
                    value = value.decode()
                except UnicodeDecodeError:
                    self.fault(where, f"its {column.name} is not text any more.")
                    value = value.decode(errors="replace")
            number = column.name == "seq"
            if value is None and not column.nullable:
                self.fault(where, f"its {column.name} is missing.")
                value = 0 if number else ""
            elif value is not None and type(value) is not (int if number else str):
                self.fault(where, f"its {column.name} is of the wrong type.")
                value = 0 if number else str(value)
            values.append(value)
        return values

    def _chain(self, rows: Iterable[Any], wanted: set[int]) -> dict[int, str]:
        """Check every row; the hashes of the wanted ones."""
        hashes: dict[int, str] = {}
        prev = GENESIS
        for raw in rows:
            entry = Entry(*self._texts(f"row {raw[0]}", entry_table, raw))
            self.rows += 1
            where = f"row {entry.seq}"
            if entry.seq <= self.last:
                self.fault(where, "no row with this number belongs here.")
                continue
            if entry.seq > self.last + 1:
                first, end = self.last + 1, entry.seq - 1
                gone = f"row {first} is" if first == end else f"rows {first} to {end} are"
                self.fault(where, f"{gone} missing before it.")
                prev = entry.prev_hash
            for what in row_faults(self.id, entry, prev):
                self.fault(where, what)
            if entry.kind == ERASED:
                self._erasure(entry)
            elif entry.text is None and entry.salt is None:
                self.empty.add(entry.seq)
            prev = entry.hash
            if entry.seq in wanted:
                hashes[entry.seq] = prev
            self.last = entry.seq
        for seq in sorted(self.empty - set(self.erasures)):
            self.fault(f"row {seq}", "its content is gone and no later row records an erasure.")
        for seq in sorted(set(self.erasures) - self.empty):
            self.fault(f"row {seq}", f"row {self.erasures[seq]} says that it was erased, but it has content.")
        return hashes

    def _erasure(self, entry: Entry) -> None:
        if entry.key.isdecimal() and len(entry.key) < 20 and 0 < int(entry.key) < entry.seq:
            self.erasures[int(entry.key)] = entry.seq
        else:
            self.fault(f"row {entry.seq}", "it records the erasure of a row that isn't before it.")

    def _signed(self) -> None:
        signed = max((point.seq for point in self.points), default=0)
        if self.last > signed:
            tail = (
                f"rows {signed + 1} to {self.last} are" if self.last > signed + 1 else f"row {self.last} is"
            )
            self.notes.append(f"{tail} under no checkpoint yet: nobody has signed for this tail.")
        if self.fingerprint is not None and not self.points and self.rows:
            self.fault("checkpoints", f"nothing in this ledger is signed by {self.fingerprint}.")
        signers = sorted({fingerprint_of(point.public_key) for point in self.points})
        if len(signers) > 1:
            self.notes.append(f"{len(signers)} keys have signed: {', '.join(signers)}.")

    def _holds(self, where: str, point: Checkpoint, hashes: dict[int, str]) -> bool:
        if not point.valid:
            self.fault(where, "its signature is not its key's over what it says.")
        elif self.fingerprint is not None and fingerprint_of(point.public_key) != self.fingerprint:
            self.fault(
                where, f"it is signed by {fingerprint_of(point.public_key)} instead of {self.fingerprint}."
            )
        elif point.ledger_id != self.id:
            self.fault(where, f"it is of another ledger ({point.ledger_id}).")
        elif point.seq > self.last:
            self.fault(where, f"the ledger ends at row {self.last}: the rows up to {point.seq} were cut off.")
        elif hashes.get(point.seq) != point.hash:
            self.fault(where, f"row {point.seq} is not the row that was signed.")
        else:
            return True
        return False

    def _promises(self) -> list[tuple[str, Checkpoint]]:
        """Checkpoints kept outside the ledger, which it must contain, and the name of each."""
        found = [] if self.expected is None else [("expected checkpoint", self.expected)]
        if not self.heads:
            return found
        try:
            known = remembered().get(self.id)
            others = [id for id in remembered_at(self.where) if id != self.id]
        except LedgerError as error:
            self.fault("heads.json", str(error))
            return found
        if known is not None:
            found.append(("checkpoint remembered in your own folder", known))
        if others:
            self.notes.append(
                f"another ledger ({others[-1]}) was signed at this place before: this one has replaced it."
            )
        return found
