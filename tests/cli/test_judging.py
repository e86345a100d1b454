from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fangxin.cli._judging import JudgeSpec, judging
from fangxin.cli._terminal import InputError
from fangxin.detect import LLMJudge, Policy, ReadReplies, ReplyJudge

URL = "http://127.0.0.1:9/v1"


def spec(url: str | None = URL, rules: Path | None = None, stance: str | None = None) -> JudgeSpec:
    return JudgeSpec.of(url, "judge", "JUDGE_API_KEY", rules, stance)


async def test_rules_and_stance_reach_the_judge_and_the_run(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_bytes("\ufeff# ours\nStock tips are unsafe.\n\n不得泄露隐私。\n".encode())
    named = spec(rules=path, stance="strict")
    assert named.rules == ("Stock tips are unsafe.", "不得泄露隐私。")
    kept: dict[str, Any] = json.loads(json.dumps(named.as_dict()))  # as a bundle keeps it
    for one in (named, JudgeSpec(**kept)):
        async with judging(one, None) as (judge, card, what):
            assert isinstance(judge, LLMJudge)
            assert judge.policy == Policy(("Stock tips are unsafe.", "不得泄露隐私。"), "strict")
            assert card is None
            assert json.loads(json.dumps(what))["policy"] == {
                "rules": ["Stock tips are unsafe.", "不得泄露隐私。"],
                "stance": "strict",
            }


async def test_without_a_url_the_built_in_judge_judges() -> None:
    async with judging(spec(None), None) as (judge, card, what):
        assert isinstance(judge, ReadReplies)
        assert isinstance(judge.judge, ReplyJudge)
        assert card is not None
        assert what == {"name": "reply-judge"}


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rules.txt"
    path.write_text("A rule.\n", "utf-8")
    with pytest.raises(InputError, match="loose or strict"):
        spec(stance="Strict")
    for rules, stance in ((path, None), (None, "loose")):
        with pytest.raises(InputError, match="takes no rules"):
            spec(None, rules, stance)
    with pytest.raises(InputError, match="can't be read: No such file"):
        spec(rules=tmp_path / "none.txt")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        spec(rules=path)
    path.write_text("# nothing\n\n", "utf-8")
    with pytest.raises(InputError, match="holds no rule"):
        spec(rules=path)
