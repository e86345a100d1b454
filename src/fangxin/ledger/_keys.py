from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fangxin.ledger._chain import LedgerError

_HEX32 = re.compile(r"[0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{128}")


def config_folder() -> Path:
    """The user's own folder: `FANGXIN_CONFIG`, else `fangxin` in `XDG_CONFIG_HOME` or `~/.config`."""
    if chosen := os.environ.get("FANGXIN_CONFIG"):
        return Path(chosen)
    base = os.environ.get("XDG_CONFIG_HOME")
    # The XDG rules say to ignore a relative path.
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".config") / "fangxin"


def make_config_folder() -> Path:
    """The user's folder, made with mode 0700 when it isn't there.

    Raises:
        LedgerError: it can't be made, or others can write to it.
    """
    folder = config_folder()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        mode = folder.stat().st_mode
    except OSError as error:
        raise LedgerError(f"{folder} can't be made: {error.strerror}.") from None
    if not stat.S_ISDIR(mode):
        raise LedgerError(f"{folder} is not a folder: move it away or set FANGXIN_CONFIG.")
    if mode & 0o022:
        raise LedgerError(f"others can write to {folder}: run `chmod 700 {folder}` and try again.")
    return folder


def write_new(path: Path, data: bytes) -> None:
    """Write a whole new file of mode 0600, unless there is one by now: that one is left as it is.

    Raises:
        OSError: the folder can't be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


class SigningKey:
    """The user's Ed25519 key. It lives in the user's config folder, never in a run."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        """Use `SigningKey.load`."""
        self._private = private
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.public_key = raw.hex()

    @classmethod
    def load(cls) -> SigningKey:
        """Read `key.pem` in the user's config folder; make it on first use.

        Raises:
            LedgerError: others can read the file, or it isn't an Ed25519 key, or it can't be read or made.
        """
        path = make_config_folder() / "key.pem"
        try:
            if not path.exists():
                pem = Ed25519PrivateKey.generate().private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                write_new(path, pem)
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise LedgerError(
                        f"others can read the signing key {path}: run `chmod 600 {path}`, "
                        "or move it away to get a new key if somebody may have copied it."
                    )
                data = file.read()
        except OSError as error:
            raise LedgerError(f"the signing key {path} can't be read or made: {error.strerror}.") from None
        try:
            private = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise LedgerError(f"{path} is not an unencrypted Ed25519 key: move it away to get a new one.")
        return cls(private)

    def fingerprint(self) -> str:
        """`fingerprint_of` this key."""
        return fingerprint_of(self.public_key)

    def sign(self, message: bytes) -> str:
        """The Ed25519 signature in lower-case hex, 128 digits."""
        return self._private.sign(message).hex()


def fingerprint_of(public_key: str) -> str:
    """`fx1:` and the first 32 hex digits of SHA-256 over the raw public key.

    Raises:
        LedgerError: not a public key of 64 lower-case hex digits.
    """
    if not _HEX32.fullmatch(public_key):
        raise LedgerError("a public key is 64 lower-case hex digits.")
    return "fx1:" + hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:32]


def verify_signature(public_key: str, message: bytes, signature: str) -> bool:
    """Whether the signature is this key's over this message; False for anything malformed.

    Only lower-case hex counts, so that a signature has one written form.
    """
    if not _HEX32.fullmatch(public_key) or not _HEX64.fullmatch(signature):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
