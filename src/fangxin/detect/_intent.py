from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._guard import PromptGuard, pack_cuts, unpack_cuts
from fangxin.detect._head import Cuts, fit_logistic
from fangxin.detect._reader import WIDTH, Array, Reader, reader
from fangxin.detect._text import language
from fangxin.detect._verdict import DetectorError, Verdict
from fangxin.detect._weights import arrays, digest, weights

Float = npt.NDArray[np.float64]

_LANGUAGES = ("en", "zh")
_PARTS = 2  # readings of a text beside the whole
_FOLDS = 8
_PENALTIES = (3.0, 30.0, 300.0)
_SHIFT = 2.0  # log-odds that a repair may move a cut by: it has few texts to set it on
_LEAST = 20  # harmless texts of a language that a repair needs to move its cut


@dataclass(frozen=True)
class IntentDetector:
    """What a request is after: a small language model reads it, where a general guard leans on topics.

    The model was tuned on pairs that share their frightening words and differ in intent. It reads the whole
    text and the few of its parts that the prompt guard finds most suspicious (quoted, decoded, or a
    sentence); the text scores as the worst of them, the parts less a handicap.

    Attributes:
        linear: the head on the reader's states [576].
        offset: of the head.
        handicap: log-odds taken off a part's score.
        cuts: from where scores are unsafe, per language.
        name: on its verdicts.
    """

    linear: Array
    offset: float
    handicap: float
    cuts: Cuts
    name: str = "intent"

    @classmethod
    def default(cls) -> IntentDetector:
        """The detector that ships.

        Raises:
            DetectorError: its weights, the encoder's or the language model's can't be loaded.
        """
        reader()
        return cls._of(weights("intent"))

    @classmethod
    def _of(cls, stored: Mapping[str, npt.NDArray[Any]]) -> IntentDetector:
        if stored["linear"].shape != (WIDTH,):
            raise ValueError("it holds no weights of an intent detector")
        return cls(
            stored["linear"].astype(np.float32),
            float(stored["offset"]),
            float(stored["handicap"]),
            unpack_cuts(dict(stored)),
        )

    def adapted(
        self,
        texts: Sequence[str],
        harmful: Sequence[bool],
        groups: Sequence[int],
        *,
        plain: Sequence[bool] | None = None,
        false_positives: float = 0.05,
    ) -> IntentDetector:
        """The detector fitted to what was found in one model.

        A penalised logistic regression on the reader's states, with the shipped head's score as its offset,
        so that little is moved without ground; the penalty is chosen and the cuts are set from folds
        that the regression did not see.

        Args:
            texts: requests, plain or wrapped.
            harmful: whether each is after harm; both kinds must be there.
            groups: which goal each belongs to: never on both sides of a fold.
            plain: which texts are as people write them; only these set the cuts. All by default.
            false_positives: the share of held-out plain harmless texts that may be stopped, in (0, 1).

        Raises:
            DetectorError: only one kind of text.
        """
        labels = np.array(harmful, bool)
        if labels.all() or not labels.any():
            raise DetectorError("An intent detector needs harmful and harmless texts to tell apart.")
        states, firsts = _states(reader(), _readings(texts))
        worst = self._worst(states, firsts)
        x = np.concatenate([states[worst].astype(np.float64) / 10, np.ones((len(texts), 1))], axis=1)
        whole = np.concatenate([states.astype(np.float64) / 10, np.ones((len(states), 1))], axis=1)
        base, handicapped = self._logits(states), self._handicapped(states, firsts)
        fold = np.unique(np.asarray(groups), return_inverse=True)[1] % _FOLDS
        share = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
        y = labels.astype(np.float64)

        def pooled(beta: Float) -> Float:
            return np.asarray(np.maximum.reduceat(handicapped + whole @ beta, firsts), np.float64)

        kept, beta = pooled(np.zeros(x.shape[1])), None
        best = _loss(kept, y, share)
        for penalty in _PENALTIES:
            held = np.empty(len(texts))
            for k in range(_FOLDS):
                use, out = fold != k, fold == k
                if out.any() and use.any():
                    found = fit_logistic(x[use], y[use], share[use], base[worst][use], penalty)
                    held[out] = pooled(found)[out]
            loss = _loss(held, y, share)
            if loss < best:
                best, kept = loss, held
                beta = fit_logistic(x, y, share, base[worst], penalty)
        code = np.array([language(text) for text in texts])
        usual = np.ones(len(texts), bool) if plain is None else np.asarray(plain, bool)
        unsafe, unsure = dict(self.cuts.unsafe), dict(self.cuts.unsure)
        for of in _LANGUAGES:
            mine = kept[(code == of) & ~labels & usual]
            if len(mine) >= _LEAST:
                cut = float(np.quantile(mine, 1 - false_positives, method="higher")) + 1e-6
                unsafe[of] = float(np.clip(cut, self.cuts.unsafe[of] - _SHIFT, self.cuts.unsafe[of] + _SHIFT))
                unsure[of] += unsafe[of] - self.cuts.unsafe[of]
        linear, offset = self.linear, self.offset
        if beta is not None:
            linear = (linear + beta[:-1] / 10).astype(np.float32)
            offset += float(beta[-1])
        name = f"{self.name.removesuffix('+')}+"
        return replace(
            self, linear=linear, offset=offset, cuts=Cuts(unsafe, unsure, self.cuts.slope), name=name
        )

    def _logits(self, states: Array) -> Float:
        return np.asarray(states @ self.linear + self.offset, np.float64)

    def _handicapped(self, states: Array, firsts: npt.NDArray[np.intp]) -> Float:
        """Scores of all readings, the parts less their handicap."""
        scores = self._logits(states) - self.handicap
        scores[firsts] += self.handicap
        return scores

    def _pooled(self, states: Array, firsts: npt.NDArray[np.intp]) -> Float:
        return np.asarray(np.maximum.reduceat(self._handicapped(states, firsts), firsts), np.float64)

    def _worst(self, states: Array, firsts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The reading that gives each text its score."""
        texts = np.split(self._handicapped(states, firsts), firsts[1:])
        return np.asarray(firsts + [int(np.argmax(scores)) for scores in texts], np.intp)

    def score_many(self, texts: Sequence[str]) -> Float:
        """The log-odds that each text is after harm, [n]; compare with `cuts`."""
        if not texts:
            return np.empty(0)
        return self._pooled(*_states(reader(), _readings(texts)))

    def judge(self, text: str) -> Verdict:
        """What `check` gives, without awaiting."""
        start = time.perf_counter()
        score = float(self.score_many([text])[0])
        code = language(text)
        if score >= self.cuts.unsafe[code]:
            label, reason = "unsafe", "The request is after harm."
        elif score >= self.cuts.unsure[code]:
            label, reason = "controversial", "The request may be after harm."
        else:
            label, reason = "safe", ""
        return Verdict(
            label,  # type: ignore[arg-type]
            self.cuts.probability(score, code),
            reason=reason,
            by=self.name,
            ms=(time.perf_counter() - start) * 1000,
        )

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge a request; `question` isn't looked at. Reading takes a while: others go on meanwhile."""
        return await asyncio.to_thread(self.judge, text)

    def save(self, path: str | Path) -> None:
        """Write the head and cuts (4 KB) as an npz file without pickles; the reader is the package's."""
        with open(path, "wb") as file:
            np.savez_compressed(file, **self.arrays())  # type: ignore[arg-type]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `load` reads back."""
        return {
            "linear": self.linear,
            "offset": np.array(self.offset),
            "handicap": np.array(self.handicap),
            **pack_cuts(self.cuts),
            "reader": np.array(digest("reader")),
        }

    @classmethod
    def load(cls, path: str | Path) -> IntentDetector:
        """Read what `save` wrote.

        Raises:
            DetectorError: the file is missing or isn't one.
        """
        try:
            stored = arrays(Path(path).read_bytes())
            if str(stored["reader"]) != digest("reader"):
                raise ValueError("it was fitted with another version's reader; harden again")
            return replace(cls._of(stored), name="intent+")
        except (OSError, ValueError, KeyError) as error:
            raise DetectorError(f"The intent detector's weights {path} can't be read: {error}.") from None


def _readings(texts: Sequence[str]) -> list[list[str]]:
    """For each text: the whole, then the parts that the prompt guard finds most suspicious."""
    guard = PromptGuard.default()
    found = []
    for readings, x in guard.read(texts):
        worst = np.argsort(-guard.logits(x[1:]))[:_PARTS] if len(readings) > 1 else np.empty(0, np.intp)
        found.append([readings[0].text, *(readings[1 + int(i)].text for i in worst)])
    return found


def _states(by: Reader, readings: Sequence[Sequence[str]]) -> tuple[Array, npt.NDArray[np.intp]]:
    """States of all readings [m, 576], and where each text's begin [n]."""
    firsts = np.cumsum([0, *(len(found) for found in readings[:-1])])
    return by.encode([text for found in readings for text in found]), firsts


def _loss(scores: Float, y: Float, share: Float) -> float:
    return float(np.mean(share * np.logaddexp(0, np.where(y > 0, -scores, scores))))


def fit_intent(
    head: Mapping[str, npt.NDArray[Any]],
    adapter: Mapping[str, npt.NDArray[Any]],
    rest: Sequence[Mapping[str, Any]],
) -> dict[str, npt.NDArray[Any]]:
    """Handicap and cuts of a freshly trained head, from rows that trained nothing.

    Args:
        head: `linear` and `offset`.
        adapter: the reader's, as `Reader` takes it.
        rest: rows with `text`, `label`, `lang` and `source`.

    Returns:
        The arrays of an `IntentDetector`.
    """
    states, firsts = _states(Reader(adapter), _readings([row["text"] for row in rest]))
    best: tuple[float, IntentDetector] | None = None
    for handicap in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        cuts = Cuts(dict.fromkeys(_LANGUAGES, 0.0), dict.fromkeys(_LANGUAGES, 0.0))
        trial = IntentDetector(head["linear"], float(head["offset"]), handicap, cuts)
        recall, cuts = _at_rates(trial._pooled(states, firsts), rest)
        if best is None or recall > best[0]:
            best = recall, replace(trial, cuts=cuts)
    assert best is not None
    return best[1].arrays()


# Shares of harmless rows that the shipped cuts may stop: of look-alikes, of joined texts, of all else.
_RATES = {"fangxin_contrasts": 0.05, "joined": 0.05, "wrapped": 0.05}
_RATE = 0.01


def _at_rates(scores: Float, rows: Sequence[Mapping[str, Any]]) -> tuple[float, Cuts]:
    """Mean recall over languages of contrast and wrapped rows, and the cuts that keep to the rates."""
    unsafe, unsure, recalls = {}, {}, []
    code = np.array([row["lang"] for row in rows])
    source = np.array([row["source"] for row in rows])
    harmful = np.array([row["label"] == "harmful" for row in rows])
    special = np.isin(source, list(_RATES))
    for of in _LANGUAGES:
        tame = (code == of) & ~harmful
        kinds = [(scores[tame & ~special], _RATE)]
        kinds += [(scores[tame & (source == name)], rate) for name, rate in _RATES.items()]
        unsafe[of], unsure[of] = (
            max(float(np.quantile(kind, 1 - more * rate)) for kind, rate in kinds if len(kind))
            for more in (1.0, 3.0)
        )
        for name in ("fangxin_contrasts", "wrapped"):
            mine = scores[(code == of) & harmful & (source == name)]
            if len(mine):
                recalls.append(float(np.mean(mine >= unsafe[of])))
    return float(np.mean(recalls)), Cuts(unsafe, unsure)


@cache
def contrasts() -> tuple[tuple[str, bool, str, int], ...]:
    """Our own pairs that share their words and differ in intent.

    Returns:
        For each text: the text, whether it is after harm, its language, and the number of its pair.
    """
    found = []
    lines = (files("fangxin.detect") / "rows" / "contrasts.jsonl").read_text("utf-8").splitlines()
    for pair, line in enumerate(lines):
        row = json.loads(line)
        found += [(row["harmful"], True, row["lang"], pair), (row["benign"], False, row["lang"], pair)]
    return tuple(found)
