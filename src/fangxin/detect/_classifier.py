from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from fangxin.detect._encoder import encoder
from fangxin.detect._guard import pack_cuts, unpack_cuts
from fangxin.detect._hashing import grams
from fangxin.detect._head import Array, Cuts
from fangxin.detect._text import language
from fangxin.detect._tuned import Tuned
from fangxin.detect._verdict import DetectorError, Verdict
from fangxin.detect._views import View, clean, views
from fangxin.detect._weights import weights

Question = Literal["toxicity", "fraud", "injection", "refusal"]

_LANGUAGES = ("en", "zh")
_WINDOW = {"en": 700, "zh": 260}  # characters of one reading: about what the network sees at once
_READ = 24  # windows that the network reads of a long text, the most suspicious to the n-grams
_OPENING = 700  # characters of a reply that tell whether it declines
_DECODED = 20_000  # longer texts are not searched for encoded parts
_DECODINGS = 4  # readings of a text that are decoded from it
_FOUND = {
    "toxicity": ("hate", "insults or demeans people"),
    "fraud": ("nonviolent_crimes", "reads like an attempt at fraud"),
    "injection": ("llm01", "tries to turn a model against its instructions"),
    "refusal": (None, "declines the request"),
}


@dataclass(frozen=True)
class TextClassifier:
    """Answers one question about a text, English or Chinese: is it toxic, fraud, injection, refusal?

    A tuned half of the sentence encoder (`Tuned`) and a linear model of hashed n-grams; the score is a
    weighted sum, the weights per language. Long texts are read in windows: the n-grams score all of them,
    the network the worst.

    A verdict is `unsafe` where the answer is yes. For `refusal` that is no harm: keep it out of shields.

    Attributes:
        name: which question, and the name on verdicts and card.
        tuned: the network.
        table: [2**18] n-gram weights, to be multiplied by `table_scale`.
        table_scale: what one step of `table` is worth.
        blend: per language the weights of network and n-grams, and the offset.
        cuts: from where scores are unsafe, and unsure.
        handicap: taken off all scores per natural log of the number of readings.
    """

    name: Question
    tuned: Tuned
    table: npt.NDArray[np.int8]
    table_scale: float
    blend: Mapping[str, tuple[float, float, float]]
    cuts: Cuts
    handicap: float

    @classmethod
    def default(cls, name: Question) -> TextClassifier:
        """The shipped classifier for a question.

        Raises:
            DetectorError: there is none of that name, or its weights or the encoder's can't be loaded.
        """
        if name not in get_args(Question):
            raise DetectorError(f"There is no classifier {name!r}: use {', '.join(get_args(Question))}.")
        encoder()
        return _default(name)

    @classmethod
    def of(cls, stored: Mapping[str, npt.NDArray[Any]]) -> TextClassifier:
        """Read the arrays that `arrays` gave.

        Raises:
            KeyError: one is missing.
            ValueError: one has another shape.
        """
        blend = {code: tuple(row) for code, row in zip(_LANGUAGES, stored["blend"].tolist(), strict=True)}
        return cls(
            str(stored["name"]),  # type: ignore[arg-type]
            Tuned.of(stored),
            stored["table"],
            float(stored["table_scale"]),
            blend,
            unpack_cuts(dict(stored)),
            float(stored["handicap"]),
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of the classifier as plain arrays."""
        return {
            **self.tuned.arrays(),
            **pack_cuts(self.cuts),
            "table": self.table,
            "table_scale": np.array(self.table_scale),
            "blend": np.array([self.blend[code] for code in _LANGUAGES]),
            "handicap": np.array(self.handicap),
            "name": np.array(self.name),
        }

    def parts(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Scores [n] of the network and of the n-grams, each text read as it stands."""
        return self.tuned.logits(texts), self._grams(texts)

    def _grams(self, texts: Sequence[str]) -> Array:
        return np.asarray(grams(texts).scores(self.table[:, None])[:, 0] * np.float32(self.table_scale))

    def _blended(self, code: str, texts: Sequence[str]) -> Array:
        network, ngrams = self.parts(texts)
        a, b, c = self.blend[code]
        return np.asarray(a * network + b * ngrams + c, np.float32)

    def readings(self, text: str) -> list[View]:
        """What of the text is read: all of it or its windows, and what is decoded from it."""
        if self.name == "refusal":  # it stands at the start
            return [View(clean(text[:_OPENING]), 0, min(len(text), _OPENING), "whole")]
        most = _WINDOW[language(text)]
        found = views(text) if len(text) <= _DECODED else []
        decoded = [view for view in found if view.kind == "decoded"][:_DECODINGS]
        if len(text) <= most:
            return found[:1] + decoded
        windows = [
            View(clean(text[a : a + most]), a, min(a + most, len(text)), "part")
            for a in range(0, len(text) - most // 4, most * 3 // 4)
        ]
        if len(windows) > _READ:
            worst = np.argsort(-self._grams([view.text for view in windows]), kind="stable")[:_READ]
            windows = [windows[i] for i in sorted({0, *worst.tolist()})]
        return windows + decoded

    def score(self, text: str) -> tuple[float, View]:
        """The text's score, and the reading that earned it."""
        return self._worst(language(text), self.readings(text))

    def _worst(self, code: str, readings: Sequence[View]) -> tuple[float, View]:
        scores = self._blended(code, [view.text for view in readings])
        scores -= np.float32(self.handicap * math.log(len(readings)))
        best = int(np.argmax(scores))
        return float(scores[best]), readings[best]

    def score_many(self, texts: Sequence[str]) -> Array:
        """Each text's probability of a yes, [n]; 0.5 is where `judge` says unsafe."""
        out = np.zeros(len(texts), np.float32)
        # Texts with one reading go through the network together.
        alone: dict[str, list[tuple[int, str]]] = {code: [] for code in _LANGUAGES}
        for i, text in enumerate(texts):
            if not text.strip():
                continue
            readings, code = self.readings(text), language(text)
            if len(readings) == 1:
                alone[code].append((i, readings[0].text))
            else:
                out[i] = self.cuts.probability(self._worst(code, readings)[0], code)
        for of, rows in alone.items():
            if rows:
                scores = self._blended(of, [text for _, text in rows])
                out[[i for i, _ in rows]] = [self.cuts.probability(float(score), of) for score in scores]
        return out

    def judge(self, text: str) -> Verdict:
        """What `check` gives, without awaiting."""
        start = time.perf_counter()
        if not text.strip():
            spent = (time.perf_counter() - start) * 1000
            return Verdict("safe", 0.0, reason="There is no text to judge.", by=self.name, ms=spent)
        code = language(text)
        score, view = self.score(text)
        unsafe, unsure = score >= self.cuts.unsafe[code], score >= self.cuts.unsure[code]
        risk, does = _FOUND[self.name]
        where = "The text" if view.kind == "whole" else "A part of the text"
        return Verdict(
            "unsafe" if unsafe else "controversial" if unsure else "safe",
            self.cuts.probability(score, code),
            risk=risk if unsafe or unsure else None,
            spans=((view.start, view.end),) if unsafe or unsure else (),
            reason=f"{where} {does}." if unsafe or unsure else "",
            by=self.name,
            ms=(time.perf_counter() - start) * 1000,
        )

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text`; a `question` changes nothing.

        Long texts are judged in a thread, so that other requests go on.
        """
        if len(text) > 2000:
            return await asyncio.to_thread(self.judge, text)
        return self.judge(text)


@cache
def _default(name: Question) -> TextClassifier:
    try:
        return TextClassifier.of(weights(name))
    except (KeyError, ValueError) as error:
        raise DetectorError(f"The weights of {name} aren't a text classifier's: {error}.") from None
