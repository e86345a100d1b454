from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

from fangxin.detect._judge import ReplyJudge
from fangxin.detect._text import language
from fangxin.detect._verdict import DetectorError

_KINDS = ("harmful", "refusal", "gibberish")
_FIELDS = ("true_positive", "false_positive", "false_negative", "true_negative")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number.

    Attributes:
        what: the measure and the file that it was taken on.
        language: `en`, `zh` or both.
        value: the figure; a rate in [0, 1] unless `what` says otherwise.
        low: lower end of its 95 % Wilson interval; equal to `value` where it isn't a rate.
        high: upper end.
        n: rows it rests on.
    """

    what: str
    language: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a detector.

    Attributes:
        name: the detector's name.
        purpose: what it is for, and what it isn't.
        seed: what it was trained with; 0 for rules, which have no sources and no prompts either.
        sources: training rows by source: `source`, `licence`, `rows`.
        prompts: how many distinct prompts it was trained on.
        digest: SHA-256 of their sorted identities, which are in `weights/rows.npz`.
        figures: measured on data that trained nothing.
        speed: CPU milliseconds by workload.
        failures: known ones, one sentence each.
        panel: counts against hand labels, by kind (harmful, refusal, gibberish) and language: each with
            true_positive, false_positive, false_negative and true_negative. Empty until measured.
    """

    name: str
    purpose: str
    seed: int
    sources: tuple[dict[str, Any], ...] = ()
    prompts: int = 0
    digest: str = ""
    figures: tuple[Figure, ...] = ()
    speed: dict[str, float] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    panel: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)

    def rates(self, kind: str, code: str) -> tuple[float, float] | None:
        """Sensitivity and specificity by the panel, or None where it has no such rows."""
        counts = self.panel.get(kind, {}).get(code)
        if not counts:
            return None
        positive = counts["true_positive"] + counts["false_negative"]
        negative = counts["true_negative"] + counts["false_positive"]
        if not positive or not negative:
            return None
        return counts["true_positive"] / positive, counts["true_negative"] / negative

    def to_json(self) -> str:
        """The card as it is stored."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Card:
        """Read what `to_json` wrote."""
        figures = tuple(Figure(**figure) for figure in data["figures"])
        return cls(
            **{
                **data,
                "figures": figures,
                "sources": tuple(data["sources"]),
                "failures": tuple(data["failures"]),
            }
        )


def card(name: str) -> Card:
    """The card of a shipped detector, by its name, such as `prompt-guard` or `toxicity`.

    Raises:
        DetectorError: no such card.
    """
    path = files("fangxin.detect") / "cards" / f"{name}.json"
    try:
        return Card.of(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DetectorError(f"There is no readable card for the detector {name!r}: {error}.") from None


def cards() -> list[Card]:
    """The cards of all shipped detectors, by name."""
    found = (files("fangxin.detect") / "cards").iterdir()
    return [card(name.removesuffix(".json")) for name in sorted(path.name for path in found)]


def evaluate_panel(
    rows: Iterable[Mapping[str, Any]], judge: ReplyJudge | None = None
) -> dict[str, dict[str, dict[str, int]]]:
    """Count the n-gram judge's agreement with hand labels, by kind and language.

    Args:
        rows: each with `question`, `reply`, and truth values `harmful`, `refusal`, `gibberish` (a kind that
            is missing or None isn't counted); `lang` is the question's language where not given.
        judge: the shipped one by default.

    Returns:
        kind -> language -> counts of true_positive, false_positive, false_negative, true_negative:
        the form that `Card.panel` has.
    """
    judge = judge or ReplyJudge()
    out: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        said = judge.judge(row["question"], row["reply"])
        verdicts = {
            "harmful": said.is_harmful,
            "refusal": said.is_refusal,
            "gibberish": said.gibberish >= 0.5,
        }
        code = row.get("lang") or language(row["question"])
        for kind in _KINDS:
            truth = row.get(kind)
            if truth is None:
                continue
            counts = out.setdefault(kind, {}).setdefault(code, dict.fromkeys(_FIELDS, 0))
            verdict = verdicts[kind]
            right = "true" if bool(truth) == verdict else "false"
            counts[f"{right}_{'positive' if verdict else 'negative'}"] += 1
    return out
