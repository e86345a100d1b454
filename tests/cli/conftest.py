from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fangxin.cli import main

from .scripted import Served, Style, panel, served

SMALL = """
languages = ["en"]
goals_per_risk = 4
ability_tasks = 24
families_per_goal = 2
asks_per_region = 8
budget = 2000
"""
# Two repairs that need no fitting, so that a run takes seconds; all the rest is as shipped.
CHEAP = """
import sys
from fangxin.cli import main
from fangxin.repair import _harden, _repairs
kept = {name: _repairs.repairs()[name] for name in ("prompt_clauses", "goal_priority")}
_repairs.repairs = _harden.repairs = lambda: kept
main()
"""
# Nor a report with plots, which take half of such a run's time.
QUICK = """
from fangxin.report import _publish
_publish.render = lambda result: "<html>" + result["status"]
""" + CHEAP.lstrip()
FULL = "from fangxin.cli import main; main()"


@dataclass
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        data: dict[str, Any] = json.loads(self.out)
        return data

    @property
    def sentence(self) -> str:
        """What stderr says when all went wrong: one line, and no traceback."""
        lines = [line for line in self.err.splitlines() if line.startswith("fangxin: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("fangxin: ")


@dataclass
class Shell:
    """Runs fangxin as a person does, each time in a process of its own."""

    folder: Path
    endpoint: Served
    env: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "small.toml"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
        ours = {"FANGXIN_CONFIG": str(self.folder / "config"), "COLUMNS": "200", "OPENBLAS_NUM_THREADS": "1"}
        return kept | ours | self.env | more

    def options(self, out: str = "run", *, url: str | None = None) -> list[str]:
        judge = [
            "--judge",
            self.endpoint.url,
            "--judge-model",
            "judge",
            "--judge-panel",
            str(self.folder / "panel.jsonl"),
        ]
        model = ["--model", url or self.endpoint.url, "--model-name", "scripted"]
        return [*model, *judge, "--config", str(self.config), "--out", str(self.folder / out)]

    def start(self, *arguments: str, code: str = QUICK, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            **more,
        )

    def __call__(self, *arguments: str, code: str = QUICK, timeout: float = 120, **more: Any) -> Done:
        process = self.start(*arguments, code=code, **more)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return Done(process.returncode, out, err)

    def harden(self, *more: str, out: str = "run", **how: Any) -> Done:
        return self("harden", *self.options(out), "--json", *more, **how)


@pytest.fixture
def inside(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs `harden` in this process, for what is refused before anything begins."""
    for name, value in shell.environment().items():
        monkeypatch.setenv(name, value)

    def run(*more: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["fangxin", "harden", *shell.options(), "--json", *more])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capfd.readouterr()
        assert isinstance(left.value.code, int)
        return Done(left.value.code, out, err)

    return run


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, endpoint: Served) -> Shell:
    return furnished(tmp_path, endpoint)


def furnished(folder: Path, endpoint: Served) -> Shell:
    endpoint.styled(Style())
    endpoint.forget()
    (folder / "small.toml").write_text(SMALL)
    panel(folder / "panel.jsonl")
    return Shell(folder, endpoint)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, endpoint: Served) -> tuple[Shell, Done]:
    """A finished run with every shipped repair, to be copied by whoever changes it."""
    shell = furnished(tmp_path_factory.mktemp("finished"), endpoint)
    return shell, shell.harden(code=FULL, timeout=300)
