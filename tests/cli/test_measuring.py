from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fangxin.cli import app
from fangxin.cli._detect import bench
from fangxin.cli._rows import NEGATIVE, POSITIVE, labelled
from fangxin.cli._terminal import InputError
from fangxin.detect import Card, Cascade, ChoiceError, NoPromiseError, Registered, Verdict, detectors
from fangxin.detect import _registry as registry


class Told:
    """The probability of a text is what it says in its place."""

    def __init__(self, name: str, place: int) -> None:
        self.name, self.place = name, place

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        p = float(text.split()[self.place])
        return Verdict("unsafe" if p >= 0.5 else "safe", p, by=self.name, ms=1.0)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two detectors of fraud, and nothing else."""

    class Point:
        name, value = "told", "told:ALL"

        @staticmethod
        def load() -> Sequence[Registered]:
            card = Card("t", "p", 1)
            return [
                Registered("cheap", ("fraud",), ("en",), lambda task: Told("cheap", 0), 1, card=lambda: card),
                Registered("dear", ("fraud",), ("en",), lambda task: Told("dear", 1), 2, card=lambda: card),
            ]

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point])
    detectors.cache_clear()


def written(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def many(n: int) -> list[dict[str, Any]]:
    """Rows that the cheap one mostly and the dear one always gets right."""
    rows = []
    for i in range(n):
        bad = i % 2
        cheap = (0.4 + 0.5 * bad + 0.001 * (i % 89)) if i % 5 else 0.5
        dear = 0.2 + 0.6 * bad + 0.0001 * i / n
        rows.append(
            {
                "text": f"{cheap:.4f} {dear:.6f}",
                "label": "fraud" if bad else 0,
                "lang": "en" if i % 3 else "zh",
            }
        )
    return rows


def called(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["detect", *arguments])


def test_bench_gives_every_figure_by_language(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "a.jsonl", many(60)),
        written(tmp_path / "b.jsonl.gz", [{"text": "0.1 0.1", "label": "odd"}]),
    ]
    options = [
        "--task",
        "fraud",
        "--data",
        files[0],
        "--data",
        files[1],
        "--ignore",
        "odd",
        "--resamples",
        "20",
    ]
    done = called("bench", *options, "--json")
    assert done.exit_code == 0, done
    result = json.loads(done.stdout)
    assert (result["task"], result["detector"], result["rows"]) == ("fraud", "cheap", 60)
    assert result["labels"] == {"positive": {"fraud": 30}, "negative": {"0": 30}, "ignored": {"odd": 1}}
    assert set(result["languages"]) == {"all", "en", "zh"}
    for of in result["languages"].values():
        assert {
            "f1",
            "macro_f1",
            "accuracy",
            "auprc",
            "auroc",
            "recall_at_1",
            "recall_at_2",
            "recall_at_5",
            "false_blocks",
        } <= set(of["figures"])
        for one in of["figures"].values():
            assert one["low"] <= one["value"] <= one["high"]
    assert result["speed"]["texts_per_second"] > 0
    assert result["speed"]["ms_p50"] > 0
    both = json.loads(called("bench", *options, "--json", "--detector", "cascade").stdout)
    assert (
        both["languages"]["all"]["figures"]["f1"]["value"]
        == 1.0
        > result["languages"]["all"]["figures"]["f1"]["value"]
    )
    assert 0 < both["speed"]["sent"][1] <= 1
    shown = called("bench", *options).stdout
    assert "recall at 1 % false positives" in shown
    assert "all (30+, 30-)" in shown


def test_a_calibration_promises_and_is_used(tmp_path: Path) -> None:
    data, out = written(tmp_path / "rows.jsonl", many(400)), tmp_path / "c.json"
    done = called("calibrate", "--task", "fraud", "--data", data, "--out", str(out), "--json")
    assert done.exit_code == 0, done
    found = json.loads(out.read_text("utf-8"))
    assert json.loads(done.stdout) == {"status": "promised", "out": str(out), **found}
    assert [tier["name"] for tier in found["tiers"]] == ["cheap", "dear"]
    assert found["misses"]["at_most"] <= 0.05
    assert found["rows"]["positives"] == found["rows"]["negatives"] == 200
    assert len(found["rows"]["sha256"]) == 64
    assert found["date"].endswith("+00:00")
    assert set(found["by_language"]) == {"en", "zh"}
    assert Cascade.load(out).tiers[0].name == "cheap"
    used = [
        "bench",
        "--task",
        "fraud",
        "--data",
        data,
        "--calibration",
        str(out),
        "--resamples",
        "5",
        "--json",
    ]
    figures = json.loads(called(*used).stdout)["languages"]["all"]["figures"]
    assert figures["recall"]["value"] == 1 - found["misses"]["k"] / 200
    again = called("calibrate", "--task", "fraud", "--data", data, "--out", str(out))
    assert "Promised: at most 5.0% of harmful rows" in again.stdout
    wrong = called(*used[:2], "pii", *used[3:])
    assert isinstance(wrong.exception, InputError)
    assert "is of the task fraud" in str(wrong.exception)
    both = called(*used, "--detector", "dear")
    assert "leave --detector out" in str(both.exception)


def test_too_few_rows_promise_nothing_and_leave_nothing(tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    rows = many(100)  # the same rows again make them no more
    done = called(
        "calibrate",
        "--task",
        "fraud",
        "--detector",
        "dear",
        "--data",
        written(tmp_path / "r.jsonl", rows * 4),
        "--out",
        str(out),
    )
    assert isinstance(done.exception, NoPromiseError)
    assert "needs at least 59 harmful rows, and there are 50" in str(done.exception)
    assert not out.exists()


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([{"text": "0.1 0.1", "label": "odd"}], [], "unknown label 'odd'"),
        ([{"text": "0.1 0.1"}], [], "line 1 has no label"),
        ([{"label": 1}], [], "line 1 has no response"),
        ([], [], "holds no labelled row"),
        ([{"text": "0.1 0.1", "label": 1}], ["--detector", "x"], "no detector 'x'"),
    ],
)
def test_rows_that_measure_nothing(tmp_path: Path, rows: list[Any], options: list[str], said: str) -> None:
    done = called("bench", "--task", "fraud", "--data", written(tmp_path / "r.jsonl", rows), *options)
    assert isinstance(done.exception, InputError | ChoiceError)
    assert said in str(done.exception)


def test_labels_can_be_named_otherwise(tmp_path: Path) -> None:
    path = Path(
        written(tmp_path / "r.jsonl", [{"text": "a", "label": x} for x in (True, 0.0, "Safe", "odd")])
    )
    assert labelled([path], "fraud", positive=["odd"]).truth == (True, False, False, True)
    assert labelled([path], "fraud", positive=["safe"], negative=["odd"]).truth == (True, False, True, False)


def test_the_help_names_the_labels() -> None:
    said = (bench.__doc__ or "").replace(",", " ").replace(";", " ").split()
    assert set(said) >= POSITIVE | NEGATIVE
    assert not POSITIVE & NEGATIVE
