from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fangxin.agent import Bundle, ModelSpec
from fangxin.cli import _serve
from fangxin.cli._terminal import InputError
from fangxin.defend import Blocklist, Shield
from fangxin.detect import DetectorError
from fangxin.ledger import Ledger, SigningKey, audit, sign_files

from ._stub import stubbed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import typer; from fangxin.cli._serve import serve; typer.run(serve)",
            *arguments,
            "--json",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("}"):
                break
        yield process, json.loads("".join(lines) or "{}")
    finally:
        process.kill()
        process.communicate()


def ask(url: str, key: str | None = None) -> dict[str, Any]:
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url}/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        data: dict[str, Any] = json.loads(response.read())
    return data


def made(folder: Path, url: str = "http://127.0.0.1:9/v1") -> Path:
    """A bundle of an API with a shield that needs no weights."""
    Bundle(ModelSpec(url, "stub-model"), shield=Shield((Blocklist(("plum",)),))).save(folder)
    return folder


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SigningKey:
    monkeypatch.setenv("FANGXIN_CONFIG", str(tmp_path / "config"))
    return SigningKey.load()


def test_a_bundle_is_served_and_recorded_until_a_signal(tmp_path: Path) -> None:
    with stubbed(pieces=["A plum."]) as stub:
        folder = made(tmp_path / "bundle", stub.url)
        port = free_port()
        state = {"XDG_STATE_HOME": str(tmp_path / "state"), "GATE_KEY": "sk-gate"}
        with running(str(folder), "--port", str(port), "--key-env", "GATE_KEY", **state) as (process, told):
            assert told == {
                "status": "listening",
                "url": f"http://127.0.0.1:{port}/v1",
                "model": "stub-model",
                "shield": ["blocklist"],
                "ledger": str(tmp_path / "state" / "fangxin" / "gateway.sqlite"),
                "signed_by": None,
            }
            assert ask(told["url"], "sk-gate")["choices"][0]["message"]["content"] == "A [removed]."
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(told["url"])
            assert refused.value.code == 401
            refused.value.close()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
            assert process.returncode == 0, err
    assert out == ""
    assert f"Listening at http://127.0.0.1:{port}/v1: model stub-model; shield blocklist; not signed" in err
    assert "sk-gate" not in err
    ledger = tmp_path / "state" / "fangxin" / "gateway.sqlite"
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert ledger.parent.stat().st_mode & 0o777 == 0o700
    assert audit(ledger).problems == ()
    with Ledger.open(ledger) as opened:
        rows = [entry.content or {} for entry in opened.entries("exchange")]
    assert [row["answer"] for row in rows] == ["A [removed]."]


def test_terms_in_a_file_are_taken_out_besides_the_bundles(tmp_path: Path) -> None:
    terms = tmp_path / "terms.tsv"
    terms.write_text("fig\tfruit\nleaf\tgreen\n", "utf-8")
    with stubbed(pieces=["A plum, a f*i*g and a leaf."]) as stub:
        folder = made(tmp_path / "bundle", stub.url)
        state = {"XDG_STATE_HOME": str(tmp_path / "state")}
        options = ("--port", str(free_port()), "--terms", str(terms), "--theme", "fruit")
        with running(str(folder), *options, **state) as (_, told):
            assert told["shield"] == ["blocklist", "blocklist"]
            said = ask(told["url"])["choices"][0]["message"]["content"]
            assert said == "A [removed], a [removed] and a leaf."
            terms.write_text("leaf\tfruit\n", "utf-8")
            deadline = time.monotonic() + 30
            while said != "A [removed], a f*i*g and a [removed]." and time.monotonic() < deadline:
                time.sleep(0.2)
                said = ask(told["url"])["choices"][0]["message"]["content"]
            assert said == "A [removed], a f*i*g and a [removed]."


def test_terms_that_cannot_be_read_stop_it(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="can't be read"):
        _serve.serve(made(tmp_path / "bundle"), terms=[tmp_path / "none.txt"])
    with pytest.raises(InputError, match="give --terms FILE"):
        _serve.serve(tmp_path, homophones=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_the_network_is_let_in_only_with_a_key(tmp_path: Path, host: str) -> None:
    with pytest.raises(InputError, match="give --key-file"):
        _serve.serve(tmp_path, host=host)


def test_a_key_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(InputError, match="NO_SUCH_KEY holds no key"):
        _serve.serve(tmp_path, key_env="NO_SUCH_KEY")
    with pytest.raises(InputError, match="can't be read"):
        _serve.serve(tmp_path, key_file=tmp_path / "no")
    with pytest.raises(InputError, match="not both"):
        _serve.serve(tmp_path, key_env="A", key_file=tmp_path / "no")


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1 port {port}"):
            _serve.run(
                _serve._serve(folder, "127.0.0.1", port, str(tmp_path / "l.sqlite"), None, None, False)
            )


def _sign(base: Path, key: SigningKey) -> None:
    files = [path for path in base.rglob("*") if path.is_file()]
    (base / "manifest.json").write_text(json.dumps(sign_files(base, files, key).as_dict()))


@pytest.mark.parametrize("beside", [False, True])
def test_a_signed_bundle_names_its_signer(tmp_path: Path, key: SigningKey, beside: bool) -> None:
    folder = made(tmp_path / "run" / "bundle")
    (tmp_path / "run" / "report.html").write_text("a report")
    base = folder.parent if beside else folder
    _sign(base, key)
    assert _serve.signer_of(folder) == key.fingerprint()
    assert _serve.signer_of(folder, key.fingerprint()) == key.fingerprint()
    with pytest.raises(InputError, match="instead of fx1:0000"):
        _serve.signer_of(folder, "fx1:" + "0" * 32)
    (tmp_path / "run" / "report.html").write_text("notes in the report change no bundle")
    assert _serve.signer_of(folder) == key.fingerprint()
    with (folder / "shield.json").open("a") as file:
        file.write(" ")
    with pytest.raises(InputError, match=r"shield\.json: the file was changed since it was signed"):
        _serve.signer_of(folder)
    (folder / "shield.json").unlink()
    with pytest.raises(InputError, match=r"shield\.json: the file is missing"):
        _serve.signer_of(folder)


def test_a_file_beside_the_signed_ones_is_not_served(tmp_path: Path, key: SigningKey) -> None:
    folder = made(tmp_path / "bundle")
    _sign(folder, key)
    (folder / "more.npz").write_bytes(b"x")
    with pytest.raises(InputError, match=r"more\.npz: the file is not in the manifest"):
        _serve.signer_of(folder)


def test_a_forged_or_broken_manifest(tmp_path: Path, key: SigningKey) -> None:
    folder = made(tmp_path / "bundle")
    _sign(folder, key)
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    data["files"] = [row for row in data["files"] if row["name"] != "shield.json"]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="signature"):
        _serve.signer_of(folder)
    path.write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        _serve.signer_of(folder)


def test_an_unsigned_bundle(tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle")
    assert _serve.signer_of(folder) is None
    with pytest.raises(InputError, match="nobody signed it"):
        _serve.signer_of(folder, "fx1:" + "0" * 32)


def test_a_manifest_beside_it_that_is_about_other_files(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other.txt").write_text("x")
    _sign(tmp_path / "run", key)
    assert _serve.signer_of(made(tmp_path / "run" / "bundle")) is None
