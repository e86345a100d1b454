from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

VERSION = "1"
GENESIS = "0" * 64
ERASED = "erased"


class LedgerError(Exception):
    """The ledger, a key or a signed file can't be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a ledger.

    Attributes:
        seq: 1, 2, 3, ... without gaps.
        kind: what sort of thing is recorded, such as `trial` or `decision`.
        key: what it is about; not unique.
        time: UTC, ISO 8601 with microseconds and `Z`.
        salt: 16 random bytes in hex; None once erased.
        text: the content as canonical JSON; None once erased.
        content_hash: `content_hash(salt, text)`, kept when the content is erased.
        prev_hash: the hash of the row before; 64 zeros in row 1.
        hash: `row_hash` of all of the above but salt and text.
    """

    seq: int
    kind: str
    key: str
    time: str
    salt: str | None
    text: str | None
    content_hash: str
    prev_hash: str
    hash: str

    @property
    def content(self) -> dict[str, Any] | None:
        """The content as data; None once erased."""
        if self.text is None:
            return None
        data: dict[str, Any] = json.loads(self.text)
        return data

    @property
    def erased(self) -> bool:
        """Whether the content is gone."""
        return self.text is None


def encode(domain: str, *fields: str | bytes) -> bytes:
    """Fields in one unambiguous byte string: each is preceded by its length in eight bytes, big-endian.

    The domain comes first, so that what is hashed or signed for one purpose never passes for another.
    """
    parts = []
    for field in (f"fangxin.{domain}.{VERSION}", *fields):
        raw = field.encode("utf-8", "surrogatepass") if isinstance(field, str) else field
        parts += [len(raw).to_bytes(8, "big"), raw]
    return b"".join(parts)


def digest(domain: str, *fields: str | bytes) -> str:
    """SHA-256 of `encode(domain, *fields)`, in lower-case hex."""
    return hashlib.sha256(encode(domain, *fields)).hexdigest()


def ledger_id(version: str, created: str, nonce: str) -> str:
    """A ledger's name: 32 hex digits that bind what its first table says of it."""
    return digest("ledger", version, created, nonce)[:32]


def content_hash(salt: str | bytes, text: str | bytes) -> str:
    """The hash of a row's content; the salt keeps an erased content from being guessed."""
    return digest("content", salt, text)


def row_hash(
    ledger: str,
    seq: int,
    kind: str | bytes,
    key: str | bytes,
    time: str | bytes,
    content_hash: str | bytes,
    prev_hash: str | bytes,
) -> str:
    """The hash that chains a row to the one before, in the ledger `ledger`."""
    return digest("entry", ledger, str(seq), kind, key, time, content_hash, prev_hash)


def canonical(content: Mapping[str, Any]) -> str:
    """Content as JSON text: sorted keys, no spaces; a float that isn't finite becomes null.

    Raises:
        LedgerError: it isn't a mapping, or holds something that JSON has no form for.
    """
    if not isinstance(content, Mapping):
        raise LedgerError("an entry's content must be a mapping, such as {'decision': 'block'}.")
    try:
        return orjson.dumps(dict(content), option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        pass
    # Lone surrogates and integers over 64 bits: rarer, and orjson has no form for them.
    try:
        return json.dumps(dict(content), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise LedgerError(f"an entry's content must be plain JSON data: {error}.") from None


def timestamp(time: datetime | None = None) -> str:
    """A moment as the ledger writes it; now when None.

    Raises:
        LedgerError: the moment has no time zone.
    """
    moment = datetime.now(UTC) if time is None else time
    if moment.tzinfo is None:
        raise LedgerError("an entry's time needs a time zone, such as datetime.now(timezone.utc).")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def label(name: str, value: str) -> str:
    """`value`, checked to be fit for a kind or a key.

    Raises:
        LedgerError: empty, holding a NUL character, or not encodable as UTF-8.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise LedgerError(f"an entry's {name} must be text, not empty and without NUL characters.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise LedgerError(f"an entry's {name} must be valid Unicode.") from None
    return value


def row_faults(ledger: str, entry: Entry, prev_hash: str) -> Iterator[str]:
    """What is wrong with a row by itself and against the row before; one sentence each.

    A row without salt and content passes here: whether it was erased by right, only the later rows tell.
    """
    row = f"row {entry.seq}"
    if entry.prev_hash != prev_hash:
        yield f"{row} doesn't follow the row before it: its prev_hash is not that row's hash."
    if entry.hash != row_hash(
        ledger, entry.seq, entry.kind, entry.key, entry.time, entry.content_hash, entry.prev_hash
    ):
        yield f"{row} was changed: its hash doesn't fit its number, kind, key, time and hashes."
    if entry.salt is None and entry.text is None:
        if entry.kind == ERASED:
            yield f"{row} records an erasure and has lost its own content."
    elif entry.salt is None or entry.text is None:
        yield f"{row} has lost its {'salt' if entry.salt is None else 'content'}."
    elif entry.content_hash != content_hash(entry.salt, entry.text):
        yield f"the content or salt of {row} was changed: it doesn't fit its content_hash."
