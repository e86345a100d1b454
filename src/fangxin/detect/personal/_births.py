"""Dates of birth, only where the words around them say so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal import _checks
from fangxin.detect.personal._finding import Finding

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    "|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR, _DAY = r"(?:18|19|20)\d\d", r"(?:3[01]|[12]\d|0?[1-9])"
_DATE = rf"""(?P<date>
    (?P<y1>{_YEAR})[ ]?[\-/.年][ ]?(?P<m1>1[0-2]|0?[1-9])[ ]?[\-/.月][ ]?(?P<d1>{_DAY})(?!\d)(?:[ ]?[日号])?
    | (?P<a2>\d{{1,2}})[ ]?(?P<between>[\-/.])[ ]?(?P<b2>\d{{1,2}})[ ]?(?P=between)[ ]?
      (?P<y2>{_YEAR}|\d\d)(?!\d)
    | (?P<d3>{_DAY})(?:st|nd|rd|th)?(?:[ ]of)?[ \-](?P<m3>{_MONTH})\.?,?[ \-](?P<y3>{_YEAR})(?!\d)
    | (?P<m4>{_MONTH})\.?[ ](?P<d4>{_DAY})(?:st|nd|rd|th)?,?[ ](?P<y4>{_YEAR})(?!\d)
    | (?P<y5>(?:19|20)\d\d)(?P<m5>1[0-2]|0[1-9])(?P<d5>3[01]|[12]\d|0[1-9])(?!\d)
)"""
_BORN = re.compile(
    rf"""
    (?:\bborn\b|\bbirth[ ]?(?:day|date)\b|\bdate[ ]of[ ]birth\b|\bdob\b|\bd\.o\.b\b\.?|\bb-?day\b
        |生日|出生(?:日期|年月日?|于|在)?|生于|诞生)
    [^\n\d。;]{{0,20}}?(?<![\d.\-/]){_DATE}
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BORN_BEHIND = re.compile(
    rf"""
    (?<![\d.\-/]){_DATE}[ ]?,?[ ]?
    (?:\(?(?:date[ ]of[ ]birth|dob)\)?|是?(?:我|他|她|本人|孩子|宝宝)?的?(?:出生|生人|生日|生的))
    """,
    re.VERBOSE | re.IGNORECASE,
)


def births(text: str) -> Iterator[Finding]:
    """Dates of birth, by the words before or behind them; none of people who can't be alive."""
    for pattern in (_BORN, _BORN_BEHIND):
        for hit in pattern.finditer(text):
            if _alive(hit):
                # "Ada Smith (born 1 May 1980) is a ..." is a reference book's way.
                around = text[max(0, hit.start() - 1) : hit.start()] + text[hit.end() : hit.end() + 1]
                yield Finding("birth_date", *hit.span("date"), 0.4 if around in ("()", "(;") else 0.8)


def _alive(hit: re.Match[str]) -> bool:
    if hit["a2"]:  # which of the two is the month is anybody's guess
        year, a, b = int(hit["y2"]), int(hit["a2"]), int(hit["b2"])
        years = [year] if year > 99 else [1900 + year, 2000 + year]
        return any(_checks.date(y, *rest) for y in years for rest in ((a, b), (b, a)))
    form = next(n for n in "1345" if hit[f"y{n}"])
    month = hit[f"m{form}"]
    number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
    return _checks.date(int(hit[f"y{form}"]), number, int(hit[f"d{form}"]))
