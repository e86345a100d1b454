from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from fangxin.dialogue import Language
from fangxin.report._evidence import verify_command
from fangxin.report._numbers import count, milliseconds, number, p_text, percent, rate_of
from fangxin.report._result import MEASURES, after_of, arms_of, part, read, rows, run_id, to_label, value_of
from fangxin.report._verdict import reasons, sentence
from fangxin.report._words import Words

_COLOURS = {
    "proved": "green",
    "not_proved": "red",
    "inconclusive": "yellow",
    "no_weakness": "cyan",
    "error": "red",
}


def summary(result: Mapping[str, Any], language: Language = "en") -> str:
    """The result in at most ten lines for a terminal, with Rich markup; texts of the result are escaped.

    Attack success stands between over-refusal, ability and cost, each with its interval.

    Raises:
        ReportError: the result has no status that this version knows.
    """
    words = Words(read(result), language)
    t, data = words.t, words.result
    status = str(data["status"])
    colour = _COLOURS[status]
    lines = [f"[bold {colour}]{escape(t(f'status.{status}'))}[/]  {escape(sentence(words))}"]
    found: list[tuple[str, str]] = []
    if status != "proved" and (why := reasons(words)):
        found.append(
            (t("summary.why"), t.say(*(text for text, state in why if state in ("", "violated", "open"))))
        )
    if arms_of(data):
        found += [(t(f"measure.{measure}"), _change(words, measure)) for measure in MEASURES]
        found.append((t("summary.cost"), _cost(words)))
    found += _rest(words)
    width = max((_columns(name) for name, _ in found), default=0)
    lines += [
        f"[bold]{escape(name)}[/]{' ' * (width - _columns(name) + 2)}{escape(text)}" for name, text in found
    ]
    return "\n".join(lines[:10])


def _columns(text: str) -> int:
    """Terminal columns: a Chinese character takes two."""
    return sum(2 if ord(c) > 0x2E80 else 1 for c in text)


def _change(words: Words, measure: str) -> str:
    result = words.result
    after = part(result, after_of(result)).get(measure)
    values = {"after": words.percent(after), "interval": words.interval(after)}
    if not part(result, "repaired"):
        return words.t("summary.single", **values)
    values["before"] = percent(rate_of(part(result, "baseline").get(measure)))
    if not part(result, "default_shield"):
        return words.t("summary.arrow", **values)
    middle = percent(rate_of(part(result, "default_shield").get(measure)))
    return words.t("summary.arrow_three", middle=middle, **values)


def _cost(words: Words) -> str:
    cost = part(words.result, "cost")
    if not part(words.result, "repaired"):
        return words.t("tiles.no_shield")
    blocks = words.thousand(cost.get("false_blocks_per_1000"))
    texts = [f"+{milliseconds(cost.get('added_ms_p50'))}"]
    tokens = number(cost.get("added_tokens"))
    if tokens is not None:
        texts.append(words.t("tiles.tokens", tokens=count(tokens)) if tokens else words.t("tiles.no_tokens"))
    if blocks.tone != "mute":
        texts.append(
            words.t("tiles.false_blocks", n=f"{blocks.main} ({blocks.sub})" if blocks.sub else blocks.main)
        )
    return words.t.join(texts)


def _rest(words: Words) -> list[tuple[str, str]]:
    t, result = words.t, words.result
    found = []
    proof = part(result, "proof")
    if statuses := part(proof, "languages"):
        told = [
            t("summary.pair", name=words.in_language(code), value=t.word("status", str(status)))
            for code, status in statuses.items()
        ]
        found.append((t("summary.languages"), t.join(told)))
    if (p := value_of(proof, "p_value")) is not None:
        pairs = count(part(proof, "power").get("pairs"))
        line = t("summary.proof_line", p=p_text(p), pairs=pairs, goals=count(proof.get("held_out_goals")))
        found.append((t("summary.proof"), line))
    if weaknesses := rows(result, "weaknesses"):
        states = Counter(str(row.get("state") or "") for row in weaknesses)
        told = [t("summary.of", n=n, state=t.word("weaknesses", state)) for state, n in states.items()]
        told += [
            t("summary.pair", name=t("summary.repair"), value=str(row.get("name") or ""))
            for row in rows(result, "candidates")
            if row.get("chosen") is True
        ]
        found.append((t("summary.weaknesses"), t.join(told)))
    commands = []
    if to_label(result) > (number(part(result, "label").get("labelled")) or 0):
        commands.append(f"fangxin label {run_id(result)}")
    if part(result, "signature"):
        commands.append(verify_command(result))
    if commands:
        found.append((t("summary.verify"), "; ".join(commands)))
    return found
