"""Known numbers are right, and a wrong check digit is always seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.detect.personal import _checks as checks

digits = st.text("0123456789", min_size=11, max_size=18)


@given(digits, st.integers(0, 17), st.integers(1, 9))
def test_luhn_sees_every_wrong_digit(body, where, by):
    good = next(body + d for d in "0123456789" if checks.luhn(body + d))
    where %= len(good)
    bad = good[:where] + str((int(good[where]) + by) % 10) + good[where + 1 :]
    assert not checks.luhn(bad)


def cn_id(region, year, month, day, serial):
    head = f"{region}{year}{month:02}{day:02}{serial:03}"
    total = sum(int(d) * pow(2, 17 - i, 11) for i, d in enumerate(head))
    return head + "10X98765432"[total % 11]


@given(
    st.sampled_from(["110101", "440305", "650102", "911156", "810000"]),
    st.integers(1925, 2020),
    st.integers(1, 12),
    st.integers(1, 28),
    st.integers(0, 999),
    st.integers(0, 16),
    st.integers(1, 9),
)
def test_a_resident_id_with_a_wrong_digit_is_none(region, year, month, day, serial, where, by):
    good = cn_id(region, year, month, day, serial)
    assert checks.cn_id(good)
    assert checks.cn_id(good.lower())
    bad = good[:where] + str((int(good[where]) + by) % 10) + good[where + 1 :]
    assert not checks.cn_id(bad)


@pytest.mark.parametrize(
    "number",
    [
        cn_id("100101", 1990, 3, 7, 1),  # no such region
        cn_id("110101", 1990, 13, 7, 1),
        cn_id("110101", 1990, 2, 30, 1),
        cn_id("110101", 1799, 3, 7, 1),
        cn_id("110101", 2990, 3, 7, 1),  # not born yet
    ],
)
def test_a_resident_id_needs_a_region_and_a_date(number):
    assert not checks.cn_id(number)


def test_the_old_form_has_a_region_and_a_date():
    assert checks.cn_id_old("110101900307775")
    assert not checks.cn_id_old("110101901307775")
    assert not checks.cn_id_old("990101900307775")


def test_credit_codes():
    assert checks.cn_credit_code("91350100M000100Y43")  # the example of GB 32100
    assert not checks.cn_credit_code("91350100M000100Y44")
    assert not checks.cn_credit_code("91990100M000100Y43")


@pytest.mark.parametrize(
    "number",
    [
        "GB82WEST12345698765432",  # the examples of the registry
        "DE89370400440532013000",
        "FR1420041010050500013M02606",
        "NL91ABNA0417164300",
        "MT84MALT011000012345MTLCAST001S",
        "NO9386011117947",
    ],
)
def test_ibans(number):
    assert checks.iban(number)
    assert not checks.iban(number[:-1] + ("1" if number[-1] != "1" else "2"))
    assert not checks.iban(number[:-1])
    assert not checks.iban("ZZ" + number[2:])


@pytest.mark.parametrize(
    ("digits", "lengths"),
    [
        ("4111111111111111", (16, 19)),
        ("5555555555554444", (16,)),
        ("2223003122003222", (16,)),
        ("378282246310005", (15,)),
        ("30569309025904", (14, 16)),
        ("3530111333300000", (16, 17, 18, 19)),
        ("6222021234567890123", (16, 17, 18, 19)),
        ("2023110512345678", ()),  # an order's number that begins with a date
        ("9787111213826", ()),  # an ISBN
    ],
)
def test_cards_have_lengths_by_their_issuer(digits, lengths):
    assert checks.card_lengths(digits) == lengths


def test_ssn_and_itin_ranges():
    assert checks.ssn("001", "01", "0001")
    for wrong in (("000", "12", "3456"), ("666", "12", "3456"), ("900", "12", "3456"), ("123", "00", "3456")):
        assert not checks.ssn(*wrong)
    assert not checks.ssn("123", "45", "0000")
    assert checks.itin("912", "70")
    assert not checks.itin("912", "89")
    assert not checks.itin("812", "70")


def test_islands_and_their_ids():
    assert checks.hk_id("A", "123456", "3")
    assert not checks.hk_id("A", "123456", "4")
    assert checks.hk_id("C", "668668", "9")
    assert checks.tw_id("A123456789")  # everybody's example
    assert not checks.tw_id("A123456780")
    assert not checks.nino("GB")
    assert checks.nino("AB")


def test_dates_of_the_living():
    assert checks.date(1990, 2, 28)
    assert not checks.date(1990, 2, 30)
    assert not checks.date(1879, 3, 14)
    assert not checks.date(9999, 1, 1)
