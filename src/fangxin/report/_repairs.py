"""What was done about it: the register of weaknesses, the repairs tried, and what the chosen one costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fangxin.report._measured import point, tolerance
from fangxin.report._numbers import bounds_of, count, milliseconds, percent, points, points_interval, rate_of
from fangxin.report._plots import Candidate, Limit, Point, Row, ceiling, intervals, trade_off
from fangxin.report._result import after_of, arms_of, part, rows, value_of
from fangxin.report._words import Cell, Figure, Section, Table, Words, alt


def weaknesses(words: Words) -> Section | None:
    """The register of weaknesses."""
    t, found = words.t, rows(words.result, "weaknesses")
    if not found and not arms_of(words.result):
        return None
    tones = {"proved": "good", "repaired": "warn", "found": "bad", "reopened": "bad"}
    body = []
    for row in found:
        families = part(row, "families")
        state = str(row.get("state") or "")
        evidence = t.join([f"{name} {percent(rate_of(rate))}" for name, rate in families.items()])
        body.append(
            [
                Cell(words.risk(row.get("risk")), words.in_language(row.get("language"))),
                Cell(str(row.get("id") or ""), code=True),
                words.rate(row.get("before")),
                words.rate(row.get("after")),
                Cell(evidence or t("page.none")),
                Cell(t.word("weaknesses", state), tone=tones.get(state, "")),
            ]
        )
    head = [
        t("weak.risk"),
        *(t(f"weaknesses.{key}") for key in ("id", "before", "after", "evidence", "state")),
    ]
    return Section(
        "weaknesses",
        t("weaknesses.nav"),
        t("weaknesses.title"),
        t("weaknesses.lead") if body else t("weaknesses.none"),
        tables=[Table(head, body, t("measure.attack_success"))] if body else [],
        beside=words.beside() if body else [],
    )


def repairs(words: Words) -> Section | None:
    """The candidates, their trade-off, and why one was chosen."""
    t, found = words.t, rows(words.result, "candidates")
    if not found:
        return None
    has_ability = any("ability" in row for row in found)
    notes = [_choice(words, row) for row in found if row.get("chosen") is True] or [t("repairs.none_chosen")]
    if not has_ability:
        notes.append(t("repairs.ability_note"))
    if untried := words.result.get("untried"):
        notes.append(t("repairs.untried", names=t.join([str(name) for name in untried])))
    head = [t("repairs.name"), t("repairs.made"), t("measure.attack_success"), t("measure.over_refusal")]
    head += [t("measure.ability")] if has_ability else []
    body = [_candidate(words, i, row, has_ability) for i, row in enumerate(found, 1)]
    return Section(
        "repairs",
        t("repairs.nav"),
        t("repairs.title"),
        t("repairs.lead"),
        right_notes=notes,
        figures=_trade_off(words, found),
        tables=[Table([*head, t("repairs.cost"), t("repairs.outcome")], body)],
        beside=words.beside(),
    )


def _choice(words: Words, row: Mapping[str, Any]) -> str:
    """What the chosen repair reached, with intervals."""
    shares = {
        key: f"{words.percent(row.get(rate))} ({words.interval(row.get(rate))})"
        for key, rate in (("attack", "attack_success"), ("refusal", "over_refusal"))
    }
    return words.t("repairs.chosen_why", name=str(row.get("name") or ""), **shares)


def _candidate(words: Words, number: int, row: Mapping[str, Any], has_ability: bool) -> list[Cell]:
    t = words.t
    about = str(row.get(f"description_{words.language}") or "")
    made = t("repairs.made_yes" if row.get("made_from_findings") else "repairs.made_no")
    outcome = Cell("")
    if row.get("chosen") is True:
        outcome = Cell(t("repairs.chosen"), tone="good")
    elif (suffices := row.get("suffices")) is not None:
        outcome = Cell(t("repairs.suffices" if suffices else "repairs.short"), tone="mute")
    return [
        Cell(f"{number}. {row.get('name') or ''}", about),
        Cell(made, t.word("kind", str(row.get("kind") or ""))),
        words.rate(row.get("attack_success")),
        words.rate(row.get("over_refusal")),
        *([words.rate(row.get("ability"))] if has_ability else []),
        Cell(milliseconds(row.get("cost_ms"))),
        outcome,
    ]


def _trade_off(words: Words, found: list[dict[str, Any]]) -> list[Figure]:
    t, drawn = words.t, []
    for i, row in enumerate(found, 1):
        attack, refusal = (point("repaired", row.get(key)) for key in ("attack_success", "over_refusal"))
        if attack and refusal:
            drawn.append(Candidate(i, row.get("chosen") is True, attack, refusal))
    if not drawn:
        return []
    limits, _ = tolerance(words)
    low = limits[0].value if limits else None
    caption = "" if low is None else t("arms.tolerance", low=percent(low))
    title = t("repairs.against")
    told = "; ".join(f"{c.number}: {percent(c.attack.value)}, {percent(c.refusal.value)}" for c in drawn)
    svg = trade_off(drawn, x_title=t("measure.attack_success"), y_title=t("measure.over_refusal"), limit=low)
    return [Figure(title, svg, f"{title}: {told}", t.say(t("repairs.plot"), caption))]


def price(words: Words) -> Section | None:
    """Over-refusal and ability against their margins; what serving and the run cost."""
    t, result = words.t, words.result
    cost, held = part(result, "cost"), part(result, "proof", "non_inferiority")
    if not cost and not held:
        return None
    repaired = after_of(result) == "repaired"
    serve = [
        (t("price.added_ms"), Cell(milliseconds(cost.get("added_ms_p50")))),
        (t("price.added_tokens"), Cell(count(cost.get("added_tokens")))),
        (t("price.false_blocks"), words.thousand(cost.get("false_blocks_per_1000"))),
    ]
    facts = [(t("price.serve_cost"), serve)] if repaired and cost else []
    if spent := _spent(words, cost):
        facts.append((t("price.run_cost"), spent))
    return Section(
        "price",
        t("price.nav"),
        t("price.title"),
        t("price.lead") if repaired else "",
        figures=[figure for m in ("over_refusal", "ability") if (figure := _loss(words, m, part(held, m)))],
        facts=facts,
    )


def _loss(words: Words, measure: str, entry: Mapping[str, Any]) -> Figure | None:
    """A loss (positive is worse) and its interval against the declared margin."""
    t, value, bounds = words.t, value_of(entry, "difference"), bounds_of(entry)
    if value is None or bounds is None:
        return None
    margin = value_of(entry, "margin")
    title = t(f"price.{measure}")
    row = Row(
        t("price.holds" if entry.get("holds") is True else "price.holds_not"),
        f"{points(value)} ({points_interval(bounds)})",
        (Point("repaired", value, *bounds),),
    )
    limits = [] if margin is None else [Limit(margin)]
    end = ceiling([], [Limit(1.15 * max(abs(v) for v in (*bounds, value, margin or 0.0)))])
    svg = intervals([row], domain=(-end, end), limits=limits, signed=True)
    caption = "" if margin is None else t("price.caption", margin=words.margin(margin))
    return Figure(title, svg, alt(title, [row]), caption)


def _spent(words: Words, cost: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """What the run itself cost, as far as it is known."""
    t = words.t
    cached = cost.get("cached")
    found = [
        (t("price.target_tokens"), count(cost.get("target_tokens")), ""),
        (t("price.tokens_per_second"), count(cost.get("tokens_per_second")), ""),
        (t("price.asks"), count(cost.get("asks")), ""),
        (
            t("price.calls"),
            count(cost.get("calls")),
            "" if cached is None else t("price.cached", n=count(cached)),
        ),
        (t("price.seconds"), words.duration(cost.get("seconds")), ""),
    ]
    return [(name, Cell(text, sub)) for name, text, sub in found if text != count(None)]
