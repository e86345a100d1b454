import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import pytest

from fangxin.ledger import SigningKey


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    """A user's folder of the test's own."""
    folder = tmp_path / "config" / "fangxin"
    monkeypatch.setenv("FANGXIN_CONFIG", str(folder))
    return folder


@pytest.fixture
def key():
    return SigningKey.load()


def _programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    where = shutil.which("initdb") or (str(found[-1]) if found else None)
    return Path(where).parent if where else None


@pytest.fixture(scope="session")
def cluster():
    """A throwaway PostgreSQL server on a socket of its own; yields the socket's folder."""
    pytest.importorskip("psycopg")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    user = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = {"user": pwd.getpwnam("postgres").pw_uid, "group": pwd.getpwnam("postgres").pw_gid}
        except KeyError:
            pytest.skip("PostgreSQL can't run as root and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="fx-pg-"))
    if user:
        os.chown(folder, user["user"], user["group"])

    def run(*command):
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        log = folder / "log"
        done = subprocess.run(
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            **user,
        )
        if done.returncode:
            tail = log.read_text()[-500:] if log.exists() else ""
            pytest.skip(f"PostgreSQL can't be started here: {done.stderr.strip()[-300:]} {tail}")

    try:
        run(
            programs / "initdb",
            "-D",
            folder / "data",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
        )
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c shared_buffers=16MB"
        run(programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-o", options, "-w", "start")
        yield folder
    finally:
        with contextlib.suppress(pytest.skip.Exception):
            run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


_names = (f"fx{i}" for i in count())


@pytest.fixture
def postgres(cluster):
    """The URL of an empty schema."""
    import psycopg

    name = next(_names)
    with psycopg.connect(f"host={cluster} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"postgresql://postgres@/postgres?host={cluster}&options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path):
    """A place for a ledger, in each store."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    return request.getfixturevalue("postgres")
