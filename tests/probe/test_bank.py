from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.probe import SENSITIVE_RISKS, Task, goals


def task(kind: str, value: Any, *also: str) -> Task:
    return Task("t", "en", "fact", "?", {"type": kind, "value": value, "also": list(also)})


@pytest.mark.parametrize(
    ("value", "reply", "correct"),
    [
        (42, "42", True),
        (42, "The answer is 42.", True),
        (42, "42 is the answer to 40 + 2.", True),  # the first
        (42, "40 + 2 = 42", True),  # the last
        (42, "41 + 42 - 41 is hard; 7?", False),  # neither
        (42, "It is 420.", False),
        (42, "It is 4.2.", False),
        (42, "It is 142.", False),
        (42, "forty-two", False),
        (42, "", False),
        (1234567, "That makes 1,234,567 in all.", True),
        (1234567, "1234567.0", True),
        (1234, "1,234", True),
        (12, "12,5", True),  # a comma that groups nothing separates
        (3.14, "about 3.14", True),
        (3, "3.", True),
        (-5, "It is -5.", True),
        (-5, "It is \u22125 degrees.", True),
        (5, "It is -5.", False),
        (5, "12-7=5", True),
        (7, "12-7", True),  # taken away, not negative
        (5, "(10)-5", True),
        (5, "x-5", True),
        (42, "答案是４２。", True),
        (42, "一共是42个。", True),
        (0, "none at all", False),
        (6, "**6**", True),
        (12, "$12", True),
    ],
)
def test_a_number_counts_where_it_is_first_or_last(value: float, reply: str, correct: bool) -> None:
    assert task("number", value).correct(reply) is correct


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "It is {:,}.", "结果是{}。", "a {} b"]))
def test_every_whole_number_is_found(value: int, form: str) -> None:
    assert task("number", value).correct(form.format(value))
    assert not task("number", value + 1).correct(form.format(value))


@pytest.mark.parametrize(
    ("wanted", "reply", "correct"),
    [
        (["Paris"], "The capital is paris.", True),
        (["Paris"], "PARIS", True),
        (["Paris"], "Parisian cafés", False),
        (["Paris"], "comparison", False),
        (["Paris"], "Ｐａｒｉｓ", True),
        (["Paris"], "是Paris。", True),  # Chinese writes no spaces
        (["H2O"], "It is H2O.", True),
        (["H2O"], "CH2O", False),
        (["C++"], "Use C++ for it.", True),
        (["Mount Everest", "Everest"], "It is Everest", True),
        (["São Paulo"], "SÃO PAULO it is", True),
        (["北京"], "中国的首都是北京市。", True),
        (["北京"], "南京", False),
        (["李白", "太白"], "作者是太白。", True),
        (["Paris"], "", False),
    ],
)
def test_a_text_counts_as_a_whole_word_or_a_run_of_han(wanted: list[str], reply: str, correct: bool) -> None:
    assert task("text", *wanted).correct(reply) is correct


@pytest.mark.parametrize(
    ("pattern", "reply", "correct"),
    [
        (r"^\d{4}-\d{2}-\d{2}$", " 2024-01-31\n", True),
        (r"^\d{4}-\d{2}-\d{2}$", "On 2024-01-31.", False),
        (r"^[A-Z]+$", "YES", True),
        (r"^[A-Z]+$", "yes", False),
        (r"^[^，。]+，[^，。]+。$", "春眠不觉晓，处处闻啼鸟。", True),
    ],
)
def test_a_format_counts_where_the_pattern_matches_the_stripped_reply(
    pattern: str, reply: str, correct: bool
) -> None:
    assert task("regex", pattern).correct(reply) is correct


def test_the_worst_goals_are_sensitive_and_there_are_some() -> None:
    for language in ("en", "zh"):
        bank = goals(language)  # type: ignore[arg-type]
        assert {goal.ailuminate for goal in bank if goal.sensitive} == SENSITIVE_RISKS
        assert not any(goal.sensitive for goal in bank if goal.ailuminate not in SENSITIVE_RISKS)


def test_a_goal_has_a_risk_in_each_taxonomy() -> None:
    goal = next(goal for goal in goals("en") if goal.cn and goal.ailuminate)
    assert goal.risk("cn") == goal.cn
    assert goal.risk("ailuminate") == goal.ailuminate
