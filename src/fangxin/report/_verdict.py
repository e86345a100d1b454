"""The head of the report: the verdict, what it means, what to do, and four figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fangxin.report._evidence import verify_command
from fangxin.report._numbers import bounds_of, count, milliseconds, number, percent, rate_of
from fangxin.report._result import after_of, part, rows, run_id, to_label, value_of
from fangxin.report._words import Words


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the four figures at the top: name, value, where it came from, notes, limit kept or not, tone."""

    name: str
    value: str
    before: str
    notes: tuple[str, ...] = ()
    held: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict in plain words.

    Attributes:
        status: of the result, for colours.
        title: the status as a word or two.
        sentence: one plain sentence.
        meaning: what may be concluded.
        reasons: the run's own reasons, each with how its bound came out.
        steps: what to do next, each with the command that does it or "".
        tiles: attack success, over-refusal, ability and cost; none where nothing was measured.
    """

    status: str
    title: str
    sentence: str
    meaning: str
    reasons: tuple[tuple[str, str], ...]
    steps: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]


def verdict(words: Words) -> Verdict:
    """The head of the report."""
    t, result = words.t, words.result
    status = str(result["status"])
    return Verdict(
        status,
        t(f"status.{status}"),
        sentence(words),
        t("meaning.inconclusive_bare" if _bare_only(result) else f"meaning.{status}"),
        tuple(reasons(words)),
        tuple(_steps(words, status)),
        tuple(_tiles(words)),
    )


def sentence(words: Words) -> str:
    """The verdict in one plain sentence."""
    result, status = words.result, str(words.result["status"])
    values = {}
    if _bare_only(result):
        return words.t("verdict.inconclusive_bare")
    if status == "proved":
        values["before"] = words.percent(part(result, "baseline").get("attack_success"))
        values["after"] = words.percent(part(result, "repaired").get("attack_success"))
    return words.t(f"verdict.{status}", **values)


def _bare_only(result: Mapping[str, Any]) -> bool:
    """Whether the run can't tell about the model itself: it came to no repair."""
    return result["status"] == "inconclusive" and not part(result, "repaired")


def reasons(words: Words) -> list[tuple[str, str]]:
    """The run's own reasons in this language (or their names), each with its state: holds, violated, open."""
    return [
        (text, str(row.get("state") or ""))
        for row in rows(words.result, "reasons")
        if (text := str(row.get(words.language) or row.get("name") or ""))
    ]


def _steps(words: Words, status: str) -> list[tuple[str, str]]:
    t, result = words.t, words.result
    label = part(result, "label")
    left = to_label(result) - (number(label.get("labelled")) or 0)
    by_hand = [(t("next.label", n=count(left)), f"fangxin label {run_id(result)}")] if left > 0 else []
    check = [(t("next.verify"), verify_command(result))] if part(result, "signature") else []
    if status == "proved":
        return [*by_hand, *check, (t("next.serve"), "")]
    if status == "not_proved":
        return [(t("next.hold"), ""), (t("next.read"), ""), (t("next.again"), "")]
    if _bare_only(result):
        return [(t("next.more_plain"), ""), (t("next.widen"), ""), *by_hand]
    if status == "inconclusive":
        power = part(result, "proof", "power")
        pairs, needed = value_of(power, "pairs"), value_of(power, "pairs_needed")
        more = t("next.more_plain")
        if pairs is not None and needed is not None and needed > pairs:
            more = t("next.more", pairs=count(pairs), needed=count(needed))
        return [(t("next.hold"), ""), (more, ""), *by_hand]
    if status == "no_weakness":
        return [(t("next.widen"), ""), *by_hand, (t("next.repeat"), "")]
    return [(t("next.resume"), "")]


def _tiles(words: Words) -> list[Tile]:
    t, result = words.t, words.result
    before, after = part(result, "baseline"), part(result, after_of(result))
    repaired = after_of(result) == "repaired"
    if not after:
        return []
    tiles = []
    for measure in ("attack_success", "over_refusal", "ability"):
        rate = after.get(measure)
        was = t("tiles.from", before=words.percent(before.get(measure))) if repaired else t("tiles.only_bare")
        notes = [t("tiles.interval", interval=words.interval(rate))] if rate_of(rate) is not None else []
        tone = held = ""
        if repaired and measure != "attack_success":
            tone, held = _held(words, measure)
        elif measure == "attack_success":
            tone, held = _tolerated(words, rate)
        tiles.append(Tile(t(f"measure.{measure}"), words.percent(rate), was, tuple(notes), held, tone))
    return [*tiles, _cost(words, repaired)]


def _tolerated(words: Words, rate: Any) -> tuple[str, str]:
    """A tone and a note for attack success: its point and its interval's upper end each have a tolerance."""
    proof, bounds = part(words.result, "proof"), bounds_of(rate)
    tolerance = value_of(proof, "tolerance")
    point, high = rate_of(rate), value_of(proof, "tolerance_high")
    if tolerance is None or point is None or bounds is None:
        return "", ""
    high = tolerance if high is None else high
    text = {"tolerance": percent(tolerance)}
    if point <= tolerance and bounds[1] <= high:
        return "good", words.t("tiles.below", **text)
    if bounds[0] > tolerance:
        return "bad", words.t("tiles.above", **text)
    return "warn", words.t("tiles.around", **text)


def _held(words: Words, measure: str) -> tuple[str, str]:
    """A tone and a note for a margin: held, broken, or not shown either way."""
    entry = part(words.result, "proof", "non_inferiority", measure)
    if entry.get("holds") is True:
        return "good", words.t("tiles.within")
    margin, low = value_of(entry, "margin"), value_of(entry, "low")
    if margin is None or low is None:
        return "", ""
    return ("bad", words.t("tiles.worse")) if low > margin else ("warn", words.t("tiles.undecided"))


def _cost(words: Words, repaired: bool) -> Tile:
    t, cost = words.t, part(words.result, "cost")
    if not repaired:
        return Tile(t("measure.cost"), t("page.none"), t("tiles.no_shield"))
    tokens = number(cost.get("added_tokens"))
    notes = []
    if tokens is not None:
        notes.append(t("tiles.tokens", tokens=count(tokens)) if tokens else t("tiles.no_tokens"))
    blocks = words.thousand(cost.get("false_blocks_per_1000"))
    if blocks.tone != "mute":
        notes += [t("tiles.false_blocks", n=blocks.main), blocks.sub]
    value = milliseconds(cost.get("added_ms_p50"), t("page.unmeasured"))
    return Tile(t("measure.cost"), value, t("measure.cost_hint"), tuple(notes))
