from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from fangxin.detect.personal._words import any_of


class Kind(NamedTuple):
    """How a kind of personal data is called.

    Attributes:
        mark: in an English placeholder.
        mark_zh: in a Chinese one.
        english: in an English sentence.
    """

    mark: str
    mark_zh: str
    english: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "address": Kind("ADDRESS", "地址", "postal address"),
        "bank_account": Kind("ACCOUNT", "账号", "bank account"),
        "bank_card": Kind("CARD", "银行卡", "bank card"),
        "birth_date": Kind("BIRTH_DATE", "出生日期", "date of birth"),
        "cn_credit_code": Kind("CREDIT_CODE", "信用代码", "Chinese unified social credit code"),
        "cn_id": Kind("CN_ID", "身份证", "Chinese resident ID"),
        "driver_licence": Kind("DRIVER_LICENCE", "驾驶证", "driver's licence"),
        "email": Kind("EMAIL", "邮箱", "e-mail address"),
        "hk_id": Kind("HK_ID", "香港身份证", "Hong Kong ID"),
        "iban": Kind("IBAN", "国际账号", "IBAN"),
        "ip_address": Kind("IP", "网络地址", "IP address"),
        "licence_plate": Kind("PLATE", "车牌", "licence plate"),
        "mac_address": Kind("MAC", "设备地址", "MAC address"),
        "name": Kind("NAME", "姓名", "name"),
        "passport": Kind("PASSPORT", "护照", "passport or travel permit"),
        "phone": Kind("PHONE", "电话", "phone number"),
        "secret": Kind("SECRET", "密钥", "key, token or password"),
        "social_account": Kind("HANDLE", "社交账号", "social account"),
        "tw_id": Kind("TW_ID", "台湾身份证", "Taiwan ID"),
        "uk_nino": Kind("NINO", "英国保险号", "UK National Insurance number"),
        "us_itin": Kind("ITIN", "美国税号", "US taxpayer number"),
        "us_ssn": Kind("SSN", "美国社安号", "US social security number"),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A piece of personal data in a text. It holds where, never what.

    Attributes:
        kind: one of `KINDS`.
        start: its first character.
        end: behind its last.
        confidence: in [0, 1]. A right check digit gives 0.95 or more, an unmistakable form about 0.9, a
            label before a plain number about 0.7, words around it 0.6; what is reserved for examples
            (123-45-6789, example.com) 0.6 at most.
    """

    kind: str
    start: int
    end: int
    confidence: float


_OTHER_NUMBER = re.compile(
    rf"""
    {any_of("labels", "other_number")}
    (?:[ _-]?(?:numbers?|no\.?|nr\.?|num|id|code|ref|\#|号码|编号|编码|单号|号|码)){{0,2}}
    [\"']?[ ]?(?:is|was|:|=|\#|是|为|->)?[ :]?[\"'\#(\[]?\Z
    """,
    re.VERBOSE | re.IGNORECASE,
)


def labelled_otherwise(text: str, start: int) -> bool:
    """Whether the words right before `start` say that the number there is an order's or a parcel's."""
    return _OTHER_NUMBER.search(text, max(0, start - 36), start) is not None


def before(pattern: re.Pattern[str], text: str, start: int, within: int = 24) -> bool:
    """Whether `pattern` occurs in the `within` characters before `start`, on the same line."""
    begin = max(0, start - within, text.rfind("\n", max(0, start - within), start) + 1)
    return pattern.search(text, begin, start) is not None
