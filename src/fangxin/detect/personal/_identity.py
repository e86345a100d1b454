"""Numbers given to people by states and banks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fangxin.detect.personal import _checks
from fangxin.detect.personal._finding import Finding, before, labelled_otherwise

_I = re.IGNORECASE
_SEPARATED = re.compile(r"[ .\-]")

_CN_ID = re.compile(r"(?<!\d)(?=([1-9](?:[ .\-]?\d){16}[ .\-]?[\dXx])(?!\d))")
_CN_ID_OLD = re.compile(r"(?<![\dA-Za-z])([1-9]\d{5})[ \-]?(\d{6})[ \-]?(\d{3})(?![\dA-Za-z])")
_CN_ID_LABEL = re.compile(r"身份证|证件|identity card|\bid (?:card|number|no)\b|\bresident id", _I)

_CARD = re.compile(r"(?<![\dA-Za-z])(?<!\d\.)(?=([2-69]\d{3}(?:[ .\-]?\d){10,15}+))")
_CARD_LABEL = re.compile(r"card|visa|master|amex|credit|debit|\bcc\b|\bpan\b|银行卡|卡号|储蓄卡|信用卡|借记卡|银联|尾号", _I)


def chinese_ids(text: str) -> Iterator[Finding]:
    """Resident IDs of 18 characters anywhere, of 15 digits behind a label."""
    for hit in _CN_ID.finditer(text):
        if _checks.cn_id(_SEPARATED.sub("", hit[1])):
            yield Finding("cn_id", hit.start(1), hit.end(1), 0.99)
    for hit in _CN_ID_OLD.finditer(text):
        if _checks.cn_id_old("".join(hit.groups())) and before(_CN_ID_LABEL, text, hit.start()):
            yield Finding("cn_id", hit.start(), hit.end(), 0.8)


def bank_cards(text: str) -> Iterator[Finding]:
    """Numbers of bank cards: the longest run of digit groups from a start that passes its checks."""
    for hit in _CARD.finditer(text):
        run, start = hit[1], hit.start(1)
        ends = [m.end() for m in re.finditer(r"\d(?!\d)", run) if not text[start + m.end() : start + m.end() + 1].isdigit()]
        for end in reversed(ends):
            groups = _SEPARATED.split(run[:end])
            digits = "".join(groups)
            if len(digits) < 14 or min(map(len, groups[:-1]), default=4) < 4 or not _checks.card(digits):
                continue
            following = text[start + end : start + end + 1]
            if following.isascii() and following.isalpha():
                continue
            bare = len(groups) == 1
            sure = before(_CARD_LABEL, text, start, 30)
            doubtful = not sure and bare and labelled_otherwise(text, start)
            yield Finding("bank_card", start, start + end, 0.3 if doubtful else 0.97 if sure else 0.95)
            break


_IBAN_HEAD = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})\d{2}(?=[ \-]?[A-Za-z0-9]{4})")
_IBAN_REST = {
    length: re.compile(rf"(?:[ \-]?[A-Za-z0-9]){{{length - 4}}}(?![A-Za-z0-9])") for length in range(15, 35)
}


def ibans(text: str) -> Iterator[Finding]:
    """International bank account numbers, in groups or not, in any case."""
    for head in _IBAN_HEAD.finditer(text):
        length = _checks.iban_length(head[1].upper())
        rest = _IBAN_REST[length].match(text, head.end()) if length else None
        if rest and _checks.iban(_SEPARATED.sub("", head[0] + rest[0]).upper()):
            yield Finding("iban", head.start(), rest.end(), 0.99)


_SSN = re.compile(r"(?<![\dA-Za-z])(?<!\d[\-.])(\d{3})([ \-]?)(\d{2})\2(\d{4})(?![\dA-Za-z]|[\-.]\d)")
_SSN_LABEL = re.compile(r"\bssn\b|social security|\bsocial (?:is|number)|社会安全|社会保障|社保号|社安", _I)
_ITIN_LABEL = re.compile(r"\bitin\b|taxpayer id|\btax id", _I)
_SSN_EXAMPLES = ("123456789", "078051120", "219099999")


def american_numbers(text: str) -> Iterator[Finding]:
    """US social security and taxpayer numbers: with dashes by their form, else behind a label."""
    for hit in _SSN.finditer(text):
        area, separator, group, serial = hit.groups()
        if _checks.ssn(area, group, serial):
            kind, label = "us_ssn", _SSN_LABEL
        elif _checks.itin(area, group):
            kind, label = "us_itin", _ITIN_LABEL
        else:
            continue
        if before(label, text, hit.start(), 40):
            confidence = 0.95
        elif separator == "-" and not labelled_otherwise(text, hit.start()):
            confidence = 0.6 if area + group + serial in _SSN_EXAMPLES else 0.85
        else:
            continue
        yield Finding(kind, hit.start(), hit.end(), confidence)


_NINO = re.compile(
    r"(?<![A-Za-z0-9])([A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z])([ \-]?)\d{2}([ \-]?)\d{2}\3\d{2}[ \-]?[A-D](?![A-Za-z0-9])",
    _I,
)
_NINO_LABEL = re.compile(r"\bnino\b|\bni (?:number|no)|national insurance|国民保险", _I)


def british_numbers(text: str) -> Iterator[Finding]:
    """UK National Insurance numbers."""
    for hit in _NINO.finditer(text):
        if not _checks.nino(hit[1].upper()):
            continue
        if before(_NINO_LABEL, text, hit.start(), 40):
            yield Finding("uk_nino", hit.start(), hit.end(), 0.95)
        elif hit[0].isupper() and not labelled_otherwise(text, hit.start()):
            yield Finding("uk_nino", hit.start(), hit.end(), 0.85 if hit[3] else 0.7)


_HK_ID = re.compile(r"(?<![A-Za-z0-9])([A-Z]{1,2})(\d{6}) ?(\(?)([0-9A])(\)?)(?![A-Za-z0-9])")
_TW_ID = re.compile(r"(?<![A-Za-z0-9])([A-Z][1289]\d{8})(?![A-Za-z0-9])")
_ID_LABEL = re.compile(r"身[份分][证證]|hkid|identity card|\bid (?:card|number|no)|证件", _I)


def other_chinese_ids(text: str) -> Iterator[Finding]:
    """Identity cards of Hong Kong and Taiwan."""
    for hit in _HK_ID.finditer(text):
        if bool(hit[3]) != bool(hit[5]) or not _checks.hk_id(hit[1], hit[2], hit[4]):
            continue
        if hit[3] or before(_ID_LABEL, text, hit.start()):
            yield Finding("hk_id", hit.start(), hit.end(), 0.95)
    for hit in _TW_ID.finditer(text):
        if _checks.tw_id(hit[1]) and not labelled_otherwise(text, hit.start()):
            yield Finding("tw_id", hit.start(), hit.end(), 0.95 if before(_ID_LABEL, text, hit.start()) else 0.6)


_CREDIT_CODE = re.compile(
    r"(?<![A-Za-z0-9])[1-9AN-Y][1-9A-G]\d{6}[0-9A-HJ-NPQRTUWXY]{10}(?![A-Za-z0-9])"
)


def credit_codes(text: str) -> Iterator[Finding]:
    """Chinese unified social credit codes."""
    for hit in _CREDIT_CODE.finditer(text):
        if _checks.cn_credit_code(hit[0]):
            yield Finding("cn_credit_code", hit.start(), hit.end(), 0.97)


# Numbers without a check digit: only behind their label, with a few words between.
_PASSPORT = re.compile(
    r"(?:passports?|travel document|护照|通行证|台胞证|回乡证|旅行证)[^\n\d;。]{0,28}?"
    r"(?<![A-Za-z0-9])([A-Z]{1,2}\d{6,9}|[A-Z]\d[A-Z0-9]{7}|\d{9})(?![A-Za-z0-9])",
    _I,
)
_DRIVER = re.compile(
    r"(?:driv(?:er|ing)(?:'?s)? ?licen[cs]e|\bdl (?:number|no)|驾驶证|驾照|驾驶执照)[^\n\d;。]{0,28}?"
    r"(?<![A-Za-z0-9])((?=[A-Z]*\d[A-Z\-]*\d[A-Z\-]*\d[A-Z\-]*\d)[A-Z0-9](?:-?[A-Z0-9]){5,17})(?![A-Za-z0-9])",
    _I,
)
_ACCOUNT = re.compile(
    r"(?:(?:bank|checking|savings?|current|giro|beneficiary)[^\n\d;]{0,10}\baccount|\baccount (?:number|no\b|num\b|#)|\bacct\b|\ba/c\b"
    r"|\brouting|sort code[^\n]{0,12}account|(?:银行|收款|付款|对公|打款|汇款|转账|结算|基本|存款|工资)(?:账|帐)[号户]|开户[账帐]号|[账帐]户号码?)"
    r"(?:\s?(?:numbers?|no\.?|num|#|is|:|=|号码|号|码|是|为|\()){0,4}[ \"']?"
    r"(?<![A-Za-z0-9])(\d(?:[ \-]?\d){6,20})(?![\dA-Za-z])",
    _I,
)
DOCUMENT_WORDS = (
    "passport* travel_document 护照 通行证 台胞证 回乡证 旅行证 driv* dl 驾驶证 驾照 驾驶执照 account* acct a/c routing sort_code"
    " 账号 帐号 账户 帐户 银行卡号"
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
            value = hit[1]
            if _DATE.fullmatch(value) or labelled_otherwise(text, hit.start(1)):
                continue
            yield Finding(kind, hit.start(1), hit.end(1), confidence)
