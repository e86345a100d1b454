"""The detectors that ship: the entry point `built-in` of the group `fangxin.detectors`."""

from fangxin.detect._by_judge import JudgeDetector
from fangxin.detect._classifier import Question, TextClassifier
from fangxin.detect._guard import PromptGuard, ReplyGuard
from fangxin.detect._intent import IntentDetector
from fangxin.detect._judge import ReplyJudge
from fangxin.detect._registry import Registered
from fangxin.detect._weights import digest
from fangxin.detect.personal import PersonalDataDetector
from fangxin.dialogue import Language

_BOTH: tuple[Language, ...] = ("en", "zh")


def _of(*names: str) -> str:
    return "+".join(digest(name) for name in names)


def _classifier(name: Question) -> Registered:
    return Registered(
        name, (name,), _BOTH, lambda task: TextClassifier.default(name), tier=20, digest=lambda: _of(name)
    )


# The first of a task is its default; a tier is a place in its default cascade.
DETECTORS: tuple[Registered, ...] = (
    Registered(
        "prompt-guard",
        ("prompt",),
        _BOTH,
        lambda task: PromptGuard.default(),
        tier=20,
        digest=lambda: _of("prompt_guard"),
    ),
    Registered(
        "intent",
        ("prompt",),
        _BOTH,
        lambda task: IntentDetector.default(),
        tier=30,
        digest=lambda: _of("intent", "reader", "prompt_guard"),
    ),
    Registered(
        "reply-guard",
        ("exchange",),
        _BOTH,
        lambda task: ReplyGuard.default(),
        tier=20,
        digest=lambda: _of("reply_guard"),
    ),
    # The judge of proofs. Not in a cascade of exchanges: a judge that stood in a shield would be no judge.
    Registered(
        "reply-judge",
        ("refusal", "exchange"),
        _BOTH,
        lambda task: JudgeDetector(ReplyJudge(asked=task == "refusal"), task),
        digest=lambda: _of("judge", "pair"),
    ),
    Registered(
        "personal-data",
        ("pii",),
        _BOTH,
        lambda task: PersonalDataDetector(),
        tier=20,
    ),
    _classifier("toxicity"),
    _classifier("fraud"),
    _classifier("injection"),
    _classifier("refusal"),
)
