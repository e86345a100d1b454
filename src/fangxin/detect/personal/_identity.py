"""Numbers given to people by states and banks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal import _checks
from fangxin.detect.personal._finding import Finding, before, labelled_otherwise

_I, _X = re.IGNORECASE, re.VERBOSE
_SEPARATOR = re.compile(r"[ .\-]")
_LAST_DIGIT = re.compile(r"\d(?!\d)")
_ALONE, _AND_ALONE = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"

_CN_ID = re.compile(r"(?<!\d)(?=(?P<number>[1-9](?:[ .\-]?\d){16}[ .\-]?[\dXx])(?!\d))")
_CN_ID_OLD = re.compile(rf"{_ALONE}([1-9]\d{{5}})[ \-]?(\d{{6}})[ \-]?(\d{{3}}){_AND_ALONE}")
_CN_ID_LABEL = re.compile(r"身份证|证件|identity card|\bid (?:card|number|no)\b|\bresident id", _I)


def chinese_ids(text: str) -> Iterator[Finding]:
    """Resident IDs of 18 characters anywhere, of 15 digits behind a label."""
    for hit in _CN_ID.finditer(text):
        if _checks.cn_id(_SEPARATOR.sub("", hit["number"])):
            yield Finding("cn_id", *hit.span("number"), 0.99)
    for hit in _CN_ID_OLD.finditer(text):
        if _checks.cn_id_old("".join(hit.groups())) and before(_CN_ID_LABEL, text, hit.start()):
            yield Finding("cn_id", *hit.span(), 0.8)


_CARD = re.compile(rf"{_ALONE}(?<!\d\.)(?=(?P<run>[1-69]\d{{3}}(?:[ .\-]?\d){{8,15}}+))")
_CARD_LABEL = re.compile(
    r"card|visa|master|amex|credit|debit|\bcc\b|\bpan\b|银行卡|卡号|储蓄卡|信用卡|借记卡|银联|尾号", _I
)


def bank_cards(text: str) -> Iterator[Finding]:
    """Numbers of bank cards: of the groups of digits from a start, the most that pass the checks."""
    for hit in _CARD.finditer(text):
        start = hit.start("run")
        for last in reversed(list(_LAST_DIGIT.finditer(hit["run"]))):
            end = start + last.end()
            if not text[end : end + 1].isalnum() or not text[end].isascii():
                confidence = _card(text, start, end)
                if confidence:
                    yield Finding("bank_card", start, end, confidence)
                    break


def _card(text: str, start: int, end: int) -> float:
    groups = _SEPARATOR.split(text[start:end])
    digits = "".join(groups)
    if len(digits) < 12 or min(map(len, groups[:-1]), default=4) < 4 or not _checks.luhn(digits):
        return 0.0
    labelled = before(_CARD_LABEL, text, start, 30)
    if len(digits) not in _checks.card_lengths(digits):
        # Older ranges are short and many: there the label must be near.
        near = len(groups) == 1 and len(digits) < 16 and before(_CARD_LABEL, text, start, 16)
        return 0.97 if near else 0.0
    if not labelled and len(groups) == 1 and labelled_otherwise(text, start):
        return 0.3  # one order number in ten passes Luhn
    return 0.97 if labelled else 0.95


_IBAN_HEAD = re.compile(rf"{_ALONE}([A-Za-z]{{2}})\d{{2}}(?=[ \-]?[A-Za-z0-9])")
_IBAN_REST = {
    length: re.compile(rf"(?:[ \-]?[A-Za-z0-9]){{{length - 4}}}{_AND_ALONE}") for length in range(15, 35)
}


def ibans(text: str) -> Iterator[Finding]:
    """International bank account numbers, in groups or not, in any case."""
    for head in _IBAN_HEAD.finditer(text):
        length = _checks.iban_length(head[1].upper())
        rest = _IBAN_REST[length].match(text, head.end()) if length else None
        if rest and _checks.iban(_SEPARATOR.sub("", head[0] + rest[0]).upper()):
            yield Finding("iban", head.start(), rest.end(), 0.99)


_SSN = re.compile(
    rf"{_ALONE}(?<!\d[\-.])(?P<area>\d{{3}})(?P<between>[ \-]?)(?P<group>\d{{2}})(?P=between)"
    r"(?P<serial>\d{4})"
    r"(?![\dA-Za-z]|[\-.]\d)"
)
_SSN_LABEL = re.compile(r"\bssn\b|social security|\bsocial (?:is|number)|社会安全|社会保障|社保号|社安", _I)
_ITIN_LABEL = re.compile(r"\bitin\b|taxpayer id|\btax id", _I)
_SSN_EXAMPLES = ("123456789", "078051120", "219099999")


def american_numbers(text: str) -> Iterator[Finding]:
    """US social security and taxpayer numbers: with dashes by their form, else behind a label."""
    for hit in _SSN.finditer(text):
        area, group, serial = hit["area"], hit["group"], hit["serial"]
        if _checks.ssn(area, group, serial):
            kind, label = "us_ssn", _SSN_LABEL
        elif _checks.itin(area, group):
            kind, label = "us_itin", _ITIN_LABEL
        else:
            continue
        if before(label, text, hit.start(), 40):
            yield Finding(kind, *hit.span(), 0.95)
        elif hit["between"] == "-" and not labelled_otherwise(text, hit.start()):
            yield Finding(kind, *hit.span(), 0.6 if area + group + serial in _SSN_EXAMPLES else 0.85)


_NINO = re.compile(
    rf"""
    {_ALONE}(?P<letters>[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])[ \-]?
    \d{{2}}(?P<between>[ \-]?)\d{{2}}(?P=between)\d{{2}}[ \-]?[A-D]{_AND_ALONE}
    """,
    _X | _I,
)
_NINO_LABEL = re.compile(r"\bnino\b|\bni (?:number|no)|national insurance|国民保险", _I)


def british_numbers(text: str) -> Iterator[Finding]:
    """UK National Insurance numbers."""
    for hit in _NINO.finditer(text):
        if not _checks.nino(hit["letters"].upper()):
            continue
        if before(_NINO_LABEL, text, hit.start(), 40):
            yield Finding("uk_nino", *hit.span(), 0.95)
        elif hit[0].isupper() and not labelled_otherwise(text, hit.start()):
            yield Finding("uk_nino", *hit.span(), 0.85 if hit["between"] else 0.7)


_HK_ID = re.compile(rf"{_ALONE}([A-Z]{{1,2}})(\d{{6}})[ ]?(?P<open>\(?)([0-9A])(?P<close>\)?){_AND_ALONE}")
_TW_ID = re.compile(rf"{_ALONE}[A-Z][1289]\d{{8}}{_AND_ALONE}")
_ID_LABEL = re.compile(r"身[份分][证證]|hkid|identity card|\bid (?:card|number|no)|证件", _I)


def other_chinese_ids(text: str) -> Iterator[Finding]:
    """Identity cards of Hong Kong and Taiwan."""
    for hit in _HK_ID.finditer(text):
        bracketed = bool(hit["open"])
        whole = bracketed == bool(hit["close"]) and (bracketed or before(_ID_LABEL, text, hit.start()))
        if whole and _checks.hk_id(hit[1], hit[2], hit[4]):
            yield Finding("hk_id", *hit.span(), 0.95)
    for hit in _TW_ID.finditer(text):
        if _checks.tw_id(hit[0]) and not labelled_otherwise(text, hit.start()):
            yield Finding("tw_id", *hit.span(), 0.95 if before(_ID_LABEL, text, hit.start()) else 0.6)


_CREDIT_CODE = re.compile(rf"{_ALONE}[1-9AN-Y][1-9A-G]\d{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{_AND_ALONE}")


def credit_codes(text: str) -> Iterator[Finding]:
    """Chinese unified social credit codes."""
    for hit in _CREDIT_CODE.finditer(text):
        if _checks.cn_credit_code(hit[0]) and not before(_CN_ID_LABEL, text, hit.start()):
            yield Finding("cn_credit_code", *hit.span(), 0.97)


# Numbers without a check digit: only behind their label, with a few words between.
_PASSPORT = re.compile(
    rf"""
    (?:passports?|travel[ ]document|护照|通行证|台胞证|回乡证|旅行证)[^\n\d;。]{{0,28}}?
    {_ALONE}(?P<value>[A-Z]{{1,2}}\d{{6,9}}|[A-Z]\d[A-Z0-9]{{7}}|\d{{9}}){_AND_ALONE}
    """,
    _X | _I,
)
_DRIVER = re.compile(
    rf"""
    (?:driv(?:er|ing)(?:'?s)?[ ]?licen[cs]e|\bdl[ ](?:number|no)|驾驶证|驾照|驾驶执照)[^\n\d;。]{{0,28}}?
    {_ALONE}(?=(?:[A-Z\-]{{0,18}}\d){{4}})(?P<value>[A-Z0-9](?:-?[A-Z0-9]){{5,17}}){_AND_ALONE}
    """,
    _X | _I,
)
_ACCOUNT = re.compile(
    rf"""
    (?P<label>
        (?:bank|checking|savings?|current|giro|beneficiary)[^\n\d;]{{0,10}}\baccount|\baccount|\bacct\b|\ba/c\b|\brouting
        |(?:银行|收款|付款|对公|打款|汇款|转账|结算|基本|存款|工资)[账帐][号户]|开户[账帐]号|[账帐]户号码?|[账帐]号
    )
    (?:\s?(?:numbers?|no|num|\#|is|:|=|\.|号码|号|码|是|为|\()){{0,4}}[ "']?
    {_ALONE}(?P<value>\d(?:[ \-]?\d){{6,20}}){_AND_ALONE}
    """,
    _X | _I,
)
_DATE = re.compile(r"(?:19|20)\d\d[ .\-/]?[01]?\d[ .\-/]?[0-3]?\d")


def documents(text: str) -> Iterator[Finding]:
    """Passports, travel permits, driver's licences and bank accounts, by their label."""
    for kind, pattern, confidence in (
        ("passport", _PASSPORT, 0.85),
        ("driver_licence", _DRIVER, 0.8),
        ("bank_account", _ACCOUNT, 0.75),
    ):
        for hit in pattern.finditer(text):
            value = hit["value"]
            if _DATE.fullmatch(value) or labelled_otherwise(text, hit.start("value")):
                continue
            if kind == "bank_account" and hit["label"] in ("账号", "帐号") and len(value) < 12:
                continue  # an account of any sort
            yield Finding(kind, *hit.span("value"), confidence)
