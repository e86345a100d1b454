"""Attacks and examinations: what is asked of an agent, and how its answers are scored."""

from fangxin.probe._bank import SENSITIVE_RISKS, Goal, Task, goals, tasks
from fangxin.probe._engine import Journal, ask
from fangxin.probe._trial import Ask, ProbeName, Trial, text_hash
from fangxin.probe.attacks import Attack, AttackInfo, attacks

__all__ = [
    "SENSITIVE_RISKS",
    "Ask",
    "Attack",
    "AttackInfo",
    "Goal",
    "Journal",
    "ProbeName",
    "Task",
    "Trial",
    "ask",
    "attacks",
    "goals",
    "tasks",
    "text_hash",
]
