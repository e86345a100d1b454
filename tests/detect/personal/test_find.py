"""Each kind in its forms, what only looks like it, and hostile text."""

import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.detect.personal import KINDS, find
from fangxin.detect.personal._find import _RULES
from fangxin.detect.personal._words import words


def found(text, **options):
    return [(one.kind, text[one.start : one.end]) for one in find(text, **options)]


# Keys are made in pieces, so that no scanner takes this file for a leak.
AWS = "AKIA" + "IOSFODNN7EXAMPLQ"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
OPENAI = "sk" + "-proj-Zx8Kq2Lm9Pw4Rt7Yv1Bn6Cd3Fg5Hj0"
SLACK = "xoxb" + "-123456789012-123456789012-AbCdEfGhIjKlMnOpQrStUvWx"
JWT = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
BLOCK = "-----BEGIN " + "EC PRIVATE KEY-----\nMHcCAQEEIBkg\n-----END " + "EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("我的身份证号是11010519491231002X。", "cn_id", "11010519491231002X"),
        ("id:110105 19491231 002x", "cn_id", "110105 19491231 002x"),
        ("身份证１１０１０５１９４９１２３１００２Ｘ", "cn_id", "１１０１０５１９４９１２３１００２Ｘ"),
        ("旧身份证 110101900307775 还能用吗", "cn_id", "110101900307775"),
        ("pay with 4111 1111 1111 1111 12/27", "bank_card", "4111 1111 1111 1111"),
        ("amex 3782 822463 10005", "bank_card", "3782 822463 10005"),
        ("card number 6304273733984", "bank_card", None),  # no check digit
        ("to GB82 WEST 1234 5698 7654 32 please", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("iban de89370400440532013000", "iban", "de89370400440532013000"),
        ("SSN 536-32-3065", "us_ssn", "536-32-3065"),
        ("my social security number is 536323065", "us_ssn", "536323065"),
        ("ITIN 912-70-1234", "us_itin", "912-70-1234"),
        ("NI number ab 12 34 56 c", "uk_nino", "ab 12 34 56 c"),
        ("JG123456A started", "uk_nino", "JG123456A"),
        ("香港身份证A123456(3)", "hk_id", "A123456(3)"),
        ("身分證字號A123456789", "tw_id", "A123456789"),
        ("统一社会信用代码：91350100M000100Y43", "cn_credit_code", "91350100M000100Y43"),
        ("护照号码是E12345678", "passport", "E12345678"),
        ("my passport number is 533380006", "passport", "533380006"),
        ("driver's license S530-4601-2345", "driver_licence", "S530-4601-2345"),
        ("account number 12345678", "bank_account", "12345678"),
        ("收款账号：6222000000000000001", "bank_account", "6222000000000000001"),
        ("打13800138000", "phone", "13800138000"),
        ("手机一三八零零一三八零零零", "phone", "一三八零零一三八零零零"),
        ("+86 138-0013-8000", "phone", "+86 138-0013-8000"),
        ("座机（０１０）６２３４５６７８", "phone", "（０１０）６２３４５６７８"),
        ("0755-26001234转801", "phone", "0755-26001234转801"),
        ("(415) 555-2671 ext. 12", "phone", "(415) 555-2671 ext. 12"),
        ("call 415.555.2671", "phone", "415.555.2671"),
        ("İ: CALL ME AT 4155552671", "phone", "4155552671"),  # a letter that grows when it is lowered
        ("+44 20 7946 0958", "phone", "+44 20 7946 0958"),
        ("+41 (0)44 668 18 00 or so", "phone", "+41 (0)44 668 18 00"),
        ("my number is 4155552671", "phone", "4155552671"),
        ("Phone: 451 5986", "phone", "451 5986"),
        ("write to ann.o'hara+x@mail.co.uk.", "email", "ann.o'hara+x@mail.co.uk"),
        ("邮箱zhang@qq.com谢谢", "email", "zhang@qq.com"),
        ("ann [at] corp [dot] org", "email", "ann [at] corp [dot] org"),
        ("ann at gmail dot com", "email", "ann at gmail dot com"),
        ("a\u200bnn@cor\u200bp.org", "email", "a\u200bnn@cor\u200bp.org"),
        ("from 81.2.69.142 today", "ip_address", "81.2.69.142"),
        ("2a02:6b8::2:242 answered", "ip_address", "2a02:6b8::2:242"),
        ("mac 00:1A:2b:3C:4d:5E", "mac_address", "00:1A:2b:3C:4d:5E"),
        ("车牌京A·12345", "licence_plate", "京A·12345"),
        ("粤BD12345是电车", "licence_plate", "粤BD12345"),
        ("QQ：12345678", "social_account", "12345678"),
        ("微信号 zhang_88", "social_account", "zhang_88"),
        ("twitter: @ada_love", "social_account", "ada_love"),
        (
            "我住在北京市海淀区中关村大街27号院3号楼502室。",
            "address",
            "北京市海淀区中关村大街27号院3号楼502室",
        ),
        ("寄到朝阳区望京街10号", "address", "朝阳区望京街10号"),
        ("河南省周口市太康县王集乡李楼村", "address", "河南省周口市太康县王集乡李楼村"),
        (
            "at 1600 Pennsylvania Ave NW, Washington, DC 20500",
            "address",
            "1600 Pennsylvania Ave NW, Washington, DC 20500",
        ),
        ("Flat 2, 221B Baker Street, London NW1 6XE", "address", "Flat 2, 221B Baker Street, London NW1 6XE"),
        ("i live at 12 old mill road", "address", "12 old mill road"),
        ("P.O. Box 123, Austin, TX 78701", "address", "P.O. Box 123, Austin, TX 78701"),
        ("PSC 4095, Box 8316\nAPO AP 96201", "address", "PSC 4095, Box 8316\nAPO AP 96201"),
        ("DOB 03/07/1990", "birth_date", "03/07/1990"),
        ("She was born on March 7th, 1985.", "birth_date", "March 7th, 1985"),
        ("1990年3月7日出生", "birth_date", "1990年3月7日"),
        ("My name is Ada Lovelace.", "name", "Ada Lovelace"),
        ("Dear Mr. O'Neil,", "name", "O'Neil"),
        ("Kind regards,\nMary Ann Jones\n", "name", "Mary Ann Jones"),
        ("姓名：欧阳娜娜", "name", "欧阳娜娜"),
        ("我叫王小明，今年三岁", "name", "王小明"),
        ("联系人：阿卜杜拉·买买提", "name", "阿卜杜拉·买买提"),
        (f"key {AWS} leaked", "secret", AWS),
        (f"git clone https://{GITHUB}@host/x", "secret", GITHUB),
        (f"OPENAI_API_KEY={OPENAI}", "secret", OPENAI),
        (SLACK, "secret", SLACK),
        (f"Authorization: Bearer {JWT}", "secret", JWT),
        (f"see\n{BLOCK}\nthere", "secret", BLOCK),
        ("postgres://app:s3cr3t!pw@db.local/x", "secret", "s3cr3t!pw"),
        ("api_key = 'q8Zt3Lm1Xv7Rb2Nc'", "secret", "q8Zt3Lm1Xv7Rb2Nc"),
        ("wifi密码是 hello2024", "secret", "hello2024"),
        ("Password: Tr0ub4dor&3", "secret", "Tr0ub4dor&3"),
    ],
)
def test_it_is_found_where_it_stands(text, kind, value):
    assert [one for one in found(text) if one[0] == kind] == ([(kind, value)] if value else [])


@pytest.mark.parametrize(
    "text",
    [
        "身份证号110105194912310021校验位不对",
        "order number 4111111111111111",  # passes Luhn, and is called an order's
        "4111111111111112 fails",
        "GB83 WEST 1234 5698 7654 32",
        "666-12-3456 and 123-00-4567",
        "订单号13800138000",
        "ISBN 978-7-111-21382-6, ISBN-10 0-306-40615-2",
        "1700000000 and 1700000000123 are times",
        "¥13800138000 revenue, 13800138000元",
        "call 1-800-555-0199 or 400-820-8820 or 95588",
        "version 4.18.0.37, v1.2.3.4, 127.0.0.1, 0.0.0.0, 255.255.255.0",
        "::1, a::b, 12:30:45, std::vector",
        "commit 3f2a9c4b8d1e6f7a9b0c1d2e3f4a5b6c7d8e9f0a",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "api_key = os.environ['API_KEY'], token = '<your token>', password: required",
        "the password is wrong, 密码是错误的",
        "e4 e5 Nf3 Nc6 1. d4 d5 2. c4",
        "坐地铁10号线到5号楼，3号交作业",
        "the 39 Steps down the road in 40 minutes",
        "Dear Sir or Madam, hi there, Thanks,\nThe Team",
        "my name is hard to say; file name: Report; 姓名和电话",
        "我叫什么名字？请问老师",
        "Einstein was born on 14 March 1879.",
        "Ada Smith (born 1 May 1980) is a singer.",  # a reference book's way: less sure
        "微信支付很方便 WeChat works",
        "沪深300指数，京B2B平台",
        "12-23-34-45-56-57",
        "Meeting ID 138 0013 8000",
    ],
)
def test_what_only_looks_like_it_is_left(text):
    assert found(text) == []


def test_what_is_reserved_for_examples_is_less_sure():
    text = "ann@example.com 123-45-6789 192.168.1.20"
    assert [kind for kind, _ in found(text)] == ["email", "us_ssn", "ip_address"]
    assert found(text, least=0.7) == []


def test_kinds_are_chosen():
    text = "ann@corp.org, +44 20 7946 0958"
    assert found(text, kinds={"phone"}) == [("phone", "+44 20 7946 0958")]
    with pytest.raises(ValueError, match="unknown kind of personal data 'shoe_size'"):
        find(text, kinds={"shoe_size"})


def test_the_surer_of_two_that_overlap_is_kept():
    # The credit code's digits would pass as other numbers; the URL's password holds an address' `@`.
    assert found("https://bot:" + GITHUB + "@github.com/x") == [("secret", GITHUB)]


def test_a_finding_says_where_and_never_what():
    [one] = find("ann@corp.org")
    assert "ann" not in repr(one)


def test_every_rule_that_waits_for_words_has_some():
    for rule in _RULES:
        assert not rule.named or words("signs", rule.find.__name__)


# Properties and hostile text


@settings(max_examples=150, deadline=None)
@given(
    st.text(
        st.one_of(st.characters(), st.sampled_from("0123456789-@.:/ +()年月日号路市区张QMrA\n\u200b１")),
        max_size=120,
    )
)
def test_findings_are_in_order_apart_and_in_the_text(text):
    spans = find(text, least=0.0)
    assert all(0 <= one.start < one.end <= len(text) and one.kind in KINDS for one in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert all(0.0 < one.confidence <= 1.0 for one in spans)


UNITS = [
    "a", "1", "1 ", "@", "a@", "a@a.", "路", "路1号", "区1号", "省市", "北京市", "-", "my name is A ", "A ", "Mr. ", "电话",
    "call 1", "passport ", "4111 ", "1.", "1:", "::", "+1 ", "(", "password:x1 ", "密码是", "eyJaaaaaaaaa.", "sk" + "-",
    "token=", "1 Main St ", "1 A ", "Dear A\n", "姓名:王", "京A1", "born 1 ", "\n", "\0", "\ud800", "\u200b1", "一", "http://a:b",
    "qq:", "微信:", "address: 1", "live at 1 A ", "GB82 ", "a[at]a ", "a gmail. ", "010-", "card 4", "-----BEGIN " + "PRIVATE KEY-----",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_hostile_repetition_takes_bounded_time(unit):
    text = (unit * 60_000)[:60_000]
    start = time.process_time()
    find(text)
    assert time.process_time() - start < 2.0  # the worst takes about 0.2 s


def test_a_megabyte_of_everything_takes_bounded_time():
    rng = random.Random(1)
    text = "".join(rng.choices(UNITS, k=250_000))[:1_000_000]
    start = time.process_time()
    assert find(text)
    assert time.process_time() - start < 20.0  # about 4 s


@pytest.mark.parametrize(
    "text", ["", " ", "\0" * 1000, bytes(range(256)).decode("latin-1") * 40, "\ud83d\ud83d 138"]
)
def test_empty_and_binary_text_has_nothing(text):
    assert find(text) == []


def test_half_a_surrogate_hides_nothing():
    assert [kind for kind, _ in found("\ud800 call 415-555-2671, wifi password: Tr0ub4dor&3 \udfff")] == [
        "phone",
        "secret",
    ]


def test_ordinary_texts_are_quick():
    text = "Could you tell me how the opening hours of the library change in the summer holidays? " * 3
    start = time.process_time()
    for _ in range(500):
        assert find(text) == []
    assert time.process_time() - start < 0.5  # 500 texts of 64 tokens: 10,000 a second would take 0.05 s
