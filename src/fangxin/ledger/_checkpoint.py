from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fangxin.ledger._chain import GENESIS, LedgerError, encode, row_faults, timestamp
from fangxin.ledger._keys import SigningKey, config_folder, make_config_folder, verify_signature
from fangxin.ledger._ledger import Ledger, checkpoint_table


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that a ledger reached a row with a hash.

    Attributes:
        ledger_id: the ledger.
        seq: the number of the last row that it covers.
        hash: that row's hash, and with it every row's before.
        time: when it was signed, UTC.
        public_key: the signer's, 64 hex digits.
        signature: Ed25519 over all of the above, 128 hex digits.
    """

    ledger_id: str
    seq: int
    hash: str
    time: str
    public_key: str
    signature: str

    @property
    def valid(self) -> bool:
        """Whether the signature is the key's. Whose key it is, only a pinned fingerprint tells."""
        message = _message(self.ledger_id, self.seq, self.hash, self.time, self.public_key)
        return verify_signature(self.public_key, message, self.signature)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, to be put into a report; `of` reads it back."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Checkpoint:
        """A checkpoint from plain data.

        Raises:
            LedgerError: a field is missing or of the wrong type.
        """
        names = ("ledger_id", "hash", "time", "public_key", "signature")
        if not (
            isinstance(data, Mapping)
            and all(isinstance(data.get(name), str) for name in names)
            and type(data.get("seq")) is int
        ):
            raise LedgerError("a checkpoint needs ledger_id, seq, hash, time, public_key and signature.")
        return cls(**{name: data[name] for name in (*names, "seq")})


def _message(ledger_id: str, seq: int, hash: str, time: str, public_key: str) -> bytes:
    return encode("checkpoint", ledger_id, str(seq), hash, time, public_key)


def checkpoint(ledger: Ledger, key: SigningKey) -> Checkpoint:
    """Sign the ledger's head, keep the signature in the ledger and remember it in the user's folder.

    The rows since the last checkpoint are checked first, so that a signature never blesses a broken chain.
    One key signs a row once: with nothing new, the checkpoint there is comes back.

    Raises:
        LedgerError: the ledger is empty, its chain is broken or cut, or something can't be written.
    """
    points = [p for p in checkpoints(ledger) if p.public_key == key.public_key and p.valid]
    signed = {point.seq: point for point in points}
    start = max(signed, default=0)
    if known := remembered().get(ledger.id):
        signed.setdefault(known.seq, known)
    seq, prev = _walk(ledger, start, signed)
    if seq == 0:
        raise LedgerError(f"{ledger.where} is empty: there is nothing to sign yet.")
    if seq == start:
        _remember(signed[seq], ledger.where)
        return signed[seq]
    now = timestamp()
    point = Checkpoint(
        ledger.id,
        seq,
        prev,
        now,
        key.public_key,
        key.sign(_message(ledger.id, seq, prev, now, key.public_key)),
    )
    with ledger.writing() as connection:
        # Another process with the same key may have signed this row since: its signature is as good.
        at = checkpoint_table.c.seq == seq, checkpoint_table.c.public_key == key.public_key
        connection.execute(checkpoint_table.delete().where(*at))
        connection.execute(checkpoint_table.insert(), point.as_dict())
    _remember(point, ledger.where)
    return point


def _walk(ledger: Ledger, start: int, signed: Mapping[int, Checkpoint]) -> tuple[int, str]:
    """Check the rows from `start` on against what was signed; the number and hash of the last."""
    seq, prev = max(start - 1, 0), GENESIS
    for entry in ledger.entries(after=seq):
        # Row `start` is held against its signature; what came before it was checked when it was signed.
        fault = next(row_faults(ledger.id, entry, entry.prev_hash if entry.seq == start else prev), "")
        if entry.seq != seq + 1:
            fault = f"row {seq + 1} is missing."
        elif (point := signed.get(entry.seq)) and point.hash != entry.hash:
            fault = f"row {entry.seq} isn't the row that was signed."
        if fault:
            raise LedgerError(f"{ledger.where} can't be signed: {fault} Run `fangxin verify` on it.")
        seq, prev = entry.seq, entry.hash
    if seq < (last := max(signed, default=0)):
        raise LedgerError(
            f"{ledger.where} can't be signed: row {last} was signed and is gone. Run `fangxin verify` on it."
        )
    return seq, prev


def checkpoints(ledger: Ledger) -> list[Checkpoint]:
    """The checkpoints kept in the ledger, oldest first.

    Raises:
        LedgerError: the database can't be read.
    """
    with ledger.reading() as connection:
        rows = connection.execute(sa.select(checkpoint_table).order_by(checkpoint_table.c.seq)).all()
    return [Checkpoint(*row) for row in rows]


def _heads_file() -> Path:
    return config_folder() / "heads.json"


def _heads() -> dict[str, dict[str, Any]]:
    path = _heads_file()
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        data = None
    if not isinstance(data, dict) or not all(isinstance(row, dict) for row in data.values()):
        raise LedgerError(f"{path} can't be read: move it away; heads are remembered anew from then on.")
    return data


def remembered() -> dict[str, Checkpoint]:
    """The last checkpoint of each ledger that this user has signed, by the ledger's id.

    Raises:
        LedgerError: `heads.json` in the user's folder can't be read.
    """
    return {ledger: Checkpoint.of(row) for ledger, row in _heads().items()}


def remembered_at(where: str) -> list[str]:
    """The ids of the ledgers that this user has signed at this place.

    Raises:
        LedgerError: as `remembered`.
    """
    return [ledger for ledger, row in _heads().items() if row.get("where") == _place(where)]


def _place(where: str) -> str:
    return where if "://" in where else str(Path(where).resolve())


def _remember(point: Checkpoint, where: str) -> None:
    folder = make_config_folder()
    with _exclusive(folder / "heads.lock"):
        heads = _heads()
        before = heads.get(point.ledger_id)
        if before is not None and Checkpoint.of(before).seq > point.seq:
            return
        heads[point.ledger_id] = {**point.as_dict(), "where": _place(where)}
        try:
            handle, name = tempfile.mkstemp(dir=folder, prefix=".heads.")
            with os.fdopen(handle, "w") as file:
                json.dump(heads, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, _heads_file())
        except OSError as error:
            raise LedgerError(f"{_heads_file()} can't be written: {error.strerror}.") from None


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
