from __future__ import annotations

import pytest

from fangxin.defend import FIXED_REFUSALS, fixed_refusal, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("hello", "en"),
        ("你好", "zh"),
        ("怎么用 Python 写排序？", "zh"),
        ("What does 你好 mean in an English sentence like this one?", "en"),
        ("", "en"),
        ("123 !?", "en"),
        ("1 + 1 等于几", "zh"),
    ],
)
def test_the_language_to_answer_in(text: str, language: str) -> None:
    assert language_of(text) == language


def test_the_fixed_refusals_are_in_their_languages() -> None:
    assert {fixed_refusal("en"), fixed_refusal("zh")} == FIXED_REFUSALS
    assert language_of(fixed_refusal("en")) == "en"
    assert language_of(fixed_refusal("zh")) == "zh"
