"""Shields: what changes or blocks text on its way into and out of a model."""

from fangxin.defend._blocklist import Blocklist
from fangxin.defend._cascade_guard import CascadeGuard
from fangxin.defend._defence import (
    FIXED_REFUSALS,
    Block,
    Defence,
    DefenceError,
    ReplyStream,
    Stage,
    StreamingDefence,
    fixed_refusal,
    language_of,
)
from fangxin.defend._guards import InputGuard, IntentGuard, OutputGuard
from fangxin.defend._personal import PersonalData
from fangxin.defend._prompts import GoalPriority, SafetyPrompt, neutralise
from fangxin.defend._shield import Shield, defences

__all__ = [
    "FIXED_REFUSALS",
    "Block",
    "Blocklist",
    "CascadeGuard",
    "Defence",
    "DefenceError",
    "GoalPriority",
    "InputGuard",
    "IntentGuard",
    "OutputGuard",
    "PersonalData",
    "ReplyStream",
    "SafetyPrompt",
    "Shield",
    "Stage",
    "StreamingDefence",
    "defences",
    "fixed_refusal",
    "language_of",
    "neutralise",
]
