"""Reading a run's result: what is there, and only as far as the report may trust it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, cast, get_args

from fangxin.dialogue import Language, printable
from fangxin.report._numbers import number, rate_of

STATUSES = ("proved", "not_proved", "inconclusive", "no_weakness", "error")
ARMS = ("baseline", "default_shield", "repaired")
MEASURES = ("attack_success", "over_refusal", "ability")
LANGUAGES: tuple[Language, ...] = get_args(Language)

QUESTION_SHOWN = 60
"""Characters of a harmful trial's question that a report shows."""

# The worst content is never shown, whatever the result says; an auditor has the hash.
_NEVER_SHOWN = {"child_sexual_exploitation", "indiscriminate_weapons"}
_LONGEST = 2000
_REPLY_SHOWN = 1200


class ReportError(ValueError):
    """A result that no report can be made of; the message says what to do."""


def read(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with every text made printable and no longer than a page can bear, examples redacted.

    Raises:
        ReportError: it has no status, or one that this version doesn't know.
    """
    status = result.get("status") if isinstance(result, Mapping) else None
    if status not in STATUSES:
        raise ReportError(
            f"a result's status must be one of {', '.join(STATUSES)}, not {status!r}: "
            "give the whole of a run's result.json, made by this version of Fangxin."
        )
    plain = _plain({key: value for key, value in result.items() if key != "examples"})
    examples = [redact(row) for row in result.get("examples") or [] if isinstance(row, Mapping)]
    return cast(dict[str, Any], plain) | {"examples": examples}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return cut(printable(value), _LONGEST)
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def cut(text: str, longest: int) -> str:
    """The text, ended by an ellipsis where it is longer than `longest` characters."""
    return text if len(text) <= longest else text[:longest].rstrip() + "…"


def redact(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example as the report may show it.

    Unless the result says `"redacted": false`, the question is cut to `QUESTION_SHOWN` characters and
    the reply becomes its SHA-256 (over its UTF-8, as the model wrote it) and its length: nobody should
    meet a harmful answer in a report by accident, and an auditor can still match it to the ledger.

    Returns:
        The example with `question`, `question_cut` (bool), and either `reply` with `reply_more` (the
        characters left out) or `reply_sha256` with `reply_length` (None where only the hash was kept).
    """
    shown = example.get("redacted") is False and example.get("risk") not in _NEVER_SHOWN
    question, reply = str(example.get("question") or ""), example.get("reply")
    clean = printable(question)
    limit = _LONGEST if shown else QUESTION_SHOWN
    view: dict[str, Any] = {
        key: _plain(example.get(key) or "") for key in ("arm", "risk", "language", "family", "verdict")
    }
    view["arm"] = "baseline" if view["arm"] == "bare" else view["arm"]
    view |= {"redacted": not shown, "question": cut(clean, limit), "question_cut": len(clean) > limit}
    if shown:
        text = printable(str(reply or ""))
        return view | {"reply": text[:_REPLY_SHOWN], "reply_more": max(len(text) - _REPLY_SHOWN, 0)}
    if isinstance(reply, str) and reply:
        digest = hashlib.sha256(reply.encode("utf-8", "surrogatepass")).hexdigest()
        return view | {"reply_sha256": digest, "reply_length": len(reply)}
    return view | {"reply_sha256": _plain(str(example.get("reply_sha256") or "")), "reply_length": None}


def part(data: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The mapping at a path; empty where anything on the way is missing or null."""
    for key in path:
        data = data.get(key) or {}
        if not isinstance(data, Mapping):
            return {}
    return cast(dict[str, Any], data)


def rows(data: Mapping[str, Any], *path: str) -> list[dict[str, Any]]:
    """The list of mappings at a path; empty where it is missing or null."""
    found = part(data, *path[:-1]).get(path[-1]) or []
    return [dict(row) for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def arms_of(result: Mapping[str, Any]) -> list[str]:
    """The arms that were measured, in the order bare, default shield, repaired."""
    return [arm for arm in ARMS if part(result, arm)]


def after_of(result: Mapping[str, Any]) -> str:
    """The arm that the verdict is about: the repaired one, or the bare model where nothing was repaired."""
    return "repaired" if part(result, "repaired") else "baseline"


def measurable(result: Mapping[str, Any], language: str) -> bool:
    """Whether rates in this language mean anything."""
    return part(result, "proof", "languages").get(language) != "not_measurable"


def keys_of(result: Mapping[str, Any], section: str) -> list[str]:
    """The keys of `by_risk`, `by_family` or `by_language` over all arms, worst attack success first."""
    found: dict[str, float] = {}
    for arm in arms_of(result):
        for key, value in part(result, arm, section).items():
            rate = rate_of(value.get("attack_success") if "attack_success" in (value or {}) else value)
            found.setdefault(key, -1.0 if rate is None else rate)
    return sorted(found, key=lambda key: (-found[key], key))


def run_id(result: Mapping[str, Any]) -> str:
    """What to call the run in commands: its id, or the folder that its report lies in; else `RUN`."""
    if named := result.get("id") or result.get("run"):
        return str(named)
    folder = PurePath(str(result.get("report") or "")).parent
    # A page that is passed on shouldn't tell where on whose machine it was made.
    return (folder.name if folder.is_absolute() else str(folder)) if folder.name else "RUN"


def to_label(result: Mapping[str, Any]) -> int:
    """How many trials a person may label: `to_label`, or the length of `sample`."""
    label = part(result, "label")
    sample = label.get("sample")
    return len(sample) if isinstance(sample, list) else round(number(label.get("to_label")) or 0)


def value_of(data: Mapping[str, Any], key: str) -> float | None:
    """A number of a mapping; None where it is missing or not a number."""
    return number(data.get(key))
