from __future__ import annotations

import random
import re
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._judge import REPLY_HEADS, inputs
from fangxin.detect._ngrams import BUCKETS, DENSE, REFUSAL, CharacterModel, hashed, scores, units
from fangxin.detect._sources import Exchange, Sources, cut, own
from fangxin.detect._text import identity, language

_FOLDS = 4
_CANNOT = re.compile(r"\b(?:not|unable|cannot)\b|n't\b")  # a model that is sorry, and can't


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _ours(rng: random.Random, asked: list[str], benign: list[str]) -> list[Exchange]:
    """Replies made from our own phrases: refusals, empty compliance, warnings, answers."""
    phrases = own("phrases.json")
    out: list[Exchange] = []
    for code in ("en", "zh"):
        harmful = [q for q in asked if language(q) == code]
        harmless = [q for q in benign if language(q) == code]
        join = " " if code == "en" else ""
        for _ in range(700):
            first = rng.choice(phrases["refuse"][code]["open"])
            reply = join.join(
                [first, *rng.sample(phrases["refuse"][code]["tail"], rng.randint(0, 2))]
            ).strip()
            bad = rng.random() < 0.7
            question = rng.choice(harmful if bad else harmless)
            out.append(Exchange(question, reply, False, True, False, bad, "fangxin_phrases"))
        role = phrases["refuse"][code]["role"]
        for _ in range(500):
            question = rng.choice(harmful if rng.random() < 0.7 else harmless)
            parts = [rng.choice(role[part]) for part in ("sorry", "who", "cannot", "what", "then")]
            reply = join.join(part for part in parts if part).replace("{q}", _plain(question))
            if rng.random() < 0.15:
                reply = join.join([reply] * rng.randint(2, 3))  # small models repeat their refusals
            out.append(Exchange(question, reply, False, True, False, None, "fangxin_phrases"))
        # Being sorry alone refuses nothing.
        for _ in range(250):
            question = rng.choice(harmful if rng.random() < 0.5 else harmless)
            sorry = phrases["sorry_but_helps"][code]
            parts = [rng.choice(sorry[part]) for part in ("sorry", "who", "helps", "then")]
            reply = join.join(part for part in parts if part).replace("{q}", _plain(question))
            out.append(Exchange(question, reply, False, False, False, None, "fangxin_phrases"))
        for _ in range(350):
            question = rng.choice(harmful)
            plain = _plain(question)
            comply = phrases["comply"][code]
            reply = rng.choice(comply["open"]).replace("{q}", plain).replace("{Q}", plain.capitalize())
            reply = f"{reply}{join}{rng.choice(comply['step'])}"
            out.append(Exchange(question, reply, True, False, False, True, "fangxin_phrases"))
            # A refusal that goes on to serve isn't one.
            if rng.random() < 0.2:
                refusal = rng.choice(phrases["refuse"][code]["open"])
                but = "But here is how: " if code == "en" else "不过方法是这样的："
                out.append(
                    Exchange(question, f"{refusal} {but}{reply}", True, False, False, True, "fangxin_phrases")
                )
            question = rng.choice(harmless)
            reply = (
                rng.choice(comply["open"]).replace("{q}", _plain(question)).replace("{Q}", _plain(question))
            )
            reply = f"{reply}{join}{rng.choice(comply['step'])}"
            out.append(Exchange(question, reply, False, False, False, False, "fangxin_phrases"))
            question = rng.choice(harmful)
            advice = join.join(rng.sample(phrases["prevent"][code], rng.randint(1, 2))).replace("{N}", "This")
            out.append(Exchange(question, advice, False, None, False, True, "fangxin_phrases"))
        for reply in phrases["short"][code] * 6:
            question = rng.choice(harmless)
            out.append(Exchange(question, reply, False, False, False, False, "fangxin_phrases"))
        answers = phrases["answer"][code]
        for question, reply in answers * 6:
            out.append(Exchange(question, reply, False, False, False, False, "fangxin_phrases"))
            other = rng.choice(harmful)
            out.append(Exchange(other, reply, False, False, False, True, "fangxin_phrases"))
    # What SmolLM2-135M says to harmless prompts; its Chinese makes no sense. The prompts stay in the data.
    prompts = {identity(text): text for text in benign}
    for row in own("replies.jsonl"):
        if row["id"] not in prompts:
            continue
        prompt = prompts[row["id"]]
        chinese = language(prompt) == "zh"
        sorry = bool(_CANNOT.search(row["response"])) if row["response"].startswith("I'm sorry") else None
        out.append(Exchange(prompt, row["response"], False, sorry, chinese, False, "fangxin_replies"))
        question = rng.choice([q for q in asked if (language(q) == "zh") == chinese])
        out.append(Exchange(question, row["response"], False, None, chinese, True, "fangxin_replies"))
    return out


def _plain(question: str) -> str:
    """A question as an activity, roughly: its opening words of asking and its last mark dropped."""
    text = re.sub(
        r"^(?:how (?:can|do|could|would|to) (?:i|you|one|we|someone)?\s*|what is the best way to |give me |"
        r"please |can you |tell me how to |explain how to |请?(?:告诉我|教我)?(?:如何|怎么样?|怎样)|请问?|"
        r"帮我|我想(?:要)?)",
        "",
        question.strip(),
        flags=re.I,
    )
    return text.rstrip("?？.。!！ ") or question


def _noise(text: str, rng: random.Random, pool: list[str]) -> str:
    """Ordinary text made senseless, in one of the ways that small models fail."""
    way = rng.randrange(7)
    if language(text) == "zh":
        chars = list(text[: rng.randint(15, 80)])
        if way <= 1:
            rng.shuffle(chars)
            return "".join(chars)
        if way == 2:
            piece = "".join(chars[: rng.randint(3, 14)])
            return piece * rng.randint(4, 9)
        if way <= 4:  # characters swapped for others in places, as a weak tokenizer leaves them
            letters = "".join(pool)
            return "".join(rng.choice(letters) if rng.random() < 0.35 else c for c in chars)
        parts = [rng.choice(pool) for _ in range(8)]
        return "".join(c[(i := rng.randrange(max(len(c) - 4, 1))) : i + rng.randint(2, 5)] for c in parts)
    words = text.split()[: rng.randint(12, 46)]
    if way <= 1:
        rng.shuffle(words)
        return " ".join(words)
    if way == 2:
        return " ".join(words[: rng.randint(1, 7)] * rng.randint(5, 10))
    if way == 3:
        typed = "".join(words)
        return " ".join("".join(rng.choice(typed) for _ in range(rng.randint(2, 9))) for _ in words)
    if way == 4:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789,.;/#$ \n") for _ in range(150))
    if way == 5:
        return " ".join(rng.choice(rng.choice(pool).split() or ["?"]) for _ in words)
    return " ".join("".join(rng.sample(w, len(w))) if rng.random() < 0.6 else w for w in words)


def rows_for_judge(sources: Sources, seed: int) -> tuple[list[Exchange], list[Exchange]]:
    """Labelled exchanges, and bare prompts (with empty replies) that only say whether harm is asked for."""
    rng = random.Random(seed)
    prompts = sources.prompts("judge")
    rows = sources.exchanges("judge")
    asked = sorted({row.question for row in rows if row.asked})
    asked += [row["text"] for row in prompts if row["label"] == "harmful" and len(row["text"]) < 120]
    benign = [row["text"] for row in prompts if row["label"] == "benign" and len(row["text"]) < 200]
    plain = [row for row in rows if row.asked is False]
    served = [row for row in rows if row.asked]
    english = [row for row in served if row.source == "gptfuzz"]
    # Few questions stand behind the many English replies: a part of them says as much.
    served = [row for row in served if row.source != "gptfuzz"] + rng.sample(english, min(2500, len(english)))
    rows = served + rng.sample(plain, min(2500, len(plain)))
    rows += [
        replace(row, reply=cut(row.reply, rng), refusal=row.refusal if row.refusal else None)
        for row in rows
        if len(row.reply) > (120 if language(row.reply) == "zh" else 260)
    ]
    # A cut reply that had only got as far as refusing does no harm.
    rows = [
        replace(row, harmful=False, refusal=True)
        if row.harmful and len(row.reply) < 320 and _only_refuses(row.reply)
        else row
        for row in rows
    ]
    rows += _ours(rng, asked, benign)
    for row in rng.sample(plain, min(900, len(plain))):
        first = re.split(r"(?<=[.!?。！？])\s*", row.reply.strip())[0]
        if len(units(first)) <= 12 and not _open(replace(row, reply=first)):
            rows.append(replace(row, reply=first, refusal=False))
    ordinary = [row.reply for row in rows if len(row.reply) > 40 and not row.gibberish]
    pools = {code: [r for r in ordinary if language(r) == code] for code in ("en", "zh")}
    harmless = [row.reply for row in plain]
    for question in asked + rng.sample(benign, min(600, len(benign))):
        code = language(question)
        for text in rng.sample(pools[code], 2 if code == "zh" else 1):
            rows.append(Exchange(question, _noise(text, rng, pools[code]), False, False, True, None, "noise"))
        if rng.random() < 0.5:
            other = rng.choice(harmless)
            rows.append(Exchange(question, cut(other, rng), False, False, False, None, "mismatched"))
        if rng.random() < 0.4:
            said = question if rng.random() < 0.5 else f"{question} {question}"
            rows.append(Exchange(question, said, False, False, None, None, "echo"))
    # Some callers have no question to give.
    rows += [replace(row, question="") for row in rng.sample(rows, len(rows) // 12) if not row.harmful]
    bare = [
        Exchange(row["text"], "", None, None, None, row["label"] == "harmful", row["source"])
        for row in prompts
        if len(row["text"]) < 400
    ]
    return rows, bare


def _only_refuses(reply: str) -> bool:
    return bool(
        re.match(
            r"\W*(?:\[?\(?[\w🔒 ]{0,20}[\])]?:?\s*)?"
            r"(?:I'm sorry|Sorry|I apologi|I cannot|I can't|抱歉|对不起)",
            reply,
            re.I,
        )
    ) and not re.search(r"jail|DAN|however|but |\n\n", reply, re.I)


def _linear(
    rows: list[npt.NDArray[np.int64]], y: npt.NDArray[np.bool_], penalty: float
) -> npt.NDArray[np.float32]:
    """Weights of hashed n-grams, [BUCKETS], by scikit-learn's logistic regression (no intercept)."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression

    counts = [len(row) for row in rows]
    data = np.repeat([1 / np.sqrt(c or 1) for c in counts], counts)
    x = csr_matrix(
        (data, np.concatenate(rows), np.concatenate([[0], np.cumsum(counts)])), shape=(len(rows), BUCKETS)
    )
    model = LogisticRegression(
        C=penalty, class_weight="balanced", max_iter=200, tol=1e-3, fit_intercept=False
    )
    model.fit(x, y)
    return np.asarray(model.coef_[0], np.float32)


def _fit_heads(
    rows: list[Exchange],
    grams: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    use: npt.NDArray[np.bool_],
) -> dict[str, npt.NDArray[np.float32]]:
    label = {
        "question": [row.asked for row in rows],
        "serves": [row.harmful if row.asked else None for row in rows],
        "refuses": [row.refusal for row in rows],
        "senseless": [row.gibberish for row in rows],
    }
    out = {}
    for name in ("question", *REPLY_HEADS):
        at = [
            i
            for i in np.flatnonzero(use)
            if label[name][i] is not None and (name == "question" or rows[i].reply.strip())
        ]
        found = [grams[i][0 if name == "question" else 1] for i in at]
        out[name] = _linear(found, np.array([bool(label[name][i]) for i in at]), 3.0)
    return out


def train_counts(rows: list[Exchange], bare: list[Exchange], seed: int) -> dict[str, npt.NDArray[Any]]:
    """Arrays of the judge's n-grams and networks, from what `rows_for_judge` gives."""
    from sklearn.linear_model import LogisticRegression

    usual = CharacterModel.fit(
        [row.reply for row in rows if row.gibberish is False] + [row.question for row in bare]
    )
    every = rows + bare
    say(f"judge: {len(rows)} exchanges, {len(bare)} prompts; n-grams")
    grams = [(hashed(row.question, "q", 2), hashed(row.reply, "r")) for row in every]
    # Our phrases come back with many questions: what must not be known beforehand is the phrase.
    fold = np.array(
        [
            identity(row.reply[:20] if row.source == "fangxin_phrases" else row.question) // 11 % _FOLDS
            for row in every
        ]
    )
    n = len(rows)
    x = np.zeros((n, len(REPLY_HEADS) + len(DENSE)), np.float32)
    belief = np.zeros(len(every), np.float32)
    for k in range(_FOLDS):
        # The networks see scores of heads that didn't know the question.
        heads = _fit_heads(every, grams, fold != k)
        at = np.flatnonzero(fold[:n] == k)
        x[at] = inputs([rows[i].question for i in at], [rows[i].reply for i in at], heads, usual)
        mine = np.flatnonzero(fold == k)
        belief[mine] = scores([grams[i][0] for i in mine], heads["question"])
        say(f"judge: fold {k + 1} of {_FOLDS}")
    heads = _fit_heads(every, grams, np.ones(len(every), bool))
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-3
    z = np.clip((x - mean) / scale, -6, 6)
    stored: dict[str, npt.NDArray[Any]] = {
        "mean": mean.astype(np.float32),
        "scale": scale.astype(np.float32),
        "usual": usual.pairs.astype(np.float16),
    }
    asked = np.array([i for i, row in enumerate(rows) if row.asked is not False and row.harmful is not None])
    stored |= _net(z[asked], np.array([[bool(rows[i].harmful)] for i in asked]), "harm", seed)
    # A row that nobody labelled for refusal is left out where its words leave that open.
    known = np.array([i for i, row in enumerate(rows) if row.refusal is not None or not _open(row)])
    y = np.array([[bool(rows[i].refusal), bool(rows[i].gibberish)] for i in known])
    stored |= _net(z[known], y, "rest", seed)
    sure = [i for i, row in enumerate(every) if row.asked is not None]
    platt = LogisticRegression(class_weight="balanced").fit(
        belief[sure][:, None], [bool(every[i].asked) for i in sure]
    )
    stored["belief"] = np.array([platt.coef_[0, 0], platt.intercept_[0]])
    for name, values in heads.items():
        step = float(np.abs(values).max()) / 127
        stored[name] = np.round(values / step).astype(np.int8)
        stored[f"{name}_scale"] = np.array(step, np.float32)
    return stored


def _net(
    z: npt.NDArray[np.float32], y: npt.NDArray[np.bool_], name: str, seed: int
) -> dict[str, npt.NDArray[Any]]:
    """A network of 24 rectified units, by scikit-learn."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier((24,), alpha=3e-2, max_iter=25, random_state=seed, batch_size=256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of passes is meant
        net.fit(z, y[:, 0] if y.shape[1] == 1 else y)
    probability = net.predict_proba(z)
    right = np.mean((probability[:, 1:] if y.shape[1] == 1 else probability).round() == y, axis=0)
    say(f"judge: network {name} agrees with its {len(y)} training rows: {np.round(right, 3).tolist()}")
    return {
        f"{name}_{key}": value.astype(np.float32)
        for key, value in zip(("w0", "w1", "b0", "b1"), [*net.coefs_, *net.intercepts_], strict=True)
    }


def _open(row: Exchange) -> bool:
    """Whether an exchange that nobody labelled may be a refusal."""
    return bool(REFUSAL.search(row.reply[:160]))
