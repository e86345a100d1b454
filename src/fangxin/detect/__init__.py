"""Verdicts: detectors, and the judges and guards made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fangxin.detect._adapt import adapt
from fangxin.detect._by_judge import JudgeDetector
from fangxin.detect._calibrate import Band, NoPromiseError, Promise, decide, promise
from fangxin.detect._card import Card, Figure, card, cards, evaluate_panel
from fangxin.detect._cascade import (
    Cascade,
    Tier,
    banded,
    cascade_from,
    judge_tier,
    read_calibration,
    scores_of,
    tiers_of,
)
from fangxin.detect._classifier import TextClassifier
from fangxin.detect._fold import normalised
from fangxin.detect._form import Policy, Stance
from fangxin.detect._guard import PromptGuard, ReplyGuard
from fangxin.detect._intent import IntentDetector, contrasts
from fangxin.detect._judge import Assessment, Judge, ReplyJudge
from fangxin.detect._llm_judge import Judgement, LLMJudge
from fangxin.detect._many import ManyDetector, check_many
from fangxin.detect._matcher import Found, Matcher, Scan
from fangxin.detect._metrics import Measured, Scored, by_language, measured
from fangxin.detect._readers import READERS, ReadReplies, read_reply, readers_panel, reply_key
from fangxin.detect._registry import ChoiceError, Registered, Task, detector, detectors, registered, task_of
from fangxin.detect._screen import Screen
from fangxin.detect._stream import SENTENCE_END, StreamCheck, Window, Windows, check_whole
from fangxin.detect._terms import TermDetector, Terms, read_terms
from fangxin.detect._text import language
from fangxin.detect._verdict import Detector, DetectorError, Label, UnjudgedError, Verdict
from fangxin.detect.personal import PersonalDataDetector

if TYPE_CHECKING:
    from fangxin.detect._train import train

__all__ = [
    "READERS",
    "SENTENCE_END",
    "Assessment",
    "Band",
    "Card",
    "Cascade",
    "ChoiceError",
    "Detector",
    "DetectorError",
    "Figure",
    "Found",
    "IntentDetector",
    "Judge",
    "JudgeDetector",
    "Judgement",
    "LLMJudge",
    "Label",
    "ManyDetector",
    "Matcher",
    "Measured",
    "NoPromiseError",
    "PersonalDataDetector",
    "Policy",
    "Promise",
    "PromptGuard",
    "ReadReplies",
    "Registered",
    "ReplyGuard",
    "ReplyJudge",
    "Scan",
    "Scored",
    "Screen",
    "Stance",
    "StreamCheck",
    "Task",
    "TermDetector",
    "Terms",
    "TextClassifier",
    "Tier",
    "UnjudgedError",
    "Verdict",
    "Window",
    "Windows",
    "adapt",
    "banded",
    "by_language",
    "card",
    "cards",
    "cascade_from",
    "check_many",
    "check_whole",
    "contrasts",
    "decide",
    "detector",
    "detectors",
    "evaluate_panel",
    "judge_tier",
    "language",
    "measured",
    "normalised",
    "promise",
    "read_calibration",
    "read_reply",
    "read_terms",
    "readers_panel",
    "registered",
    "reply_key",
    "scores_of",
    "task_of",
    "tiers_of",
    "train",
]


def __getattr__(name: str) -> Any:
    # Training needs the extra `train`, and nothing else here does.
    if name == "train":
        from fangxin.detect._train import train

        return train
    raise AttributeError(name)
