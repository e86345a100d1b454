from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._hashing import grams
from fangxin.detect._head import Array
from fangxin.detect._text import language
from fangxin.detect._verdict import DetectorError, Verdict
from fangxin.detect._weights import weights

KINDS = ("harm", "injection", "toxicity")

_LANGUAGES = ("en", "zh")
_PIECE = 2000  # characters of a piece of a long text
_BATCH = 64  # texts hashed at once, so that the work stays in the cache
_RISKS = {"harm": None, "injection": "llm01", "toxicity": "hate"}
_READS = {
    "harm": "asks for harm",
    "injection": "tries to turn a model against its instructions",
    "toxicity": "insults or demeans people",
}


@dataclass(frozen=True)
class Screen:
    """The cheapest tier: lets the clearly harmless through.

    Three linear models of hashed n-grams: requests for harm, prompt injection, toxicity. A text is `safe`
    where all three are below their pass mark, `unsafe` where one is above its stop mark, else
    `controversial`: for the next tier to decide. Its card says what share of the harmful it lets through.

    Attributes:
        table: [2**18, 3] weights.
        lines: per language [3, 2], slope and offset that turn sums into log-odds.
        marks: per language [3, 2], the log-odds to pass below and to stop from.
        name: on its verdicts.
    """

    table: npt.NDArray[np.int8]
    lines: Mapping[str, Array]
    marks: Mapping[str, Array]
    name: str = "screen"

    @classmethod
    def default(cls) -> Screen:
        """The screen that ships.

        Raises:
            DetectorError: its weights can't be loaded.
        """
        return _default()

    @classmethod
    def of(cls, stored: Mapping[str, npt.NDArray[Any]]) -> Screen:
        """Read the arrays that `arrays` gave.

        Raises:
            KeyError: one is missing.
        """
        lines, marks = (
            dict(zip(_LANGUAGES, stored[key].astype(np.float32), strict=True)) for key in ("lines", "marks")
        )
        return cls(stored["table"], lines, marks)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of the screen as plain arrays."""
        return {
            "table": self.table,
            "lines": np.stack([self.lines[code] for code in _LANGUAGES]),
            "marks": np.stack([self.marks[code] for code in _LANGUAGES]),
        }

    def logits(self, texts: Sequence[str]) -> Array:
        """[n, 3] log-odds of harm, injection and toxicity; of a long text the worst of its pieces."""
        pieces: list[str] = []
        starts = []
        for text in texts:
            starts.append(len(pieces))
            if len(text) <= _PIECE:
                pieces.append(text)
            else:
                pieces += [text[a : a + _PIECE] for a in range(0, len(text), _PIECE * 3 // 4)]
        if not pieces:
            return np.empty((0, len(KINDS)), np.float32)
        sums = np.concatenate(
            [grams(pieces[i : i + _BATCH]).scores(self.table) for i in range(0, len(pieces), _BATCH)]
        )
        worst = np.maximum.reduceat(sums, starts, axis=0)
        lines = np.stack([self.lines[language(text[:_PIECE])] for text in texts])
        return np.asarray(worst * lines[:, :, 0] + lines[:, :, 1], np.float32)

    def score_many(self, texts: Sequence[str]) -> Array:
        """[n] probability of the likeliest of the three."""
        return np.asarray(1 / (1 + np.exp(-self.logits(texts).max(axis=1))), np.float32)

    def passes(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """[n] whether each text is below every pass mark."""
        marks = [self.marks[language(text[:_PIECE])][:, 0] for text in texts]
        if not marks:
            return np.empty(0, bool)
        return np.asarray((self.logits(texts) < np.stack(marks)).all(axis=1))

    def judge(self, text: str) -> Verdict:
        """What `check` gives, without awaiting."""
        start = time.perf_counter()
        if not text.strip():
            spent = (time.perf_counter() - start) * 1000
            return Verdict("safe", 0.0, reason="There is no text to judge.", by=self.name, ms=spent)
        logits = self.logits([text])[0]
        marks = self.marks[language(text[:_PIECE])]
        over = logits - marks[:, 0]
        kind = KINDS[int(np.argmax(over))]
        stop, doubt = bool((logits >= marks[:, 1]).any()), bool((over >= 0).any())
        if stop:
            kind = KINDS[int(np.argmax(logits - marks[:, 1]))]
        return Verdict(
            "unsafe" if stop else "controversial" if doubt else "safe",
            float(1 / (1 + np.exp(-logits.max()))),
            risk=_RISKS[kind] if stop or doubt else None,
            spans=((0, len(text)),) if stop or doubt else (),
            reason=f"By its words the text {_READS[kind]}." if stop or doubt else "",
            by=self.name,
            ms=(time.perf_counter() - start) * 1000,
        )

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text`; a `question` changes nothing."""
        return self.judge(text)


@cache
def _default() -> Screen:
    try:
        return Screen.of(weights("screen"))
    except (KeyError, ValueError) as error:
        raise DetectorError(f"The weights of the screen aren't what this version reads: {error}.") from None
