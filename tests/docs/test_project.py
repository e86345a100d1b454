"""The project's outer files: locks, Makefile, container, continuous integration."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fangxin.cli import _doctor

ROOT = Path(__file__).parents[2]
LOCKS = ("run", "dev", "weights")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def lock_text(name):
    return (ROOT / "requirements" / f"{name}.lock").read_text("utf-8")


def entries(name):
    """Each pinned requirement of a lock, with its hashes."""
    lines = lock_text(name).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        words, *hashes = line.split("--hash=")
        found.append((Requirement(words.strip()), [hash_.strip() for hash_ in hashes]))
    return found


def pins(name):
    return {(req.name, str(req.specifier), str(req.marker)) for req, _ in entries(name)}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_and_hash_everything_and_name_no_host(name):
    for requirement, hashes in entries(name):
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", hash_) for hash_ in hashes), requirement
    assert "://" not in lock_text(name)
    assert "index" not in re.sub(r"--hash=\S+", "", lock_text(name))


def test_the_development_lock_holds_the_other():
    assert pins("run") <= pins("dev")


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [("run", PROJECT["dependencies"]), ("dev", PROJECT["optional-dependencies"]["dev"])],
    ids=["run", "dev"],
)
def test_locks_are_not_stale(lock, wanted):
    pinned = {}
    for requirement, _ in entries(lock):
        [specifier] = requirement.specifier
        pinned.setdefault(requirement.name, []).append(specifier.version)
    for requirement in map(Requirement, wanted):
        versions = pinned.get(requirement.name.lower().replace("_", "-"))
        assert versions, f"{requirement.name} is not in requirements/{lock}.lock: make lock"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_weights_are_those_that_the_doctor_knows():
    known = {one[:2] for one in (_doctor._MODEL, _doctor._ENCODER, _doctor._PAIRS)}
    assert {(req.name, str(req.specifier).removeprefix("==")) for req, _ in entries("weights")} == known


def test_help_lists_the_targets():
    done = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True)
    for target in ("install", "run", "test", "check", "bench", "docs", "lock"):
        assert f"make {target} " in done.stdout


def test_installing_twice_does_nothing_the_second_time(tmp_path):
    stamps = [tmp_path / f".fangxin-installed{end}" for end in ("", "-dev")]

    def said(goal):
        arguments = ["make", "-n", "-C", ROOT, goal, f"VENV={tmp_path}"]
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout

    assert "--require-hashes -r requirements/run.lock" in said("install")
    for stamp in stamps:
        stamp.touch()
    assert "pip" not in said("run") + said("test")


def test_continuous_integration_runs_the_checks_and_the_readmes_test_command():
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", script], check=True)
    last = [line.split() for line in script.read_text("utf-8").splitlines() if line.strip()][-2:]
    assert [words[-2:] for words in last] == [["make", "check"], ["make", "test"]]


def test_the_image_is_made_of_files_that_are_here_and_not_ignored():
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert any(Path(name).match(pattern) for pattern in kept)
