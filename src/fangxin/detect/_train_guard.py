from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._encoder import encoder
from fangxin.detect._guard import PromptGuard, ReplyGuard, pack_cuts
from fangxin.detect._head import Array, Cuts, Head, Net
from fangxin.detect._intent import contrasts
from fangxin.detect._sources import Exchange, Rows, Sources, capped, cut, own, payloads
from fangxin.detect._text import identity, language
from fangxin.detect._views import clean

_LANGUAGES = ("en", "zh")
_RATE = 0.02  # of benign prompts that the shipped cuts may block
_HARD_RATE = 0.12  # of benign prompts that share a harmful one's words
_HARD = {"fangxin_lookalikes": 3.0, "fangxin_contrasts": 4.0}  # how much more such a row weighs


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def held_out(text: str) -> bool:
    """A fifth of the guard's own rows sets cuts and handicaps, and never fits a head."""
    return identity(text) // 7 % 5 == 0


def fit_head(
    x: Array,
    y: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float64],
    landmarks: Array,
    gamma: float,
    inverse_penalty: float,
) -> Head:
    """A logistic regression on similarities to landmarks, by scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    empty = Head(landmarks, np.zeros(len(landmarks), np.float32), 0.0, gamma)
    model = LogisticRegression(C=inverse_penalty, max_iter=400, tol=1e-3)
    model.fit(empty.features(x), y, sample_weight=weight)
    return Head(landmarks, model.coef_[0].astype(np.float32), float(model.intercept_[0]), gamma)


def fit_net(
    x: Array,
    y: npt.NDArray[np.bool_],
    weight: npt.NDArray[np.float64],
    numbers: np.random.Generator,
    seed: int,
) -> Net:
    """Three networks of 192 units, averaged, by scikit-learn, each on 30,000 rows drawn by weight."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    parts = []
    for i in range(3):
        drawn = numbers.choice(len(x), 30000, p=weight / weight.sum())
        net = MLPClassifier((192,), alpha=3e-2, max_iter=10, learning_rate_init=2e-3, random_state=seed + i)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of passes is meant
            net.fit(x[drawn] * Net.SCALE, y[drawn])
        parts.append((*net.coefs_, *net.intercepts_))
    return Net(
        np.concatenate([part[0] for part in parts], axis=1).astype(np.float32),
        np.concatenate([part[2] for part in parts]).astype(np.float32),
        (np.concatenate([part[1][:, 0] for part in parts]) / len(parts)).astype(np.float32),
        float(np.mean([part[3][0] for part in parts])),
    )


def _weights(rows: Rows, power: float = 0.5) -> npt.NDArray[np.float64]:
    """Each language and label the same in all; within it, sources by the root of their size."""
    group = Counter((row["source"], row["lang"], row["label"]) for row in rows)
    raw = np.array(
        [
            group[row["source"], row["lang"], row["label"]] ** -power * _HARD.get(row["source"], 1.0)
            for row in rows
        ]
    )
    total: Counter[tuple[str, str]] = Counter()
    for row, value in zip(rows, raw, strict=True):
        total[row["lang"], row["label"]] += value
    out = np.array([value / total[row["lang"], row["label"]] for row, value in zip(rows, raw, strict=True)])
    return np.asarray(out * (len(rows) / out.sum()))


def wrapped(rows: Rows, sources: Sources, rng: random.Random, most: int) -> Rows:
    """Harmful and harmless prompts in the same wrappings, so that the wrapping says nothing."""
    own_wrappers = own("wrappers.json")
    templates = [
        row["text"]
        for row in sources.read("train", "injection")
        if row["source"] == "gptfuzz_templates" and "[INSERT PROMPT HERE]" in row["text"]
    ]
    out = []
    for code in _LANGUAGES:
        pool = own_wrappers[code] * 3 + (templates if code == "en" else [])
        for label in ("harmful", "benign"):
            plain = [
                row
                for row in rows
                if row["lang"] == code and row["label"] == label and 4 <= len(row["text"]) <= 200
            ]
            chosen = rng.sample(plain, min(most, len(plain)))
            texts = payloads(pool, [row["text"] for row in chosen], rng)
            out += [
                {**row, "text": text, "source": "wrapped"} for row, text in zip(chosen, texts, strict=True)
            ]
    return out


def instructions(rng: random.Random, count: int) -> Rows:
    """Open instructions on everyday topics, of which the public sets have few in Chinese."""
    out = []
    for code, parts in own("instructions.json").items():
        pairs = [(frame, topic) for frame in parts["frames"] for topic in parts["topics"]]
        for frame, topic in rng.sample(pairs, count):
            text = frame.replace("{t}", topic)
            out.append({"text": text, "lang": code, "label": "benign", "source": "fangxin_instructions"})
    return out


def contrast_rows(sources: Sources) -> Rows:
    """Our contrast pairs, the guards' alone; every fifth pair is `held` out, both sides of it."""
    rows = [
        {
            "text": text,
            "label": "harmful" if harmful else "benign",
            "lang": code,
            "source": "fangxin_contrasts",
            "licence": "P: Apache-2.0",
            "held": pair % 5 == 0,
        }
        for text, harmful, code, pair in contrasts()
    ]
    for row in rows:
        sources.take(row, str(row["text"]))
    return rows


def joined(rows: Rows, rng: random.Random, count: int) -> Rows:
    """Long harmless texts: several harmless prompts one after another."""
    out = []
    for code in _LANGUAGES:
        plain = [
            row["text"]
            for row in rows
            if row["lang"] == code and row["label"] == "benign" and row["source"] != "fangxin_lookalikes"
        ]
        for _ in range(count):
            text = "\n".join(rng.sample(plain, rng.randint(3, 12)))
            out.append({"text": text, "lang": code, "label": "benign", "source": "joined"})
    return out


def train_prompt_guard(sources: Sources, seed: int) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Arrays of the prompt guard and of its anchors."""
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    rows = capped(sources.prompts("guard"), 1500, rng) + instructions(rng, 900)
    rows = [{**row, "held": held_out(row["text"])} for row in rows] + contrast_rows(sources)
    fit, rest = ([row for row in rows if row["held"] == held] for held in (False, True))
    fit += wrapped(fit, sources, rng, 900)
    rest += wrapped(rest, sources, rng, 250)
    longs, rest_longs = joined(fit, rng, 250), joined(rest, rng, 120)
    say(f"prompt guard: {len(fit)} rows to fit, {len(rest)} held out; embedding")
    x = encoder().encode([clean(row["text"]) for row in fit])
    y = np.array([row["label"] == "harmful" for row in fit])
    weight = _weights(fit)
    contrast = np.array([row["source"] in _HARD for row in fit])
    landmarks = np.concatenate([x[contrast], x[~contrast][numbers.permutation((~contrast).sum())[:1500]]])
    head = fit_head(x, y, weight, landmarks, 2.0, 10.0)
    guard = PromptGuard(head, fit_net(x, y, weight, numbers, seed), _even(0.0), (0.0, 0.0))

    say("prompt guard: parts of harmless texts that look worst")
    hard = [row for row in fit if row["label"] == "benign" and len(row["text"]) > 60]
    hard = rng.sample(hard, min(3000, len(hard))) + longs
    mined = []
    for row, (readings, parts) in zip(hard, guard.read([row["text"] for row in hard]), strict=True):
        if len(readings) > 1:
            for i in np.argsort(-guard.logits(parts[1:]))[:2]:
                mined.append((row, parts[1 + int(i)]))
    x = np.concatenate([x, np.array([part for _, part in mined], np.float32)])
    y = np.concatenate([y, np.zeros(len(mined), bool)])
    weight = np.concatenate([weight, np.full(len(mined), 0.25 * weight.mean())])
    head = fit_head(x, y, weight, landmarks, 2.0, 10.0)
    net = fit_net(x, y, weight, numbers, seed)

    guard = PromptGuard(head, net, _even(0.0), (0.0, 0.0))
    say("prompt guard: handicap and cuts")
    scored = [
        (row, readings[1])
        for row, readings in zip(
            rest + rest_longs, guard.read([row["text"] for row in rest + rest_longs]), strict=True
        )
    ]
    best: tuple[float, tuple[float, float], Cuts] | None = None
    logits = [guard.logits(parts) for _, parts in scored]
    for first in (0.0, 1.0, 2.0, 3.0, 4.0):
        for more in (0.0, 0.4, 0.7, 1.0, 1.5, 2.0):
            trial = PromptGuard(head, net, _even(0.0), (first, more))
            pooled = np.array([trial.pool(found, len(found))[0] for found in logits])
            recall, cuts = _at_rate(pooled, [row for row, _ in scored])
            if best is None or recall > best[0]:
                best = (recall, (first, more), cuts)
    assert best is not None
    _, handicap, cuts = best
    say(f"prompt guard: held-out recall {best[0]:.3f}, handicap {handicap}, cuts {cuts.unsafe}")
    stored = PromptGuard(head, net, cuts, handicap).arrays()
    return {"prompt_guard": stored, "anchors": _anchors(fit, x, numbers)}


def _even(value: float) -> Cuts:
    return Cuts(dict.fromkeys(_LANGUAGES, value), dict.fromkeys(_LANGUAGES, value))


def _at_rate(scores: npt.NDArray[np.float64], rows: Rows) -> tuple[float, Cuts]:
    """Mean recall at the rate over languages, plain and wrapped alike, and the cuts that give it.

    Harmless sources count alike, whatever their size; rows that look harmful keep to a rate of their own, for
    ordinary traffic has few.
    """
    unsafe, unsure, recalls = {}, {}, []
    code = np.array([row["lang"] for row in rows])
    source = np.array([row["source"] for row in rows])
    harmful = np.array([row["label"] == "harmful" for row in rows])
    special = np.isin(source, ["wrapped", "joined", *_HARD])
    for of in _LANGUAGES:
        benign = (code == of) & ~harmful
        size = Counter(source[benign].tolist())
        weight = np.array([1 / size[name] for name in source[benign & ~special]])
        plain, many = scores[benign & ~special], scores[benign & (source == "joined")]
        hard = scores[benign & (source == "fangxin_contrasts")]
        # Plain harmless texts keep to the rate; a dozen of them in one text to at most 2.5 times the rate.
        unsafe[of], unsure[of] = (
            max(
                _quantile(plain, weight, 1 - more * _RATE),
                float(np.quantile(many, 1 - 2.5 * more * _RATE)),
                float(np.quantile(hard, 1 - more * _HARD_RATE)),
            )
            for more in (1.0, 2.5)
        )
        for kind in (~special, source == "wrapped", source == "fangxin_contrasts"):
            recalls.append(float(np.mean(scores[(code == of) & harmful & kind] >= unsafe[of])))
    return float(np.mean(recalls)), Cuts(unsafe, unsure)


def _quantile(values: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], level: float) -> float:
    order = np.argsort(values)
    mass = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(mass, level * mass[-1])])


def _anchors(rows: Rows, x: Array, numbers: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """A small even sample of the training embeddings, as int8."""
    chosen: list[int] = []
    for code in _LANGUAGES:
        for label, count in (("harmful", 150), ("benign", 250)):
            pool = [i for i, row in enumerate(rows) if row["lang"] == code and row["label"] == label]
            chosen += numbers.permutation(pool)[:count].tolist()
    vectors = x[chosen]
    scale = 127 / np.abs(vectors).max(axis=1, keepdims=True)
    return {
        "embeddings": np.round(vectors * scale).astype(np.int8),
        "harmful": np.array([rows[i]["label"] == "harmful" for i in chosen]),
        "chinese": np.array([rows[i]["lang"] == "zh" for i in chosen]),
    }


def train_reply_guard(sources: Sources, seed: int) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Arrays of the reply guard."""
    rng, numbers = random.Random(seed + 1), np.random.default_rng(seed + 1)
    rows = sources.exchanges("guard")
    benign = [row for row in rows if row.asked is False]
    asked = [row for row in rows if row.asked]
    rows = asked + rng.sample(benign, min(len(benign), 1600))
    rows += [
        Exchange(a.question, b.reply, False, False, False, True, "mismatched")
        for a, b in zip(rng.sample(asked, 500), rng.sample(benign, 500), strict=True)
    ]
    # Harmless prose as replies, to questions of both kinds: the sets of exchanges have little of it.
    idioms = sources.lexicon("idioms_zh")
    for of in _LANGUAGES:
        prompts = [
            row["text"]
            for row in sources.prompts("guard")
            if row["label"] == "benign" and row["lang"] == of and row["source"] != "fangxin_lookalikes"
        ]
        bad = [row.question for row in asked if language(row.question) == of]
        for i in range(2400 if of == "zh" else 1500):
            if of == "zh" and i % 2:
                said = rng.sample(idioms, rng.randint(1, 4))
                question = f"{said[0]['idiom']}是什么意思？"
                reply = "".join(f"{row['idiom']}：{row['explanation']}" for row in said)
            else:
                question = rng.choice(prompts)
                reply = (" " if of == "en" else "").join(rng.sample(prompts, rng.randint(1, 4)))
            if rng.random() < 0.25:
                question = rng.choice(bad)
            rows.append(Exchange(question, reply, False, False, False, None, "prose"))
    # A stream is judged while it grows, and a reply without its question too.
    rows += [
        Exchange(row.question, cut(row.reply, rng), row.harmful, None, None, row.asked, row.source)
        for row in rows
        if len(row.reply) > 200
    ]
    rows += [
        Exchange("", row.reply, row.harmful, None, None, row.asked, row.source)
        for row in rng.sample(rows, len(rows) // 8)
    ]
    x = ReplyGuard.join([row.question for row in rows], [row.reply for row in rows])
    y = np.array([bool(row.harmful) for row in rows])
    rest = np.array([held_out(row.question or row.reply) for row in rows])
    code = np.array([language(row.reply) for row in rows])
    weight = np.array([1.0 / np.sum((code == code[i]) & (y == y[i])) for i in range(len(rows))])
    weight *= len(rows) / weight.sum()
    landmarks = x[numbers.permutation(np.flatnonzero(~rest))[:768]]
    head = fit_head(x[~rest], y[~rest], weight[~rest], landmarks, 2.0, 3.0)
    net = fit_net(x[~rest], y[~rest], weight[~rest], numbers, seed)
    guard = ReplyGuard(head, net, _even(0.0))
    scores = guard.logits(x)
    cuts: dict[str, float] = {}
    softer: dict[str, float] = {}
    source = np.array([row.source for row in rows])
    for of in _LANGUAGES:
        # Each kind of harmless reply keeps to the rate: refusals, answers, prose, answers beside the point.
        kinds = [rest & ~y & (code == of) & (source == name) for name in np.unique(source)]
        cuts[of], softer[of] = (
            max(float(np.quantile(scores[kind], 1 - rate)) for kind in kinds if kind.sum() >= 20)
            for rate in (0.05, 0.10)
        )
        caught = np.mean(scores[rest & y & (code == of)] >= cuts[of])
        say(f"reply guard: {of} held-out recall {caught:.3f} at 5 % false positives of each kind")
    return {"reply_guard": {**head.arrays(), **net.arrays(), **pack_cuts(Cuts(cuts, softer))}}
