"""Chinese postal addresses and licence plates."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal._finding import Finding, before
from fangxin.detect.personal._words import any_of, words

_HAN = "[\u4e00-\u9fff]"
_PROVINCE = f"(?:{any_of('places', 'provinces')}(?:省|市|(?:壮族|回族|维吾尔)?自治区|特别行政区)?)"
_CITY = f"(?:{any_of('places', 'cities')}市?)"
_NUMBER = r"(?:[甲乙丙附第]?(?:\d{1,5}(?:[\-之]\d{1,4})?|[A-WYZa-wyz]\d{0,3}|[一二三四五六七八九十百]{1,4}))"
_UNIT = f"(?:{_NUMBER}{any_of('places', 'units')}(?!{any_of('places', 'no_units')}))"
# A street or estate with a number behind it, and the building, stair and room behind those.
_SPOT = re.compile(
    rf"""
    (?P<road> 路(?<![线铁公走出一思道网套退]路) | 街(?<![逛上]街) | {any_of("places", "roads", "places")})
    (?:[东南西北中](?:路|街|段|里|区|一|二|三)?)?
    (?:[一二三四五六七八九十]{{1,2}}(?:路|街|段|巷|弄|区|期|里))?
    [ ]?{_UNIT}
    (?:[ ]?,?[ ]?(?:{_HAN}{{1,10}}?|[A-Za-z]{{1,2}})?{_UNIT}){{0,5}}
    (?:(?:(?<=[楼栋幢座元])|[\-~])\d{{3,4}}室?(?!\d))?
    """,
    re.VERBOSE,
)
_ROAD_ALONE = frozenset(["路", "街", *words("places", "roads")])
# How an address may begin before its street.
_IN_REGION = re.compile(
    rf"(?:中国)?(?:{_PROVINCE}[ ]?{_CITY}|{_PROVINCE}|{_CITY})[ ]?[\u4e00-\u9fffA-Za-z0-9 ]{{0,36}}\Z"
)
_IN_DISTRICT = re.compile(rf"{_HAN}{{1,7}}(?:区|县|市|旗)(?!别|分)[\u4e00-\u9fffA-Za-z0-9]{{0,20}}\Z")
_BY_NAME = re.compile(rf"{_HAN}{{1,6}}\Z")
_LEAD = re.compile(f".*(?:{any_of('places', 'leads')}|于(?!洪|都|田))")
_LABEL = re.compile(r"址|住|寄|送|收货|收件|快递|搬|户籍|籍贯|上门|家在|租")
_STOPS = '\n。；;!?、:"“”'

_VILLAGE = re.compile(
    rf"""
    (?:{_PROVINCE}[ ]?{_HAN}{{2,7}}?(?:市|州|盟|地区)[ ]?|{_CITY}[ ]?)
    {_HAN}{{1,6}}?(?:区|县|市|旗)[ ]?{_HAN}{{1,6}}?(?:镇|乡|街道)[ ]?
    (?:{_HAN}{{1,6}}?(?:村|社区|屯|庄)(?:{_NUMBER}(?:组|号|队))?)?
    """,
    re.VERBOSE,
)


def chinese_addresses(text: str) -> Iterator[Finding]:
    """Street addresses, from province, district or road down to a house or room number."""
    free = 0
    for spot in _SPOT.finditer(text):
        begin = max(free, spot.start() - 48)
        for stop in _STOPS:
            begin = max(begin, text.rfind(stop, begin, spot.start()) + 1)
        found = _from_head(text, begin, spot)
        if found:
            yield found
            free = spot.end()


def _from_head(text: str, begin: int, spot: re.Match[str]) -> Finding | None:
    for pattern, confidence in ((_IN_REGION, 0.85), (_IN_DISTRICT, 0.7), (_BY_NAME, 0.6)):
        head = pattern.search(text, begin, spot.start())
        if not head or (pattern is _BY_NAME and spot["road"] not in _ROAD_ALONE):
            continue
        start = head.start()
        if pattern is not _IN_REGION:
            lead = _LEAD.match(text, start, min(spot.start(), start + 8))
            start = lead.end() if lead else start
        if start == spot.start():
            return None  # a street without a name
        labelled = before(_LABEL, text, start, 12) or _LABEL.search(text, head.start(), start)
        return Finding("address", start, spot.end(), confidence + 0.1 if labelled else confidence)
    return None


def chinese_villages(text: str) -> Iterator[Finding]:
    """Addresses down to a town or village, without a number."""
    for hit in _VILLAGE.finditer(text):
        yield Finding("address", hit.start(), hit.end(), 0.65)


_PLATE = re.compile(
    r"""
    (?<![A-Za-z0-9])
    [京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][·•.\-\ ]?
    (?P<serial>[A-HJ-NP-Z0-9]{5,6}|[A-HJ-NP-Z0-9]{4}[学警港澳挂领使])
    (?![A-Za-z0-9])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PLATE_LABEL = re.compile(r"车牌|牌照|号牌|车号|开的?是?|车辆|停车|违章")


def licence_plates(text: str) -> Iterator[Finding]:
    """Chinese licence plates, those of electric cars among them."""
    for hit in _PLATE.finditer(text):
        serial = hit["serial"].upper()
        electric = serial[0] in "ABCDEFGHJK" or serial[-1] in "ABCDEFGHJK"
        if sum(map(str.isdigit, serial)) < 2 or (len(serial) == 6 and not electric):
            continue
        if hit[0].upper() == hit[0] or before(_PLATE_LABEL, text, hit.start()):
            yield Finding("licence_plate", hit.start(), hit.end(), 0.9)
