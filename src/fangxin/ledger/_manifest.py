from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fangxin.ledger._chain import LedgerError, encode, timestamp
from fangxin.ledger._keys import SigningKey, fingerprint_of, verify_signature
from fangxin.ledger._verify import Problem


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file in a manifest: its name relative to the folder with `/`, its size in bytes, its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A signed list of files.

    Attributes:
        files: sorted by name.
        time: when it was signed, UTC.
        public_key: the signer's, 64 hex digits.
        signature: Ed25519 over all of the above, 128 hex digits.
    """

    files: tuple[SignedFile, ...]
    time: str
    public_key: str
    signature: str

    @property
    def valid(self) -> bool:
        """Whether the signature is the key's. Whose key it is, only a pinned fingerprint tells."""
        message = _message(self.files, self.time, self.public_key)
        return verify_signature(self.public_key, message, self.signature)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `of` reads it back."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Manifest:
        """A manifest from plain data.

        Raises:
            LedgerError: a field is missing or of the wrong type.
        """
        try:
            files = tuple(SignedFile(row["name"], row["size"], row["sha256"]) for row in data["files"])
            manifest = cls(files, data["time"], data["public_key"], data["signature"])
        except (KeyError, TypeError):
            raise LedgerError(
                "a manifest needs files (name, size, sha256), time, public_key, signature."
            ) from None
        texts = [manifest.time, manifest.public_key, manifest.signature]
        texts += [text for file in files for text in (file.name, file.sha256)]
        if not all(isinstance(text, str) for text in texts) or not all(type(f.size) is int for f in files):
            raise LedgerError("a manifest's fields are texts, and its sizes whole numbers.")
        return manifest


def _message(files: Iterable[SignedFile], time: str, public_key: str) -> bytes:
    rows = [encode("file", file.name, str(file.size), file.sha256) for file in files]
    return encode("manifest", time, public_key, *rows)


def sign_files(folder: str | Path, paths: Iterable[str | Path], key: SigningKey) -> Manifest:
    """Hash files of a folder and sign the list.

    Args:
        folder: what the names are relative to.
        paths: the files, relative to the folder or absolute inside it.
        key: the signer's.

    Raises:
        LedgerError: no file, or one that is missing, unreadable or outside the folder.
    """
    base = Path(folder).resolve()
    names = set()
    for path in paths:
        full = (base / path).resolve()
        if not full.is_relative_to(base):
            raise LedgerError(f"{path} is outside {folder}: only files inside it can be signed.")
        names.add(full.relative_to(base).as_posix())
    if not names:
        raise LedgerError("there is no file to sign.")
    files = tuple(_signed(base, name) for name in sorted(names))
    now = timestamp()
    return Manifest(files, now, key.public_key, key.sign(_message(files, now, key.public_key)))


def _signed(base: Path, name: str) -> SignedFile:
    try:
        with (base / name).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return SignedFile(name, file.tell(), sha256)
    except OSError as error:
        raise LedgerError(f"{name} can't be read: {error.strerror}.") from None


def verify_manifest(
    folder: str | Path,
    manifest: Manifest | Mapping[str, Any],
    fingerprint: str | None = None,
    besides: Collection[str] | None = None,
) -> list[Problem]:
    """What is wrong with the files of a folder; empty means good.

    Args:
        folder: where the files are now.
        manifest: from `sign_files`, or its plain data.
        fingerprint: the one key that may have signed; None accepts any key.
        besides: names that may be in the folder without being listed. Any other unlisted file is a problem
            then; with None, unlisted files are not looked for.
    """
    base = Path(folder).resolve()
    try:
        listed = manifest if isinstance(manifest, Manifest) else Manifest.of(manifest)
    except LedgerError as error:
        return [Problem("manifest", str(error))]
    if not listed.valid:
        return [Problem("manifest", "its signature is not its key's over what it lists.")]
    problems = []
    signer = fingerprint_of(listed.public_key)
    if fingerprint is not None and signer != fingerprint:
        problems.append(Problem("manifest", f"it is signed by {signer} instead of {fingerprint}."))
    seen: set[str] = set()
    for file in listed.files:
        if what := _fault(base, file, seen):
            problems.append(Problem(file.name, what))
        seen.add(file.name)
    if besides is not None:
        there = (path.relative_to(base).as_posix() for path in base.rglob("*") if not path.is_dir())
        extra = sorted(set(there) - seen - set(besides))
        problems += [Problem(name, "the file is not in the manifest.") for name in extra]
    return problems


def _fault(base: Path, file: SignedFile, seen: set[str]) -> str:
    if file.name in seen:
        return "the manifest lists it twice."
    path = PurePosixPath(file.name)
    if path.is_absolute() or ".." in path.parts or not (base / path).resolve().is_relative_to(base):
        return "the manifest lists it, but it is outside the folder."
    if not (base / path).is_file():
        return "the file is missing."
    try:
        now = _signed(base, file.name)
    except LedgerError as error:
        return str(error)
    return "" if now == file else "the file was changed since it was signed."
