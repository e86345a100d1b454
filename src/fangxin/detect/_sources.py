from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from fangxin.detect._text import Side, identity, language, side

Rows = list[dict[str, Any]]
_ANSWERED = ("exchanges", "refusals", "preference")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and a reply; each label is None where nobody knows.

    Attributes:
        question: the plain request.
        reply: what was answered.
        harmful: the reply serves a harm that was asked for.
        refusal: the reply refuses.
        gibberish: the reply makes no sense.
        asked: the question asks for harm.
        source: the data set.
    """

    question: str
    reply: str
    harmful: bool | None
    refusal: bool | None
    gibberish: bool | None
    asked: bool | None
    source: str


@dataclass
class Sources:
    """The data folder, split between judge and guard, and a tally of what was taken for a detector.

    Attributes:
        data: the folder with `train/` and `dev/` (gzipped JSON lines).
        tally: rows taken, by source and licence.
        taken: identities of the prompts taken.
    """

    data: Path
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken: set[int] = field(default_factory=set)

    def read(self, part: str, name: str) -> Rows:
        """The rows of `<part>/<name>.jsonl.gz`; none where the file isn't there."""
        path = self.data / part / f"{name}.jsonl.gz"
        if not path.is_file():
            return []
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        for row in rows:
            if row.get("prompt", "") is None:
                row["prompt"] = ""  # some replies came without their question
        return rows

    def lexicon(self, name: str) -> Rows:
        """The rows of `lexicons/<name>.jsonl.gz`, all taken."""
        rows = self.read("lexicons", name)
        self.tally.update((row["source"], row["licence"]) for row in rows)
        return rows

    @cached_property
    def answered(self) -> frozenset[int]:
        """Identities of the questions that any training file has with a reply."""
        rows = (row for name in _ANSWERED for row in self.read("train", name))
        return frozenset(identity(row["prompt"]) for row in rows if row["prompt"])

    def belongs(self, text: str, to: Side) -> bool:
        """Whether rows about this prompt may train that side."""
        return side(text, answered=identity(text) in self.answered) == to

    def take(self, row: dict[str, Any], prompt: str) -> None:
        """Note that a row about `prompt` trains the detector at hand."""
        self.tally[row["source"], row.get("licence", "")] += 1
        self.taken.add(identity(prompt))

    def prompts(self, to: Side, keep: Callable[[dict[str, Any]], bool] = lambda row: True) -> Rows:
        """Prompts of `train/prompts` and our own look-alikes on one side: text, label, lang, source."""
        rows = self.read("train", "prompts") + [
            {**row, "source": "fangxin_lookalikes", "licence": "P: Apache-2.0"}
            for row in own("lookalikes.jsonl")
        ]
        found = [row for row in rows if row["text"] and self.belongs(row["text"], to) and keep(row)]
        for row in found:
            self.take(row, row["text"])
        return found

    def exchanges(self, to: Side) -> list[Exchange]:
        """Questions and replies on one side, of public sets; ours are in `own`."""
        # The refusal labels came without their questions: replies are matched by their text.
        weak = {row["response"]: row["label"] == "refusal" for row in self.read("train", "refusals")}
        out = []
        for row in self.read("train", "exchanges"):
            if row["source"] == "diasafety" or not self.belongs(row["prompt"], to):
                continue  # diasafety is chat that offends, not requests that are served
            self.take(row, row["prompt"])
            unsafe = row["label"] == "unsafe"
            refusal = weak.get(row["response"], False if unsafe else None)
            out.append(Exchange(row["prompt"], row["response"], unsafe, refusal, False, True, row["source"]))
        for row in self.read("train", "preference"):
            if row["source"] not in ("pandalm_test", "bpo_test") or not self.belongs(row["prompt"], to):
                continue
            self.take(row, row["prompt"])
            out.append(Exchange(row["prompt"], row["chosen"], False, None, False, False, row["source"]))
        for row in self.read("train", "support"):
            turns = row["turns"]
            for a, b in pairwise(turns[:4]):
                # A pair of turns is a question with its reply, so the whole talk goes by its first words.
                if (
                    a["role"] == "client"
                    and b["role"] == "counsellor"
                    and self.belongs(turns[0]["content"], to)
                    and self.belongs(a["content"], to)
                ):
                    self.take(row, a["content"])
                    out.append(
                        Exchange(a["content"], b["content"], False, False, False, False, row["source"])
                    )
        return out


def own(name: str) -> Any:
    """Our own rows, in the package: JSON, or JSON lines."""
    text = (files("fangxin.detect") / "rows" / name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)


def capped(rows: Rows, most: int, rng: random.Random) -> Rows:
    """At most `most` rows of each source, language and label."""
    out: Rows = []
    count: Counter[tuple[str, str, str]] = Counter()
    for row in rng.sample(rows, len(rows)):
        key = (row["source"], row["lang"], row["label"])
        if count[key] < most:
            count[key] += 1
            out.append(row)
    return out


def cut(text: str, rng: random.Random) -> str:
    """The text as a limit of 30 to 60 tokens would leave it."""
    if language(text) == "zh":
        return text[: rng.randint(35, 80)]
    words = text.split(" ")
    return " ".join(words[: rng.randint(22, 46)])


def payloads(templates: Iterable[str], prompts: list[str], rng: random.Random) -> list[str]:
    """Each prompt put into a template drawn for it (at its mark, else after it)."""
    pool = list(templates)
    return [_put(rng.choice(pool), prompt) for prompt in prompts]


def _put(template: str, prompt: str) -> str:
    for mark in ("[INSERT PROMPT HERE]", "{q}"):
        if mark in template:
            return template.replace(mark, prompt)
    return f"{template}\n{prompt}"
