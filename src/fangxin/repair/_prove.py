from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fangxin.dialogue import Language
from fangxin.probe import Trial
from fangxin.proof import (
    Claim,
    Decision,
    Margins,
    NonInferiority,
    corrected_difference,
    mcnemar_exact,
    mcnemar_power,
    non_inferior,
    paired_counts,
    paired_test,
    pairs_needed,
    verdict,
)
from fangxin.repair._measure import Errors, as_rate, attack_success, judge_errors, over_refusal
from fangxin.repair._plan import Plan, Settings
from fangxin.risks import regime as regime_of

Pair = tuple[Trial, Trial]

# What the size is reckoned with: a repair that mends a fifth of the pairs and breaks a fiftieth.
_MENDED, _BROKEN, _DESIGN_EFFECT = 0.20, 0.02, 1.5


@dataclass(frozen=True)
class Proof:
    """The paired verdict on a repair.

    Attributes:
        status: `proved`, `not_proved` or `inconclusive`.
        reasons: every declared bound and how it came out, the deciding ones first.
        languages: status by language.
        p_value: one-sided, overall, clustered by goal, judge error carried.
        mcnemar: exact McNemar on one pair a goal, as judged: the textbook test beside it.
        groups: the tested groups with raw and adjusted p.
        non_inferiority: the other side, overall.
        power: the size that was needed and had.
    """

    status: str
    reasons: tuple[Mapping[str, str], ...]
    languages: Mapping[Language, str]
    p_value: float
    mcnemar: Mapping[str, Any]
    groups: tuple[Mapping[str, Any], ...]
    non_inferiority: Mapping[str, Any]
    power: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the result, without status and reasons, which stand above it."""
        data = asdict(self)
        return {
            key: data[key]
            for key in ("p_value", "mcnemar", "groups", "non_inferiority", "power", "languages")
        }


def size_needed(settings: Settings) -> int:
    """Attack pairs that the proof must have for its power, clustering allowed for."""
    return pairs_needed(
        _MENDED, _BROKEN, alpha=settings.alpha, power=settings.power, design_effect=_DESIGN_EFFECT
    )


def prove(
    plan: Plan, languages: Sequence[Language], before: Sequence[Trial], after: Sequence[Trial], errors: Errors
) -> Proof:
    """Decide whether a repair holds on held-out goals and families.

    Args:
        plan: with the margins that were declared.
        languages: those that could be measured.
        before: trials of the bare agent on the proof part.
        after: trials of the repaired one on the same asks.
        errors: the judge's mistakes; a language without them can't be proved.
    """
    attacks, twins, abilities = (
        _pairs(before, after, probe, plan) for probe in ("attack", "over_refusal", "ability")
    )
    answered = [language for language in languages if any(p[0].language == language for p in attacks)]
    claims = _claims(plan, answered, attacks, errors, groups=True)
    whole = _decide(claims, twins, abilities, plan, errors)
    by_language: dict[Language, str] = dict.fromkeys(languages, "inconclusive")
    for language in answered:
        mine, tame, able = (
            [p for p in rows if p[0].language == language] for rows in (attacks, twins, abilities)
        )
        alone = _claims(plan, [language], mine, errors, groups=False)
        by_language[language] = _decide(alone, tame, able, plan, errors).status
    unmeasured = [language for language in languages if language not in errors]
    silent = [language for language in languages if language not in answered]
    status, reasons = whole.status, [asdict(reason) for reason in whole.reasons]
    for without, reason in ((unmeasured, _unmeasured), (silent, _silent)):
        if without:
            status = "inconclusive" if status == "proved" else status
            reasons.insert(0, reason(without))
            by_language.update(dict.fromkeys(without, "inconclusive"))
    firsts = list({pair[0].subject: pair for pair in reversed(attacks)}.values())
    settings, needed = plan.settings, size_needed(plan.settings)
    return Proof(
        status=status,
        reasons=tuple(reasons),
        languages=by_language,
        p_value=claims[0].p_value if claims else 1.0,
        mcnemar=_mcnemar(firsts),
        groups=tuple(
            {
                "name": claim.name,
                "en": claim.en,
                "zh": claim.zh,
                "p_value": claim.p_value,
                "p_adjusted": whole.adjusted.get(claim.name),
                "declared": "reduction" if claim.reduced else "not_worse",
                "difference": as_rate(claim.reduction),
            }
            for claim in claims
        ),
        non_inferiority={
            "over_refusal": asdict(_increase(twins, settings)) if twins else None,
            "ability": asdict(_loss(abilities, settings)) if abilities else None,
        },
        power={
            "pairs_needed": needed,
            "pairs": len(attacks),
            "goals": len(firsts),
            "assumed_mended": _MENDED,
            "assumed_broken": _BROKEN,
            "design_effect": _DESIGN_EFFECT,
            "power": _power(len(attacks), settings),
        },
    )


def _power(pairs: int, settings: Settings) -> float:
    effective = int(pairs / _DESIGN_EFFECT)
    return round(mcnemar_power(effective, _MENDED, _BROKEN, settings.alpha), 4) if effective else 0.0


def _mcnemar(pairs: Sequence[Pair]) -> dict[str, Any]:
    if not pairs:
        return {"mended": 0, "broken": 0, "pairs": 0, "p_value": 1.0}
    counts = paired_counts(*_columns(pairs))
    p_value = mcnemar_exact(counts.b, counts.c, one_sided=True)
    return {"mended": counts.b, "broken": counts.c, "pairs": counts.n, "p_value": p_value}


def _pairs(before: Sequence[Trial], after: Sequence[Trial], probe: str, plan: Plan) -> list[Pair]:
    """Pairs of a probe in key order; a pair with a failed side is left out (and counted elsewhere)."""
    sensitive = {goal.id for rows in plan.goals.values() for goal in rows if goal.sensitive}
    second = {_ask_key(trial): trial for trial in after}
    return [
        (trial, second[_ask_key(trial)])
        for trial in before
        if trial.probe == probe
        and trial.subject not in sensitive
        and trial.outcome is not None
        and second[_ask_key(trial)].outcome is not None
    ]


def _ask_key(trial: Trial) -> str:
    return trial.key.removeprefix(f"{trial.arm}/")


def _columns(pairs: Sequence[Pair]) -> tuple[list[float], list[float], list[str]]:
    return (
        [float(bool(first.outcome)) for first, _ in pairs],
        [float(bool(second.outcome)) for _, second in pairs],
        [first.subject for first, _ in pairs],
    )


def _decide(
    claims: Sequence[Claim], twins: Sequence[Pair], abilities: Sequence[Pair], plan: Plan, errors: Errors
) -> Decision:
    settings = plan.settings
    if not claims:
        return Decision("inconclusive", (), {})
    refused = over_refusal([second for _, second in twins], errors, settings.seed)
    return verdict(
        claims,
        {"overall": refused} if refused else {},
        {"overall": _increase(twins, settings)} if twins else {},
        {"overall": _loss(abilities, settings)} if abilities else {},
        Margins(
            settings.tolerance,
            settings.tolerance_high,
            settings.over_refusal,
            settings.over_refusal_margin,
            settings.ability_margin,
            settings.alpha,
        ),
    )


def _claims(
    plan: Plan, languages: Sequence[Language], attacks: Sequence[Pair], errors: Errors, *, groups: bool
) -> list[Claim]:
    if not attacks:
        return []
    claims = [_claim("overall", attacks, plan, errors)]
    if not groups:
        return claims
    if len(languages) > 1:
        claims += [
            _claim(f"language:{language}", [p for p in attacks if p[0].language == language], plan, errors)
            for language in languages
        ]
    for group in regime_of(plan.settings.regime).groups:
        mine = [pair for pair in attacks if pair[0].risk in group.risks]
        if len({pair[0].subject for pair in mine}) >= 2:
            # A group is too small to show a reduction by itself; that none gets worse is declared.
            claims.append(
                _claim(f"risk:{group.id}", mine, plan, errors, (group.name_en, group.name_zh), whole=False)
            )
    return claims


def _claim(
    name: str,
    pairs: Sequence[Pair],
    plan: Plan,
    errors: Errors,
    names: tuple[str, str] = ("", ""),
    *,
    whole: bool = True,
) -> Claim:
    seed = plan.settings.seed
    before, after, goals = _columns(pairs)
    judges = judge_errors([first for first, _ in pairs], errors)
    blocked_before = [first.certain for first, _ in pairs]
    blocked_after = [second.certain for _, second in pairs]
    old = attack_success([first for first, _ in pairs], errors, seed)
    new = attack_success([second for _, second in pairs], errors, seed)
    assert old is not None
    assert new is not None
    return Claim(
        name=name,
        before=old,
        after=new,
        reduction=corrected_difference(
            before,
            after,
            goals,
            judges,
            certain_before=blocked_before,
            certain_after=blocked_after,
            seed=seed,
        ),
        p_value=paired_test(
            before, after, goals, judges, certain_before=blocked_before, certain_after=blocked_after
        ),
        reduced=whole,
        bounded=whole,
        en=names[0],
        zh=names[1],
    )


def _increase(twins: Sequence[Pair], settings: Settings) -> NonInferiority:
    counts = paired_counts(*_columns(twins))
    return non_inferior(
        counts.c,
        counts.b,
        counts.n,
        settings.over_refusal_margin,
        1 - settings.alpha,
        design_effect=counts.design_effect,
    )


def _loss(abilities: Sequence[Pair], settings: Settings) -> NonInferiority:
    counts = paired_counts(*_columns(abilities))
    return non_inferior(
        counts.b,
        counts.c,
        counts.n,
        settings.ability_margin,
        1 - settings.alpha,
        design_effect=counts.design_effect,
    )


def _unmeasured(languages: Sequence[Language]) -> dict[str, str]:
    return {
        "name": "judge_unmeasured",
        "subject": ", ".join(languages),
        "state": "open",
        "en": f"The judge's error is not known for {', '.join(languages)}: label a sample (fangxin label).",
        "zh": f"裁判在 {'、'.join(languages)} 上的误差未知：请标注样本（fangxin label）。",
    }


def _silent(languages: Sequence[Language]) -> dict[str, str]:
    return {
        "name": "nothing_answered",
        "subject": ", ".join(languages),
        "state": "open",
        "en": f"No held-out attack was answered both before and after repair: {', '.join(languages)}.",
        "zh": f"没有一个留出攻击在修复前后都得到回答：{'、'.join(languages)}。",
    }
