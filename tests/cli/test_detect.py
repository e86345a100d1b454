from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fangxin.cli import app
from fangxin.cli._heard import labelled
from fangxin.cli._terminal import InputError
from fangxin.probe import attacks, goals


def test_every_card_is_printed() -> None:
    done = CliRunner().invoke(app, ["detect", "cards", "--json"])
    assert done.exit_code == 0
    cards = {card["name"]: card for card in json.loads(done.stdout)["cards"]}
    assert {"reply-judge", "prompt-guard", "reply-guard", "personal-data"} <= set(cards)
    assert all(card["purpose"] and card["figures"] for card in cards.values())
    said = CliRunner().invoke(app, ["detect", "cards"])
    assert said.exit_code == 0
    assert "reply-judge" in said.stdout


def test_training_needs_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FANGXIN_DATA", raising=False)
    none = CliRunner().invoke(app, ["detect", "train"])
    assert isinstance(none.exception, InputError)
    assert "FANGXIN_DATA" in str(none.exception)
    empty = CliRunner().invoke(app, ["detect", "train", "--data", str(tmp_path)])
    assert isinstance(empty.exception, InputError)
    assert "docs/data.md" in str(empty.exception)


def test_every_label_is_about_a_goal_and_a_family_that_are_still_there() -> None:
    bank = {goal.id for goal in goals("en")}
    for row in labelled():
        assert row["of"] in bank
        assert (row["kind"], row["family"]) == ("twin", None) or row["family"] in attacks()
