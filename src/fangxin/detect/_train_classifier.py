from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._classifier import Question, TextClassifier
from fangxin.detect._hashing import BITS, grams
from fangxin.detect._head import Cuts
from fangxin.detect._sources import Rows, Sources, capped, own
from fangxin.detect._text import identity, language
from fangxin.detect._train_guard import held_out, instructions, say
from fangxin.detect._tuned import Tuned
from fangxin.detect._verdict import DetectorError
from fangxin.detect._views import clean

_LANGUAGES = ("en", "zh")
_ROWS: dict[Question, str] = {
    "toxicity": "speech.json",
    "fraud": "fraud.json",
    "injection": "injection.json",
    "refusal": "declines.json",
}
_LICENCE = "P: Apache-2.0"
_SLOT = re.compile(r"\{([A-Zq])\}")
# Held-out false positives that a cut may make; None: the cut that errs least.
_RATE: dict[Question, float | None] = {"toxicity": None, "fraud": None, "injection": 0.02, "refusal": None}


def framed(name: Question, rng: random.Random, each: int, requests: dict[str, list[str]]) -> Rows:
    """Our frames filled, at most `each` times; `kind` is the frame's, and `held` keeps frames together.

    Args:
        name: the question.
        rng: draws the fillings.
        each: fillings of a frame.
        requests: harmless requests per language, for `{q}`.
    """
    out = []
    for code in _LANGUAGES:
        written = own(_ROWS[name])[code]
        for label, kind, frames in written["frames"]:
            for frame in frames:
                slots = sorted(set(_SLOT.findall(frame)))
                pools = [requests[code] if s == "q" else written["slots"][s] for s in slots]
                some = [rng.sample(pool, min(len(pool), 40)) for pool in pools]
                fillings = list(product(*some))
                for filling in rng.sample(fillings, min(each, len(fillings))):
                    text = _filled(frame, dict(zip(slots, filling, strict=True)))
                    row = _row(text, label, code, f"fangxin_{name}", _LICENCE, kind)
                    out.append({**row, "frame": frame, "held": held_out(frame)})
    return out


def _filled(frame: str, words: dict[str, str]) -> str:
    text = _SLOT.sub(lambda match: words[match[1]], frame)
    return text[0].upper() + text[1:]


def requests_of(rows: Rows) -> dict[str, list[str]]:
    """Short harmless prompts among the rows, per language, for the frames that take any request."""
    return {
        code: [row["text"] for row in rows if row["lang"] == code and row["kind"] == "prompt"][:400]
        for code in _LANGUAGES
    }


def _row(
    text: str, label: Any, code: str, source: str, licence: str, kind: str = "", weight: float = 1.0
) -> dict[str, Any]:
    return {
        "text": text,
        "label": float(label),
        "lang": code,
        "source": source,
        "licence": licence,
        "kind": kind,
        "weight": weight,
        "held": held_out(text),
    }


def _toxicity(sources: Sources, rng: random.Random) -> Rows:
    """Public sets of hate and offence, and our frames.

    The tweets of `davidson_hate` are called offensive for single words, so few are taken, and lightly.
    """
    most = {"cold": 16000, "swsr": 4500, "davidson_hate": 3500}
    counts: Counter[str] = Counter()
    rows = []
    for row in _shuffled(sources.read("train", "toxicity"), rng):
        source = row["source"]
        if counts[source] >= most.get(source, 10**6):
            continue
        counts[source] += 1
        light = 0.4 if row["category"] == "offensive" else 1.0
        kind = str(row["category"]).split("/")[0]
        rows.append(_row(row["text"], row["label"], row["lang"], source, row["licence"], kind, light))
    return rows + framed("toxicity", rng, 16, {})


def _fraud(sources: Sources, rng: random.Random) -> Rows:
    """Model-made calls, some cut or stripped of the speakers' marks; our frames; other talk.

    All honest calls there order or ask for something: money, banks and police stand only in the fraudulent
    ones, so our frames have to say that these words alone are nothing.
    """
    rows = []
    for row in capped(_topics(sources.read("train", "fraud")), 220, rng):
        text = row["text"]
        if rng.random() < 0.5:
            text = re.sub(r"(?m)^[甲乙][：:]", "", text)
        if rng.random() < 0.5:
            text = text[: max(len(text) // 2, 120)]
        made = _row(
            text, row["label"] == "fraud", "zh", row["source"].split(":")[0], row["licence"], row["kind"]
        )
        rows.append({**made, "held": held_out(row["text"])})
    rows += _harmless(sources, rng, 600)
    for row in rng.sample(sources.read("train", "support"), 500):
        text = "\n".join(turn["content"] for turn in row["turns"][:6])[:600]
        rows.append(_row(text, 0, "zh", row["source"], row["licence"], "support"))
    return rows + framed("fraud", rng, 18, {})


def _topics(rows: Rows) -> Rows:
    """Rows with their topic in the source's place, so that `capped` counts topics."""
    return [
        {**row, "kind": str(row["category"]), "source": f"{row['source']}:{row['category']}"} for row in rows
    ]


def _harmless(sources: Sources, rng: random.Random, most: int) -> Rows:
    """Ordinary prompts of the guards' side, at most so many a language."""
    rows = [row for row in sources.prompts("guard") if row["label"] == "benign"]
    rows = capped(rows, most // 4, rng)
    out = []
    for code in _LANGUAGES:
        mine = [row for row in rows if row["lang"] == code]
        for row in rng.sample(mine, min(most, len(mine))):
            out.append(_row(row["text"], 0, code, row["source"], row.get("licence", ""), "prompt"))
    out += [
        _row(row["text"], 0, row["lang"], "fangxin_instructions", _LICENCE, "prompt")
        for row in instructions(rng, most // 3)
    ]
    return out


def _injection(sources: Sources, rng: random.Random) -> Rows:
    """Jailbreak templates around prompts of both kinds, orders in data, and role play that is only that."""
    harmless = _harmless(sources, rng, 1500)
    requests = {
        code: [row["text"] for row in harmless if row["lang"] == code and len(row["text"]) < 160]
        for code in _LANGUAGES
    }
    harmful = {
        code: [
            row["text"]
            for row in sources.prompts("guard")
            if row["label"] == "harmful" and row["lang"] == code and len(row["text"]) < 200
        ]
        for code in _LANGUAGES
    }
    rows = list(harmless)
    # A plain harmful request is no injection: that is the prompt guard's to find.
    for code in _LANGUAGES:
        for text in rng.sample(harmful[code], min(400, len(harmful[code]))):
            rows.append(_row(text, 0, code, "prompts (harmful, not wrapped)", "", "plain harm"))
    contexts = next(f[2] for f in own("injection.json")["en"]["frames"] if f[1] == "data")
    slots = own("injection.json")["en"]["slots"]["K"]
    latent = 0
    for row in _shuffled(sources.read("train", "injection"), rng):
        bad = row["label"] == "injection"

        def add(text: str, label: bool, kind: str, row: dict[str, Any] = row) -> None:
            made = _row(text, label, row["lang"], row["source"], row["licence"], kind)
            rows.append({**made, "held": held_out(row["text"])})

        if row["source"] == "latent_jailbreak":
            latent += 1
            if latent <= 120:
                add(row["text"], True, "latent")
        elif row["channel"] == "inside_data":
            context = rng.choice(contexts).replace("{K}", rng.choice(slots))
            add(f"{context} {row['text']}", True, "in data")
        elif bad and row["category"] == "jailbreak_template":
            for _ in range(4):
                request = rng.choice(harmful["en"] + requests["en"][:400])
                add(row["text"].replace("[INSERT PROMPT HERE]", request), True, "jailbreak")
        else:
            add(row["text"], bad, "jailbreak" if bad else str(row["category"]))
    both = {code: requests[code][:300] + harmful[code][:300] for code in _LANGUAGES}
    rows += framed(
        "injection", rng, 16, {code: rng.sample(both[code], len(both[code])) for code in _LANGUAGES}
    )
    return rows


def _refusal(sources: Sources, rng: random.Random) -> Rows:
    """Replies of the guards' side whose refusal is known, counsellors' replies, and our frames."""
    rows = []
    asked = {row["response"]: row["prompt"] for row in sources.read("train", "exchanges")}
    for row in sources.read("train", "refusals"):
        prompt = row["prompt"] or asked.get(row["response"])
        if prompt is None or not sources.belongs(prompt, "guard"):
            continue
        made = _row(row["response"], row["label"] == "refusal", row["lang"], row["source"], row["licence"])
        rows.append({**made, "held": held_out(prompt), "prompt": prompt})
    for exchange in sources.exchanges("guard"):
        if not exchange.refusal and exchange.asked is False and exchange.reply:
            code = language(exchange.reply)
            made = _row(exchange.reply, 0, code, exchange.source, "", "answer")
            rows.append({**made, "prompt": exchange.question})
    some = rng.sample([row for row in rows if row["kind"] == "answer"], 1200)
    rows = [row for row in rows if row["kind"] != "answer"] + some
    rows += _harmless(sources, rng, 300)
    return rows + framed("refusal", rng, 16, {})


_MADE = {"toxicity": _toxicity, "fraud": _fraud, "injection": _injection, "refusal": _refusal}
# Passes over the rows, and tokens read of each: what a refusal or a fraud needs stands early enough.
_PASSES: dict[Question, int] = {"toxicity": 3, "fraud": 2, "injection": 2, "refusal": 3}
_TOKENS: dict[Question, int] = {"toxicity": 128, "fraud": 80, "injection": 128, "refusal": 64}


def _shuffled(rows: Rows, rng: random.Random) -> Rows:
    return rng.sample(rows, len(rows))


def rows_of(name: Question, sources: Sources, rng: random.Random) -> Rows:
    """All rows that a classifier learns from, cleaned, none of the judge's; the tally is of these alone."""
    judged = _judge_texts(sources)
    found = _MADE[name](sources, rng)
    licences = {source: licence for source, licence in sources.tally if licence}
    sources.tally.clear()
    sources.taken.clear()
    out: Rows = []
    seen: set[int] = set()
    for row in found:
        text = clean(row["text"]).strip()
        key = identity(text)
        prompt = row.get("prompt")
        if not text or key in seen or (prompt is None and key in judged):
            continue
        seen.add(key)
        licence = row["licence"] or licences.get(row["source"], _LICENCE)
        sources.take({"source": row["source"], "licence": licence}, text if prompt is None else prompt)
        out.append({**row, "text": text})
    return out


def _judge_texts(sources: Sources) -> set[int]:
    """Identities of the prompts on the judge's side."""
    texts = {row["text"] for row in sources.read("train", "prompts")}
    for file in ("exchanges", "refusals", "preference"):
        texts |= {row["prompt"] for row in sources.read("train", file)}
    return {identity(text) for text in texts if text and sources.belongs(text, "judge")}


def fit_grams(
    texts: Sequence[str],
    y: npt.NDArray[Any],
    weight: npt.NDArray[Any],
    seed: int,
    inverse_penalty: float = 3.0,
) -> npt.NDArray[np.float32]:
    """[2**18] weights of a logistic regression on hashed n-grams, by scikit-learn; the offset is left out."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression

    found = grams(texts)
    ends = np.append(found.starts, len(found.ids))
    values = np.repeat(1 / np.sqrt(np.diff(ends)), np.diff(ends)).astype(np.float32)
    x = csr_matrix((values, found.ids, ends), shape=(len(texts), 1 << BITS))
    x.sum_duplicates()
    model = LogisticRegression(C=inverse_penalty, solver="liblinear", random_state=seed, tol=1e-3)
    model.fit(x, y >= 0.5, sample_weight=weight)
    return np.asarray(model.coef_[0], np.float32)


def row_weights(rows: Rows) -> npt.NDArray[np.float64]:
    """Each language and label counts the same; within it rows count by their own weight."""
    total: Counter[tuple[str, bool]] = Counter()
    for row in rows:
        total[row["lang"], row["label"] >= 0.5] += row["weight"]
    share = [row["weight"] / total[row["lang"], row["label"] >= 0.5] for row in rows]
    # Half-way between equal groups and rows as they come: small groups aren't blown up beyond reason.
    even = np.array(share) * len(rows) / max(len(total), 1)
    mixed = np.sqrt(even * np.array([row["weight"] for row in rows]))
    return np.asarray(mixed / mixed.mean())


def train_classifier(name: Question, sources: Sources, seed: int) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Arrays of one classifier: network and n-grams fitted apart, then blended on rows that neither saw."""
    from fangxin.detect._tune import tune

    rng = random.Random(seed)
    rows = rows_of(name, sources, rng)
    rows = rng.sample(rows, len(rows))
    fit = [row for row in rows if not row["held"]]
    rest = [row for row in rows if row["held"]]
    say(f"{name}: {len(fit)} rows to fit, {len(rest)} held out")
    texts, y = [row["text"] for row in fit], np.array([row["label"] for row in fit])
    weight = row_weights(fit)
    table = fit_grams(texts, y, weight, seed)
    scale = float(np.quantile(np.abs(table[table != 0]), 0.9995)) / 127
    small = np.clip(np.round(table / scale), -127, 127).astype(np.int8)
    tuned = tune([t[:700] for t in texts], y, weight, seed, _PASSES[name], _TOKENS[name], 2e-3)
    even = dict.fromkeys(_LANGUAGES, (1.0, 0.0, 0.0))
    shipped = Tuned.of(tuned.arrays())  # as rounded as it ships
    raw = TextClassifier(name, shipped, small, scale, even, _even(0.0), 0.5)
    made = calibrated(raw, rest)
    return {name: made.arrays()}


def _even(value: float) -> Cuts:
    return Cuts(dict.fromkeys(_LANGUAGES, value), dict.fromkeys(_LANGUAGES, value))


def _blend(
    x: npt.NDArray[Any], y: npt.NDArray[np.bool_], weight: npt.NDArray[Any]
) -> tuple[float, float, float]:
    """Weights of network and n-grams, neither below zero, and the offset: a penalised logistic regression.

    The penalty shares the weight between the two where either alone would do, as on rows that both know well.
    """
    from sklearn.linear_model import LogisticRegression

    spread = x.std(axis=0)
    model = LogisticRegression(C=1.0).fit(x / spread, y, sample_weight=weight)
    slopes = model.coef_[0]
    if (slopes < 0).any():
        kept = int(np.argmax(slopes))
        model.fit(x[:, [kept]] / spread[kept], y, sample_weight=weight)
        slopes = np.where(np.arange(2) == kept, model.coef_[0, 0], 0.0)
    a, b = (slopes / spread).tolist()
    return a, b, float(model.intercept_[0])


def calibrated(raw: TextClassifier, rest: Rows) -> TextClassifier:
    """The classifier with its blend and cuts from held-out rows, per language."""
    from dataclasses import replace

    network, ngrams = raw.parts([row["text"][:700] for row in rest])
    y = np.array([row["label"] >= 0.5 for row in rest])
    code = np.array([row["lang"] for row in rest])
    source = np.array([row["source"] for row in rest])
    x = np.stack([network, ngrams], axis=1)
    blend, unsafe, unsure = {}, {}, {}
    for of in _LANGUAGES:
        mine = code == of
        if not mine.any() or y[mine].all() or not y[mine].any():
            raise DetectorError(f"{raw.name}: no held-out rows of both kinds in {of}.")
        count = Counter(source[mine].tolist())
        weight = np.array([count[s] ** -0.5 for s in source[mine]])
        blend[of] = _blend(x[mine], y[mine], weight / weight.mean())
        score = x[mine] @ np.array(blend[of][:2]) + blend[of][2]
        rate = _RATE[raw.name]
        cut = 0.0
        if rate is not None:
            # Our frames look like injections on purpose, and ordinary traffic has few of that kind.
            ours = np.char.startswith(source[mine], "fangxin")
            cut = max(
                float(np.quantile(score[~y[mine] & (ours == hard)], 1 - rate * (5 if hard else 1)))
                for hard in (False, True)
            )
        unsafe[of], unsure[of] = cut, cut - 1.4
        for s in sorted(count):
            only = source[mine] == s
            hit = (score >= cut) == y[mine]
            say(f"  {raw.name} {of} {s}: held-out accuracy {hit[only].mean():.3f} (n={only.sum()})")
        alone = [((x[mine][:, k] > 0) == y[mine]).mean() for k in (0, 1)]
        say(f"  {raw.name} {of}: network {alone[0]:.3f}, n-grams {alone[1]:.3f}, blend {blend[of]}")
    return replace(raw, blend=blend, cuts=Cuts(unsafe, unsure))
