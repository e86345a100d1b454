"""Phone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from fangxin.detect.personal._finding import Finding, before, labelled_otherwise

_I, _X = re.IGNORECASE, re.VERBOSE
_NOT_DIGIT = re.compile(r"\D")
_LAST_DIGIT = re.compile(r"\d(?!\d)")

# E.164: country codes with the least and most digits that follow; all others: 6 to 12.
_NATIONAL = {
    1: (10, 10), 7: (10, 10), 20: (8, 10), 27: (9, 9), 30: (10, 10), 31: (9, 9), 32: (8, 9), 33: (9, 9),
    34: (9, 9), 36: (8, 9), 39: (6, 11), 40: (9, 9), 41: (9, 9), 44: (9, 11), 45: (8, 8), 46: (7, 10),
    47: (8, 8), 48: (9, 9), 49: (6, 12), 52: (10, 11), 55: (10, 11), 60: (8, 10), 61: (9, 10), 63: (8, 10),
    65: (8, 8), 66: (8, 9), 81: (9, 11), 82: (8, 11), 86: (9, 12), 90: (10, 10), 91: (10, 10), 92: (9, 10),
    852: (8, 8), 853: (8, 8), 886: (8, 10), 351: (9, 9), 353: (7, 10), 420: (9, 9), 971: (8, 9), 972: (8, 9),
}  # fmt: skip
_CODES = frozenset((
    1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82, 84,
    86, *range(90, 96), 98, 211, 212, 213, 216, 218, *range(220, 270), 290, 291, 297, 298, 299,
    *range(350, 360), *range(370, 379), *range(380, 384), 385, 386, 387, 389, 420, 421, 423, *range(500, 510),
    *range(590, 600), 670, *range(672, 693), 850, 852, 853, 855, 856, 870, 880, 886, *range(960, 969),
    *range(970, 978), 979, *range(992, 997), 998,
))  # fmt: skip
# Numbers of services belong to nobody: North America's, and China's 400.
_SERVICES = frozenset(("400", "800", "833", "844", "855", "866", "877", "888", "900"))

_TAIL = r"(?![\dA-Za-z]|\.\d|,\d{3}(?!\d))"
_WESTERN_TAIL = r"(?![\dA-Za-z]|[.\-]\d|,\d{3}(?!\d))"
_EXTENSION = r"(?:[ ]?(?:转|ext\.?|extension|x|\#)[ ]?\d{1,6}(?!\d))?"

_CN_MOBILE = re.compile(
    rf"(?<!\d)(?<!\d\.)(?:\(?(?:\+|00)?86\)?[ \-]?)?(?P<number>1[3-9](?:[ .\-]?\d){{9}}){_TAIL}"
)
_CN_GROUPS = frozenset(
    ((11,), (3, 4, 4), (4, 4, 3), (3, 8), (7, 4), (3, 3, 5), (5, 6), (4, 3, 4), (3, 4, 2, 2))
)
_CN_LANDLINE = re.compile(
    rf"""
    (?<![\dA-Za-z])(?:\+?86[ \-]?)?
    (?:\((?P<area>0\d{{2,3}})\)[ \-]?|(?P<code>0\d{{2,3}})[ \-]|(?<=86[ \-])(?P<bare>\d{{2,3}})[ \-])
    (?P<local>[2-9]\d{{2,3}}[ \-]?\d{{4}})(?:[ ]?(?:转|ext\.?|x|-)[ ]?\d{{1,5}}(?!\d))?{_TAIL}
    """,
    _X | _I,
)
_INTERNATIONAL = re.compile(
    r"(?<![\dA-Za-z+])(?:\+ ?|00(?=[1-9]\d{0,2}[ \-(]))(?P<run>[1-9](?:[ .\-()/]{0,3}\d){6,14})(?!\d)"
)
_NANP = re.compile(
    rf"""
    (?<![\dA-Za-z+])(?<!\d[.\-])(?:\+?1[ .\-]?)?
    (?:\((?P<area>[2-9]\d{{2}})\)[ .\-]{{0,2}}|(?P<code>[2-9]\d{{2}})(?P<first>[ .\-/]))
    (?P<exchange>\d{{3}})(?P<second>[ .\-])\d{{4}}{_EXTENSION}{_WESTERN_TAIL}
    """,
    _X | _I,
)
_NATIONAL_FORM = re.compile(
    rf"""
    (?<![\dA-Za-z])(?<!\d[.\-])
    (?:(?:\(0\d{{2,4}}\)[ ]?|0\d{{2,4}}[ \-])\d{{3,4}}[ \-]?\d{{3,4}}
        |09\d{{2}}[ \-]\d{{3}}[ \-]?\d{{3}}){_TAIL}
    """,
    _X,
)


def phones(text: str) -> Iterator[Finding]:
    """Phone numbers of China, North America and the UK, and of all countries in international form."""
    yield from _chinese(text)
    for hit in _INTERNATIONAL.finditer(text):
        end = _international_end(hit["run"])
        if end:
            yield Finding("phone", hit.start(), hit.start("run") + end, 0.9)
    yield from _american(text)
    for hit in _NATIONAL_FORM.finditer(text):
        digits = _NOT_DIGIT.sub("", hit[0])
        if len(digits) not in (10, 11) or digits.startswith(("0800", "0808")) or _DATE.match(hit[0]):
            continue
        if not labelled_otherwise(text, hit.start()):
            yield Finding("phone", hit.start(), hit.end(), 0.75)


def _chinese(text: str) -> Iterator[Finding]:
    for hit in _CN_MOBILE.finditer(text):
        start, end = hit.span()
        labelled = before(_CALL_BEFORE, text, start)
        glued = start and text[start - 1].isascii() and text[start - 1].isalpha()
        if glued and not _LETTERS_BEFORE.search(text, max(0, start - 6), start):
            continue
        if not labelled:
            groups = tuple(map(len, re.split(r"[ .\-]", hit["number"])))
            if groups not in _CN_GROUPS or labelled_otherwise(text, start) or _money(text, start, end):
                continue
        yield Finding("phone", start, end, 0.95 if labelled else 0.9)
    for hit in _CN_LANDLINE.finditer(text):
        area = hit["area"] or hit["code"] or "0" + hit["bare"]
        local = len(_NOT_DIGIT.sub("", hit["local"]))
        big = area == "010" or area[:2] == "02"
        if (len(area) == 3) == big and local >= (8 if big else 7):
            yield Finding("phone", hit.start(), hit.end(), 0.85)


def _american(text: str) -> Iterator[Finding]:
    for hit in _NANP.finditer(text):
        area, first = hit["area"] or hit["code"], hit["first"]
        if area in _SERVICES or (first and first not in ("/", hit["second"])):
            continue
        labelled = before(_CALL_BEFORE, text, hit.start())
        if not labelled:
            if first == " " and not hit[0].startswith(("1", "+")):
                continue  # three numbers in a row
            if labelled_otherwise(text, hit.start()):
                continue
        real = hit["exchange"][0] > "1" and hit["exchange"][1:] != "11" and area[1:] != "11"
        yield Finding("phone", hit.start(), hit.end(), 0.95 if labelled else 0.85 if real else 0.65)


def _international_end(run: str) -> int:
    """How much of a run of digits behind a plus is a phone number: the most that a country's plan allows."""
    for last in reversed(list(_LAST_DIGIT.finditer(run))):
        digits = _NOT_DIGIT.sub("", run[: last.end()].replace("(0)", ""))
        code = next((digits[:size] for size in (1, 2, 3) if int(digits[:size]) in _CODES), "")
        if not code or (code == "1" and digits[1:4] in _SERVICES):
            return 0
        least, most = _NATIONAL.get(int(code), (6, 12))
        if least <= len(digits) - len(code) <= most:
            return last.end()
    return 0


_CALL = r"""(?:
    tele?phones?|\btel\b\.?|\bphone|\bmobile|\bcell(?:phone)?\b|\bfax\b|whats[ ]?app|\bcall(?:ing|ed)?
    |\btext(?:ing)?\b|\bsms\b|\b(?:reach|ring|contact|dial)\b
    |\b(?:my|his|her|their|our|your|new|old)[ ](?:number|no\b\.?)
    |电话|手机|联系方式|座机|致电|拨打|来电|传真|热线|固话|移动电话|手提
)"""
_BETWEEN = r"""(?:
    [ ]|:[ ]?\n[ ]?|[:="',()\#\-]
    |\b(?:is|number|no|num|nr|at|on|me|us|him|her|them|my|the|our|your|his|new|work|home|office|direct|personal
        |line|back|please|or|and|phone|cell|mobile|to|via|by|s|was|changed|now|also)\b\.?
    |号码?|是|为|联系|请|打|我|的|本人|可以?|一下|也|到|在|给|改成|换成|了|就是|吧|座机|手机|电话
)"""
_LABELLED = re.compile(
    rf"""
    {_CALL}{_BETWEEN}{{0,10}}(?<![\dA-Za-z+.])
    (?P<number>(?:\+[ ]?)?\(?\d(?:[ .\-()/]{{0,2}}\d){{6,14}}){_EXTENSION}{_WESTERN_TAIL}
    """,
    _X | _I,
)
_LABEL_BEHIND = re.compile(
    r"""
    (?<![\dA-Za-z+.\-/])(?P<number>(?:\+[ ]?)?\(?\d(?:[ .\-()]{0,2}\d){6,14})
    [ ]?\\?[\-(,][ ]?(?:office|fax|mobile|cell|home|work|desk|手机|座机)(?![a-z])
    """,
    _X | _I,
)
_CALL_BEFORE = re.compile(_CALL, _X | _I)
_LETTERS_BEFORE = re.compile(r"(?:tel|phone|mobile|mob|cell|call|[tmp])\Z", _I)
_DATE = re.compile(
    r"(?:19|20)\d\d([ .\-/]?)[01]?\d\1[0-3]?\d(?!\d)|[0-3]?\d([.\-/])[01]?\d\2(?:19|20)\d\d(?!\d)"
)
_MONEY_BEFORE = re.compile(r"[¥$€£]\s?\Z|[¥$€£]\d[\d,. ]*\Z")
_MONEY_BEHIND = re.compile(
    r" ?(?:元|块|美元|人民币|人次|万|亿|台|件|字节|bytes|usd|rmb|dollars|km|users|people)", _I
)


def labelled_phones(text: str) -> Iterator[Finding]:
    """Phone numbers of any form behind words such as "call me at"."""
    for hit in chain(_LABELLED.finditer(text), _LABEL_BEHIND.finditer(text)):
        start, end = hit.span("number")
        digits = _NOT_DIGIT.sub("", hit["number"])
        service = digits.removeprefix("1")[:3] in _SERVICES and len(digits) >= 10
        if _DATE.match(hit["number"]) or service or len(set(digits)) == 1:
            continue
        if not labelled_otherwise(text, start) and not _money(text, start, end):
            yield Finding("phone", start, end, 0.7)


def _money(text: str, start: int, end: int) -> bool:
    return bool(_MONEY_BEFORE.search(text, max(0, start - 16), start) or _MONEY_BEHIND.match(text, end))
