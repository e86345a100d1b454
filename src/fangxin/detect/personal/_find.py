from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import Any, NamedTuple

from ahocorasick_rs import AhoCorasick

from fangxin.detect.personal import (
    _births,
    _identity,
    _names,
    _online,
    _phones,
    _places_en,
    _places_zh,
    _secrets,
)
from fangxin.detect.personal._finding import KINDS, Finding
from fangxin.detect.personal._fold import fold
from fangxin.detect.personal._words import words

_ALL = frozenset(KINDS)

# What a text must have for a rule to be worth trying.
_DIGIT, _NUMBER, _TOKEN, _MARKS, _AT, _CHINESE = (1 << i for i in range(6))
_HAS_DIGIT = re.compile(r"\d")
_HAS_NUMBER = re.compile(r"\d(?:[^\d\n]{0,3}\d){5}")
_HAS_TOKEN = re.compile(r"[A-Za-z0-9_\-./+=:]{16}|://|-----B")


class _Rule(NamedTuple):
    """A rule with the cheapest signs that it may find something.

    Attributes:
        find: the rule.
        needs: signs that must all be there.
        named: whether one of the words that `words.toml` lists under its name must be there, in any case.
    """

    find: Callable[[str], Iterator[Finding]]
    needs: int = 0
    named: bool = False


_RULES = (
    _Rule(_online.emails, _AT),
    _Rule(_online.spelt_emails, named=True),
    _Rule(_online.social_accounts, named=True),
    _Rule(_online.machine_addresses, _DIGIT | _MARKS),
    _Rule(_online.hardware_addresses, _MARKS),
    _Rule(_phones.phones, _NUMBER),
    _Rule(_phones.labelled_phones, _NUMBER, named=True),
    _Rule(_secrets.secrets, _TOKEN),
    _Rule(_secrets.passwords, named=True),
    _Rule(_identity.chinese_ids, _NUMBER),
    _Rule(_identity.bank_cards, _NUMBER),
    _Rule(_identity.american_numbers, _NUMBER),
    _Rule(_identity.ibans, _NUMBER),
    _Rule(_identity.british_numbers, _NUMBER),
    _Rule(_identity.other_chinese_ids, _NUMBER),
    _Rule(_identity.credit_codes, _NUMBER | _TOKEN),
    _Rule(_identity.documents, _NUMBER, named=True),
    _Rule(_births.births, _DIGIT, named=True),
    _Rule(_names.introduced_names, named=True),
    _Rule(_names.labelled_names, named=True),
    _Rule(_names.addressed_names, named=True),
    _Rule(_names.chinese_names, _CHINESE, named=True),
    _Rule(_places_zh.chinese_addresses, _CHINESE),
    _Rule(_places_zh.chinese_villages, _CHINESE, named=True),
    _Rule(_places_zh.licence_plates, _CHINESE | _DIGIT),
    _Rule(_places_en.english_streets, _DIGIT, named=True),
    _Rule(_places_en.said_addresses, _DIGIT, named=True),
    _Rule(_places_en.english_boxes, _DIGIT, named=True),
    _Rule(_places_en.american_towns, _DIGIT),
    _Rule(_places_en.british_postcodes, _DIGIT, named=True),
)


@cache
def _automaton() -> tuple[Any, list[tuple[int, bool, bool]]]:
    """An automaton of all rules' words; for each: its rules as bits, whether it must begin and end a word."""
    rules_of: dict[tuple[str, bool, bool], int] = {}
    for i, rule in enumerate(_RULES):
        for word in words("signs", rule.find.__name__) if rule.named else ():
            bare = word.removesuffix("*")
            begins = bare[0].isascii() and bare[0].isalpha()
            ends = bare[-1].isascii() and bare[-1].isalpha() and not word.endswith("*")
            rules_of[bare, begins, ends] = rules_of.get((bare, begins, ends), 0) | 1 << i
    return AhoCorasick([bare for bare, _, _ in rules_of]), [
        (bits, b, e) for (_, b, e), bits in rules_of.items()
    ]


def find(text: str, *, kinds: Collection[str] = _ALL, least: float = 0.5) -> list[Finding]:
    """Find personal data in a text, Chinese and English, in time linear in its length.

    Args:
        text: any text.
        kinds: which of `KINDS` to look for.
        least: the confidence in [0, 1] below which a finding is left out.

    Returns:
        Findings in order, not overlapping: of two that overlap, the surer one, of equals the longer.

    Raises:
        ValueError: an unknown kind.
    """
    if not _ALL.issuperset(kinds):
        unknown = sorted(set(kinds) - _ALL)
        raise ValueError(f"unknown kind of personal data {unknown[0]!r}: known are {', '.join(KINDS)}.")
    plain, origin = fold(text)
    has, named = _signs(plain), _named(plain)
    found = [
        finding
        for i, rule in enumerate(_RULES)
        if rule.needs & has == rule.needs and (not rule.named or named >> i & 1)
        for finding in rule.find(plain)
        if finding.confidence >= least and finding.kind in kinds
    ]
    if not found:
        return found
    found = apart(found)
    if origin is not None:
        found = [
            Finding(one.kind, origin[one.start], origin[one.end - 1] + 1, one.confidence) for one in found
        ]
    return found


def _signs(plain: str) -> int:
    has = 0 if plain.isascii() else _CHINESE
    if "@" in plain:
        has |= _AT
    if _HAS_DIGIT.search(plain):
        has |= _DIGIT | (_NUMBER if _HAS_NUMBER.search(plain) else 0)
    if plain.count(".") > 2 or plain.count(":") > 2 or plain.count("-") > 4:
        has |= _MARKS
    return has | (_TOKEN if _HAS_TOKEN.search(plain) else 0)


def _named(plain: str) -> int:
    """The rules, as bits, of whose words one is in the text."""
    lowered = plain.lower()
    automaton, known = _automaton()
    named = 0
    try:
        hits = automaton.find_matches_as_indexes(lowered, overlapping=True)
    except UnicodeEncodeError:  # half a surrogate pair
        hits = automaton.find_matches_as_indexes(
            lowered.encode("utf-8", "replace").decode(), overlapping=True
        )
    for which, start, end in hits:
        bits, begins, ends = known[which]
        if named & bits == bits:
            continue
        if begins and start and _letter(lowered[start - 1]):
            continue
        if ends and end < len(lowered) and _letter(lowered[end]):
            continue
        named |= bits
    return named


def _letter(character: str) -> bool:
    return character.isascii() and character.isalpha()


def apart(found: list[Finding]) -> list[Finding]:
    """The surest findings that don't overlap, in order."""
    kept: list[Finding] = []
    taken = bytearray(max(one.end for one in found))
    for one in sorted(found, key=lambda f: (-f.confidence, f.start - f.end, f.start)):
        if not any(taken[one.start : one.end]):
            taken[one.start : one.end] = b"\1" * (one.end - one.start)
            kept.append(one)
    return sorted(kept, key=lambda f: f.start)
