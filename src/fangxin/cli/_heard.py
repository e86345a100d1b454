"""Has the embedded model say again what was labelled by hand: labels and hashes ship, replies don't."""

from __future__ import annotations

import asyncio
import json
import random
from importlib.resources import as_file, files
from typing import Any

from fangxin.cli._terminal import say
from fangxin.detect import reply_key
from fangxin.dialogue import Dialogue, DialoguePrompt, Turn
from fangxin.models import EmbeddedModel, Sampling
from fangxin.probe import attacks, goals


def labelled() -> list[dict[str, Any]]:
    """The labelled rows of `detect/rows/panel.jsonl`, in order."""
    text = (files("fangxin.detect") / "rows" / "panel.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def heard() -> list[dict[str, Any]]:
    """The labelled rows whose replies came out the same, with `question` and `reply`; greedy, some minutes.

    Another version of the engine or another processor may say something else: a label isn't about that.
    """
    rows = labelled()
    bank = {goal.id: goal for goal in goals("en")}
    families = attacks()
    with as_file(files("fangxin.detect") / "rows" / "panel.toml") as path:
        roles = {"samples": DialoguePrompt.load(path), "example": DialoguePrompt.example()}
    async with EmbeddedModel.start() as model:

        async def one(row: dict[str, Any]) -> dict[str, Any] | None:
            goal = bank[row["of"]]
            question = goal.text if row["kind"] == "goal" else goal.twin
            turns: tuple[Turn, ...] = (Turn("user", question),)
            if row["family"]:
                turns = families[row["family"]].wrap(question, "en", random.Random(row["seed"]))
            asked = Dialogue(roles[row["role"]], turns)
            reply = (await model.reply(asked, Sampling(max_tokens=row["tokens"])))[0].text
            if reply_key(question, reply) != row["key"]:
                return None
            return {**row, "question": question, "reply": reply}

        said = [row for row in await asyncio.gather(*(one(row) for row in rows)) if row is not None]
    say(f"{len(said)} of {len(rows)} labelled replies came out the same and count.")
    return said
