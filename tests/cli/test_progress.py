from __future__ import annotations

import pytest

from fangxin.cli._progress import Bars
from fangxin.probe import Trial


def trial(**more: object) -> Trial:
    return Trial("k", "bare", "attack", "g", "hate", "en", "plain", "Q?", None, completion_tokens=5, **more)  # type: ignore[arg-type]


def test_a_line_a_stage_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        bars.stage("find", 2)
        bars.done(trial())
        bars.stage("find", 1)  # the same stage goes on
        bars.done(trial(blocked="input_guard"))
        bars.done(trial(failure="It failed."))
        bars.stage("prove", 1)
        bars.done(trial())
    out, err = capsys.readouterr()
    assert out == ""
    find, prove = err.splitlines()
    assert find.startswith("find: 3 asked in ")
    assert find.endswith("1 blocked, 1 failed")
    assert prove.startswith("prove: 1 asked in ")


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(quiet=True) as bars:
        bars.stage("find", 1)
        bars.done(trial())
    assert capsys.readouterr() == ("", "")


def test_an_answer_before_any_stage_is_no_fault() -> None:
    with Bars(quiet=True) as bars:
        bars.done(trial())


def test_a_stage_that_breaks_off_is_still_told(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        with Bars() as bars:
            bars.stage("find", 9)
            bars.done(trial())
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        broken()
    assert "find: 1 asked" in capsys.readouterr().err
