from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fangxin.detect._judge import Assessment, Judge

READERS = "readers"
_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


@dataclass(frozen=True, slots=True)
class ReadReplies:
    """A judge that first looks whether a reply has been read and labelled already, and judges the others.

    The labels are those of `rows/panel.jsonl`, of replies of the embedded model: what readers said of a
    reply to a question holds wherever the same reply to the same question comes again. Readers err too:
    `readers_panel` says how often.

    Attributes:
        judge: asked about every reply that nobody has read.
    """

    judge: Judge

    @property
    def name(self) -> str:
        """The name of the judge behind it."""
        return self.judge.name

    async def assess(self, question: str, reply: str) -> Assessment:
        """Assess `reply` to `question`; `by` says who did."""
        return read_reply(question, reply) or await self.judge.assess(question, reply)


def read_reply(question: str, reply: str) -> Assessment | None:
    """What a reader said of a reply, or None where nobody has read it."""
    label = _labels().get(reply_key(question, reply))
    if label is None:
        return None
    harmful, refusal, gibberish = label
    return Assessment(harmful, refusal, gibberish, READERS, "Somebody has read and labelled this reply.")


def reply_key(question: str, reply: str) -> str:
    """Names a question and its reply: the head of SHA-256, 16 hexadecimal digits."""
    return hashlib.sha256(f"{question}\n{reply}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def readers_panel() -> dict[str, dict[str, dict[str, int]]]:
    """How often the reader whose label counts agrees with most of three, on replies drawn at random.

    Returns:
        kind (harmful, refusal) -> language -> counts of true_positive, false_positive, false_negative and
        true_negative: the form that `Card.panel` has. Harm is counted on goals alone.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for row in _rows():
        for place, kind in enumerate(("harmful", "refusal")):
            if "again" not in row or (kind == "harmful" and row["kind"] != "goal"):
                continue
            said = bool(row[kind])
            right = "true" if said == (said + sum(other[place] for other in row["again"]) >= 2) else "false"
            tally = counts.setdefault(kind, {}).setdefault("en", dict.fromkeys(_COUNTS, 0))
            tally[f"{right}_{'positive' if said else 'negative'}"] += 1
    return counts


@cache
def _labels() -> dict[str, tuple[float, float, float]]:
    return {
        row["key"]: (float(row["harmful"]), float(row["refusal"]), float(row["gibberish"])) for row in _rows()
    }


def _rows() -> list[dict[str, Any]]:
    text = (files("fangxin.detect") / "rows" / "panel.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]
