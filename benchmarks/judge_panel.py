"""The judge against hand labels, on replies of the embedded model made anew.

    python benchmarks/judge_panel.py                         # figures on the card part
    python benchmarks/judge_panel.py --fit --data FOLDER     # refit the judge's last step on the other part

`judge_panel.jsonl` holds labels and hashes, never a reply: what the model says is said again (greedy), and
a reply whose hash differs from the labelled one is left out and counted. Each reply was read and labelled
by one annotator; on 70 replies a second one read, both agreed on harm and refusal in all and on gibberish
in 67. The annotators were language models of one kind that read row by row, not people: their agreement is
no proof of being right. Rows of the fitting part share goals with the card part, but no (goal, family) pair.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import fangxin.detect as detect
from fangxin.defend import SafetyPrompt
from fangxin.detect import NgramJudge, card, evaluate_panel
from fangxin.dialogue import Dialogue, DialoguePrompt, Language, Turn
from fangxin.models import EmbeddedModel, Sampling
from fangxin.probe import attacks, goals

HERE = Path(__file__).parent


def public_prompts(data: Path | None) -> dict[str, str]:
    from fangxin.detect._sources import Sources
    from fangxin.detect._text import identity

    if data is None:
        return {}
    return {str(identity(row["text"])): row["text"] for row in Sources(data).prompts("judge")}


PROMPTS: dict[str, Callable[[Language], DialoguePrompt]] = {
    "none": lambda language: DialoguePrompt(),
    "safety": lambda language: DialoguePrompt(role=SafetyPrompt.default().texts[language]),
    "example": lambda language: DialoguePrompt.example(),
}


def kept(rows: list[dict[str, Any]], replies: Path, data: Path | None) -> list[dict[str, Any]]:
    """Labelled rows whose reply stands in a file (a JSON list of texts) that an earlier run kept."""
    bank = {goal.id: goal for language in ("en", "zh") for goal in goals(language)}
    public = public_prompts(data)
    said = {name(text): text for text in json.loads(replies.read_text("utf-8"))}
    found = []
    for row in rows:
        goal = bank.get(row["of"])
        question = (goal.text if row["kind"] == "goal" else goal.twin) if goal else public.get(row["of"])
        if question is not None and row["reply"] in said:
            language = goal.language if goal else "en"
            found.append({**row, "question": question, "reply": said[row["reply"]], "lang": language})
    print(f"{len(found)} of {len(rows)} labelled replies were kept and count.")
    return found


def name(reply: str) -> str:
    return hashlib.sha256(reply.encode()).hexdigest()[:16]


async def again(rows: list[dict[str, Any]], data: Path | None) -> list[dict[str, Any]]:
    """Have the model say every labelled reply again; those that came out the same."""
    bank = {goal.id: goal for language in ("en", "zh") for goal in goals(language)}
    public = public_prompts(data)
    families = attacks()

    async with EmbeddedModel.start() as model:

        async def one(row: dict[str, Any]) -> dict[str, Any] | None:
            goal = bank.get(row["of"])
            question = (goal.text if row["kind"] == "goal" else goal.twin) if goal else public.get(row["of"])
            if question is None:
                return None
            language = goal.language if goal else "en"
            turns: tuple[Turn, ...] = (Turn("user", question),)
            if row["kind"] == "goal":
                rng = random.Random(row["seed"] if row["seed"] is not None else question)
                turns = families[row["family"]].wrap(question, language, rng)
            prompt = PROMPTS[row["prompt"]]
            dialogue = Dialogue(prompt(language), turns)
            reply = (await model.reply(dialogue, Sampling(max_tokens=row["tokens"])))[0].text
            if name(reply) != row["reply"]:
                return None
            return {**row, "question": question, "reply": reply, "lang": language}

        said = await asyncio.gather(*(one(row) for row in rows))
    same = [row for row in said if row is not None]
    print(f"{len(same)} of {len(rows)} labelled replies came out the same and count.")
    return same


def fit(rows: list[dict[str, Any]], alarms: float) -> None:
    """Refit the last step of the judge and write it into the package."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.preprocessing import StandardScaler

    from fangxin.detect._serving import serving

    rows = [row for row in rows if row["lang"] == "en"]
    questions, replies = [row["question"] for row in rows], [row["reply"] for row in rows]
    said = NgramJudge().first_step(questions, replies)
    x = np.array([serving(*each) for each in zip(questions, replies, said, strict=True)])
    y = np.array([row["harmful"] for row in rows])
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=3000)
    held = cross_val_predict(
        model, scaler.transform(x), y, groups=questions, cv=GroupKFold(8), method="decision_function"
    )
    ours = np.array([row["of"].startswith("en-") for row in rows])
    cut = float(np.quantile(held[ours & ~y], 1 - alarms))
    model.fit(scaler.transform(x), y)
    np.savez(
        Path(detect.__file__).parent / "weights" / "serving.npz",
        mean=scaler.mean_,
        scale=scaler.scale_,
        coef=model.coef_[0],
        offset=np.array(model.intercept_[0] - cut),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="refit the last step first")
    parser.add_argument("--data", type=Path, help="the data folder; only for --fit")
    parser.add_argument("--replies", type=Path, help="take replies from this JSON list; ask no model")
    parser.add_argument("--alarms", type=float, default=0.08, help="false alarms on the fitting part")
    parser.add_argument("--write", action="store_true", help="write the counts into the judge's card")
    options = parser.parse_args()
    rows = [json.loads(line) for line in (HERE / "judge_panel.jsonl").read_text().splitlines()]
    wanted = rows if options.fit else [row for row in rows if row["part"] == "card"]
    if options.replies:
        said = kept(wanted, options.replies, options.data)
    else:
        said = asyncio.run(again(wanted, options.data))
    if options.fit:
        fit([row for row in said if row["part"] == "fit"], options.alarms)
    panel = [
        {**row, "harmful": row["harmful"] if row["kind"] == "goal" else None}
        for row in said
        if row["part"] == "card"
    ]
    counts = evaluate_panel(panel)
    for kind, by_language in counts.items():
        for language, tally in by_language.items():
            positives = tally["true_positive"] + tally["false_negative"]
            negatives = tally["true_negative"] + tally["false_positive"]
            print(
                f"{kind:<10} {language}  sensitivity {tally['true_positive']}/{positives}"
                f"  specificity {tally['true_negative']}/{negatives}"
            )
    if options.write:
        path = Path(detect.__file__).parent / "cards" / "ngram-judge.json"
        path.write_text(replace(card("ngram-judge"), panel=counts).to_json(), "utf-8")


if __name__ == "__main__":
    main()
