from __future__ import annotations

import random

from fangxin.dialogue import Language
from fangxin.probe.attacks._plugin import attack


@attack(
    name="plain",
    kind="plain",
    summary_en="The goal as it stands, with nothing around it: the baseline of every other family.",
    summary_zh="原样提出目标，不加任何包装：其他各类攻击的基线。",
    source="no technique",
)
def plain(goal: str, language: Language, rng: random.Random) -> str:
    return goal
