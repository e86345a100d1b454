from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fangxin.detect._encoder import DIM, LONGEST, encoder
from fangxin.detect._head import Array, Cuts, Head, Net, Residual
from fangxin.detect._text import language
from fangxin.detect._verdict import DetectorError, Verdict
from fangxin.detect._views import View, clean, views
from fangxin.detect._weights import arrays, weights

_FORMAT = 1
_LANGUAGES = ("en", "zh")


def pack_cuts(cuts: Cuts) -> dict[str, npt.NDArray[Any]]:
    """Cuts as arrays for an npz."""
    return {
        "cuts": np.array([[cuts.unsafe[code], cuts.unsure[code]] for code in _LANGUAGES]),
        "slope": np.array(cuts.slope),
    }


def unpack_cuts(stored: dict[str, npt.NDArray[Any]]) -> Cuts:
    """Cuts from the arrays of `pack_cuts`."""
    rows = dict(zip(_LANGUAGES, stored["cuts"].tolist(), strict=True))
    return Cuts(
        {code: row[0] for code, row in rows.items()},
        {code: row[1] for code, row in rows.items()},
        float(stored["slope"]),
    )


@dataclass(frozen=True)
class PromptGuard:
    """Judges prompts, English and Chinese: is this a request for harm?

    A text is read in several ways (`views`): whole, by sentences, quoted and decoded parts. Each reading is
    embedded and scored; the text's score is the best of the whole's and, less a handicap that grows with
    their number, the parts'. So a long harmless text isn't blocked because it has many parts.

    Attributes:
        head: a kernel classifier on embeddings: sharp near what it was trained on.
        net: a network on them, which carries further; half its logit is added to the head's.
        cuts: where scores become verdicts, per language.
        handicap: logits taken off any part's score, and more per natural log of the number of readings.
        residual: what a repair adds to the head's logits, if one did.
        name: on its verdicts.
    """

    head: Head
    net: Net
    cuts: Cuts
    handicap: tuple[float, float]
    residual: Residual | None = None
    name: str = "prompt-guard"

    @classmethod
    def default(cls) -> PromptGuard:
        """The guard that ships.

        Raises:
            DetectorError: its weights, or the encoder's, can't be loaded.
        """
        encoder()
        return _default_prompt_guard()

    @classmethod
    def load(cls, path: str | Path) -> PromptGuard:
        """Read a guard that `save` wrote.

        Raises:
            DetectorError: the file is missing or isn't such a guard.
        """
        try:
            guard = cls._of(arrays(Path(path).read_bytes()))
        except (OSError, ValueError, KeyError) as error:
            raise DetectorError(f"{path} isn't a prompt guard that this version reads: {error}.") from None
        encoder()
        return guard

    @classmethod
    def _of(cls, stored: dict[str, npt.NDArray[Any]]) -> Self:
        if int(stored["format"]) != _FORMAT or str(stored["kind"]) != "prompt":
            raise ValueError("another format")
        residual = None
        if "residual_linear" in stored:
            residual = Residual(Head.of(stored, "residual_"), stored["residual_linear"].astype(np.float32))
        first, more = stored["handicap"].tolist()
        name = str(stored["name"])
        return cls(Head.of(stored), Net.of(stored), unpack_cuts(stored), (first, more), residual, name)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of the guard as plain arrays."""
        stored = {
            **self.head.arrays(),
            **self.net.arrays(),
            **pack_cuts(self.cuts),
            "handicap": np.array(self.handicap),
            "format": np.array(_FORMAT),
            "kind": np.array("prompt"),
            "name": np.array(self.name),
        }
        if self.residual is not None:
            stored |= self.residual.kernel.arrays("residual_") | {"residual_linear": self.residual.linear}
        return stored

    def save(self, path: str | Path) -> None:
        """Write the guard to an npz of plain arrays (about 7 MB)."""
        with open(path, "wb") as file:
            np.savez_compressed(file, **self.arrays())  # type: ignore[arg-type]

    def logits(self, x: Array) -> Array:
        """[n] scores of embedded readings [n, 512]."""
        base = self.head.logits(x) + np.float32(0.5) * self.net.logits(x)
        return base if self.residual is None else base + self.residual.logits(x)

    def pool(self, logits: Array, count: int) -> tuple[float, int]:
        """A text's score and the reading that gave it, from its readings' logits (the whole's first)."""
        first, more = self.handicap
        handicapped = logits.copy()
        handicapped[1:] -= first + more * math.log(max(count, 1))
        best = int(np.argmax(handicapped))
        return float(handicapped[best]), best

    def read(self, texts: Sequence[str]) -> list[tuple[list[View], Array]]:
        """Each text's readings and their embeddings, [readings, 512]."""
        found = [views(text) for text in texts]
        embedded = encoder().encode([view.text for readings in found for view in readings])
        ends = np.cumsum([len(readings) for readings in found])
        return list(zip(found, np.split(embedded, ends[:-1]), strict=True)) if found else []

    def score_many(self, texts: Sequence[str]) -> Array:
        """Each text's probability of being a request for harm, [n]; 0.5 is where `check` says unsafe."""
        out = np.empty(len(texts), np.float32)
        for i, (readings, x) in enumerate(self.read(texts)):
            score, _ = self.pool(self.logits(x), len(readings))
            out[i] = self.cuts.probability(score, language(texts[i]))
        return out

    def judge(self, text: str) -> Verdict:
        """What `check` gives, without awaiting."""
        return self.judge_many([text])[0]

    def judge_many(self, texts: Sequence[str]) -> list[Verdict]:
        """Each text's verdict; `ms` is its share of the whole."""
        start = time.perf_counter()
        found = [self._verdict(*one) for one in zip(texts, self.read(texts), strict=True)]
        share = (time.perf_counter() - start) * 1000 / max(len(texts), 1)
        return [replace(verdict, ms=share) for verdict in found]

    def _verdict(self, text: str, read: tuple[list[View], Array]) -> Verdict:
        readings, x = read
        score, best = self.pool(self.logits(x), len(readings))
        code = language(text)
        unsafe, unsure = score >= self.cuts.unsafe[code], score >= self.cuts.unsure[code]
        view = readings[best]
        where = {
            "whole": "The text",
            "part": "A part",
            "quoted": "A quoted part",
            "decoded": "A decoded part",
        }
        return Verdict(
            "unsafe" if unsafe else "controversial" if unsure else "safe",
            self.cuts.probability(score, code),
            spans=((view.start, view.end),) if unsafe or unsure else (),
            reason=f"{where[view.kind]} reads like a request for harm." if unsafe or unsure else "",
            by=self.name,
        )

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text` as a prompt; a `question` changes nothing.

        Long texts are judged in a thread, so that other requests go on.
        """
        if len(text) > 2000:
            return await asyncio.to_thread(self.judge, text)
        return self.judge(text)

    async def check_many(self, texts: Sequence[str], questions: Sequence[str | None]) -> list[Verdict]:
        """Judge many prompts at once, in a thread."""
        return await asyncio.to_thread(self.judge_many, texts)

    def at(self, false_positives: float, benign: Sequence[str]) -> PromptGuard:
        """This guard with its cuts moved so that `false_positives` (in (0, 1)) of `benign` are unsafe.

        A language with fewer than 20 of the texts keeps its cuts.
        """
        scores: dict[str, list[float]] = {code: [] for code in _LANGUAGES}
        for text, (readings, x) in zip(benign, self.read(benign), strict=True):
            scores[language(text)].append(self.pool(self.logits(x), len(readings))[0])
        unsafe, unsure = dict(self.cuts.unsafe), dict(self.cuts.unsure)
        for code, found in scores.items():
            if len(found) >= 20:
                gap = unsafe[code] - unsure[code]
                unsafe[code] = float(np.quantile(found, 1 - false_positives)) + 1e-6
                unsure[code] = unsafe[code] - gap
        return replace(self, cuts=Cuts(unsafe, unsure, self.cuts.slope))


@cache
def _default_prompt_guard() -> PromptGuard:
    return PromptGuard._of(weights("prompt_guard"))


@dataclass(frozen=True)
class ReplyGuard:
    """Judges replies, English and Chinese: does this reply give in to a request for harm?

    It sees the embeddings of question and reply and their product. Without a question it sees an empty
    one, and is weaker.

    Attributes:
        head: a kernel classifier on joint rows (see `join`).
        net: a network on them; half its logit is added to the head's.
        cuts: where scores become verdicts, per language of the reply.
        name: on its verdicts.
    """

    head: Head
    net: Net
    cuts: Cuts
    name: str = "reply-guard"

    @classmethod
    def default(cls) -> ReplyGuard:
        """The guard that ships.

        Raises:
            DetectorError: its weights, or the encoder's, can't be loaded.
        """
        encoder()
        return _default_reply_guard()

    @staticmethod
    def join(questions: Sequence[str], replies: Sequence[str]) -> Array:
        """Unit rows [n, 3 * 512]: question, reply, and their product scaled to the same length."""
        if len(questions) == 1:
            return join(_asked(_readable(questions[0])), encoder().encode([_readable(replies[0])]))
        n = len(questions)
        both = encoder().encode([_readable(text) for text in (*questions, *replies)])
        return join(both[:n], both[n:])

    def logits(self, x: Array) -> Array:
        """[n] scores of joint rows [n, 3 * 512]."""
        return np.asarray(self.head.logits(x) + np.float32(0.5) * self.net.logits(x), np.float32)

    def score_many(self, questions: Sequence[str], replies: Sequence[str]) -> Array:
        """Each reply's probability of serving harm, [n]; 0.5 is where `check` says unsafe."""
        scores = self.logits(self.join(questions, replies))
        return np.array(
            [self.cuts.probability(float(s), language(r)) for s, r in zip(scores, replies, strict=True)],
            np.float32,
        )

    def judge(self, text: str, question: str = "") -> Verdict:
        """What `check` gives, without awaiting."""
        return self.judge_many([text], [question])[0]

    def judge_many(self, texts: Sequence[str], questions: Sequence[str]) -> list[Verdict]:
        """Each reply's verdict; `ms` is its share of the whole."""
        start = time.perf_counter()
        scores = self.logits(self.join(questions, texts)).tolist() if texts else []
        found = [self._verdict(*one) for one in zip(texts, scores, strict=True)]
        share = (time.perf_counter() - start) * 1000 / max(len(texts), 1)
        return [replace(verdict, ms=share) for verdict in found]

    def _verdict(self, text: str, score: float) -> Verdict:
        code = language(text)
        if not text.strip():
            score = -math.inf
        unsafe, unsure = score >= self.cuts.unsafe[code], score >= self.cuts.unsure[code]
        return Verdict(
            "unsafe" if unsafe else "controversial" if unsure else "safe",
            self.cuts.probability(score, code),
            spans=((0, len(text)),) if unsafe or unsure else (),
            reason="The reply serves a request for harm." if unsafe or unsure else "",
            by=self.name,
        )

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text` as the reply to `question`."""
        return self.judge(text, question or "")

    async def check_many(self, texts: Sequence[str], questions: Sequence[str | None]) -> list[Verdict]:
        """Judge many replies at once, in a thread."""
        return await asyncio.to_thread(self.judge_many, texts, [question or "" for question in questions])


def _readable(text: str) -> str:
    """As much of a text as the encoder may read."""
    return clean(text)[: LONGEST * 6]


@lru_cache(256)
def _asked(question: str) -> Array:
    """[1, 512]: a question's embedding; a streamed reply has it judged with every sentence."""
    return encoder().encode([question])


def join(questions: Array, replies: Array) -> Array:
    """Joint unit rows of embedded questions and replies, [n, 512] each."""
    product = questions * replies
    product /= np.linalg.norm(product, axis=1, keepdims=True) + 1e-9
    out = np.concatenate([questions, replies, product], axis=1)
    assert out.shape[1] == 3 * DIM
    return np.asarray(out / math.sqrt(3.0), np.float32)


@cache
def _default_reply_guard() -> ReplyGuard:
    stored = weights("reply_guard")
    return ReplyGuard(Head.of(stored), Net.of(stored), unpack_cuts(stored))
