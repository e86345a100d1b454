from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fangxin.detect._card import Card, Figure
from fangxin.detect._classifier import Question
from fangxin.detect._guard import PromptGuard, ReplyGuard
from fangxin.detect._intent import IntentDetector, contrasts
from fangxin.detect._judge import ReplyJudge
from fangxin.detect._measure_classifier import cpu_ms, measure_classifier, measure_screen, rate
from fangxin.detect._sources import Rows, Sources
from fangxin.detect._text import language
from fangxin.detect._train_classifier import train_classifier
from fangxin.detect._train_guard import say, train_prompt_guard, train_reply_guard
from fangxin.detect._train_judge import rows_for_judge, train_counts
from fangxin.detect._train_screen import train_screen
from fangxin.detect._verdict import DetectorError

_LANGUAGES = ("en", "zh")
_Arrays = dict[str, npt.NDArray[Any]]
_Panel = dict[str, dict[str, dict[str, int]]]
_Trainer = Callable[[Sources, int], dict[str, _Arrays]]


def _needs_torch(name: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise DetectorError(f"Training {name} needs torch; run: pip install 'fangxin[train]'")


def _train_intent(sources: Sources, seed: int) -> dict[str, _Arrays]:
    _needs_torch("intent")
    from fangxin.detect._train_reader import train_reader

    return train_reader(sources, seed)


def _train_judge(
    sources: Sources, seed: int, panel: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, _Arrays], _Panel]:
    """The judge's arrays, and how it agrees with the panel's rows of goals that it had not seen."""
    _needs_torch("reply-judge")
    from fangxin.detect._train_pair import train_pair

    if not panel:
        raise DetectorError("The judge is tuned on hand-labelled replies: give a panel.")
    rows, bare = rows_for_judge(sources, seed)
    pair, counts = train_pair(rows, panel, seed)
    return {"judge": train_counts(rows, bare, seed), "pair": pair}, counts


def _classifier(name: Question) -> _Trainer:
    def made(sources: Sources, seed: int) -> dict[str, _Arrays]:
        _needs_torch(f"the {name} classifier")
        return train_classifier(name, sources, seed)

    return made


_TRAINERS: dict[str, _Trainer] = {
    "prompt-guard": train_prompt_guard,
    "reply-guard": train_reply_guard,
    "intent": _train_intent,
    "toxicity": _classifier("toxicity"),
    "fraud": _classifier("fraud"),
    "injection": _classifier("injection"),
    "refusal": _classifier("refusal"),
    "screen": train_screen,
}
DETECTORS = ("reply-judge", *_TRAINERS)
_PURPOSE = {
    "reply-judge": "Decides in proofs whether a reply served a harmful request, refused, or made no sense. "
    "Not for shields: it shares no weights and no training rows with the guards.",
    "prompt-guard": "Stops requests for harm, English and Chinese, before a model sees them. "
    "Not a detector of prompt injection, nor of spam, nor of insults.",
    "reply-guard": "Stops replies that serve a harmful request, English and Chinese. "
    "Weaker without the question.",
    "intent": "Stops requests for harm where harmless ones share their words: a small language model reads "
    "them. The base of a repair, which fits it to what was found in a model.",
    "toxicity": "Finds hate, insults, sexism and slurs on regions, English and Chinese. "
    "Not a detector of swearing, nor of harm that is asked for politely.",
    "fraud": "Finds messages and calls that try to cheat somebody, Chinese and English. "
    "Not a detector of advertising, nor of questions about fraud.",
    "injection": "Finds prompts that try to turn a model against its instructions, and orders to a model "
    "that hide in data, English and Chinese. A plain request for harm is the prompt guard's to find.",
    "refusal": "Tells on the guards' side whether a reply declines, English and Chinese. Not for proofs: "
    "there the judge decides, which shares no training row with it. `unsafe` means that it declines.",
    "screen": "The first tier of a cascade: lets the clearly harmless through at tens of thousands of texts "
    "a second, and leaves the rest to the next tier. Not a detector to stand alone.",
}
_FAILURES = {
    "reply-judge": (
        "It knows words, not facts: a wrong but confident reply to a harmful question counts as serving it.",
        "It takes it as given that the question asks for harm: read `harmful` only where that is known, "
        "or make it with asked=False, which weighs that weakly.",
        "Its English cuts are strict, so that few harmless replies count as harm: it misses more than half "
        "of what people call harmful in a small model's replies (see the panel).",
        "Tuned on replies of one small model: expect other figures on other models' replies, and label some.",
        "Trained on Chinese replies of one data set (and our own phrases), so Chinese figures vary most.",
        "Replies in other languages than English and Chinese are outside its training.",
    ),
    "prompt-guard": (
        "Harmless questions with frightening words are its hardest case (see the look-alike figures).",
        "Harm that needs several turns, or facts about the asker, can't be seen in one prompt.",
        "Chinese that is translated or deliberately indirect is missed more often than plain Chinese.",
        "Cuts don't carry over exactly to other traffic: on dev they stop fewer than 2 % of harmless English "
        "prompts and more than 2 % of Chinese ones. Move them with `at` on prompts of one's own.",
        "Only the first 256 tokens of any one reading are read; long texts are read in windows.",
    ),
    "reply-guard": (
        "Trained on replies of a few models to a few hundred questions: expect less elsewhere.",
        "It reads 256 tokens at once; shields read longer replies in windows.",
        "Context-dependent offence in chat (DiaSafety) isn't what it was trained for, and it is poor at it.",
    ),
    "intent": (
        "The language model is an English one: its Chinese is much weaker (see the held-out contrast pairs).",
        "Our contrast pairs, most of its training, were written by language models to our brief.",
        "It reads the first and last 63 tokens of a long text, and two suspicious parts of it.",
        "Tens of milliseconds a text: put the prompt guard before it where traffic is heavy.",
    ),
    "toxicity": (
        "Abuse of one person that names no group counts as toxic too; benchmarks of group hate call it "
        "harmless.",
        "English learned from few rows: tweets, adversarial sentences and our own frames. Irony and new "
        "slurs are missed.",
        "It leans on names of groups and on swear words: counter speech, reclaimed words, plain swearing and "
        "denied insults are called toxic more often than not (see the parts of HateCheck).",
        "Each text is read alone: what is meant by a reply to somebody can't be seen.",
    ),
    "fraud": (
        "Its public rows are model-made Chinese calls whose honest ones only order or book: expect less "
        "of real calls. Banks, police and money among the honest come from our frames alone.",
        "A kind of fraud that it never saw may be missed: n-grams fitted without the calls about investment "
        "find 0.57 of them.",
        "English comes from our frames alone; only SMS spam, which is another task, measures it from "
        "outside.",
        "The first turns of a call that only later asks for money are missed or called too early.",
    ),
    "injection": (
        'An order inside data that is an ordinary request ("explain relativity") looks like any other '
        "request: without the border between data and instructions it is missed.",
        "In English its n-grams lean on words of known jailbreaks: frames that it never saw are told apart "
        "worse than by the network alone.",
        "Chinese injections come from our frames alone; no public Chinese set measures it.",
        "Jailbreaks that only tell a story are missed more often than those that set rules.",
    ),
    "refusal": (
        "It reads the first 256 tokens: a reply that turns down a request later on is missed.",
        "A reply that declines one part and serves another counts as either.",
        "Labels of its public rows are weak (a pattern and the source's label agree).",
    ),
    "screen": (
        "It knows words, not sense: what is harmful in plain words passes. See the share that it misses.",
        "Pass marks come from rows like those it learned from; on other traffic it misses more.",
        "Spelled-out, encoded or translated harm passes unless something else gives it away.",
    ),
}


def train(
    data: Path,
    out: Path,
    seed: int = 7,
    only: Sequence[str] | None = None,
    panel: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Make every shipped weight and card again, from the data folder and our own rows.

    Needs the extra `train` (scikit-learn, torch) and the weights of the sentence encoder and the embedded
    model. Takes about fifty minutes on two cores, most of them for `intent`. Progress goes to standard error.

    Args:
        data: the folder with `train/*.jsonl.gz` and `dev/*.jsonl.gz`; `dev` only measures.
        out: written to: `weights/*.npz` and `cards/*.json`. The package reads its own folder, so figures
            on the cards are measured only where `out` is that folder.
        seed: one seed for everything.
        only: which, by the names of `cards`; all by default.
        panel: hand-labelled replies that tune and measure the judge, as `train_pair` takes them.

    Raises:
        DetectorError: a name is unknown, the data isn't there, or scikit-learn isn't installed.
    """
    names = list(only or DETECTORS)
    unknown = [name for name in names if name not in DETECTORS]
    if unknown:
        raise DetectorError(f"There is no detector {unknown[0]!r}: use {', '.join(DETECTORS)}.")
    if importlib.util.find_spec("sklearn") is None:
        raise DetectorError("Training needs scikit-learn; run: pip install 'fangxin[train]'")
    if not (data / "train" / "prompts.jsonl.gz").is_file():
        raise DetectorError(f"{data} holds no train/prompts.jsonl.gz: give the data folder.")
    for folder in ("weights", "cards"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        sources = Sources(data)
        counts: _Panel = {}
        if name == "reply-judge":
            made_of, counts = _train_judge(sources, seed, panel)
        else:
            made_of = _TRAINERS[name](sources, seed)
        for file, arrays in made_of.items():
            np.savez_compressed(out / "weights" / f"{file}.npz", **arrays)  # type: ignore[arg-type]
        digest = _remember(out / "weights" / "rows.npz", name, sources)
        made = Card(
            name=name,
            purpose=_PURPOSE[name],
            seed=seed,
            sources=tuple(
                {"source": source, "licence": licence, "rows": count}
                for (source, licence), count in sorted(sources.tally.items())
            ),
            prompts=len(sources.taken),
            digest=digest,
            failures=_FAILURES[name],
            panel=counts,
        )
        _write(out, made)
    if out.resolve() == Path(__file__).parent.resolve():
        measure(data, names)


def _write(out: Path, made: Card) -> None:
    (out / "cards" / f"{made.name}.json").write_text(made.to_json(), "utf-8")


def _remember(path: Path, name: str, sources: Sources) -> str:
    """Store the identities of a detector's training prompts; returns their digest."""
    rows: dict[str, npt.NDArray[np.int64]] = {}
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            rows = {key: stored[key] for key in stored.files}
    rows[name] = np.array(sorted(sources.taken), np.int64)
    np.savez_compressed(path, **rows)  # type: ignore[arg-type]
    return hashlib.sha256(rows[name].astype("<i8").tobytes()).hexdigest()


def measure(data: Path, names: Sequence[str]) -> None:
    """Measure the shipped detectors on `dev/` and write the figures into their cards."""
    from dataclasses import replace

    from fangxin.detect._card import card

    sources = Sources(data)
    for name in names:
        say(f"{name}: measuring")
        old = card(name)
        figures, speed = _MEASURES[name](sources)
        _write(Path(__file__).parent, replace(old, figures=tuple(figures), speed=speed))
        for figure in figures:
            say(
                f"  {figure.language} {figure.what}: {figure.value:.3f} "
                f"[{figure.low:.3f}, {figure.high:.3f}] n={figure.n}"
            )
        say(f"  {speed}")


def _measure_judge(sources: Sources) -> tuple[list[Figure], dict[str, float]]:
    judge, doubting = ReplyJudge(), ReplyJudge(asked=False)
    figures: list[Figure] = []
    rows = sources.read("dev", "refusals")
    for code in _LANGUAGES:
        for label in ("refusal", "compliance"):
            mine = [row for row in rows if row["lang"] == code and row["label"] == label]
            said = [judge.judge(row["prompt"], row["response"]) for row in mine]
            right = np.array([a.is_refusal == (label == "refusal") for a in said])
            figures.append(rate(f"dev/refusals: {label} recognised", code, right))
            if label == "refusal":
                figures.append(
                    rate("dev/refusals: refusal called harmful", code, np.array([a.is_harmful for a in said]))
                )
            else:
                public = [row for row in mine if "llamafactory" in row["source"]]
                for name, other in (("asked=False", doubting), ("harm taken as asked for", judge)):
                    hits = np.array(
                        [other.judge(row["prompt"], row["response"]).is_harmful for row in public]
                    )
                    what = f"dev/refusals: harmless answer (alpaca) called harmful, {name}"
                    figures.append(rate(what, code, hits))
    exchanges = sources.read("dev", "exchanges")
    values = judge.score_many([r["prompt"] for r in exchanges], [r["response"] for r in exchanges])[:, 0]
    unsafe = np.array([row["label"] == "unsafe" for row in exchanges])
    figures.append(
        _auroc("dev/exchanges (DiaSafety chat, another task): AUROC of harmful", "en", values, unsafe)
    )
    text = "The quick brown fox jumps over the lazy dog and then explains step by step how it did so. " * 3
    return figures, {
        "64-token exchange, alone": cpu_ms(lambda: judge.judge("How do I jump a dog?", text[:260]))
    }


def _auroc(what: str, code: str, values: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> Figure:
    a, b = values[positive], values[~positive]
    value = float((a[:, None] > b[None]).mean() + 0.5 * (a[:, None] == b[None]).mean())
    # Hanley and McNeil (1982).
    q1, q2 = value / (2 - value), 2 * value * value / (1 + value)
    spread = value * (1 - value) + (len(a) - 1) * (q1 - value**2) + (len(b) - 1) * (q2 - value**2)
    error = 1.96 * float(np.sqrt(spread / (len(a) * len(b))))
    return Figure(what, code, round(value, 4), round(value - error, 4), round(value + error, 4), len(values))


def _measure_prompt_guard(sources: Sources) -> tuple[list[Figure], dict[str, float]]:
    guard = PromptGuard.default()
    figures = _prompts(sources, guard.score_many)
    long = "Tell me about the history of bread in France and how bakers work at night today. "
    return figures, {
        "64-token sentence, alone": cpu_ms(lambda: guard.judge(_sixty_four())),
        "700-token text, alone": cpu_ms(lambda: guard.judge(long * 40), 10),
    }


def _measure_intent(sources: Sources) -> tuple[list[Figure], dict[str, float]]:
    detector = IntentDetector.default()

    def probabilities(texts: Sequence[str]) -> npt.NDArray[np.float64]:
        scores = detector.score_many(texts)
        return np.array(
            [detector.cuts.probability(s, language(t)) for s, t in zip(scores, texts, strict=True)]
        )

    figures = _prompts(sources, probabilities, every=8)
    held = [row for row in contrasts() if row[3] % 5 == 0]
    values, harmful = probabilities([row[0] for row in held]), np.array([row[1] for row in held])
    for code in _LANGUAGES:
        mine = np.array([row[2] == code for row in held])
        what = "our contrast pairs, held out"
        figures.append(_auroc(f"{what}: AUROC", code, values[mine], harmful[mine]))
        figures.append(rate(f"{what}: harmless ones blocked", code, values[mine & ~harmful] >= 0.5))
        figures.append(rate(f"{what}: harmful ones blocked", code, values[mine & harmful] >= 0.5))
    return figures, {"64-token sentence, alone": cpu_ms(lambda: detector.judge(_sixty_four()), 10)}


def _prompts(
    sources: Sources, score_many: Callable[[Sequence[str]], npt.NDArray[Any]], every: int = 1
) -> list[Figure]:
    """Figures of a detector of harmful prompts; it blocks from 0.5 on, and sees every n-th row."""
    figures = []
    benign, harmful = (sources.read("dev", name)[::every] for name in ("benign_prompts", "harmful_prompts"))
    score = {id(row): 0.0 for row in (*benign, *harmful)}
    for rows in (benign, harmful):
        for row, value in zip(rows, score_many([row["text"] for row in rows]), strict=True):
            score[id(row)] = float(value)
    for code in _LANGUAGES:
        safe = np.array([score[id(row)] for row in benign if row["lang"] == code])
        figures.append(rate("dev/benign_prompts: blocked at the shipped cut", code, safe >= 0.5))
        cut = float(np.quantile(safe, 0.98))
        kinds = {"all harmful": [row for row in harmful if row["label"] == "harmful" and row["lang"] == code]}
        for row in harmful:
            if row["lang"] == code:
                kinds.setdefault(row["source"], []).append(row)
        for kind, rows in kinds.items():
            values = np.array([score[id(row)] for row in rows])
            figures.append(
                rate(f"dev/harmful_prompts ({kind}): recall at the shipped cut", code, values >= 0.5)
            )
            figures.append(
                rate(f"dev/harmful_prompts ({kind}): recall at 2 % FPR on dev", code, values > cut)
            )
    rows = sources.read("dev", "over_refusal")
    values = score_many([row["text"] for row in rows])
    unsafe = np.array([row["label"] == "unsafe" for row in rows])
    figures.append(_auroc("dev/over_refusal: AUROC", "en", values, unsafe))
    called = values >= 0.5
    hit = int(np.sum(called & unsafe))
    f1 = round(2 * hit / max(int(called.sum() + unsafe.sum()), 1), 4)
    figures.append(Figure("dev/over_refusal: F1 at the shipped cut", "en", f1, f1, f1, len(rows)))
    figures.append(rate("dev/over_refusal: safe prompts blocked", "en", called[~unsafe]))
    figures.append(rate("dev/over_refusal: unsafe prompts blocked", "en", called[unsafe]))
    return figures


def _sixty_four() -> str:
    return " ".join(["please write a friendly letter that asks my neighbour about the tall tree"] * 5)[:300]


def _measure_reply_guard(sources: Sources) -> tuple[list[Figure], dict[str, float]]:
    guard = ReplyGuard.default()
    figures = []
    rows: Rows = sources.read("dev", "refusals")
    for code in _LANGUAGES:
        for label, what in (
            ("refusal", "refusal blocked"),
            ("compliance", "harmless answer (alpaca) blocked"),
        ):
            mine = [
                r
                for r in rows
                if r["lang"] == code
                and r["label"] == label
                and (label == "refusal" or "llamafactory" in r["source"])
            ]
            values = guard.score_many([r["prompt"] for r in mine], [r["response"] for r in mine])
            figures.append(rate(f"dev/refusals: {what}", code, values >= 0.5))
        # Held-out exchanges share their questions with training, so this says less than it seems.
        mine = [
            r
            for r in rows
            if r["lang"] == code and r["label"] == "compliance" and "llamafactory" not in r["source"]
        ]
        values = guard.score_many([r["prompt"] for r in mine], [r["response"] for r in mine])
        figures.append(rate("dev/refusals: compliance with a harmful request blocked", code, values >= 0.5))
    exchanges = sources.read("dev", "exchanges")
    values = guard.score_many([r["prompt"] for r in exchanges], [r["response"] for r in exchanges])
    unsafe = np.array([row["label"] == "unsafe" for row in exchanges])
    figures.append(_auroc("dev/exchanges (DiaSafety chat, another task): AUROC", "en", values, unsafe))
    return figures, {"64-token reply, alone": cpu_ms(lambda: guard.judge(_sixty_four(), "How do I ask?"))}


_MEASURES: dict[str, Callable[[Sources], tuple[list[Figure], dict[str, float]]]] = {
    "reply-judge": _measure_judge,
    "prompt-guard": _measure_prompt_guard,
    "reply-guard": _measure_reply_guard,
    "intent": _measure_intent,
    "toxicity": partial(measure_classifier, "toxicity"),
    "fraud": partial(measure_classifier, "fraud"),
    "injection": partial(measure_classifier, "injection"),
    "refusal": partial(measure_classifier, "refusal"),
    "screen": measure_screen,
}
