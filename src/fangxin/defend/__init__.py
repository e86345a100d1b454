"""Shields: what changes or blocks text on its way into and out of a model."""

from fangxin.defend._blocklist import Blocklist
from fangxin.defend._defence import (
    FIXED_REFUSALS,
    Block,
    Defence,
    DefenceError,
    Stage,
    fixed_refusal,
    language_of,
)
from fangxin.defend._fold import normalised
from fangxin.defend._guards import InputGuard, IntentGuard, OutputGuard
from fangxin.defend._personal import PersonalData
from fangxin.defend._prompts import GoalPriority, SafetyPrompt, neutralise
from fangxin.defend._shield import Shield, defences

__all__ = [
    "FIXED_REFUSALS",
    "Block",
    "Blocklist",
    "Defence",
    "DefenceError",
    "GoalPriority",
    "InputGuard",
    "IntentGuard",
    "OutputGuard",
    "PersonalData",
    "SafetyPrompt",
    "Shield",
    "Stage",
    "defences",
    "fixed_refusal",
    "language_of",
    "neutralise",
    "normalised",
]
