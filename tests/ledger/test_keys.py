import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from fangxin.ledger import LedgerError, SigningKey, config_folder, fingerprint_of, verify_signature


def test_the_key_is_made_once_and_for_its_owner_only(config):
    made = SigningKey.load()
    assert stat.S_IMODE(config.stat().st_mode) == 0o700
    assert stat.S_IMODE((config / "key.pem").stat().st_mode) == 0o600
    assert os.listdir(config) == ["key.pem"]
    assert SigningKey.load().public_key == made.public_key
    raw = bytes.fromhex(made.public_key)
    assert (
        made.fingerprint() == fingerprint_of(made.public_key) == "fx1:" + hashlib.sha256(raw).hexdigest()[:32]
    )


def test_runs_that_start_together_make_one_key():
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: SigningKey.load().public_key, range(16)))
    assert len(set(keys)) == 1


def test_a_key_that_others_can_read_is_refused(config, key):
    for mode in (0o640, 0o604, 0o666):
        (config / "key.pem").chmod(mode)
        with pytest.raises(
            LedgerError, match=r"others can read the signing key .*: run `chmod 600 .*key\.pem`"
        ):
            SigningKey.load()
    (config / "key.pem").chmod(0o600)
    config.chmod(0o777)
    with pytest.raises(LedgerError, match=r"others can write to .*: run `chmod 700"):
        SigningKey.load()


def test_what_is_not_an_ed25519_key_is_refused(config, key):
    other = generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for data in (b"", b"nonsense", other):
        (config / "key.pem").write_bytes(data)
        with pytest.raises(LedgerError, match="not an unencrypted Ed25519 key"):
            SigningKey.load()


def test_where_the_users_folder_is(monkeypatch, tmp_path):
    assert config_folder() == Path(os.environ["FANGXIN_CONFIG"])
    monkeypatch.delenv("FANGXIN_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config_folder() == tmp_path / "xdg" / "fangxin"
    assert SigningKey.load().public_key
    assert (tmp_path / "xdg" / "fangxin" / "key.pem").exists()
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_folder() == tmp_path / ".config" / "fangxin"


def test_a_folder_that_is_a_file_is_refused(config):
    config.parent.mkdir()
    config.write_text("")
    with pytest.raises(LedgerError, match="is not a folder"):
        SigningKey.load()


def test_signatures(key):
    signature = key.sign(b"message")
    assert verify_signature(key.public_key, b"message", signature)
    assert not verify_signature(key.public_key, b"messagf", signature)
    assert not verify_signature(key.public_key, b"message", signature.upper())
    assert not verify_signature(key.public_key.upper(), b"message", signature)
    assert not verify_signature(key.public_key, b"message", signature[:-2])
    assert not verify_signature("00" * 32, b"message", signature)
    assert not verify_signature("", b"message", "")
    with pytest.raises(LedgerError, match="64 lower-case hex digits"):
        fingerprint_of("AB" * 32)
