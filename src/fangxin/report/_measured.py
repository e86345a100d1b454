"""What was measured: the arms, the risks, the families, the languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fangxin.report._numbers import (
    bounds_of,
    count,
    percent,
    rate_of,
)
from fangxin.report._plots import Limit, Point, Row, ceiling, intervals
from fangxin.report._result import (
    MEASURES,
    arms_of,
    keys_of,
    measurable,
    part,
    rows,
    value_of,
)
from fangxin.report._words import Cell, Figure, Section, Table, Words, alt

_DOTTED = (1, 3)


def point(arm: str, rate: Any) -> Point | None:
    """A rate as a dot of a plot; None where it can't be drawn."""
    value, bounds = rate_of(rate), bounds_of(rate)
    return None if value is None or bounds is None else Point(arm, value, *bounds)


def legend(words: Words) -> list[tuple[str, str]]:
    """The arms that the plots show, with their names."""
    return [(arm, words.t(f"arm.{arm}")) for arm in arms_of(words.result)]


def arms(words: Words) -> Section | None:
    """The arms side by side in the three measures."""
    t, result = words.t, words.result
    present = arms_of(result)
    if not present:
        return None
    one = len(present) == 1
    failed = sum(value_of(part(result, arm), "failed") or 0 for arm in present)
    return Section(
        "arms",
        t("arms.title_one" if one else "arms.nav"),
        t("arms.title_one" if one else "arms.title"),
        t("arms.lead_one" if one else "arms.lead"),
        notes=[t("arms.failed", n=count(failed))] if failed else [],
        figures=_arm_figures(words, MEASURES),
        coda=t("arms.bars"),
        folded=[_arm_table(words, present)],
        beside=[words.cost()],
    )


def _arm_figures(words: Words, measures: Sequence[str]) -> list[Figure]:
    """A plot a measure, a row an arm; attack success and over-refusal share a scale, to be compared."""
    t, built = words.t, []
    for measure in measures:
        drawn = []
        for arm in arms_of(words.result):
            rate = part(words.result, arm).get(measure)
            if (dot := point(arm, rate)) is not None:
                drawn.append(Row(t(f"arm.{arm}"), f"{words.percent(rate)} ({words.interval(rate)})", (dot,)))
        limits, caption = (tolerance if measure == "attack_success" else margin_line)(words, measure)
        if drawn:
            built.append((measure, drawn, limits, caption))
    shared = max(
        (ceiling(drawn, limits) for name, drawn, limits, _ in built if name != "ability"), default=1.0
    )
    figures = []
    for measure, drawn, limits, caption in built:
        title, top = t(f"measure.{measure}"), 1.0 if measure == "ability" else shared
        svg = intervals(drawn, domain=(0.0, top), limits=limits)
        figures.append(Figure(title, svg, alt(title, drawn), t.say(t(f"measure.{measure}_hint"), caption)))
    return figures


def tolerance(words: Words, _: str = "attack_success") -> tuple[list[Limit], str]:
    """The declared bounds on attack success: on its point, and on the upper end of its interval."""
    plan, proof = part(words.result, "plan"), part(words.result, "proof")
    low = value_of(proof, "tolerance")
    low = value_of(plan, "tolerance") if low is None else low
    high = value_of(proof, "tolerance_high")
    if low is None:
        return [], ""
    if high is None or high == low:
        return [Limit(low)], words.t("arms.tolerance", low=percent(low))
    text = words.t("arms.tolerance_high", low=percent(low), high=percent(high))
    return [Limit(low), Limit(high, _DOTTED)], text


def margin_line(words: Words, measure: str) -> tuple[list[Limit], str]:
    """The declared bounds on over-refusal or ability: against the bare model, and outright."""
    limits, captions = [], []
    margin = value_of(part(words.result, "proof"), f"margin_{measure}")
    bare = rate_of(part(words.result, "baseline").get(measure))
    if margin is not None and bare is not None and part(words.result, "repaired"):
        worst = bare + margin if measure == "over_refusal" else bare - margin
        if 0 <= worst <= 1:
            limits.append(Limit(worst))
            captions.append(words.t("arms.margin", margin=words.margin(margin)))
    outright = value_of(part(words.result, "plan"), "over_refusal") if measure == "over_refusal" else None
    if outright is not None:
        limits.append(Limit(outright, _DOTTED))
        captions.append(words.t("arms.outright", most=percent(outright)))
    return limits, words.t.say(*captions)


def _arm_table(words: Words, present: list[str]) -> Table:
    t = words.t
    body = []
    for measure in ("attack_success", "attack_success_judged", "over_refusal", "ability"):
        cells = [words.rate(part(words.result, arm).get(measure)) for arm in present]
        if measure != "attack_success_judged" or any(c.tone != "mute" for c in cells):
            body.append([Cell(t(f"measure.{measure}")), *cells])
    for key in ("blocked", "failed"):
        values = [value_of(part(words.result, arm), key) for arm in present]
        if any(value is not None for value in values):
            tone = "warn" if key == "failed" else ""
            body.append(
                [Cell(t(f"measure.{key}")), *(Cell(count(v), tone=tone if v else "") for v in values)]
            )
    return Table(["", *(t(f"arm.{arm}") for arm in present)], body, t("arms.numbers"))


def _dumbbells(
    words: Words,
    title: str,
    keys: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    top: float | None = None,
    limits: Sequence[Limit] = (),
    caption: str = "",
) -> Figure | None:
    """Rows of (label, arm -> rate); rows without a drawable rate are left out, the table has them."""
    drawn = []
    for label, by_arm in keys:
        dots = tuple(dot for arm, rate in by_arm.items() if (dot := point(arm, rate)) is not None)
        if not dots:
            continue
        first, last = dots[0], dots[-1]
        figures = percent(last.value)
        if len(dots) > 1:
            figures = f"{percent(first.value)} → {figures}"
        drawn.append(Row(label, figures, dots))
    if not drawn:
        return None
    svg = intervals(drawn, domain=(0.0, top or ceiling(drawn, limits)), limits=limits)
    return Figure(title, svg, alt(title, drawn), caption)


def _by(words: Words, section: str, key: str, measure: str | None) -> dict[str, Any]:
    """Arm -> rate, for one key of a section."""
    found = {}
    for arm in arms_of(words.result):
        value = part(words.result, arm, section).get(key)
        found[arm] = value.get(measure) if measure and isinstance(value, Mapping) else value
    return found


def weak(words: Words) -> Section | None:
    """Before and after by risk, and how each weakness was searched for."""
    t, result = words.t, words.result
    ids = keys_of(result, "by_risk")
    found = rows(result, "finding")
    if not ids and not found:
        return None
    repaired = bool(part(result, "repaired"))
    limits, caption = tolerance(words)
    pairs = {m: [(words.risk(id), _by(words, "by_risk", id, m)) for id in ids] for m in MEASURES[:2]}
    top = max((_top(values) for rates in pairs.values() for _, values in rates), default=1.0)
    top = max(ceiling([], [Limit(top)]), ceiling([], limits)) if limits else ceiling([], [Limit(top)])
    plots = [
        _dumbbells(
            words,
            t("measure.attack_success"),
            pairs["attack_success"],
            top=top,
            limits=limits,
            caption=caption,
        ),
        _dumbbells(words, t("measure.over_refusal"), pairs["over_refusal"], top=top),
    ]
    folded = []
    if ids:
        head = [t("weak.risk")]
        for measure in MEASURES[:2]:
            head += [f"{t(f'measure.{measure}')} · {t(f'arm.{arm}')}" for arm in arms_of(result)]
        body = [
            [
                Cell(words.risk(id), t("weak.outside") if _outside(words, id) else ""),
                *(words.rate(r) for m in MEASURES[:2] for r in _by(words, "by_risk", id, m).values()),
            ]
            for id in ids
        ]
        folded.append(Table(head, body, t("arms.numbers")))
    if found:
        folded.append(_finding(words, found))
    return Section(
        "weak",
        t("weak.nav" if repaired else "weak.title_one"),
        t("weak.title" if repaired else "weak.title_one"),
        t("weak.lead" if repaired else "weak.lead_one"),
        legend=legend(words),
        figures=[plot for plot in plots if plot],
        folded=folded,
        beside=words.beside(),
    )


def _outside(words: Words, id: str) -> bool:
    """Whether a risk stands outside the proof: its goals may only be asked in plain words."""
    return any(
        part(words.result, arm, "by_risk", id).get("outside_proof") is True for arm in arms_of(words.result)
    )


def _top(by_arm: Mapping[str, Any]) -> float:
    return max((bounds[1] for rate in by_arm.values() if (bounds := bounds_of(rate))), default=0.0)


def _finding(words: Words, found: list[dict[str, Any]]) -> Table:
    t = words.t
    tones = {"above": "bad", "below": "good", "undecided": "warn"}
    body = []
    for row in found:
        decision = str(row.get("decision") or "")
        body.append(
            [
                Cell(words.risk(row.get("risk"))),
                Cell(words.in_language(row.get("language"))),
                Cell(count(row.get("asked"))),
                Cell(count(row.get("successes"))),
                Cell(words.interval(row)),
                Cell(t.word("weak", decision), tone=tones.get(decision, "")),
            ]
        )
    head = [
        t(f"weak.{key}") for key in ("risk", "language", "asked", "successes", "rate_interval", "decision")
    ]
    return Table(head, body, t("weak.finding"))


def family(words: Words) -> Section | None:
    """Attack success by attack family; the held-out ones are marked."""
    t, result = words.t, words.result
    names = keys_of(result, "by_family")
    if not names:
        return None
    held = set(part(result, "proof").get("held_out_families") or [])
    limits, caption = tolerance(words)
    named = [(name, f"{name} · {t('family.held_out')}" if name in held else name) for name in names]
    plot = _dumbbells(
        words,
        t("measure.attack_success"),
        [(label, _by(words, "by_family", name, None)) for name, label in named],
        limits=limits,
        caption=caption,
    )
    body = [
        [
            Cell(
                name,
                "\n".join(
                    told
                    for told in (
                        str(part(result, "families", name).get(words.language) or ""),
                        name in held and t("family.held_out"),
                    )
                    if told
                ),
            ),
            *(words.rate(r) for r in _by(words, "by_family", name, None).values()),
        ]
        for name in names
    ]
    head = [t("family.name"), *(t(f"arm.{arm}") for arm in arms_of(result))]
    return Section(
        "family",
        t("family.nav"),
        t("family.title"),
        t("family.lead") if held else "",
        legend=legend(words),
        figures=[*([plot] if plot else []), *_arm_figures(words, MEASURES[1:])],
        wide_first=True,
        folded=[Table(head, body, t("arms.numbers"))],
        beside=words.beside(),
    )


def tongue(words: Words) -> Section | None:
    """By language; one in which nothing can be measured says so."""
    t, result = words.t, words.result
    statuses = part(result, "proof", "languages")
    codes = [*statuses, *(code for code in keys_of(result, "by_language") if code not in statuses)]
    if not codes:
        return None
    notes = []
    for code in codes:
        if not measurable(result, code):
            ability = part(result, "baseline", "by_language", code).get("ability")
            values = {"language": words.in_language(code)}
            if rate_of(ability) is None:
                notes.append(t("tongue.not_measurable_plain", **values))
            else:
                share = f"{words.percent(ability)} ({words.interval(ability)})"
                notes.append(t("tongue.not_measurable", ability=share, **values))
    figures, tops = [], [0.0]
    by_measure = {}
    for measure in MEASURES:
        kept = [code for code in codes if measure == "ability" or measurable(result, code)]
        by_measure[measure] = [(words.in_language(c), _by(words, "by_language", c, measure)) for c in kept]
        if measure != "ability":
            tops += [_top(values) for _, values in by_measure[measure]]
    shared = ceiling([], [Limit(max(tops))])
    for measure, keys in by_measure.items():
        top = 1.0 if measure == "ability" else shared
        if plot := _dumbbells(words, t(f"measure.{measure}"), keys, top=top):
            figures.append(plot)
    body = [_tongue_row(words, code, measure) for code in codes for measure in MEASURES]
    verdicts = [
        [Cell(words.in_language(code)), Cell(t.word("status", str(status)), tone=_tone(str(status)))]
        for code, status in statuses.items()
    ]
    tables = [Table([t("weak.language"), t("tongue.status")], verdicts)] if verdicts else []
    head = [t("weak.language"), "", *(t(f"arm.{arm}") for arm in arms_of(result))]
    return Section(
        "tongue",
        t("tongue.nav"),
        t("tongue.title"),
        t("tongue.lead"),
        notes=notes,
        legend=legend(words),
        figures=figures,
        tables=tables,
        folded=[Table(head, body, t("arms.numbers"))],
        beside=[words.cost()],
    )


def _tongue_row(words: Words, code: str, measure: str) -> list[Cell]:
    shown = measure == "ability" or measurable(words.result, code)
    mute = Cell(words.t("status.not_measurable"), tone="mute")
    values = _by(words, "by_language", code, measure).values()
    return [
        Cell(words.in_language(code)),
        Cell(words.t(f"measure.{measure}")),
        *(words.rate(rate) if shown else mute for rate in values),
    ]


def _tone(status: str) -> str:
    return {"proved": "good", "not_proved": "bad", "error": "bad", "inconclusive": "warn"}.get(status, "mute")
