from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fangxin.detect._text import language
from fangxin.detect.personal._find import find
from fangxin.detect.personal._finding import KINDS, Finding
from fangxin.detect.personal._fold import fold

Find = Callable[[str], Sequence[Finding]]

_MARKS = {mark.casefold(): kind for kind, it in KINDS.items() for mark in (it.mark, it.mark_zh)}
_OPEN, _CLOSE = "<〈《〔[【＜", ">〉》〕]】＞"
# Models change brackets, case and spaces; what is restored is told by mark and number.
_PLACEHOLDER = re.compile(
    f"[{re.escape(_OPEN)}] ?({'|'.join(sorted(map(re.escape, _MARKS), key=len, reverse=True))})"
    rf"[ _\-]?([1-9]\d{{0,4}}) ?[{re.escape(_CLOSE)}]",
    re.IGNORECASE,
)
_BEGUN = re.compile(
    rf"[{re.escape(_OPEN)}] ?(?:[A-Za-z_]{{0,16}}|[\u4e00-\u9fff]{{0,8}})[ _\-]?\d{{0,5}} ?\Z"
)
# Kinds whose values are words; those of the others are digits and letters, however they are set apart.
_WORDS = ("address", "birth_date", "email", "ip_address", "name", "secret", "social_account")
_CN_PREFIX = re.compile(r"\A(?:00)?86(?=1\d{10}\Z)")


@dataclass(frozen=True, repr=False)
class Vault:
    """What placeholders stand for. Printing it shows no value.

    Attributes:
        entries: by kind and plain value, the number in its kind and the value as it was first written.
    """

    entries: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Vault({len(self.entries)} values)"

    def __len__(self) -> int:
        return len(self.entries)

    def value(self, kind: str, number: int) -> str | None:
        """The value behind a placeholder; None where there is none."""
        return self._by_number.get((kind, number))

    @property
    def _by_number(self) -> dict[tuple[str, int], str]:
        return {(kind, number): value for (kind, _), (number, value) in self.entries.items()}


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without its personal data.

    Attributes:
        text: with placeholders: `<EMAIL_1>`, in Chinese text `〔邮箱1〕`.
        vault: what they stand for, with all that the vault held before.
    """

    text: str
    vault: Vault


def canonical(kind: str, value: str) -> str:
    """A value as all its spellings have it: `138-0013-8000` and `+86 13800138000` are one phone."""
    plain = fold(value)[0]
    if kind not in _WORDS:
        bare = re.sub(r"[^0-9A-Za-z]", "", plain).upper()
        return _CN_PREFIX.sub("", bare)
    return " ".join(plain.split()) if kind == "secret" else " ".join(plain.split()).casefold()


def mask(text: str, vault: Vault | None = None, *, find: Find = find) -> Masked:
    """Put placeholders for personal data.

    Args:
        text: any text.
        vault: of the same talk so far: a value that is in it keeps its placeholder.
        find: finds personal data; `find` of this room by default.
    """
    texts, vault = mask_all([text], vault, find=find)
    return Masked(texts[0], vault)


def mask_all(
    texts: Sequence[str], vault: Vault | None = None, *, find: Find = find
) -> tuple[list[str], Vault]:
    """Put placeholders for personal data in all texts of a talk, the same for the same value.

    What was found in one text goes wherever it stands, also where nothing says what it is. Numbers are given
    in order, so that more texts at the end change nothing before. A placeholder that somebody wrote is left
    alone, and its number is not given.

    Returns:
        The masked texts, and what the placeholders stand for.
    """
    entries = dict(vault.entries) if vault else {}
    found = [find(text) for text in texts]
    written = {
        (_MARKS[hit[1].casefold()], int(hit[2])) for text in texts for hit in _PLACEHOLDER.finditer(text)
    }
    given = {kind: max((n for (k, _), (n, _) in entries.items() if k == kind), default=0) for kind in KINDS}
    for text, findings in zip(texts, found, strict=True):
        for one in findings:
            value = text[one.start : one.end]
            key = one.kind, canonical(one.kind, value)
            if key not in entries:
                given[one.kind] += 1
                while (one.kind, given[one.kind]) in written:
                    given[one.kind] += 1
                entries[key] = given[one.kind], value
    known = _known(entries)
    return [_masked(text, one, entries, known) for text, one in zip(texts, found, strict=True)], Vault(
        entries
    )


Entries = Mapping[tuple[str, str], tuple[int, str]]


def _known(entries: Entries) -> tuple[re.Pattern[str], dict[str, str]] | None:
    """A pattern of the values that are long enough to be told without their words around them."""
    kinds = {
        value: kind for (kind, _), (_, value) in entries.items() if len(value) >= (3 if kind == "name" else 6)
    }
    if not kinds:
        return None
    longest_first = sorted(map(re.escape, kinds), key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(longest_first)})(?![A-Za-z0-9])"), kinds


def _masked(
    text: str,
    findings: Iterable[Finding],
    entries: Entries,
    known: tuple[re.Pattern[str], dict[str, str]] | None,
) -> str:
    spans = [(one.start, one.end, one.kind) for one in findings]
    if known:
        pattern, kinds = known
        spans += [
            (hit.start(), hit.end(), kinds[hit[0]])
            for hit in pattern.finditer(text)
            if not any(start < hit.end() and hit.start() < end for start, end, _ in spans)
        ]
    chinese = language(text) == "zh"
    parts, at = [], 0
    for start, end, kind in sorted(spans):
        number, _ = entries[kind, canonical(kind, text[start:end])]
        it = KINDS[kind]
        parts += [text[at:start], f"〔{it.mark_zh}{number}〕" if chinese else f"<{it.mark}_{number}>"]
        at = end
    return "".join([*parts, text[at:]])


def restore(text: str, vault: Vault, *, final: bool = True) -> str:
    """Put the values back where their placeholders stand.

    Args:
        text: a reply to masked text; or, with `final` false, what of it has come so far. What a longer
            beginning gives begins with what a shorter one gave.
        vault: what placeholders stand for; others stay as they are.
        final: whether this is all.
    """
    if not vault:
        return text
    if not final:
        begun = max(text.rfind(sign) for sign in _OPEN)
        if begun >= 0 and _BEGUN.match(text, begun):
            text = text[:begun]
    values = vault._by_number
    return _PLACEHOLDER.sub(lambda hit: values.get((_MARKS[hit[1].casefold()], int(hit[2])), hit[0]), text)
