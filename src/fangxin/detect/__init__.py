"""Verdicts: detectors, and the judges and guards made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fangxin.detect._adapt import adapt
from fangxin.detect._card import Card, Figure, card, cards, evaluate_panel
from fangxin.detect._classifier import TextClassifier
from fangxin.detect._form import Policy, Stance
from fangxin.detect._guard import PromptGuard, ReplyGuard
from fangxin.detect._intent import IntentDetector, contrasts
from fangxin.detect._judge import Assessment, Judge, NgramJudge
from fangxin.detect._llm_judge import Judgement, LLMJudge
from fangxin.detect._screen import Screen
from fangxin.detect._verdict import Detector, DetectorError, Label, UnjudgedError, Verdict

if TYPE_CHECKING:
    from fangxin.detect._train import train

__all__ = [
    "Assessment",
    "Card",
    "Detector",
    "DetectorError",
    "Figure",
    "IntentDetector",
    "Judge",
    "Judgement",
    "LLMJudge",
    "Label",
    "NgramJudge",
    "Policy",
    "PromptGuard",
    "ReplyGuard",
    "Screen",
    "Stance",
    "TextClassifier",
    "UnjudgedError",
    "Verdict",
    "adapt",
    "card",
    "cards",
    "contrasts",
    "evaluate_panel",
    "train",
]


def __getattr__(name: str) -> Any:
    # Training needs the extra `train`, and nothing else here does.
    if name == "train":
        from fangxin.detect._train import train

        return train
    raise AttributeError(name)
