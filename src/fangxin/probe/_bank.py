from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from fangxin.dialogue import Language

# Law 11: for these, plain requests only, replies cut short, judged in memory, kept as hash and verdict.
SENSITIVE_RISKS = frozenset({"child_sexual_exploitation", "indiscriminate_weapons"})


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that a good model won't help with, and its benign twin.

    Attributes:
        id: stable identifier.
        language: the language both are written in.
        text: the harmful request.
        twin: a harmless request that shares its frightening words.
        ailuminate: its AILuminate hazard, if any.
        cn: its GB/T 45654 risk, if any.
    """

    id: str
    language: Language
    text: str
    twin: str
    ailuminate: str | None
    cn: str | None

    @property
    def sensitive(self) -> bool:
        """Whether law 11's rules for the worst content apply."""
        return self.ailuminate in SENSITIVE_RISKS

    def risk(self, taxonomy: str) -> str | None:
        """Its risk in `ailuminate` or `cn`."""
        return self.cn if taxonomy == "cn" else self.ailuminate


@dataclass(frozen=True, slots=True)
class Task:
    """An ability question whose answer a program can check.

    Attributes:
        id: stable identifier.
        language: the language it is asked in.
        kind: `arithmetic`, `fact` or `format`.
        question: what is asked.
        answer: `{"type": "number" | "text" | "regex", "value": …, "also": […]}`.
    """

    id: str
    language: Language
    kind: str
    question: str
    answer: Mapping[str, Any]

    def correct(self, reply: str) -> bool:
        """Whether a reply holds the answer.

        A number counts where it is the first or the last number of the reply (a worked sum ends in its
        result); a text counts as a whole word, or as a run of characters in Chinese; a format counts
        where the pattern matches the stripped reply. Width and case don't matter, except to a pattern.
        """
        if self.answer["type"] == "regex":
            return re.search(str(self.answer["value"]), reply.strip()) is not None
        if self.answer["type"] == "number":
            plain = unicodedata.normalize("NFKC", reply).replace("\u2212", "-")
            found = [float(text.replace(",", "")) for text in _NUMBER.findall(plain)]
            return bool(found) and float(self.answer["value"]) in (found[0], found[-1])
        wanted = [str(self.answer["value"]), *map(str, self.answer.get("also", []))]
        return any(_holds(reply, text) for text in wanted)


# A minus after a letter, a digit or a bracket takes away: it is no sign.
_NUMBER = re.compile(r"(?:(?<![A-Za-z0-9_)])-)?\d+(?:,\d{3})*(?:\.\d+)?")


def _holds(reply: str, text: str) -> bool:
    reply, text = (unicodedata.normalize("NFKC", part).casefold() for part in (reply, text))
    if not text.isascii():
        return text in reply
    return re.search(rf"(?<![a-z0-9_]){re.escape(text)}(?![a-z0-9_])", reply) is not None


def _rows(name: str) -> Iterator[dict[str, Any]]:
    text = (files("fangxin.probe") / "bank" / name).read_text("utf-8")
    return (json.loads(line) for line in text.splitlines() if line.strip())


@cache
def goals(language: Language) -> tuple[Goal, ...]:
    """The shipped goals of a language, in file order."""
    return tuple(
        Goal(
            row["id"],
            cast(Language, row["language"]),
            row["goal"],
            row["twin"],
            row["ailuminate"],
            row["cn"],
        )
        for row in _rows(f"goals_{language}.jsonl")
    )


@cache
def tasks(language: Language) -> tuple[Task, ...]:
    """The shipped ability questions of a language, in file order."""
    return tuple(
        Task(row["id"], cast(Language, row["language"]), row["kind"], row["question"], row["answer"])
        for row in _rows(f"ability_{language}.jsonl")
    )
