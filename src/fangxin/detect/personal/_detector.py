from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fangxin.detect._verdict import Verdict
from fangxin.detect.personal._find import apart, find
from fangxin.detect.personal._finding import KINDS, Finding


class Finder(Protocol):
    """Finds personal data by other means than rules, such as named entities."""

    def find(self, text: str) -> Sequence[Finding]:
        """Findings in `text`, of `KINDS`."""
        ...


@dataclass(frozen=True)
class PersonalDataDetector:
    """Finds personal data by rules, in Chinese and English, and judges a text that holds any as unsafe.

    Attributes:
        kinds: which of `KINDS` to look for.
        least: the confidence in [0, 1] from which a finding counts; 0.7 leaves out names and what is reserved
            for examples.
        more: adds its findings, such as `PresidioFinder`.
        name: on its verdicts.
    """

    kinds: frozenset[str] = frozenset(KINDS)
    least: float = 0.5
    more: Finder | None = None
    name: str = "personal-data"

    def find(self, text: str) -> list[Finding]:
        """Findings in order, not overlapping.

        Raises:
            DetectorError: the finder that adds its own could not judge.
        """
        found = find(text, kinds=self.kinds, least=self.least)
        if self.more is None:
            return found
        added = [
            one for one in self.more.find(text) if one.kind in self.kinds and one.confidence >= self.least
        ]
        return apart([*found, *added])

    def judge(self, text: str) -> Verdict:
        """What `check` gives, without awaiting."""
        start = time.perf_counter()
        found = self.find(text)
        counts = Counter(KINDS[one.kind].english for one in found)
        said = ", ".join(f"{kind} ({n})" if n > 1 else kind for kind, n in sorted(counts.items()))
        return Verdict(
            "unsafe" if found else "safe",
            max((one.confidence for one in found), default=0.0),
            risk="privacy" if found else None,
            spans=tuple((one.start, one.end) for one in found),
            reason=f"Personal data: {said}." if found else "",
            by=self.name,
            ms=(time.perf_counter() - start) * 1000,
        )

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text`; a `question` changes nothing. Long texts are judged in a thread."""
        if self.more is not None or len(text) > 20_000:
            return await asyncio.to_thread(self.judge, text)
        return self.judge(text)
