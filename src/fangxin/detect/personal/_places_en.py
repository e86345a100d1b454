"""Postal addresses in English forms."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal._finding import Finding, before
from fangxin.detect.personal._words import any_of

_CAPITAL = "[A-Z\u00c0-\u00de]"
_STATE = any_of("places", "states")
_STREET = any_of("places", "streets")
_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]?[ ]?\d[ABD-HJLNP-UW-Z]{2}"
_ZIP = r"\d{5}(?:-\d{4})?"
_GAP = r"(?:,?[ ]?\n[ ]?|,?[ ])"
_TOWN = rf"(?:{_CAPITAL}[\w.'\-]{{1,20}}(?:[ ]{_CAPITAL}[\w.'\-]{{1,20}}){{0,3}})"
_ROOM = rf"""(?:
    {_GAP}{any_of("places", "rooms")}\b\.?[ ]?\#?\w{{1,6}}
    | {_GAP}\#[ ]?\w{{1,6}}
    | {_GAP}\d{{1,2}}(?:st|nd|rd|th)[ ]floor
)"""
_REST = rf"""(?:
    {_GAP}{_TOWN}(?:{_GAP}{_STATE}\b\.?)?{_GAP}(?:{_ZIP}|{_POSTCODE})\b
    | {_GAP}{_TOWN}{_GAP}{_STATE}\b(?!')
    | ,{_GAP}?{_TOWN}
    | {_GAP}{_POSTCODE}\b
)"""
_POINT = r"(?:[NSEW]|NE|NW|SE|SW)\b\.?"
_BEGIN = r"(?<![\w.,$\#/:\-])"
_STREET_ADDRESS = re.compile(
    rf"""
    {_BEGIN}(?:(?:Apt|Flat|Unit|Suite)\b\.?[ ]?\w{{1,5}},?[ ])?
    \#?\d{{1,6}}[A-Za-z]?(?:[\-/]\d{{1,4}})?,?[ ](?:{_POINT}[ ])?
    (?:(?:{_CAPITAL}[\w'.\-]{{0,20}}|\d{{1,3}}(?:st|nd|rd|th)|of|the|de|la)[ ]){{1,4}}?
    {_STREET}\b\.?(?:[ ](?:{_POINT}|(?:North|South|East|West)\b))?
    {_ROOM}{{0,2}}{_REST}?
    """,
    re.VERBOSE,
)
# The same in small letters, which needs words before it.
_STREET_LOWER = re.compile(
    rf"""
    {_BEGIN}\#?\d{{1,6}}[a-z]?,?[ ](?:(?:[a-z][a-z'.\-]{{0,20}}|\d{{1,3}}(?:st|nd|rd|th))[ ]){{1,3}}?
    {_STREET}\b\.?{_ROOM}{{0,2}}
    (?:,?[ ][a-z]{{2,20}}(?:,?[ ][a-z]{{2,20}})?,?[ ](?:{_STATE}\b[ ])?{_ZIP}\b)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LIVES = re.compile(
    r"""\b(?:
    liv(?:e|es|ed|ing)|resid\w+|stay(?:s|ing)?|mov(?:e|ed|ing)|ship(?:ped|ping)?|deliver\w*|send|sent|mail(?:ed)?
    |address|located|(?:we|i)(?:'re|[ ]are|'m|[ ]am)[ ]at|meet[ ](?:me[ ]|us[ ])?at|party[ ]at
    |over[ ](?:at|to)
    |pick(?:ed)?[ ]up[ ](?:at|from)|home[ ]is|house[ ]is|come[ ]to|to[ ]me[ ]at|pick[ ]me[ ]up|drop\w*[ ]off
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
_WITH_ROOM = re.compile(
    rf"""
    {_BEGIN}\d{{1,6}}[ ](?:{_CAPITAL}[\w'.\-]{{1,24}}\.?[ ]){{1,4}}(?:\d{{1,5}}\.?)?
    {_GAP}?(?:Apt|Suite|Unit)\b\.?[ ]?\#?\d{{1,5}}{_REST}?
    """,
    re.VERBOSE,
)


def english_streets(text: str) -> Iterator[Finding]:
    """Street addresses, with flat, town and postal code where they follow."""
    for hit in _STREET_ADDRESS.finditer(text):
        labelled = before(_LIVES, text, hit.start(), 32)
        yield Finding("address", hit.start(), hit.end(), 0.85 if labelled else 0.75)
    for hit in _STREET_LOWER.finditer(text):
        if before(_LIVES, text, hit.start(), 24):
            yield Finding("address", hit.start(), hit.end(), 0.65)
    for hit in _WITH_ROOM.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.75)


_SAID = re.compile(
    rf"""\b(?:
        liv(?:e|es|ed|ing)[ ](?:at|on) | resid(?:e|es|ing)[ ](?:at|on) | (?:located|based)[ ](?:at|in)
        | (?:ship|shipped|deliver|delivered|send|sent|mail|mailed|moved)[ ](?:(?:it|this|them|me|one)[ ])?to
        | come[ ]to | address[ ](?:is|was)
    )[ ]
    (?-i:(?P<value>
        \d{{1,6}}[A-Za-z]?,?[ ](?:{_CAPITAL}[\w'.\-]{{1,24}}[ ]){{0,4}}{_CAPITAL}[\w'.\-]{{1,24}}
        (?:[ ]\d{{1,5}})?{_ROOM}?{_REST}?
    ))""",
    re.VERBOSE | re.IGNORECASE,
)
_LABELLED = re.compile(
    r"""
    (?<!ip[ ])(?<!mail[ ])(?<!mac[ ])(?<!web[ ])(?<!ory[ ])(?<!url[ ])\baddress[ ]?[:=][ \n]{0,6}
    (?=[^\n@]{0,40}\d)(?![^\n]{0,30}(?:@|://|0x|\d\.\d{1,3}\.))
    (?P<value>[^\n]{5,80}(?:\n[ ,][^\n]{1,40}){0,4})
    """,
    re.VERBOSE | re.IGNORECASE,
)


def said_addresses(text: str) -> Iterator[Finding]:
    """Addresses of any country behind words such as "I live at", or behind their label."""
    for pattern in (_SAID, _LABELLED):
        for hit in pattern.finditer(text):
            yield Finding("address", hit.start("value"), hit.end("value"), 0.55)


_BOX = re.compile(
    rf"""
    (?<!\w)(?:P\.?[ ]?O\.?[ ]?Box|Post[ ]Office[ ]Box|GPO[ ]Box|Private[ ]Bag)[ ]\#?\d{{1,6}}(?!\d){_REST}?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FORCES = re.compile(
    r"""
    (?<!\w)(?:(?:PSC|Unit|CMR)[ ]\d{1,5},?[ ]Box[ ]\d{1,5}|USN?S[ ][A-Z][A-Za-z]{2,15})
    [, \n]{1,3}(?:APO|FPO|DPO)[, ]{1,2}(?:AA|AE|AP)[ ]\d{5}(?!\d)
    """,
    re.VERBOSE,
)


def english_boxes(text: str) -> Iterator[Finding]:
    """Post boxes, and addresses of the US forces."""
    for hit in _BOX.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.75)
    for hit in _FORCES.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.9)


_ZIP_HIT = re.compile(rf"(?<=[A-Za-z.,]) {_ZIP}(?![\w\-])")
_STATE_BEFORE = re.compile(rf"(?<![A-Za-z]){_STATE}\.?,?\Z")
_TOWN_BEFORE = re.compile(rf"{_TOWN},? \Z")


def american_towns(text: str) -> Iterator[Finding]:
    """Towns with their state and postal code."""
    for hit in _ZIP_HIT.finditer(text):
        state = _STATE_BEFORE.search(text, max(0, hit.start() - 18), hit.start())
        town = state and _TOWN_BEFORE.search(text, max(0, state.start() - 48), state.start())
        if town:
            yield Finding("address", town.start(), hit.end(), 0.7)


_UK_HIT = re.compile(rf"(?<![A-Za-z0-9]){_POSTCODE}(?![A-Za-z0-9])")
_UK_LABEL = re.compile(r"post ?code|postal code|address|邮编", re.IGNORECASE)


def british_postcodes(text: str) -> Iterator[Finding]:
    """Postal codes of the UK, by their label."""
    for hit in _UK_HIT.finditer(text):
        if before(_UK_LABEL, text, hit.start()):
            yield Finding("address", hit.start(), hit.end(), 0.7)
