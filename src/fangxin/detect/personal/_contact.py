"""Where somebody can be reached: phones, mail, accounts, machines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from fangxin.detect.personal._finding import Finding, before, labelled_otherwise

_I = re.IGNORECASE
_NOT_DIGIT = re.compile(r"\D")

# E.164: country codes with the least and most digits that follow; all others: 6 to 12.
_NATIONAL = {
    1: (10, 10), 7: (10, 10), 20: (8, 10), 27: (9, 9), 30: (10, 10), 31: (9, 9), 32: (8, 9), 33: (9, 9),
    34: (9, 9), 36: (8, 9), 39: (6, 11), 40: (9, 9), 41: (9, 9), 44: (9, 11), 45: (8, 8), 46: (7, 10),
    47: (8, 8), 48: (9, 9), 49: (6, 12), 52: (10, 11), 55: (10, 11), 60: (8, 10), 61: (9, 10), 63: (8, 10),
    65: (8, 8), 66: (8, 9), 81: (9, 11), 82: (8, 11), 86: (9, 12), 90: (10, 10), 91: (10, 10), 92: (9, 10),
    852: (8, 8), 853: (8, 8), 886: (8, 10), 351: (9, 9), 353: (7, 10), 420: (9, 9), 971: (8, 9), 972: (8, 9),
}  # fmt: skip
_CODES = frozenset(
    [1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82, 84, 86]
    + [*range(90, 96), 98, 211, 212, 213, 216, 218, *range(220, 270), 290, 291, 297, 298, 299, *range(350, 360)]
    + [*range(370, 379), *range(380, 384), 385, 386, 387, 389, 420, 421, 423, *range(500, 510), *range(590, 600)]
    + [670, *range(672, 693), 850, 852, 853, 855, 856, 870, 880, 886, *range(960, 969), *range(970, 978), 979]
    + [*range(992, 997), 998]
)
# Numbers of services belong to nobody.
_TOLL_FREE = frozenset("800 833 844 855 866 877 888 900".split())

_TAIL = r"(?![\dA-Za-z]|\.\d|,\d{3}(?!\d))"
_EXTENSION = r"(?: ?(?:转|ext\.?|extension|x|#) ?\d{1,6}(?!\d))?"
_CN_MOBILE = re.compile(rf"(?<!\d)(?<!\d\.)(?:\(?(?:\+|00)?86\)?[ \-]?)?(1[3-9](?:[ .\-]?\d){{9}}){_TAIL}")
_CN_GROUPS = frozenset({(11,), (3, 4, 4), (4, 4, 3), (3, 8), (7, 4), (3, 3, 5), (5, 6), (4, 3, 4), (3, 4, 2, 2)})
_CN_LANDLINE = re.compile(
    r"(?<![\dA-Za-z])(?:\+?86[ \-]?)?(?:\((0\d{2,3})\)[ \-]?|(0\d{2,3})[ \-]|(?<=86[ \-])(\d{2,3})[ \-])"
    rf"([2-9]\d{{2,3}}[ \-]?\d{{4}})(?: ?(?:转|ext\.?|x|-) ?\d{{1,5}}(?!\d))?{_TAIL}",
    _I,
)
_INTERNATIONAL = re.compile(r"(?<![\dA-Za-z+])(?:\+ ?|00(?=[1-9]\d{0,2}[ \-(]))([1-9](?:[ .\-()/]{0,3}\d){6,14})(?!\d)")
_NANP = re.compile(
    r"(?<![\dA-Za-z+])(?<!\d[.\-])(?:\+?1[ .\-]?)?(?:\(([2-9]\d{2})\)[ .\-]{0,2}|([2-9]\d{2})([ .\-/]))"
    rf"(\d{{3}})([ .\-])(\d{{4}}){_EXTENSION}(?![\dA-Za-z]|[.\-]\d|,\d{{3}}(?!\d))",
    _I,
)
_UK = re.compile(rf"(?<![\dA-Za-z])(?<!\d[.\-])(?:\((0\d{{2,4}})\) ?|(0\d{{2,4}})[ \-])\d{{3,4}}[ \-]?\d{{3,4}}{_TAIL}")
_TW_MOBILE = re.compile(rf"(?<![\dA-Za-z])09\d{{2}}[ \-]\d{{3}}[ \-]?\d{{3}}{_TAIL}")
_CALL = (
    r"(?:tele?phones?|\btel\b\.?|\bphone|\bmobile|\bcell(?:phone)?\b|\bfax\b|whats ?app|\bcall(?:ing|ed)?|\btext(?:ing)?\b|\bsms\b"
    r"|\b(?:reach|ring|contact|dial)\b|电话|手机|联系方式|座机|致电|拨打|来电|传真|热线|固话|移动电话|手提)"
)
_CALL_WORD = (
    r"(?: |:|=|\"|'|,|\(|\)|#|-|\b(?:is|number|no|num|nr|at|on|me|us|him|her|them|my|the|our|your|his|new|work|home|office"
    r"|direct|personal|line|back|please|or|and|phone|cell|mobile|to|via|by|s|was|changed|now|also)\b\.?"
    r"|号码?|是|为|联系|请|打|我|的|本人|可以?|一下|也|到|在|给|改成|换成|了|就是|吧|座机|手机|电话)"
)
_LABELLED = re.compile(
    rf"{_CALL}{_CALL_WORD}{{0,10}}(?<![\dA-Za-z+.])((?:\+ ?)?\(?\d(?:[ .\-()/]{{0,2}}\d){{6,14}}){_EXTENSION}(?![\dA-Za-z]|[.\-]\d|,\d{{3}}(?!\d))",
    _I,
)
_CALL_BEFORE = re.compile(_CALL, _I)
_LETTERS_BEFORE = re.compile(r"(?:tel|phone|mobile|mob|cell|call|[tmp])\Z", _I)
_DATE = re.compile(r"(?:19|20)\d\d([ .\-/]?)[01]?\d\1[0-3]?\d(?!\d)|[0-3]?\d([.\-/])[01]?\d\2(?:19|20)\d\d(?!\d)")
_MONEY_BEFORE = re.compile(r"[¥$€£]\s?\Z|[¥$€£]\d[\d,. ]*\Z")
_MONEY_BEHIND = re.compile(r" ?(?:元|块|美元|人民币|人次|万|亿|台|件|字节|bytes|usd|rmb|dollars|km|users|people)", _I)


def phones(text: str) -> Iterator[Finding]:
    """Phone numbers of China, North America, the UK, and of all countries in international form."""
    for hit in _CN_MOBILE.finditer(text):
        start, end, number = hit.start(), hit.end(), hit[1]
        groups = tuple(map(len, re.split(r"[ .\-]", number)))
        label = before(_CALL_BEFORE, text, start)
        if start and text[start - 1].isascii() and text[start - 1].isalpha():
            if not _LETTERS_BEFORE.search(text, max(0, start - 6), start):
                continue
        if groups not in _CN_GROUPS and not label:
            continue
        if not label and (labelled_otherwise(text, start) or _money(text, start, end)):
            continue
        yield Finding("phone", start, end, 0.95 if label else 0.9)
    for hit in _CN_LANDLINE.finditer(text):
        area, local = hit[1] or hit[2] or "0" + hit[3], len(_NOT_DIGIT.sub("", hit[4]))
        big = area == "010" or area[:2] == "02"
        if (len(area) == 3) == big and local >= (8 if big else 7):
            yield Finding("phone", hit.start(), hit.end(), 0.85)
    yield from _western(text)


CALL_WORDS = (
    "tele* tel phone* mobile cell* fax whatsapp* whats_app* call* text* sms reach ring contact dial 电话 手机 联系方式 座机 致电 拨打 来电 传真 热线 固话"
    " 移动电话 手提"
)


def labelled_phones(text: str) -> Iterator[Finding]:
    """Phone numbers of any form behind words such as "call me at"."""
    for hit in _LABELLED.finditer(text):
        digits = _NOT_DIGIT.sub("", hit[1])
        if _DATE.match(hit[1]) or digits[:3] in _TOLL_FREE or digits[:3] == "400" or len(set(digits)) == 1:
            continue
        if not _money(text, hit.start(1), hit.end()):
            yield Finding("phone", hit.start(1), hit.end(1), 0.7)


def _western(text: str) -> Iterator[Finding]:
    for hit in _INTERNATIONAL.finditer(text):
        end = _international_end(hit[1])
        if end:
            yield Finding("phone", hit.start(), hit.start(1) + end, 0.9)
    for hit in _NANP.finditer(text):
        area, separator = hit[1] or hit[2], hit[3]
        if area in _TOLL_FREE or (separator and separator not in ("/", hit[5])):
            continue
        label = before(_CALL_BEFORE, text, hit.start())
        real = hit[4][0] > "1" and hit[4][1:] != "11" and area[1:] != "11"
        if separator == " " and not label and not hit[0].startswith(("1", "+")):
            continue
        if not label and labelled_otherwise(text, hit.start()):
            continue
        yield Finding("phone", hit.start(), hit.end(), 0.95 if label else 0.85 if real else 0.65)
    for pattern in (_UK, _TW_MOBILE):
        for hit in pattern.finditer(text):
            digits = _NOT_DIGIT.sub("", hit[0])
            if len(digits) in (10, 11) and digits[:4] not in ("0800", "0808") and not _DATE.match(hit[0]):
                if not labelled_otherwise(text, hit.start()):
                    yield Finding("phone", hit.start(), hit.end(), 0.75)


def _international_end(run: str) -> int:
    """How much of a run of digits behind a plus is a phone number: the most that a country's plan allows."""
    for found in reversed(list(re.finditer(r"\d(?!\d)", run))):
        digits = _NOT_DIGIT.sub("", run[: found.end()])
        for size in (1, 2, 3):
            code = int(digits[:size])
            if code in _CODES:
                least, most = _NATIONAL.get(code, (6, 12))
                if code == 1 and digits[1:4] in _TOLL_FREE:
                    return 0
                if least <= len(digits) - size <= most:
                    return found.end()
                break
    return 0


def _money(text: str, start: int, end: int) -> bool:
    return bool(_MONEY_BEFORE.search(text, max(0, start - 16), start) or _MONEY_BEHIND.match(text, end))


_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9_][A-Za-z0-9._%+'\-]{0,63}+@"
    r"((?:[A-Za-z0-9][A-Za-z0-9\-]{0,62}+\.){1,6}(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9\-]{2,30}))(?![A-Za-z0-9@])"
)
_EMAIL_SPELT = re.compile(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9_][A-Za-z0-9._%+\-]{0,63}+"
    r"(?: ?[\[(<{] ?(?:at|@|艾特) ?[\])>}] ?| at |#|\*)"
    r"[A-Za-z0-9\-]{1,63}+(?:(?: ?[\[(<{] ?(?:dot|\.|点) ?[\])>}] ?| dot |\.)[A-Za-z0-9\-]{2,24}+){1,3}",
    _I,
)
_EMAIL_SPLIT = re.compile(
    r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9_][A-Za-z0-9._%+\-]{0,63}+ ?@ ?(?:[A-Za-z0-9\-]{1,63}+ ?\. ?){1,3}(?:com|cn|net|org|edu|io|uk|de)(?![A-Za-z0-9])",
    _I,
)
SPELT_WORDS = (
    "(at* [at* {at* <at* (_at* [_at* _dot_ (dot* [dot* [.] (.) 艾特 gmail* outlook* hotmail* yahoo* qq.* 163.* 126.* icloud* proton* foxmail* sina*"
)
_EXAMPLE_DOMAIN = re.compile(r"(?:\A|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost)\Z", _I)
_MAIL_HOST = re.compile(r"(?:gmail|outlook|hotmail|yahoo|qq|163|126|icloud|proton|foxmail|sina)(?: dot |\W*\.\W*|\W+dot\W+)", _I)
_MAIL_LABEL = re.compile(r"e-?mail|邮箱|邮件|\bmail\b|电邮|contact|联系", _I)


def emails(text: str) -> Iterator[Finding]:
    """E-mail addresses, those at example domains with less confidence."""
    for hit in _EMAIL.finditer(text):
        if ".." not in hit[0]:
            yield Finding("email", hit.start(), hit.end(), 0.6 if _EXAMPLE_DOMAIN.search(hit[1]) else 0.95)
    for hit in _EMAIL_SPLIT.finditer(text):
        if " " in hit[0]:
            yield Finding("email", hit.start(), hit.end(), 0.8)


def spelt_emails(text: str) -> Iterator[Finding]:
    """E-mail addresses whose `@` or dot is written as a word."""
    for hit in _EMAIL_SPELT.finditer(text):
        bracketed = re.search(r"[\[(<{]", hit[0])
        if bracketed or _MAIL_HOST.search(hit[0]) or before(_MAIL_LABEL, text, hit.start()):
            if " at " in hit[0].lower() and not bracketed and " dot " not in hit[0].lower() and not _MAIL_HOST.search(hit[0]):
                continue
            yield Finding("email", hit.start(), hit.end(), 0.7)


_IPV4 = re.compile(
    r"(?<![\dA-Za-z.])((?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3})(?![\dA-Za-z]|\.\d|-\w)"
)
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f]*:)([0-9A-Fa-f:]{6,39}+)(?![0-9A-Za-z:])")
_VERSION = re.compile(r"(?:\bv|\bver\.?|version|release|build|firmware|upgrad\w*(?: to)?|版本号?|固件|升级到?|\bsection|\bclause|§|第)[ :=是为]*\Z", _I)
_IP_LABEL = re.compile(r"\bip|host|server|ping|addr|login|log(?:ged)? in|from|client|connect|ssh|端口|网关|服务器|登录|来自|地址|主机|访问", _I)


def addresses_of_machines(text: str) -> Iterator[Finding]:
    """IPv4 and IPv6 addresses, but loopback, masks and what looks like a version."""
    for hit in _IPV4.finditer(text):
        octets = [int(part) for part in hit[1].split(".")]
        if octets[0] in (0, 127, 255) or octets[0] >= 224 or _VERSION.search(text, max(0, hit.start() - 16), hit.start()):
            continue
        label = before(_IP_LABEL, text, hit.start(), 30)
        if max(octets) <= 40 and not label:
            continue
        reserved = ipaddress.ip_address(hit[1]).is_private
        yield Finding("ip_address", hit.start(), hit.end(), 0.6 if reserved else 0.95 if label else 0.85)
    for hit in _IPV6.finditer(text):
        groups = [part for part in hit[1].split(":") if part]
        if len(groups) < 3 and not any(len(part) == 4 for part in groups):
            continue
        if not any(character.isdigit() for character in hit[1]):
            continue
        try:
            address = ipaddress.IPv6Address(hit[1])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_multicast):
            yield Finding("ip_address", hit.start(), hit.end(), 0.6 if address.is_private else 0.9)


_MAC = re.compile(
    r"(?<![0-9A-Za-z:\-.])(?:[0-9A-Fa-f]{2}([:\-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4})"
    r"(?![0-9A-Za-z]|[:\-.][0-9A-Za-z])"
)


def hardware_addresses(text: str) -> Iterator[Finding]:
    """MAC addresses, but all zeros and all ones."""
    for hit in _MAC.finditer(text):
        digits = re.sub(r"\W", "", hit[0]).lower()
        if len(set(digits)) > 1:
            yield Finding("mac_address", hit.start(), hit.end(), 0.9)


_HANDLE = re.compile(
    r"(?:(?<![A-Za-z])(?:qq|q号)(?: ?(?:号码?|账号|number|id|:|是|为|加|=)){0,4} ?([1-9]\d{4,10})(?![\dA-Za-z@.])"
    r"|(?:微信|wechat|weixin|(?<![A-Za-z])vx|威信|薇信|加[vV]|whatsapp id|telegram|\btg|twitter|instagram|\big|snapchat|weibo|skype|line id)"
    r"(?: ?(?:号码?|账号|id|handle|username|:|是|为|=|is|加)){0,4} ?[:@]? ?@?(?<![A-Za-z0-9_])([A-Za-z][A-Za-z0-9_\-.]{4,24}[A-Za-z0-9_])(?![A-Za-z0-9@])"
    r"|(?<![A-Za-z0-9_])(wxid_[a-z0-9]{10,24})(?![A-Za-z0-9]))",
    _I,
)


SOCIAL_WORDS = (
    "qq* q号 微信 wechat* weixin* vx* 威信 薇信 加v whatsapp_id telegram tg twitter instagram ig snapchat weibo skype line_id wxid*"
)


def social_accounts(text: str) -> Iterator[Finding]:
    """Accounts by which somebody is reached, behind the name of the service."""
    for hit in _HANDLE.finditer(text):
        group = 1 if hit[1] else 2 if hit[2] else 3
        value = hit[group]
        # A word behind "WeChat" is a handle where it has a digit, a sign or a mark of assignment before it.
        marked = re.search(r"[:=@是为]|号|handle|username|\bid\b", hit[0][: hit.start(group) - hit.start()], _I)
        if group == 2 and not (marked and (re.search(r"[\d_\-]", value) or "@" in hit[0] or re.search("[号:]", hit[0]))):
            continue
        yield Finding("social_account", hit.start(group), hit.end(group), 0.75)
