"""E-mail, social accounts, and addresses of machines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from fangxin.detect.personal._finding import Finding, before

_I, _X = re.IGNORECASE, re.VERBOSE

_USER = r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9_][A-Za-z0-9._%+'\-]{0,63}+"
_EMAIL = re.compile(
    rf"""
    {_USER}@(?P<domain>(?:[A-Za-z0-9][A-Za-z0-9\-]{{0,62}}+\.){{1,6}}(?:[A-Za-z]{{2,24}}|xn--[A-Za-z0-9\-]{{2,30}}))
    (?![A-Za-z0-9@])
    """,
    _X,
)
_EMAIL_APART = re.compile(
    rf"""
    {_USER}(?:[ ]@[ ]?|@[ ])(?:[A-Za-z0-9\-]{{1,63}}+[ ]?\.[ ]?){{1,3}}(?:com|cn|net|org|edu|io|uk|de)
    (?![A-Za-z0-9])
    """,
    _X | _I,
)
_EXAMPLE = re.compile(r"(?:\A|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost)\Z", _I)


def emails(text: str) -> Iterator[Finding]:
    """E-mail addresses, those at example domains with less confidence."""
    for hit in _EMAIL.finditer(text):
        if ".." not in hit[0]:
            yield Finding("email", hit.start(), hit.end(), 0.6 if _EXAMPLE.search(hit["domain"]) else 0.95)
    for hit in _EMAIL_APART.finditer(text):
        yield Finding("email", hit.start(), hit.end(), 0.8)


_EMAIL_SPELT = re.compile(
    rf"""
    {_USER}(?P<at>[ ]?[\[(<{{][ ]?(?:at|@|艾特)[ ]?[\])>}}][ ]?|[ ]at[ ]|\#|\*)
    [A-Za-z0-9\-]{{1,63}}+
    (?P<rest>(?:(?:[ ]?[\[(<{{][ ]?(?:dot|\.|点)[ ]?[\])>}}][ ]?|[ ]dot[ ]|\.)[A-Za-z0-9\-]{{2,24}}+){{1,3}})
    """,
    _X | _I,
)
_MAIL_HOST = re.compile(
    r"(?:gmail|outlook|hotmail|yahoo|qq|163|126|icloud|proton|foxmail|sina)(?: dot |\W*\.\W*|\W+dot\W+)", _I
)
_MAIL_LABEL = re.compile(r"e-?mail|邮箱|邮件|\bmail\b|电邮|contact|联系", _I)
_BRACKET = re.compile(r"[\[(<{]")


def spelt_emails(text: str) -> Iterator[Finding]:
    """E-mail addresses whose `@` or dot is written as a word, or in brackets."""
    for hit in _EMAIL_SPELT.finditer(text):
        sure = _BRACKET.search(hit[0]) or _MAIL_HOST.search(hit[0])
        spoken = hit["at"].strip().lower() == "at" and " dot " not in hit["rest"].lower()
        if sure or (not spoken and before(_MAIL_LABEL, text, hit.start())):
            yield Finding("email", hit.start(), hit.end(), 0.7)


_HANDLE = re.compile(
    r"""
    (?<![A-Za-z])(?:qq|q号)(?:[ ]?(?:号码?|账号|number|id|:|是|为|加|=)){0,4}[ ]?
        (?P<number>[1-9]\d{4,10})(?![\dA-Za-z@.])
    | (?:微信|wechat|weixin|(?<![A-Za-z])vx|威信|薇信|加v|whatsapp[ ]id|telegram|\btg|twitter|insta(?:gram)?
        |\big|snap(?:chat)?|weibo|微博|skype|line[ ]id|tiktok|抖音|小红书|discord|threads|mastodon)
        (?P<mark>(?:[ ]?(?:号码?|账号|id\b|handle|username|:|是|为|=|is\b|加)){0,4}[ ]?[:@]?[ ]?@?)
        (?<![A-Za-z0-9_])(?P<handle>[A-Za-z][A-Za-z0-9_\-.]{4,24}[A-Za-z0-9_])(?![A-Za-z0-9@])
    | (?<![A-Za-z0-9_])(?P<own>wxid_[a-z0-9]{10,24})(?![A-Za-z0-9])
    """,
    _X | _I,
)


def social_accounts(text: str) -> Iterator[Finding]:
    """Accounts by which somebody is reached, behind the name of the service."""
    for hit in _HANDLE.finditer(text):
        group = hit.lastgroup or "own"
        if group == "handle":
            # "WeChat works" has no handle: it takes a mark, and a digit, a sign or a clear mark.
            mark = hit["mark"].strip()
            clear = "@" in mark or "号" in mark or hit[0][:2].lower() == "加v"
            if not clear and not (mark and re.search(r"[\d_\-]", hit["handle"])):
                continue
        yield Finding("social_account", hit.start(group), hit.end(group), 0.75)


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\dA-Za-z.])(?:{_OCTET}\.){{3}}{_OCTET}(?![\dA-Za-z]|\.\d|-\w)")
_IPV6 = re.compile(r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{6,39}+(?![0-9A-Za-z:])")
_VERSION = re.compile(
    r"""
    (?:\bv|\bver\.?|version|release|build|firmware|upgrad\w*(?:[ ]to)?|版本号?|固件|升级到?|\bsection|\bclause
        |§|第)
    [ :=是为]*\Z
    """,
    _X | _I,
)
_IP_LABEL = re.compile(
    r"\bip|host|server|ping|addr|login|log(?:ged)? in|from|client|connect|ssh|端口|网关|服务器|登录|来自"
    r"|地址|主机|访问",
    _I,
)


def machine_addresses(text: str) -> Iterator[Finding]:
    """IPv4 and IPv6 addresses, but loopback, masks and what looks like a version."""
    for hit in _IPV4.finditer(text):
        octets = [int(part) for part in hit[0].split(".")]
        if octets[0] in (0, 127) or octets[0] >= 224:
            continue
        labelled = before(_IP_LABEL, text, hit.start(), 30)
        if _VERSION.search(text, max(0, hit.start() - 16), hit.start()) or (
            max(octets) <= 40 and not labelled
        ):
            continue
        reserved = ipaddress.ip_address(hit[0]).is_private
        yield Finding("ip_address", hit.start(), hit.end(), 0.6 if reserved else 0.95 if labelled else 0.85)
    for hit in _IPV6.finditer(text):
        groups = [part for part in hit[0].split(":") if part]
        if len(groups) < 3 and max(map(len, groups), default=0) < 4:
            continue  # `a::b` in a program
        if not any(character.isdigit() for character in hit[0]):
            continue
        try:
            address = ipaddress.IPv6Address(hit[0])
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified or address.is_multicast):
            yield Finding("ip_address", hit.start(), hit.end(), 0.6 if address.is_private else 0.9)


_MAC = re.compile(
    r"""
    (?<![0-9A-Za-z:\-.])
    (?:[0-9A-F]{2}(?P<between>[:\-])(?:[0-9A-F]{2}(?P=between)){4}[0-9A-F]{2}|(?:[0-9A-F]{4}\.){2}[0-9A-F]{4})
    (?![0-9A-Za-z]|[:\-.][0-9A-Za-z])
    """,
    _X | _I,
)


def hardware_addresses(text: str) -> Iterator[Finding]:
    """MAC addresses, but all zeros and all ones, and pairs of decimal digits with dashes."""
    for hit in _MAC.finditer(text):
        digits = re.sub(r"\W", "", hit[0]).lower()
        if len(set(digits)) > 1 and not (hit["between"] == "-" and digits.isdigit()):
            yield Finding("mac_address", hit.start(), hit.end(), 0.9)
