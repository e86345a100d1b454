"""Check digits and ranges of numbers that are given to people and organisations."""

from __future__ import annotations

import datetime

# GB/T 2260, the first two digits; 81 to 83 are for people of Hong Kong, Macau and Taiwan.
_PROVINCES = frozenset(
    str(code)
    for code in (
        *range(11, 16),
        *range(21, 24),
        *range(31, 38),
        *range(41, 47),
        *range(50, 55),
        *range(61, 66),
    )
) | {"71", "81", "82", "83"}
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CODE_ALPHABET = {character: i for i, character in enumerate("0123456789ABCDEFGHJKLMNPQRTUWXY")}
_CODE_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
# The lengths of SWIFT's IBAN registry.
_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20"
    " EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30"
    " KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15"
    " OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23"
    " TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
_IBAN = {part[:2]: int(part[2:]) for part in _IBANS.split()}


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = sum(int(d) for d in digits[-1::-2]) + sum(_DOUBLED[int(d)] for d in digits[-2::-2])
    return total % 10 == 0


def date(year: int, month: int, day: int) -> bool:
    """Whether somebody alive may have been born on that day."""
    today = datetime.date.today()
    try:
        return today.year - 125 <= year and datetime.date(year, month, day) <= today
    except ValueError:
        return False


def cn_id(number: str) -> bool:
    """A Chinese resident ID of 18 characters: region, birth, check digit (GB 11643, ISO 7064 mod 11-2).

    Permanent residence cards of foreigners (2023) are of the same form, with a 9 before the region.
    """
    region = number[1:3] if number[0] == "9" else number[:2]
    if region not in _PROVINCES or not date(int(number[6:10]), int(number[10:12]), int(number[12:14])):
        return False
    total = sum(w * int(d) for w, d in zip(_ID_WEIGHTS, number, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def cn_id_old(number: str) -> bool:
    """A Chinese resident ID of 15 digits (until 1999): it has no check digit, so it needs its label."""
    return number[:2] in _PROVINCES and date(1900 + int(number[6:8]), int(number[8:10]), int(number[10:12]))


def cn_credit_code(code: str) -> bool:
    """A Chinese unified social credit code: region and check character (GB 32100, mod 31)."""
    if code[2:4] not in _PROVINCES and code[2:4] != "10":
        return False
    total = sum(w * _CODE_ALPHABET[c] for w, c in zip(_CODE_WEIGHTS, code, strict=False))
    return (31 - total % 31) % 31 == _CODE_ALPHABET[code[17]]


def card_lengths(digits: str) -> tuple[int, ...]:
    """How many digits a bank card may have that begins with these, by its issuer's range."""
    two, three, four = int(digits[:2]), int(digits[:3]), int(digits[:4])
    if two in (34, 37):  # American Express
        return (15,)
    if digits[0] == "4":  # Visa
        return (16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 2200 <= four <= 2204:  # Mastercard, Mir
        return (16,)
    if 300 <= three <= 305 or two in (36, 38, 39):  # Diners Club
        return (14, 16)
    if four in (9558, 9559, 9555, 9792):  # older Chinese debit cards, Troy
        return (16, 19)
    if 3528 <= four <= 3589 or 8100 <= four <= 8171 or digits[0] == "6" or two in (50, 56, 57, 58, 59):
        return (16, 17, 18, 19)  # JCB, UnionPay, Discover, RuPay, Maestro, older Chinese debit cards
    return ()


def iban_length(country: str) -> int:
    """How many characters an IBAN of that country has; 0 where it has none."""
    return _IBAN.get(country, 0)


def iban(number: str) -> bool:
    """An IBAN in capitals without spaces: its country's length and ISO 7064 mod 97-10."""
    if len(number) != iban_length(number[:2]):
        return False
    turned = number[4:] + number[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def ssn(area: str, group: str, serial: str) -> bool:
    """A US social security number that may have been given out."""
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def itin(area: str, group: str) -> bool:
    """A US individual taxpayer number: 9, and a group that the tax office uses."""
    number = int(group)
    return area[0] == "9" and (50 <= number <= 65 or 70 <= number <= 88 or 90 <= number <= 92 or number >= 94)


def nino(letters: str) -> bool:
    """The two letters of a UK National Insurance number."""
    return letters not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def hk_id(letters: str, digits: str, check: str) -> bool:
    """A Hong Kong identity card number: weighted sum, mod 11."""
    padded = letters.rjust(2)
    values = [36 if c == " " else ord(c) - 55 for c in padded] + [int(d) for d in digits]
    total = sum(w * v for w, v in zip(range(9, 1, -1), values, strict=True))
    return (total + (10 if check == "A" else int(check))) % 11 == 0


def tw_id(number: str) -> bool:
    """A Taiwan ID: a letter for the place, nine digits, weighted sum mod 10."""
    place = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    values = [place // 10, place % 10, *(int(d) for d in number[1:])]
    return sum(w * v for w, v in zip((1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), values, strict=True)) % 10 == 0
