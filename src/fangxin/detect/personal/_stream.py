from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b

from fangxin.detect.personal._finding import Finding

# A part of a reply ends here, unless the full stop is an abbreviation's.
_END = re.compile(r"[。！？；!?\n]|[.;](?=\s)")
_ABBREVIATED = re.compile(
    r"(?:\b(?:St|Ave|Rd|Dr|Mr|Mrs|Ms|Prof|Apt|Blvd|Ln|Ste|No|Jr|Sr|Rev|Bldg)|\b[A-Z])\.\Z"
)
_LATER = re.compile(r"[\s.,;:!?，。！？；：)）]*")
_BEFORE = 80  # characters before a part that tell what it is
_MOST = 600  # a part that is open for longer is closed


def settled(
    text: str, find: Callable[[str], Sequence[Finding]], *, final: bool = True
) -> tuple[list[Finding], int]:
    """Find personal data part by part, so that more text changes no finding in what was settled.

    A part ends with a sentence or a line, but not inside a key, and not behind an address that the next line
    may go on with.

    Args:
        text: a reply; or, with `final` false, what of it has come so far.
        find: finds personal data in a text.
        final: whether this is all: then all of it is settled.

    Returns:
        The findings before the end of what is settled, in order, and that end.
    """
    found: list[Finding] = []
    at = 0
    ends = [hit.end() for hit in _END.finditer(text)]
    for end in [*ends, len(text)] if final else ends:
        if end <= at:
            continue
        last = final and end == len(text)
        young = end - at <= _MOST
        if not last and (
            _in_key(text, at, end) or (young and _ABBREVIATED.search(text, max(0, end - 6), end))
        ):
            continue
        begin = max(0, at - _BEFORE)
        here = [
            Finding(one.kind, max(at, one.start + begin), one.end + begin, one.confidence)
            for one in find(text[begin:end])
            if one.end + begin > at
        ]
        if not last and young and any(_may_go_on(text, one, end) for one in here):
            continue
        found += here
        at = end
    return found, at


class Remembering:
    """A finder that remembers its findings, so that a growing reply isn't read again and again.

    It keeps a digest of each text and the places in it, never the text.
    """

    def __init__(self, find: Callable[[str], Sequence[Finding]], most: int = 4096) -> None:
        self._find, self._most = find, most
        self._known: dict[bytes, tuple[Finding, ...]] = {}

    def __call__(self, text: str) -> tuple[Finding, ...]:
        """What the finder gives for `text`."""
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self._most:
                self._known.clear()
            found = self._known[key] = tuple(self._find(text))
        return found


def _in_key(text: str, at: int, end: int) -> bool:
    begun = text.rfind("-----BEGIN", max(at, end - 9000), end)
    return begun >= 0 and text.find("-----END", begun, end) < 0


def _may_go_on(text: str, finding: Finding, end: int) -> bool:
    behind = _LATER.match(text, finding.end, end)
    return finding.kind == "address" and behind is not None and behind.end() == end
