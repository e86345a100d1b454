"""What the figures rest on: examples, the proof, the judges, the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fangxin.proof import wilson
from fangxin.report._measured import point
from fangxin.report._numbers import count, number, p_text, percent, points, points_interval, rate_of
from fangxin.report._plots import Limit, Row, ceiling, intervals
from fangxin.report._result import QUESTION_SHOWN, part, rows, run_id, to_label, value_of
from fangxin.report._words import Cell, Figure, Section, Table, Words, alt

_TONES = {
    **dict.fromkeys(("unsafe", "harmful"), "bad"),
    **dict.fromkeys(("safe", "not_harmful", "blocked"), "good"),
    **dict.fromkeys(("controversial", "refused", "failed"), "warn"),
}


def examples(words: Words) -> Section | None:
    """A few trials, already redacted by `read`."""
    t, found = words.t, rows(words.result, "examples")
    if not found:
        return None

    shown = []
    for row in found:
        where = [t.word("arm", row["arm"]), words.risk(row["risk"]) if row["risk"] else "", row["family"]]
        shown.append(
            row
            | {
                "where": [text for text in where if text],
                "verdict": t.word("verdict_word", row["verdict"]),
                "tone": _TONES.get(row["verdict"], "mute"),
            }
        )
    lead = t("examples.lead", n=QUESTION_SHOWN)
    return Section("examples", t("examples.nav"), t("examples.title"), lead, examples=shown)


def proof(words: Words) -> Section | None:
    """The plan, the sizes, the test, and its groups."""
    t, result = words.t, words.result
    made, plan = part(result, "proof"), part(result, "plan")
    if not made and not plan:
        return None
    tested = value_of(made, "p_value") is not None
    groups = rows(result, "proof", "groups")
    notes = [*_correction(words), *_read(words)]
    if outside := [words.risk(id) for id in made.get("outside") or []]:
        notes.append(t("proof.outside", names=t.join(outside)))
    facts = [(t("proof.the_test"), _test(words, made))] if tested else []
    return Section(
        "proof",
        t("proof.nav" if tested else "proof.title_none"),
        t("proof.title" if tested else "proof.title_none"),
        t("proof.lead") if tested else t("proof.none"),
        notes=notes,
        facts=[*facts, (t("proof.plan"), _plan(words, made, plan))],
        figures=_groups_plot(words, groups),
        tables=_steps(words, plan),
        right_tables=_groups_table(words, groups),
        beside=words.beside() if groups else [],
    )


def _test(words: Words, made: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """The test's result and size, as far as they are given."""
    t, power, textbook = words.t, part(made, "power"), part(made, "mcnemar")
    pairs, needed = value_of(power, "pairs"), value_of(power, "pairs_needed")
    size = count(pairs)
    if pairs is not None and needed is not None:
        size = t("proof.pairs_text", pairs=count(pairs), needed=count(needed))
    swaps = ""
    if textbook:
        swaps = t("proof.swaps", mended=count(textbook.get("mended")), broken=count(textbook.get("broken")))
    found = [
        ("test", str(made.get("test") or ""), ""),
        ("p_value", p_text(value_of(made, "p_value")), t("proof.p_value_how")),
        ("mcnemar", p_text(value_of(textbook, "p_value")), swaps),
        ("pairs", size, ""),
        ("power", percent(value_of(power, "power")), _assumed(words, power)),
        ("held_out_goals", count(made.get("held_out_goals")), ""),
        ("held_out_families", t.join([str(name) for name in made.get("held_out_families") or []]), ""),
    ]
    return [(t(f"proof.{key}"), Cell(text, sub)) for key, text, sub in found if text not in ("", count(None))]


def _assumed(words: Words, power: Mapping[str, Any]) -> str:
    """What the power was reckoned with."""
    before, after = value_of(power, "assumed_before"), value_of(power, "assumed_after")
    if before is not None and after is not None:
        return words.t("proof.assumed", before=percent(before), after=percent(after))
    mended, broken = value_of(power, "assumed_mended"), value_of(power, "assumed_broken")
    if mended is None or broken is None:
        return ""
    effect = count(power.get("design_effect"))
    return words.t("proof.assumed_swaps", mended=percent(mended), broken=percent(broken), effect=effect)


def _plan(words: Words, made: Mapping[str, Any], plan: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    t = words.t
    found = [
        ("alpha", str(plan.get("alpha", ""))),
        ("tolerance", percent(_first(made, plan, "tolerance"))),
        ("tolerance_high", percent(_first(made, plan, "tolerance_high"))),
        ("over_refusal", percent(value_of(plan, "over_refusal"))),
        ("margin_over_refusal", words.margin(value_of(made, "margin_over_refusal"))),
        ("margin_ability", words.margin(value_of(made, "margin_ability"))),
        ("ability_floor", percent(value_of(plan, "ability_floor"))),
        ("budget", count(plan.get("budget"))),
        ("max_tokens", count(plan.get("max_tokens"))),
        ("seed", str(plan.get("seed", ""))),
    ]
    return [(t(f"proof.{key}"), Cell(text)) for key, text in found if text not in ("", count(None))]


def _first(made: Mapping[str, Any], plan: Mapping[str, Any], key: str) -> float | None:
    value = value_of(made, key)
    return value_of(plan, key) if value is None else value


def _correction(words: Words) -> list[str]:
    judged = {arm: part(words.result, arm).get("attack_success_judged") for arm in ("baseline", "repaired")}
    before, after = (rate_of(rate) for rate in judged.values())
    if before is None:
        return []
    if after is None:
        return [words.t("proof.correction_one", before=percent(before))]
    return [words.t("proof.correction", before=percent(before), after=percent(after))]


def _read(words: Words) -> list[str]:
    """How many replies needed no judge, since people had read them."""
    arms = [part(words.result, arm) for arm in ("baseline", "default_shield", "repaired")]
    judged, read = (sum(int(value_of(arm, key) or 0) for arm in arms) for key in ("judged", "read"))
    return [words.t("proof.read", read=count(read), judged=count(judged))] if read else []


def _group_name(words: Words, group: Mapping[str, Any]) -> str:
    """A group's own name, or that of the risk or language that it is."""
    if own := str(group.get(words.language) or ""):
        return own
    name = str(group.get("name") or "").removeprefix("language:").removeprefix("risk:")
    if name == "overall":
        return words.t("proof.overall")
    named = words.risk(name)
    return named if named != name else words.in_language(name)


def _groups_plot(words: Words, groups: list[dict[str, Any]]) -> list[Figure]:
    drawn = []
    for group in groups:
        if dot := point("repaired", group.get("difference")):
            figures = f"{points(dot.value)} ({points_interval((dot.low, dot.high))})"
            drawn.append(Row(_group_name(words, group), figures, (dot,)))
    if not drawn:
        return []
    reach = max(abs(v) for row in drawn for p in row.points for v in (p.low, p.high))
    end = ceiling([], [Limit(reach)])
    title = words.t("proof.groups")
    svg = intervals(drawn, domain=(-end, end), signed=True)
    return [Figure(title, svg, alt(title, drawn), words.t("proof.groups_lead"))]


def _groups_table(words: Words, groups: list[dict[str, Any]]) -> list[Table]:
    if not groups:
        return []
    t = words.t
    body = [
        [
            Cell(_group_name(words, group)),
            words.difference(group.get("difference")),
            Cell(p_text(value_of(group, "p_value"))),
            Cell(p_text(value_of(group, "p_adjusted"))),
        ]
        for group in groups
    ]
    head = [t(f"proof.{key}") for key in ("group", "difference", "p_value", "p_adjusted")]
    return [Table(head, body)]


def _steps(words: Words, plan: Mapping[str, Any]) -> list[Table]:
    t, body = words.t, []
    for step in ("find", "choose", "prove"):
        entry = part(plan, step)
        if entry:
            names = t.join([str(name) for name in entry.get("families") or []])
            body.append(
                [Cell(t(f"proof.{step}")), Cell(names or t("page.none")), Cell(count(entry.get("goals")))]
            )
    head = [t("proof.step"), t("proof.families"), t("proof.goals")]
    return [Table(head, body, t("proof.split"))] if body else []


def judges(words: Words) -> Section | None:
    """How often each judge and guard is right, language by language."""
    t, found = words.t, rows(words.result, "judges")
    if not found:
        return None
    body = []
    for row in found:
        name = Cell(str(row.get("name") or ""), t.word("judges", str(row.get("role") or "")))
        for language, cards in _cards(row):
            for task, card in cards.items():
                scores = [words.rate(card.get(key)) for key in ("accuracy", "sensitivity", "specificity")]
                told = Cell(words.in_language(language), t.word("judges", task) if task else "")
                body.append([name, told, *scores])
    hashes = [(str(row.get("name") or ""), Cell(str(row.get("sha256") or ""), code=True)) for row in found]
    head = [
        t("judges.name"),
        t("weak.language"),
        *(t(f"judges.{key}") for key in ("accuracy", "sensitivity", "specificity")),
    ]
    return Section(
        "judges",
        t("judges.nav"),
        t("judges.title"),
        t("judges.lead"),
        tables=[Table(head, body)] if body else [],
        facts=[("SHA-256", [(name, cell) for name, cell in hashes if cell.main])],
    )


def _cards(row: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """A judge's scores as language -> task -> rates; a panel's counts become rates by Wilson."""
    for language, card in part(row, "languages").items():
        if isinstance(card, Mapping):
            yield language, {"": dict(card)}
    for language, tallies in part(row, "panel").items():
        if isinstance(tallies, Mapping):
            counted = {task: _scores(tally) for task, tally in tallies.items() if isinstance(tally, Mapping)}
            yield language, {task: scores for task, scores in counted.items() if scores}


def _scores(tally: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("true_positive", "positives", "false_positive", "negatives")
    counts = [value_of(tally, key) for key in keys]
    if any(value is None for value in counts):
        return {}
    hits, positives, alarms, negatives = (value or 0.0 for value in counts)
    right = hits + negatives - alarms
    return {
        "accuracy": _share(right, positives + negatives),
        "sensitivity": _share(hits, positives),
        "specificity": _share(negatives - alarms, negatives),
    }


def _share(k: float, n: float) -> dict[str, float] | None:
    if not 0 <= k <= n or n == 0:
        return None
    low, high = wilson(k, n)
    return {"rate": k / n, "low": low, "high": high, "n": n}


def record(words: Words) -> Section:
    """Versions, hashes, ledger, signature, and the commands that check them."""
    t, result = words.t, words.result
    signature, ledger, label = part(result, "signature"), part(result, "ledger"), part(result, "label")
    run = run_id(result)
    commands = []
    notes = []
    if signature:
        commands.append((t("record.verify"), verify_command(result)))
    else:
        notes.append(t("record.unsigned"))
    if label:
        done, total = number(label.get("labelled")) or 0, to_label(result)
        key = "record.labelled" if done else "record.unlabelled"
        notes.append(t(key, done=count(done), total=count(total)))
        commands.append((t("record.label"), f"fangxin label {run}"))
    named = [
        (
            "record.signature",
            {t(f"record.{k}"): signature.get(k) for k in ("fingerprint", "public_key", "signature")},
        ),
        (
            "record.ledger",
            {t(f"record.ledger_{key}"): ledger.get(key) for key in ("id", "seq", "hash", "checkpoint")},
        ),
        ("record.model", part(result, "agent", "model")),
        ("record.prompt", part(result, "agent", "prompt")),
        ("record.hashes", {**part(result, "hashes"), t("record.trials"): result.get("trials_sha256")}),
        ("record.versions", part(result, "versions")),
    ]
    facts = []
    for title, entries in named:
        cells = [
            (str(name), Cell(_flat(value), code=True))
            for name, value in entries.items()
            if value not in (None, "", [], {})
        ]
        if cells:
            facts.append((t(title), cells))
    return Section(
        "record",
        t("record.nav"),
        t("record.title"),
        t("record.lead") if signature else "",
        notes=notes,
        commands=commands,
        facts=facts,
    )


def verify_command(result: Mapping[str, Any]) -> str:
    """The command that checks the run's signature against the key that the reader trusts."""
    key = part(result, "signature").get("fingerprint") or "FINGERPRINT"
    return f"fangxin verify {run_id(result)} --key {key}"


def _flat(value: Any) -> str:
    """A value of the record in one piece of text."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(_flat(item) for item in value)
    return str(value)
