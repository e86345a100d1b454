"""Fangxin (放心): find, repair, prove, serve and watch a language model that people can rest easy about.

The nouns are here too (`from fangxin import Shield`); their rooms are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fangxin.agent import Agent, Answer, Bundle
    from fangxin.defend import Shield
    from fangxin.detect import Verdict
    from fangxin.dialogue import Dialogue, DialoguePrompt, Turn
    from fangxin.ledger import Ledger
    from fangxin.models import Reply, Sampling, connect

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Answer",
    "Bundle",
    "Dialogue",
    "DialoguePrompt",
    "Ledger",
    "Reply",
    "Sampling",
    "Shield",
    "Turn",
    "Verdict",
    "connect",
]

_ROOMS = {
    "Agent": "agent",
    "Answer": "agent",
    "Bundle": "agent",
    "Dialogue": "dialogue",
    "DialoguePrompt": "dialogue",
    "Ledger": "ledger",
    "Reply": "models",
    "Sampling": "models",
    "Shield": "defend",
    "Turn": "dialogue",
    "Verdict": "detect",
    "connect": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
