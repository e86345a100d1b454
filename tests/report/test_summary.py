import re

import pytest
from rich.text import Text

from fangxin.report import summary


def plain(result, language):
    return Text.from_markup(summary(result, language)).plain


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ten_lines_at_most_and_attack_success_never_alone(result, language):
    text = plain(result, language)
    assert len(text.splitlines()) <= 10
    attack, *others = {
        "en": ("Attack success", "Over-refusal", "Ability", "Cost"),
        "zh": ("攻击成功率", "误拒率", "能力得分", "开销"),
    }[language]
    lines = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    if "baseline" in result:
        assert all(other in lines for other in others)
        assert re.search(r"\d+\.\d–\d+\.\d%", lines[attack])
    else:
        assert attack not in lines


def test_the_three_arms_and_the_verdict_are_told(results):
    text = plain(results["proved"](), "en")
    assert text.startswith("Proved")
    assert "41.0% bare → 19.0% default shield → 5.4% repaired (3.7–7.8%)" in text
    assert "Chinese: Not measurable" in text
    assert "fangxin label runs/20261102-091400" in text
    assert "fangxin verify runs/20261102-091400 --key fx1:9c1f2a7be04d5531" in text


def test_what_decided_is_told_where_it_is_not_proved(results):
    assert "Over-refusal rose from 3.1% to 23.9%" in plain(results["not_proved"](), "en")
    assert "误拒率由 3.1% 升至 23.9%" in plain(results["not_proved"](), "zh")
    assert "stopped answering" in plain(results["failed"](), "en")


def test_markup_in_a_models_text_is_shown_and_not_obeyed(results):
    result = results["failed"]()
    result["reasons"][0]["en"] = "[bold]not mine[/bold] [link=https://evil.example]x[/link]"
    assert "[bold]not mine[/bold]" in plain(result, "en")
