"""A panel of texts with planted personal data, Chinese and English, and of texts that only look like it.

`personal.jsonl` holds templates; the values are made here, by a seed, with right check digits where the kind has
them, and with wrong ones in the hard negatives. No value belongs to anybody. Half of the templates are open: rules
may be mended by looking at them. The other half, chosen by a hash of the template, only measures.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TEMPLATES = Path(__file__).with_name("personal.jsonl")
_SLOT = re.compile(r"\{([a-z]\w*)(?:\|(\w+))?\}")
_ALNUM = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Planted:
    """A text of the panel.

    Attributes:
        lang: en or zh.
        style: who might have written it.
        open: whether rules may be mended by looking at it.
        text: the text.
        spans: kind, start and end of each planted value.
        neutral: ranges that may be found or not (names that nothing makes sure).
        template: what the text was made from.
    """

    lang: str
    style: str
    open: bool
    text: str
    spans: tuple[tuple[str, int, int], ...]
    neutral: tuple[tuple[int, int], ...] = ()
    template: str = ""


def panel(seed: int = 20261124, times: int = 3) -> Iterator[Planted]:
    """Every template, filled `times` times."""
    for line in TEMPLATES.read_text("utf-8").splitlines():
        row = json.loads(line)
        half = int.from_bytes(hashlib.sha256(row["text"].encode()).digest()[:4], "big") % 2 == 0
        for turn in range(times):
            rng = random.Random(f"{seed} {turn} {row['text']}")
            yield _filled(row, half, Values(rng, row["lang"]))


def _filled(row: dict[str, str], is_open: bool, values: Values) -> Planted:
    parts, spans, neutral, at, size = [], [], [], 0, 0
    template = row["text"]
    for slot in _SLOT.finditer(template):
        before = template[at : slot.start()]
        value, kind = values.make(slot[1], slot[2])
        size += len(before)
        if kind == "neutral":
            neutral.append((size, size + len(value)))
        elif kind:
            spans.append((kind, size, size + len(value)))
        parts += [before, value]
        size += len(value)
        at = slot.end()
    text = "".join([*parts, template[at:]])
    return Planted(row["lang"], row["style"], is_open, text, tuple(spans), tuple(neutral), template)


class Values:
    """Makes the values of slots: `make("phone", "dashed")` gives a text and its kind, if it is personal."""

    def __init__(self, rng: random.Random, lang: str) -> None:
        self.rng, self.lang = rng, lang

    def make(self, slot: str, form: str | None) -> tuple[str, str]:
        rng = self.rng
        if sized := re.fullmatch(r"(digits|d|hex|alnum|random)(\d+)", slot):
            what, n = sized[1], int(sized[2])
            if what in ("digits", "d"):
                return rng.choice("123456789") + self.digits(n - 1), ""
            if what == "hex":
                return self.of("0123456789abcdef", n), "secret" if n in (40, 64) else ""
            if what == "random":
                return self.mixed(n), "secret"
            return self.of(string.ascii_uppercase + string.digits, n), ""
        kind, maker = _MAKERS[slot]
        value = maker(self)
        return (_FORMS[form](self, value) if form else value), kind

    # Pieces

    def digits(self, n: int) -> str:
        return "".join(self.rng.choices(string.digits, k=n))

    def of(self, alphabet: str, n: int) -> str:
        return "".join(self.rng.choices(alphabet, k=n))

    def mixed(self, n: int) -> str:
        while True:
            made = self.of(_ALNUM, n)
            if re.search(r"\d", made) and re.search("[a-z]", made) and re.search("[A-Z]", made):
                return made

    def pick(self, words: str) -> str:
        return self.rng.choice(words.split())

    def day(self, first: int = 1945, last: int = 2012) -> tuple[int, int, int]:
        return self.rng.randint(first, last), self.rng.randint(1, 12), self.rng.randint(1, 28)

    # People

    def name(self) -> str:
        if self.lang == "zh":
            surname = self.pick(
                "王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 马 罗 梁 宋 郑 谢 韩 唐 冯 董 萧 程 曹 袁 邓 许 傅 沈 曾 彭 吕 欧阳 司马"
            )
            return surname + "".join(
                self.rng.sample(
                    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英文华建国红志玉兰晓东海燕子涵雨桐浩然欣怡",
                    self.rng.randint(1, 2),
                )
            )
        return f"{self.first()} {self.last()}"

    def first(self) -> str:
        return self.pick(
            "James Mary Robert Patricia Aisha Linda Miguel Priya Wei Barbara Richard Susan Olu Jessica Tomás Karen Daniel Nancy Yuki Margaret Paul Chloe Ethan Zoë"
        )

    def last(self) -> str:
        return self.pick(
            "Smith Johnson Patel Brown O'Connor Garcia Miller Davis Nguyen Martinez Hernandez Lopez Wilson Anderson Okafor Taylor Moore Jackson Lee Müller White Harris Clark Lewis Walker Hall"
        )

    def email(self) -> str:
        if self.lang == "zh":
            user = self.rng.choice(
                [self.pick("zhangwei lihua wang.fang chen_jie liuyang zhou-min sunny xiaoyu"), self.digits(9)]
            )
            return f"{user}{self.rng.choice(['', self.digits(2)])}@{self.pick('qq.com 163.com 126.com sina.cn foxmail.com outlook.com mail.huaxin.com.cn tsinghua.edu.cn')}"
        user = (
            f"{self.first()}{self.rng.choice(['.', '_', '', '-'])}{self.last()}".replace("'", "")
            .lower()
            .encode("ascii", "ignore")
            .decode()
        )
        return f"{user}{self.rng.choice(['', self.digits(2)])}@{self.pick('gmail.com yahoo.co.uk outlook.com acme.io protonmail.com mail.ucla.edu northwind.co')}"

    # Phones

    def phone(self) -> str:
        made = self.pick(
            "133 135 136 138 139 150 151 152 157 158 159 166 173 177 180 182 185 186 188 189 191 198 199"
        ) + self.digits(8)
        return self.rng.choice([made, made, made, f"+86 {made}", f"{made[:3]} {made[3:7]} {made[7:]}"])

    def landline(self) -> str:
        area = self.pick("010 021 0755 0571 028 0512 020 0531 023 0592")
        local = self.rng.choice("68") + self.digits(7)
        return self.rng.choice(
            [f"{area}-{local}", f"({area}){local}", f"{area} {local}", f"{area}-{local}-{self.digits(3)}"]
        )

    def us_phone(self) -> str:
        area = self.pick("212 213 312 415 503 617 702 713 786 818 917 206 404 512")
        middle, last = self.rng.choice("23456789") + self.digits(2), self.digits(4)
        return self.rng.choice(
            [
                f"({area}) {middle}-{last}",
                f"{area}-{middle}-{last}",
                f"{area}.{middle}.{last}",
                f"+1 {area} {middle} {last}",
                f"1-{area}-{middle}-{last}",
            ]
        )

    def uk_phone(self) -> str:
        return self.rng.choice(
            [
                f"020 7{self.digits(3)} {self.digits(4)}",
                f"0161 496 {self.digits(4)}",
                f"+44 20 7{self.digits(3)} {self.digits(4)}",
                f"01632 960{self.digits(3)}",
            ]
        )

    def uk_mobile(self) -> str:
        return self.rng.choice(
            [
                f"07{self.digits(3)} {self.digits(6)}",
                f"+44 7{self.digits(3)} {self.digits(6)}",
                f"07{self.digits(3)} {self.digits(3)} {self.digits(3)}",
            ]
        )

    def intl_phone(self) -> str:
        return self.rng.choice(
            [f"+49 151 {self.digits(8)}", f"+33 6 {self.digits(2)} {self.digits(2)} {self.digits(2)} {self.digits(2)}", f"+91 98{self.digits(3)} {self.digits(5)}",
             f"+61 4{self.digits(2)} {self.digits(3)} {self.digits(3)}", f"+81-90-{self.digits(4)}-{self.digits(4)}", f"+34 6{self.digits(8)}", f"+65 9{self.digits(3)} {self.digits(4)}"]
        )  # fmt: skip

    # Numbers of states

    def cn_id(self) -> str:
        region = self.pick(
            "110101 110105 310104 310115 440305 440106 330106 320102 510107 420106 610113 370202 210102 500103 350203 430102 450103 530102 220104 130102"
        )
        year, month, day = self.day()
        head = f"{region}{year}{month:02}{day:02}{self.rng.randint(1, 999):03}"
        return head + _mod11(head)

    def bad_cn_id(self) -> str:
        good = self.cn_id()
        return good[:17] + next(c for c in self.rng.sample("0123456789X", 11) if c != good[17])

    def credit_code(self) -> str:
        head = (
            self.pick("91 92 93 52 12")
            + self.pick("110108 310115 440300 330100 320500 350100 510100")
            + self.of("0123456789ABCDEFGHJKLMNPQRTUWXY", 9)
        )
        return head + _mod31(head)

    def ssn(self) -> str:
        area = self.rng.choice([n for n in range(1, 773) if n != 666])
        return f"{area:03}-{self.rng.randint(1, 99):02}-{self.rng.randint(1, 9999):04}"

    def nino(self) -> str:
        return self.pick("AB CE JG PW SK ZR LM") + self.digits(6) + self.rng.choice("ABCD")

    def hk_id(self) -> str:
        letter, digits = self.rng.choice("ACDEGHKPRVYZ"), self.digits(6)
        total = (
            36 * 9
            + (ord(letter) - 55) * 8
            + sum(int(d) * w for d, w in zip(digits, range(7, 1, -1), strict=True))
        )
        return f"{letter}{digits}({'0123456789A'[-total % 11]})"

    def tw_id(self) -> str:
        places = dict(zip("ABCDEFGHJKLMNPQRSTUVXYWZIO", range(10, 36), strict=True))
        letter, digits = self.rng.choice("ABCDEFH"), self.rng.choice("12") + self.digits(7)
        total = (
            places[letter] // 10
            + places[letter] % 10 * 9
            + sum(int(d) * w for d, w in zip(digits, range(8, 0, -1), strict=True))
        )
        return f"{letter}{digits}{-total % 10}"

    # Money

    def card(self) -> str:
        if self.lang == "zh":
            head, n = self.rng.choice(
                [
                    ("622202", 19),
                    ("621700", 19),
                    ("622588", 16),
                    ("622848", 19),
                    ("625912", 16),
                    ("436742", 16),
                    ("621226", 19),
                ]
            )
        else:
            head, n = self.rng.choice(
                [
                    ("4", 16),
                    ("4539", 16),
                    ("52", 16),
                    ("55", 16),
                    ("2305", 16),
                    ("37", 15),
                    ("6011", 16),
                    ("3530", 16),
                ]
            )
        body = head + self.digits(n - 1 - len(head))
        return body + _luhn(body)

    def bad_card(self) -> str:
        good = self.card()
        return good[:-1] + next(d for d in self.rng.sample(string.digits, 10) if d != good[-1])

    def iban(self) -> str:
        country, body = self.rng.choice(
            [("GB", self.of(string.ascii_uppercase, 4) + self.digits(14)), ("DE", self.digits(18)), ("FR", self.digits(23)), ("NL", "INGB" + self.digits(10)),
             ("ES", self.digits(20)), ("CH", self.digits(17)), ("IE", "AIBK" + self.digits(14))]
        )  # fmt: skip
        number = int("".join(str(int(c, 36)) for c in f"{body}{country}00"))
        return f"{country}{98 - number % 97:02}{body}"

    # Places and machines

    def address(self) -> str:
        if self.lang == "zh":
            where = self.rng.choice(
                ["北京市朝阳区{r}{n}号院{b}号楼{u}单元{h}室", "上海市浦东新区{r}{n}弄{b}号{h}室", "广东省深圳市南山区{r}{n}号{c}{b}栋{h}", "浙江省杭州市西湖区{r}{n}号",
                 "江苏省南京市鼓楼区{r}{n}号{c}{b}幢{u}单元{h}室", "成都市武侯区{r}{n}号", "湖北省武汉市洪山区{r}{n}号{c}{b}栋{u}单元{h}", "天津市和平区{r}{n}号",
                 "海淀区{r}{n}号{c}{b}号楼{h}", "{r}{n}号{c}{b}栋{h}室", "四川省绵阳市三台县{t}镇{v}村{b}组{n}号", "重庆市渝中区{r}{n}号{b}单元{h}"]
            )  # fmt: skip
        else:
            where = self.rng.choice(
                [
                    "{n} {w} {s}, {c}, {z}",
                    "{n} {w} {s}, Apt {b}, {c}, {z}",
                    "{n} {w} {s} {c}, {z}",
                    "{n} N {w} {s}, Suite {h}, {c}, {z}",
                    "{n} {w} {s}",
                    "{n} {w} {s}, {c}",
                ]
            )
        places = {
            "r": self.pick("中山路 人民路 解放大道 文三路 学院路 天府大道 建国路 长江路 和平街 科技南路 望京西路 张杨路 青年路 滨河大道"),
            "n": self.rng.randint(2, 999), "b": self.rng.randint(1, 28), "u": self.rng.randint(1, 4), "h": self.rng.randint(101, 2804),
            "t": self.pick("芦溪 古井 石安"), "v": self.pick("龙泉 大桥 双河"),
            "c": self.pick("阳光花园 锦绣家园 万科城 绿地公寓 碧水湾小区") if self.lang == "zh" else self.rng.choice(["Springfield", "San Jose", "Austin", "Portland", "Salt Lake City", "Dayton"]),
            "w": self.rng.choice(["Maple", "Elm", "Washington", "Martin Luther King", "Sunset", "Oak Ridge", "3rd", "Mission", "Lakeview"]),
            "s": self.pick("St Street Ave Avenue Road Blvd Lane Dr Drive Court Way"), "z": f"{self.pick('IL CA TX OR UT OH')} {self.rng.randint(10001, 99899)}",
        }  # fmt: skip
        return where.format(**places)

    def uk_address(self) -> str:
        town, code = self.rng.choice(
            [
                ("London", "SW1A"),
                ("Manchester", "M1"),
                ("Bristol", "BS8"),
                ("Leeds", "LS6"),
                ("Edinburgh", "EH3"),
            ]
        )
        street = f"{self.rng.randint(1, 180)}{self.rng.choice(['', '', 'B'])} {self.rng.choice(['High', 'Church', 'Victoria', 'Station', 'Queens'])} {self.pick('Road Street Lane Close Avenue')}"
        return f"{self.rng.choice(['', f'Flat {self.rng.randint(1, 9)}, '])}{street}, {town} {code} {self.rng.randint(1, 9)}{self.of('ABDEFGHJLNPQRSTUWXYZ', 2)}"

    def plate(self) -> str:
        place = self.rng.choice("京沪粤浙苏川鄂津鲁湘") + self.rng.choice("ABCDEF")
        serial = self.rng.choice(
            [
                self.digits(5),
                self.rng.choice("ABCDEFGHJK") + self.digits(4),
                self.digits(3) + self.of("ABCDEFGH", 2),
                self.rng.choice("DF") + self.digits(5),
            ]
        )
        return place + self.rng.choice(["", "", "·"]) + serial

    def ip(self) -> str:
        while True:
            octets = [self.rng.randint(1, 223), *(self.rng.randint(0, 255) for _ in range(3))]
            if octets[0] != 127 and max(octets) > 99:
                return ".".join(map(str, octets))

    def secret(self, form: str) -> str:
        long = self.of(_ALNUM, 100)
        return {
            "aws": "AKIA" + self.of(string.ascii_uppercase + string.digits, 16), "aws_secret": self.of(_ALNUM + "/+", 38) + self.mixed(3)[:2], "aliyun": "LTAI" + self.mixed(20),
            "github": self.rng.choice(["ghp_", "gho_"]) + self.mixed(36), "openai": "sk-" + self.rng.choice(["", "proj-"]) + self.mixed(48),
            "slack": f"xoxb-{self.digits(12)}-{self.digits(12)}-{self.mixed(24)}", "stripe": "sk_live_" + self.mixed(24), "hf": "hf_" + self.mixed(34), "npm": "npm_" + self.mixed(36),
            "jwt": ".".join([_b64(b'{"alg":"HS256","typ":"JWT"}'), _b64(json.dumps({"sub": self.digits(10), "iat": 1716000000}).encode()), long[:43]]),
            "pem": "-----BEGIN " + "RSA PRIVATE KEY-----\n" + "\n".join(self.of(_ALNUM + "+/", 64) for _ in range(4)) + "\n-----END " + "RSA PRIVATE KEY-----",
            "password": self.rng.choice([self.mixed(5) + "!" + self.digits(2), self.pick("Summer Dragon tiger Welcome huawei xiaomi") + self.digits(4), self.mixed(10), self.pick("Blue Red").lower() + "@" + self.digits(5)]),
        }[form]  # fmt: skip

    # Dates

    def birth(self, form: str) -> str:
        y, m, d = self.day(1950, 2018)
        month = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ][m - 1]
        if form == "zh":
            return f"{y}年{m}月{d}日"
        if form == "en":
            return self.rng.choice([f"{month} {d}, {y}", f"{d} {month} {y}", f"{month[:3]} {d}, {y}"])
        return (
            self.rng.choice([f"{m:02}/{d:02}/{y}", f"{y}-{m:02}-{d:02}", f"{d:02}.{m:02}.{y}"])
            if form == "num"
            else f"{y}-{m:02}-{d:02}"
        )

    # What only looks like it

    def isbn13(self) -> str:
        body = "9787" + self.digits(8)
        check = -sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(body)) % 10
        return f"{body[:3]}-{body[3]}-{body[4:7]}-{body[7:]}-{check}"

    def isbn10(self) -> str:
        body = "0" + self.digits(8)
        check = -sum(int(d) * w for d, w in zip(body, range(10, 1, -1), strict=True)) % 11
        return f"{body[0]}-{body[1:4]}-{body[4:]}-{'0123456789X'[check]}"

    def ean13(self) -> str:
        body = self.pick("400 690 500 978 490") + self.digits(9)
        return body + str(-sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(body)) % 10)

    def imei(self) -> str:
        body = "35" + self.digits(12)
        return body + _luhn(body)


def _luhn(body: str) -> str:
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(body)))
    return str(-total % 10)


def _mod11(head: str) -> str:
    return "10X98765432"[sum(int(d) * (2 ** (17 - i) % 11) for i, d in enumerate(head)) % 11]


def _mod31(head: str) -> str:
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    return alphabet[-sum(alphabet.index(c) * (3**i % 31) for i, c in enumerate(head)) % 31]


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _secret(form: str) -> tuple[str, Callable[[Values], str]]:
    return "secret", lambda v: v.secret(form)


_MAKERS: dict[str, tuple[str, Callable[[Values], str]]] = {
    "account": ("bank_account", lambda v: v.rng.choice("123") + v.digits(v.rng.choice([14, 16, 18]))),
    "account_en": ("bank_account", lambda v: v.digits(v.rng.choice([9, 10, 12]))),
    "account_uk": ("bank_account", lambda v: v.digits(8)),
    "address": ("address", Values.address),
    "birth": ("birth_date", lambda v: v.birth("iso")),
    "birth_en": ("birth_date", lambda v: v.birth("en")),
    "birth_num": ("birth_date", lambda v: v.birth("num")),
    "birth_zh": ("birth_date", lambda v: v.birth("zh")),
    "card": ("bank_card", Values.card),
    "cn_id": ("cn_id", Values.cn_id),
    "credit_code": ("cn_credit_code", Values.credit_code),
    "dl": ("driver_licence", lambda v: v.of("ABCDEFGHRST", 2) + v.digits(6)),
    "email": ("email", Values.email),
    "first": ("name", Values.first),
    "handle": ("social_account", lambda v: f"{v.first().lower().encode('ascii', 'ignore').decode()}_{v.digits(3)}"),
    "hk_id": ("hk_id", Values.hk_id),
    "iban": ("iban", Values.iban),
    "intl_phone": ("phone", Values.intl_phone),
    "ip": ("ip_address", Values.ip),
    "ipv6": ("ip_address", lambda v: ":".join(["2a02", *(v.of("0123456789abcdef", 4) for _ in range(7))])),
    "itin": ("us_itin", lambda v: f"9{v.digits(2)}-{v.rng.randint(70, 88)}-{v.digits(4)}"),
    "landline": ("phone", Values.landline),
    "last": ("name", Values.last),
    "mac": ("mac_address", lambda v: ":".join(v.of("0123456789abcdef", 2) for _ in range(6))),
    "name": ("name", Values.name),
    "name_l": ("name", Values.name),
    "name_n": ("neutral", Values.name),
    "nino": ("uk_nino", Values.nino),
    "passport": ("passport", lambda v: v.rng.choice(["E" + v.digits(8), "G" + v.digits(8), "E" + v.rng.choice("ABCDEFGH") + v.digits(7)])),
    "passport_en": ("passport", lambda v: v.rng.choice(["", "A", "X"]) + v.digits(9) if v.rng.random() < 0.6 else "C" + v.digits(8)),
    "password_url": _secret("password"),
    "permit": ("passport", lambda v: "C" + v.rng.choice("ABCDE") + v.digits(7)),
    "phone": ("phone", Values.phone),
    "plate": ("licence_plate", Values.plate),
    "qq": ("social_account", lambda v: v.rng.choice("123456789") + v.digits(v.rng.choice([7, 8, 9]))),
    "routing": ("bank_account", lambda v: "0" + v.rng.choice("12") + v.digits(7)),
    "sort_code": ("neutral", lambda v: f"{v.digits(2)}-{v.digits(2)}-{v.digits(2)}"),
    "ssn": ("us_ssn", Values.ssn),
    "tw_id": ("tw_id", Values.tw_id),
    "uk_address": ("address", Values.uk_address),
    "uk_dl": ("driver_licence", lambda v: f"MORGA{v.digits(6)}{v.of('ABCDEFS', 2)}9{v.of('ABIJK', 2)}"),
    "uk_mobile": ("phone", Values.uk_mobile),
    "uk_phone": ("phone", Values.uk_phone),
    "uk_postcode_addr": ("address", Values.uk_address),
    "us_address": ("address", Values.address),
    "us_phone": ("phone", Values.us_phone),
    "wechat": ("social_account", lambda v: v.pick("xiaoyu lili wx_ming sunny_ zhang_ hanhan") + v.digits(4)),
    **{form: _secret(form) for form in ["aws", "aws_secret", "aliyun", "github", "openai", "slack", "stripe", "hf", "npm", "jwt", "pem", "password"]},
    # Nobody's
    "bad_card": ("", Values.bad_card),
    "bad_cn_id": ("", Values.bad_cn_id),
    "bad_credit": ("", lambda v: (c := v.credit_code())[:17] + ("A" if c[17] != "A" else "B")),
    "bad_iban": ("", lambda v: (n := v.iban())[:2] + f"{(int(n[2:4]) + 7) % 90 + 2:02}" + n[4:]),
    "bad_ssn": ("", lambda v: f"{v.pick('000 666')}-{v.digits(2)}-{v.digits(4)}"),
    "bignum": ("", lambda v: v.rng.choice([f"{v.rng.randint(10**6, 10**9):,}", str(v.rng.randint(10**7, 10**10))])),
    "chrome_version": ("", lambda v: f"{v.rng.randint(90, 130)}.0.{v.rng.randint(4000, 6999)}.{v.rng.randint(10, 250)}"),
    "coupon": ("", lambda v: f"{v.of(string.ascii_uppercase, 4)}-{v.of(string.ascii_uppercase + string.digits, 4)}-{v.digits(4)}"),
    "ean13": ("", Values.ean13),
    "imei": ("", Values.imei),
    "isbn10": ("", Values.isbn10),
    "isbn13": ("", Values.isbn13),
    "lottery": ("", lambda v: " ".join(f"{n:02}" for n in v.rng.sample(range(1, 34), 7))),
    "md5": ("", lambda v: v.of("0123456789abcdef", 32)),
    "order_date": ("", lambda v: f"2024{v.rng.randint(1, 12):02}{v.rng.randint(1, 28):02}{v.digits(10)}"),
    "part_ssn_like": ("", lambda v: f"{v.digits(3)}-{v.digits(2)}-{v.digits(4)}"),
    "price": ("", lambda v: f"{v.rng.randint(1, 9999)}.{v.digits(2)}"),
    "serial": ("", lambda v: v.of(string.ascii_uppercase, 3) + v.digits(9)),
    "sha1": ("", lambda v: v.of("0123456789abcdef", 40)),
    "sha256": ("", lambda v: v.of("0123456789abcdef", 64)),
    "sha_short": ("", lambda v: v.of("0123456789abcdef", 8)),
    "sku": ("", lambda v: v.of(string.ascii_uppercase, 2) + v.digits(6) + v.rng.choice("ABCD")),
    "tracking": ("", lambda v: v.pick("YT JT ZT") + v.digits(13)),
    "ts10": ("", lambda v: "17" + v.digits(8)),
    "ts13": ("", lambda v: "17" + v.digits(11)),
    "uuid": ("", lambda v: "-".join(v.of("0123456789abcdef", n) for n in (8, 4, 4, 4, 12))),
    "version3": ("", lambda v: ".".join(v.digits(1) for _ in range(3))),
    "version4": ("", lambda v: f"{v.rng.randint(1, 30)}.{v.rng.randint(0, 20)}.{v.rng.randint(0, 30)}.{v.rng.randint(0, 250)}"),
}  # fmt: skip

_FULL = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})


def _grouped(sizes: tuple[int, ...], separator: str) -> Callable[[Values, str], str]:
    def group(v: Values, value: str) -> str:
        bare = (
            re.sub(r"[^0-9A-Za-z]", "", value)[-sum(sizes) :]
            if sizes[-1]
            else re.sub(r"[^0-9A-Za-z]", "", value)
        )
        parts, at = [], 0
        for size in sizes:
            parts.append(bare[at : at + size] if size else bare[at:])
            at += size
        return separator.join(part for part in parts if part)

    return group


def _by_length(separator: str) -> Callable[[Values, str], str]:
    def group(v: Values, value: str) -> str:
        bare = re.sub(r"\W", "", value)
        if len(bare) == 18 and bare[:2].isdigit():
            return separator.join([bare[:6], bare[6:14], bare[14:]])
        if len(bare) in (11, 13):
            return separator.join([bare[-11:-8], bare[-8:-4], bare[-4:]])
        if len(bare) == 9:  # NINO
            return separator.join([bare[:2], bare[2:4], bare[4:6], bare[6:8], bare[8:]])
        if len(bare) == 12:  # MAC
            return separator.join(bare[i : i + 2] for i in range(0, 12, 2))
        return separator.join(bare[i : i + 4] for i in range(0, len(bare), 4))

    return group


_FORMS: dict[str, Callable[[Values, str], str]] = {
    "full": lambda v, s: s.translate(_FULL),
    "zw": lambda v, s: "\u200b".join(s),
    "spaced": _by_length(" "),
    "dashed": _by_length("-"),
    "dots": _by_length("."),
    "lower": lambda v, s: s.lower(),
    "plain": lambda v, s: re.sub(r"\D", "", s)[-10:],
    "x": lambda v, s: s.lower(),
    "han": lambda v, s: re.sub(r"\D", "", s)[-11:].translate(
        str.maketrans("0123456789", "零一二三四五六七八九")
    ),
    "keycap": lambda v, s: "".join(f"{d}\ufe0f\u20e3" for d in re.sub(r"\D", "", s)[-11:]),
    "spelt": lambda v, s: (
        s.replace("@", " [at] ").replace(".", " [dot] ", 1)
        if v.rng.random() < 0.5
        else s.replace("@", "(at)")
    ),
    "bracket": lambda v, s: s.replace("@", " (at) "),
    "words_dots": lambda v, s: _grouped((3, 3, 4), ".")(v, s),
}
