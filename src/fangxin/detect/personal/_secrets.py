"""Keys, tokens and passwords."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from fangxin.detect.personal._finding import Finding

_I = re.IGNORECASE

# Forms that their issuers publish, so that leaked ones can be found.
_FORMS = (
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}",  # Amazon
    r"LTAI[A-Za-z0-9]{12,24}",  # Alibaba Cloud
    r"AKID[A-Za-z0-9]{13,40}",  # Tencent Cloud
    r"gh[pousr]_[A-Za-z0-9]{30,255}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{40,255}",
    r"glpat-[A-Za-z0-9_\-]{20,64}",  # GitLab
    r"sk-(?:proj-|ant-|or-|svcacct-|live-)?[A-Za-z0-9_\-]{20,200}",  # OpenAI and those who copied its form
    r"xox[abeoprs]-[A-Za-z0-9\-]{10,250}",  # Slack
    r"xapp-\d-[A-Za-z0-9\-]{10,250}",
    r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,80}",
    r"AIza[A-Za-z0-9_\-]{35}",  # Google
    r"ya29\.[A-Za-z0-9_\-]{20,300}",
    r"GOCSPX-[A-Za-z0-9_\-]{28}",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,128}",  # Stripe
    r"whsec_[A-Za-z0-9]{24,64}",
    r"SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{32,64}",  # SendGrid
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_\-]{50,250}",
    r"hf_[A-Za-z0-9]{30,64}",  # Hugging Face
    r"dop_v1_[a-f0-9]{64}",  # DigitalOcean
    r"shpat_[a-fA-F0-9]{32}",  # Shopify
    r"sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,43}",  # Square
    r"key-[a-f0-9]{32}",  # Mailgun
    r"\d{8,10}:AA[A-Za-z0-9_\-]{32,34}",  # Telegram bots
    r"eyJ[A-Za-z0-9_\-]{8,2000}\.eyJ[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{8,2000}",  # JSON web tokens
    r"[MNO][A-Za-z0-9_\-]{23,25}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,38}",  # Discord
)
_FORM = re.compile(rf"(?<![A-Za-z0-9_\-.])(?:{'|'.join(_FORMS)})(?![A-Za-z0-9])")
# Any of these begins a form; looking for them first is quicker.
_FORM_HINT = re.compile(
    r"AKI[AD]|ASIA|ABIA|ACCA|AROA|AIDA|LTAI|gh[pousr]_|github_pat_|glpat-|sk-|xox[abeoprs]-|xapp-|hooks\.slack"
    r"|AIza|ya29\.|GOCSPX|[rs]k_(?:live|test)_|whsec_|SG\.|npm_|pypi-|hf_|dop_v1_|shpat_|sq0|key-|:AA|eyJ"
    r"|[MNO][A-Za-z0-9_\-]{22}"
)
_BLOCK_HEAD = re.compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_FOOT = re.compile(r"-----END (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_BODY = re.compile(r"[A-Za-z0-9+/=\\\s]{0,8000}+")
_CREDENTIALS = re.compile(
    r"(?<![A-Za-z0-9])[a-z][a-z0-9+]{1,15}://[^\s/:@\"'<>]{1,64}:(?P<value>[^\s/\"'<>]{3,128})@(?=[\w\[])", _I
)
_ASSIGNED = re.compile(
    r"""
    (?:api[_\- ]?key|app[_\- ]?(?:key|secret)|access[_\- ]?(?:key|token)(?:[_\- ]?(?:id|secret))?
        |secret(?:[_\- ]?(?:access)?[_\- ]?key)?|auth(?:orization)?[_\- ]?(?:token|key)?|client[_\- ]?secret
        |private[_\- ]?key|refresh[_\- ]?token|session[_\- ]?(?:token|key|id)|bearer|\btoken\b|_token\b
        |credentials?|encryption[_\- ]?key|signing[_\- ]?key|webhook[_\- ]?secret|密钥|秘钥|令牌|私钥|凭证)
    ["'`]?(?:[ ]?(?:is|was|to|:=|=>|:|=|是|为|->)){0,2}[ ]?(?:Bearer[ ]|Basic[ ]|token[ ])?["'`]?
    (?<![A-Za-z0-9_\-./+])(?P<value>[A-Za-z0-9_\-./+=~]{16,200})(?![A-Za-z0-9_\-./+=~])
    """,
    re.VERBOSE | _I,
)
# Values that stand for a value.
_PLACEHOLDER = re.compile(
    r"x{4,}|\*{3,}|\.{3}|•|<|\$\{|\{\{|%s|your|example|placeholder|changeme|redacted|dummy|sample|none|null|undefined"
    r"|required|string|os\.environ|getenv|process\.env|secrets?\.|config\.|vault|settings\.|self\.|abcdef|function"
    r"|incorrect|wrong|invalid|reset|hidden|secret$|token$|password$|\(",
    _I,
)


def secrets(text: str) -> Iterator[Finding]:
    """Keys in the forms of their issuers, private key blocks, and what is assigned to such a name."""
    if _FORM_HINT.search(text):
        for hit in _FORM.finditer(text):
            if len(set(hit[0][4:])) >= 6 and not re.search(r"x{6}|X{6}", hit[0]):
                yield Finding("secret", *hit.span(), 0.98)
    if "-----BEGIN" in text:
        yield from _blocks(text)
    if "://" in text:
        for hit in _CREDENTIALS.finditer(text):
            if not _PLACEHOLDER.search(hit["value"]):
                yield Finding("secret", *hit.span("value"), 0.97)
    for hit in _ASSIGNED.finditer(text):
        value = hit["value"].rstrip(".,;")
        if _random(value) and not _PLACEHOLDER.search(value):
            yield Finding("secret", hit.start("value"), hit.start("value") + len(value), 0.8)


def _blocks(text: str) -> Iterator[Finding]:
    """Private keys, to their last line or as far as they were cut off."""
    free = 0
    for head in _BLOCK_HEAD.finditer(text):
        if head.start() >= free:
            end = _BLOCK_FOOT.search(text, head.end(), head.end() + 8000) or _BLOCK_BODY.match(
                text, head.end()
            )
            free = end.end() if end else head.end()
            yield Finding("secret", head.start(), free, 0.98)


def _random(value: str) -> bool:
    """Whether a value reads like drawn characters and not like words, a path or a number."""
    if (
        value.count("/") > 3
        or "//" in value
        or not re.search(r"\d", value)
        or not re.search("[A-Za-z]", value)
    ):
        return False
    return _entropy(value) >= 3.0


def _entropy(value: str) -> float:
    """Shannon entropy of the characters, bits each."""
    n = len(value)
    return -sum(count / n * math.log2(count / n) for count in Counter(value).values())


_PASSWORD = re.compile(
    r"""
    (?:password|passwd|passphrase|passcode|\bpwd\b|\bpass\b|_pass\b|\bpin\b(?:[ ]code)?|密码|口令|登录码)
    (?:[ ](?:for|of|to)[ ](?:the[ ]|my[ ]|our[ ])?[\w\-]{2,16}(?:[ ][\w\-]{2,16})?)?["'`]?
    [ ]?(?P<said>(?:is[ ]now|is|was|:=|=>|:|=|改成了?|改为|换成|设置?为|是|为|->)(?:[ ]?(?:is|:|=))?)[ ]?
    (?:["'`“](?P<quoted>[^\s"'`“”]{4,64})["'`”]|(?P<plain>[!-~]{4,64}))
    """,
    re.VERBOSE | _I,
)


def passwords(text: str) -> Iterator[Finding]:
    """What is said or assigned to be a password: never a plain word, which may say something about it."""
    for hit in _PASSWORD.finditer(text):
        group = "quoted" if hit["quoted"] else "plain"
        value = hit[group] if hit["quoted"] else hit[group].rstrip(".,;:!?)]}'\"")
        if len(value) < 4 or _PLACEHOLDER.search(value):
            continue
        assigned = group == "quoted" or hit["said"][-1] in ":=>"
        if re.search(r"\d", value) or (assigned and re.search(r"[^A-Za-z0-9\-]|[a-z][A-Z]", value)):
            yield Finding("secret", hit.start(group), hit.start(group) + len(value), 0.75)
