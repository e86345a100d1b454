"""Names of people, only where the words around them make it sure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal._finding import Finding, before
from fangxin.detect.personal._words import any_of

_HAN = "[\u4e00-\u9fff]"
_SURNAME = any_of("names", "surnames")
_END = r"(?=[\s,。.;:!?、\"'()<>/|\[\]”“》】…]|\Z)"
_ENDED = rf"(?:{_END}|(?={any_of('names', 'followers_zh')}))"
_GIVEN = f"{_HAN}(?![的是在住有也和与身手今来就想要]){_HAN}"
_NAME_ZH = rf"""(?:
    {_HAN}{{2,7}}(?:[·•]{_HAN}{{1,8}}){{1,3}}
    | {_SURNAME}{_GIVEN}{_ENDED}
    | {_SURNAME}{_HAN}{_ENDED}
)"""
_LABELLED_ZH = re.compile(
    rf"""
    {any_of("labels", "name_zh")}(?:\(?(?:签字|签名|签章|姓名|名称|本人)\)?)?[ ]?[:=|][ ]?(?P<name>{_NAME_ZH})
    | {any_of("labels", "name_zh_strong")}[ ]?(?![和与及或在是的于从到来等应相])
      (?P<bare>{_SURNAME}{_HAN}{{1,2}}){_END}
    """,
    re.VERBOSE,
)
_SAID_ZH = re.compile(rf"{any_of('labels', 'name_said_zh')}[ ]?(?P<name>{_NAME_ZH})", re.VERBOSE)
_HONOUR_ZH = re.compile(
    rf"""
    (?:(?<![\u4e00-\u9fff])|(?<=[请问找给向跟和与让对由是叫替帮被的部门组科室处院系班者客知系诉托谢到有人]))
    (?P<name>{_SURNAME}{_HAN}{{1,2}}?)(?={any_of("names", "honours_zh")})
    """,
    re.VERBOSE,
)
_NO_NAME_ZH = re.compile(rf"{any_of('names', 'no_name_zh')}|[的位个名]\Z|周[末一二三四五六日]")


def chinese_names(text: str) -> Iterator[Finding]:
    """Chinese names behind a label, behind words such as 我叫, or whole before a form of address."""
    for pattern, confidence in ((_LABELLED_ZH, 0.7), (_SAID_ZH, 0.65), (_HONOUR_ZH, 0.55)):
        for hit in pattern.finditer(text):
            group = hit.lastgroup or "name"
            if not _NO_NAME_ZH.search(hit[group]):
                yield Finding("name", hit.start(group), hit.end(group), confidence)


_WORD = r"(?:[A-Z\u00c0-\u00de\u0100-\u017e](?:(?!'s\b)[\w'\-]){1,20}|[A-Z]\b\.?)"
_NAME = rf"(?P<name>{_WORD}(?:[ ]{_WORD}){{0,3}})"
_TITLED = rf"(?-i:(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b\.?[ ])?{_NAME})"
_NO_NAME = re.compile(rf"{any_of('names', 'no_name')}\Z", re.IGNORECASE)

_SAID = re.compile(
    rf"""
    (?:
        \b(?P<sure>
            (?:my|his|her|their|the[ ]patient's|the[ ]client's|maiden|real|full|legal)[ ]name
            (?:'s|[ ]is|[ ]was)
            | name's
        )
        | \b(?:i[ ]am[ ]called|i'm[ ]called|call[ ]me|this[ ]is|speaking[ ]with|you[ ]can[ ]call[ ]me)
    )[ ]{_TITLED}
    (?P<behind>[ ](?:speaking|here|calling|from|writing)|[,.!;]|\Z|\n|[ ]and|[ ]-)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SAID_LOWER = re.compile(
    r"""
    \bmy[ ](?:full[ ]|real[ ])?name(?:'s|[ ]is)[ ](?P<name>[a-z][a-z'\-]{1,15}(?:[ ][a-z][a-z'\-]{1,15})?)
    (?=[ ]and\b|[ ]i\b|[,.!;\n]|\Z)
    """,
    re.VERBOSE,
)
_LABELLED = re.compile(
    rf"""
    (?<![A-Za-z])(?:
        (?:(?:full|first|last|sur|given|family|middle|customer|patient|contact|client|employee|guest|student|parent
            |(?:account[ ]holder|cardholder|holder|applicant)(?:'?s)?|emergency[ ]contact|tenant|buyer|seller
            |recipient|sender|user|legal|maiden)[ _\-]?)?name
        | patient|cardholder|account[ ]holder|attn|recipient|beneficiary|applicant|claimant|insured|signed
        | next[ ]of[ ]kin|emergency[ ]contact|passenger|payee
    )[\"']?[ ]?[:=|][ ]?(?P<quote>[\"'])?{_TITLED}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_THING = re.compile(rf"{any_of('labels', 'name_of_thing')}[ _\-]?\Z", re.IGNORECASE)
_HONOUR = re.compile(
    rf"""
    (?<![A-Za-z])(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Madam|Rev|Capt|Sgt|Lt|Judge|Senator)\b\.?
    [ ]{_NAME}
    """,
    re.VERBOSE,
)
_DEAR = re.compile(rf"(?:^|\n)\s?(?:Dear|Hi|Hello|Hey)[ ]{_NAME}(?=[,:!]?\s*(?:\n|$)|,)", re.VERBOSE)
_SIGNED = re.compile(
    rf"""
    (?:regards|best|warmly|sincerely|best[ ]wishes|cheers|yours[ ]truly|yours[ ]faithfully|respectfully|thanks
        |thank[ ]you|many[ ]thanks),?\s?\n\s?(?-i:{_NAME})(?=\s*(?:\n|$|,|\|))
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _named(name: str) -> bool:
    return not _NO_NAME.match(name.split(" ")[0])


def introduced_names(text: str) -> Iterator[Finding]:
    """English names behind an introduction such as "my name is"."""
    for hit in _SAID.finditer(text):
        if _named(hit["name"]) and (hit["sure"] or hit["behind"] is not None):
            yield Finding("name", hit.start("name"), hit.end("name"), 0.65)
    for hit in _SAID_LOWER.finditer(text):
        if _named(hit["name"]):
            yield Finding("name", hit.start("name"), hit.end("name"), 0.55)


def labelled_names(text: str) -> Iterator[Finding]:
    """English names behind a label such as "Name:"."""
    for hit in _LABELLED.finditer(text):
        thing = before(_THING, text, hit.start(), 14) or (hit["quote"] and " " not in hit["name"])
        if not thing and _named(hit["name"]):
            yield Finding("name", hit.start("name"), hit.end("name"), 0.7)


def addressed_names(text: str) -> Iterator[Finding]:
    """English names behind a form of address, at the head of a letter or under it."""
    for pattern, confidence in ((_HONOUR, 0.6), (_DEAR, 0.55), (_SIGNED, 0.6)):
        for hit in pattern.finditer(text):
            if _named(hit["name"]):
                yield Finding("name", hit.start("name"), hit.end("name"), confidence)
