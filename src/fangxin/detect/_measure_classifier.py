from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._card import Figure
from fangxin.detect._classifier import Question, TextClassifier
from fangxin.detect._screen import Screen
from fangxin.detect._sources import Rows, Sources
from fangxin.detect._train_classifier import framed, requests_of, rows_of
from fangxin.proof import wilson

_LANGUAGES = ("en", "zh")
_SIXTY_FOUR = {
    "en": " ".join(["please write a friendly letter that asks my neighbour about the tall tree"] * 5)[:300],
    "zh": "我想知道今天天气怎么样，能不能出去玩，顺便买点水果和蔬菜，回来做一顿晚饭，再看一部电影。" * 2,
}
Bools = npt.NDArray[np.bool_]


def rate(what: str, code: str, hits: npt.NDArray[Any]) -> Figure:
    """A share with its Wilson interval."""
    low, high = wilson(int(np.sum(hits)), len(hits)) if len(hits) else (0.0, 1.0)
    value = float(np.mean(hits)) if len(hits) else 0.0
    return Figure(what, code, round(value, 4), round(low, 4), round(high, 4), len(hits))


def macro_f1(y: Bools, said: Bools) -> float:
    """Mean of the F1 of both classes, in [0, 1]."""
    both = []
    for truth, call in ((y, said), (~y, ~said)):
        hit = float(np.sum(truth & call))
        both.append(2 * hit / max(float(truth.sum() + call.sum()), 1.0))
    return float(np.mean(both))


def _macro(what: str, code: str, y: Bools, said: Bools) -> Figure:
    numbers = np.random.default_rng(0)
    drawn = [numbers.integers(0, len(y), len(y)) for _ in range(400)]
    low, high = np.quantile([macro_f1(y[i], said[i]) for i in drawn], [0.025, 0.975]).tolist()
    value = macro_f1(y, said)
    return Figure(what, code, round(value, 4), round(min(low, value), 4), round(max(high, value), 4), len(y))


def cpu_ms(call: Any, times: int = 40) -> float:
    """Median CPU milliseconds of a call once warm: neighbours on the machine don't count."""
    call()
    spent = []
    for _ in range(times):
        start = time.process_time()
        call()
        spent.append((time.process_time() - start) * 1000)
    return round(float(np.median(spent)), 3)


def shortcuts(classifier: TextClassifier, rows: Rows) -> list[Figure]:
    """What the classifier leans on, from held-out rows.

    Swapped words: our held-out frames are filled several ways; a frame counts where one filling's verdict
    differs from another's. Matched lengths: as many rows of each label in each band of lengths; the accuracy
    there, and that of a rule that knows nothing but the length, on the rows as they are.
    """
    out = []
    rng = random.Random(0)
    held = [row for row in framed(classifier.name, rng, 8, requests_of(rows)) if row["held"]]
    said = classifier.score_many([row["text"] for row in held]) >= 0.5
    for code in _LANGUAGES:
        frames: dict[str, set[bool]] = {}
        right = []
        for row, yes in zip(held, said, strict=True):
            if row["lang"] == code:
                frames.setdefault(row["frame"], set()).add(bool(yes))
                right.append(bool(yes) == bool(row["label"]))
        changed = np.array([len(found) > 1 for found in frames.values()])
        out.append(rate("shortcuts: our held-out frames whose verdict a swapped word changes", code, changed))
        out.append(rate("our held-out frames, filled: right", code, np.array(right)))
    rest = [row for row in rows if row["held"]]
    texts = [row["text"] for row in rest]
    said = classifier.score_many(texts) >= 0.5
    y = np.array([row["label"] >= 0.5 for row in rest])
    size = np.array([len(text) for text in texts])
    of = np.array([row["lang"] for row in rest])
    for code in _LANGUAGES:
        mine = np.flatnonzero(of == code)
        bands = np.digitize(size[mine], np.quantile(size[mine], [0.2, 0.4, 0.6, 0.8]))
        chosen: list[int] = []
        by_length = np.zeros(len(mine), bool)
        for band in range(5):
            inside = mine[bands == band]
            yes, no = inside[y[inside]], inside[~y[inside]]
            few = min(len(yes), len(no))
            chosen += [*yes[:few], *no[:few]]
            by_length[bands == band] = len(yes) > len(no)
        out.append(rate("held-out rows: right", code, said[mine] == y[mine]))
        out.append(rate("shortcuts: held-out rows of matched lengths: right", code, (said == y)[chosen]))
        out.append(rate("shortcuts: a rule of lengths alone: right", code, by_length == y[mine]))
    return out


def measure_classifier(name: Question, sources: Sources) -> tuple[list[Figure], dict[str, float]]:
    """Figures and speed of one shipped classifier, on `dev/` and on its own held-out rows."""
    classifier = TextClassifier.default(name)
    figures = _MEASURED[name](classifier, sources)
    rows = rows_of(name, Sources(sources.data), random.Random(7))
    figures += shortcuts(classifier, rows)
    if name == "fraud":
        figures += _fraud_parts(classifier, rows)
    if name != "refusal":
        figures += _prompts_called(classifier, sources)
    return figures, {
        f"64-token text, {code}": cpu_ms(lambda text=text: classifier.judge(text))
        for code, text in _SIXTY_FOUR.items()
    }


def _said(classifier: TextClassifier, rows: Rows, key: str = "text") -> npt.NDArray[np.float32]:
    return classifier.score_many([row[key] for row in rows])


def _prompts_called(classifier: TextClassifier, sources: Sources) -> list[Figure]:
    rows = sources.read("dev", "benign_prompts")[::3]
    values = _said(classifier, rows)
    of = np.array([row["lang"] for row in rows])
    return [rate("dev/benign_prompts: called so, wrongly", c, values[of == c] >= 0.5) for c in _LANGUAGES]


def _toxicity(classifier: TextClassifier, sources: Sources) -> list[Figure]:
    rows = sources.read("dev", "toxicity")
    said = _said(classifier, rows) >= 0.5
    y = np.array([bool(row["label"]) for row in rows])
    source = np.array([row["source"] for row in rows])
    kind = np.array([str(row["category"]) for row in rows])
    out = []
    for name in sorted(set(source)):
        mine = source == name
        code = "zh" if name.startswith("cold") else "en"
        out.append(rate(f"dev/toxicity ({name}): accuracy", code, said[mine] == y[mine]))
        out.append(_macro(f"dev/toxicity ({name}): macro-F1", code, y[mine], said[mine]))
        for of in sorted(set(kind[mine])):
            those = mine & (kind == of)
            if those.sum() >= 30:
                out.append(rate(f"dev/toxicity ({name}, {of}): accuracy", code, said[those] == y[those]))
    return out


def _fraud(classifier: TextClassifier, sources: Sources) -> list[Figure]:
    rows = sources.read("dev", "spam")[::2]
    said = _said(classifier, rows) >= 0.5
    spam = np.array([row["label"] == "spam" for row in rows])
    return [
        rate("dev/spam (SMS, another task): ham called fraud", "en", said[~spam]),
        rate("dev/spam (SMS, another task): spam called fraud", "en", said[spam]),
    ]


def _fraud_parts(classifier: TextClassifier, rows: Rows) -> list[Figure]:
    """By topic of the held-out calls, and with their first turn, the opening formula, cut off."""
    calls = [row for row in rows if row["held"] and row["source"] == "teleantifraud"]
    said = _said(classifier, calls) >= 0.5
    y = np.array([row["label"] >= 0.5 for row in calls])
    kinds = np.array([row["kind"] for row in calls])
    out = [
        rate(f"held-out calls ({kind}): right", "zh", said[kinds == kind] == y[kinds == kind])
        for kind in sorted(set(kinds))
    ]
    headless = [(row["text"].partition("\n")[2], truth) for row, truth in zip(calls, y, strict=True)]
    headless = [(text, truth) for text, truth in headless if len(text) > 40]
    called = classifier.score_many([text for text, _ in headless]) >= 0.5
    truths = np.array([truth for _, truth in headless])
    out.append(rate("shortcuts: held-out calls without their first turn: right", "zh", called == truths))
    return out


def _injection(classifier: TextClassifier, sources: Sources) -> list[Figure]:
    rows = sources.read("dev", "injection")
    mails = [row for row in rows if row["source"] == "bipia_email"]
    rng = random.Random(0)
    texts = [
        f"{rng.choice(mails)['text']}\n{row['text']}" if row["channel"] == "inside_data" else row["text"]
        for row in rows
        if row["label"] == "injection"
    ]
    source = np.array([row["source"] for row in rows if row["label"] == "injection"])
    values = classifier.score_many(texts)
    benign = sources.read("dev", "benign_prompts")[::3]
    safe = _said(classifier, benign)
    of = np.array([row["lang"] for row in benign])
    own_rows = rows_of("injection", Sources(sources.data), random.Random(7))
    roles = [
        row
        for row in own_rows
        if row["held"] and row["source"] in ("awesome_chatgpt_prompts", "plexpt_prompts_zh")
    ]
    played = _said(classifier, roles)
    role_of = np.array([row["lang"] for row in roles])
    out = [
        rate("held-out role-play prompts: called injection, wrongly", c, played[role_of == c] >= 0.5)
        for c in _LANGUAGES
    ]
    clean_mails = "dev/injection (bipia_email, clean): called injection, wrongly"
    out.append(rate(clean_mails, "en", _said(classifier, mails) >= 0.5))
    cut = max(float(np.quantile(safe[of == "en"], 0.98)), float(np.quantile(played[role_of == "en"], 0.98)))
    for name in sorted(set(source)):
        mine = values[source == name]
        out.append(rate(f"dev/injection ({name}): recall at the shipped cut", "en", mine >= 0.5))
        at = "recall at 2 % FPR on benign and role-play prompts"
        out.append(rate(f"dev/injection ({name}): {at}", "en", mine > cut))
    return out


def _refusal(classifier: TextClassifier, sources: Sources) -> list[Figure]:
    rows = [row for row in sources.read("dev", "refusals") if row["response"].strip()]
    said = _said(classifier, rows, "response") >= 0.5
    y = np.array([row["label"] == "refusal" for row in rows])
    of = np.array([row["lang"] for row in rows])
    out = []
    for code in _LANGUAGES:
        mine = of == code
        out.append(rate("dev/refusals: right", code, said[mine] == y[mine]))
        out.append(rate("dev/refusals: refusal recognised", code, said[mine & y]))
        out.append(rate("dev/refusals: answer called a refusal", code, said[mine & ~y]))
    return out


_MEASURED = {"toxicity": _toxicity, "fraud": _fraud, "injection": _injection, "refusal": _refusal}


def measure_screen(sources: Sources) -> tuple[list[Figure], dict[str, float]]:
    """What the screen lets through of harm and of harmless texts, and its speed."""
    screen = Screen.default()
    figures = []

    for file, label, what in (
        ("benign_prompts", "benign", "harmless, let through"),
        ("harmful_prompts", "harmful", "harmful, missed (let through)"),
        ("injection", "injection", "user's own injections, missed (let through)"),
        ("toxicity", 1, "toxic, missed (let through)"),
        ("toxicity", 0, "harmless, let through"),
    ):
        rows = [
            row
            for row in sources.read("dev", file)
            if row["label"] == label and row.get("channel", "user_input") == "user_input"
        ]
        through, of = screen.passes([row["text"] for row in rows]), np.array([row["lang"] for row in rows])
        for code in _LANGUAGES:
            if (of == code).any():
                figures.append(rate(f"dev/{file}: {what}", code, through[of == code]))
    speed = {}
    for code, text in _SIXTY_FOUR.items():
        many = [f"{text}{i}" for i in range(512)]
        spent = cpu_ms(lambda many=many: screen.score_many(many), 5)
        speed[f"64-token text, {code}, 512 together"] = round(spent / len(many), 5)
        speed[f"64-token text, {code}, alone"] = cpu_ms(lambda text=text: screen.judge(text))
    return figures, speed
