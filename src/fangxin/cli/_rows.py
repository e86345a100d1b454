"""Rows to judge: JSON lines with `text`, or `prompt` and `response`; with a label where they measure."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fangxin.cli._terminal import InputError
from fangxin.detect import Task, language

POSITIVE = frozenset(
    (
        "unsafe",
        "harmful",
        "1",
        "true",
        "yes",
        "positive",
        "injection",
        "jailbreak",
        "fraud",
        "scam",
        "spam",
        "refusal",
        "toxic",
        "hate",
        "hateful",
        "offensive",
        "abusive",
        "pii",
        "personal",
    )
)
NEGATIVE = frozenset(
    (
        "safe",
        "benign",
        "harmless",
        "0",
        "false",
        "no",
        "negative",
        "clean",
        "normal",
        "compliance",
        "ham",
        "none",
        "neutral",
    )
)
_OF_REPLIES: tuple[Task, ...] = ("exchange", "refusal")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """What is judged.

    Attributes:
        text: the text; of a reply, the reply.
        question: what it replies to, or None.
    """

    text: str
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows with labels, in the order of their files.

    Attributes:
        rows: what is judged.
        truth: whether each is what the task looks for.
        languages: `en` or `zh` (or what the rows say).
        counts: rows by label as they were read: those that count as `positive`, as `negative`, and `ignored`.
    """

    rows: tuple[Row, ...]
    truth: tuple[bool, ...]
    languages: tuple[str, ...]
    counts: dict[str, dict[str, int]]

    def at(self, chosen: Sequence[int]) -> Labelled:
        """Some of the rows."""
        rows = tuple(self.rows[i] for i in chosen)
        truth, languages = (tuple(of[i] for i in chosen) for of in (self.truth, self.languages))
        return Labelled(rows, truth, languages, self.counts)  # type: ignore[arg-type]

    def sample(self, n: int | None, seed: int) -> Labelled:
        """`n` of the rows, drawn by the seed; all of them where there are no more."""
        if n is None or n >= len(self.rows):
            return self
        return self.at(sorted(np.random.default_rng(seed).choice(len(self.rows), n, replace=False).tolist()))

    def distinct(self) -> Labelled:
        """Each row once: the first of those that are equal."""
        firsts: dict[Row, int] = {}
        for i, row in enumerate(self.rows):
            firsts.setdefault(row, i)
        return self.at(list(firsts.values()))

    def digest(self) -> str:
        """SHA-256 of rows and labels, in order."""
        it = hashlib.sha256()
        for row, truth in zip(self.rows, self.truth, strict=True):
            it.update(json.dumps([row.text, row.question, truth]).encode() + b"\n")
        return it.hexdigest()


def parsed(line: bytes, where: str) -> dict[str, Any]:
    """The object on a line.

    Raises:
        InputError: it isn't UTF-8, or no JSON object.
    """
    try:
        row = json.loads(line.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{where} is not UTF-8: save the rows as UTF-8 and try again.") from None
    except (ValueError, RecursionError) as error:
        what = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise InputError(f"{where} is not JSON ({what}): give one JSON object a line.") from None
    if not isinstance(row, dict):
        raise InputError(f"{where} is no JSON object: give one a line.")
    return row


def row_of(row: dict[str, Any], task: Task, where: str) -> Row:
    """What is judged of a row: its `text`; else its `response`, as the reply to its `prompt`.

    Of prompt and response, the task `prompt` judges the prompt. What no text can hold (half of a surrogate
    pair) becomes U+FFFD.

    Raises:
        InputError: a field is missing or no text.
    """
    name = "text" if "text" in row else "prompt" if task == "prompt" else "response"
    if not isinstance(row.get(name), str):
        raise InputError(f"{where} has no {name}: each row needs text, or prompt and response, as texts.")
    question = row.get("prompt") if name == "response" or task in _OF_REPLIES else None
    if name == "response" and "prompt" not in row:
        raise InputError(f"{where} has a response without its prompt: give both, or text.")
    if question is not None and not isinstance(question, str):
        raise InputError(f"{where} has a prompt that is no text.")
    return Row(_whole(row[name]), None if question is None else _whole(question))


def _whole(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def labelled(
    paths: Sequence[Path],
    task: Task,
    *,
    positive: Sequence[str] = (),
    negative: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Labelled:
    """Labelled rows of JSONL files (gzipped where they end in .gz).

    Args:
        paths: the files.
        task: what the labels are about.
        positive: labels that count as found, besides `POSITIVE`; they go before the usual reading.
        negative: labels that count as not found, besides `NEGATIVE`.
        ignore: labels whose rows are left out.

    Raises:
        InputError: a file can't be read, or a row lacks something; an unknown label.
    """
    ours, theirs, out = (frozenset(map(_label, of)) for of in (positive, negative, ignore))
    rows: list[Row] = []
    truth: list[bool] = []
    languages: list[str] = []
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in ("positive", "negative", "ignored")}
    for where, line in _lines(paths):
        data = parsed(line, where)
        if not isinstance(data.get("label"), str | int | float):
            raise InputError(f"{where} has no label: each row needs one, such as harmful or benign.")
        label = _label(data["label"])
        if label in out:
            counts["ignored"][label] += 1
            continue
        found = label in ours or (label not in theirs and label in POSITIVE)
        if not found and label not in theirs | NEGATIVE:
            raise InputError(
                f"{where} has the unknown label {label!r}: say what it is with --positive, --negative or "
                f"--ignore {label}."
            )
        row = row_of(data, task, where)
        counts["positive" if found else "negative"][label] += 1
        rows.append(row)
        truth.append(found)
        given = data.get("lang")
        languages.append(given if isinstance(given, str) and given else language(row.text))
    if not rows:
        raise InputError(f"{', '.join(map(str, paths))} holds no labelled row.")
    plain = {kind: dict(sorted(count.items())) for kind, count in counts.items()}
    return Labelled(tuple(rows), tuple(truth), tuple(languages), plain)


def _label(label: object) -> str:
    return str(int(label) if isinstance(label, float) and label.is_integer() else label).strip().casefold()


def _lines(paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Where each line that isn't empty stands, and the line."""
    for path in paths:
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield f"{path}, line {number}", line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path} is no whole gzip file ({error}): fetch it again.") from None
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror or error}.") from None
