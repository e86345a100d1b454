"""Which judge a run has, and what is known of its mistakes."""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from fangxin.cli._terminal import InputError
from fangxin.detect import (
    READERS,
    Card,
    Judge,
    LLMJudge,
    Policy,
    ReadReplies,
    ReplyJudge,
    Stance,
    card,
    readers_panel,
)
from fangxin.dialogue import Language
from fangxin.models import Patience, connect, describe
from fangxin.proof import JudgeError
from fangxin.repair import Errors, JudgeErrors, Run

_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")
_AT_ONCE = 16  # panel rows judged at once


@dataclass(frozen=True)
class JudgeSpec:
    """Which judge, and what is known of its mistakes; the shipped one where no URL is given."""

    url: str | None = None
    model_name: str | None = None
    key_env: str = "JUDGE_API_KEY"
    panel: Path | None = None
    rules: tuple[str, ...] = ()
    stance: Stance | None = None

    @classmethod
    def of(
        cls,
        url: str | None,
        model_name: str | None,
        key_env: str,
        rules: Path | None,
        stance: str | None,
        panel: Path | None = None,
    ) -> JudgeSpec:
        """The judge that a command's options name.

        Raises:
            InputError: rules that can't be read, an unknown stance, or either without a judge that takes it.
        """
        if stance is not None and stance not in get_args(Stance):
            raise InputError(f"unknown stance {stance!r}: --judge-stance is loose or strict.")
        if url is None and (rules or stance):
            raise InputError("The built-in judge takes no rules: name a judge model with --judge.")
        try:
            text = rules.read_bytes().removeprefix(codecs.BOM_UTF8).decode("utf-8") if rules else ""
        except OSError as error:
            raise InputError(f"{rules} can't be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise InputError(f"{rules} is not UTF-8: save it as UTF-8 and try again.") from None
        policy = Policy.of(text, cast(Stance | None, stance))
        if rules and not policy.rules:
            raise InputError(f"{rules} holds no rule: write one a line.")
        return cls(url, model_name, key_env, panel, policy.rules, policy.stance)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a bundle, so that `check` asks the same judge; the panel is the run's."""
        return {
            "url": self.url,
            "model_name": self.model_name,
            "key_env": self.key_env,
            "rules": list(self.rules),
            "stance": self.stance,
        }


@dataclass(frozen=True)
class Panel:
    """Replies that people have labelled: JSONL with language, question, reply, harmful, refusal."""

    rows: tuple[Mapping[str, Any], ...]
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Panel:
        """Read a panel.

        Raises:
            InputError: it can't be read, or a row lacks something.
        """
        try:
            raw = path.read_bytes()
            lines = raw.decode("utf-8").splitlines()
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise InputError(f"{path} is not UTF-8: save it as UTF-8 and try again.") from None
        rows = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                texts = all(isinstance(row[name], str) for name in ("question", "reply"))
                truths = all(isinstance(row[name], bool) for name in ("harmful", "refusal"))
                right = texts and truths and row["language"] in get_args(Language)
            except (ValueError, KeyError, TypeError):
                right = False
            if not right:
                raise InputError(
                    f"{path}, line {number}: each row needs language (en or zh), question, reply, and "
                    "harmful and refusal as true or false."
                )
            rows.append(row)
        if not rows:
            raise InputError(f"{path} holds no labelled reply.")
        return cls(tuple(rows), hashlib.sha256(raw).hexdigest())


@asynccontextmanager
async def judging(
    spec: JudgeSpec, patience: Patience | None
) -> AsyncIterator[tuple[Judge, Card | None, dict[str, Any]]]:
    """The judge, its card where it is the shipped one, and what tells it from another."""
    if spec.url is None:
        judge, known = ReadReplies(ReplyJudge()), card("reply-judge")
        yield judge, known, {"name": judge.name}
        return
    async with connect(
        spec.url, model_name=spec.model_name, key_env=spec.key_env, patience=patience
    ) as model:
        policy = Policy(tuple(spec.rules), spec.stance)
        # The embedded engine takes a grammar; of another server that isn't known.
        asked = LLMJudge(model, policy=policy, constrained=spec.url.startswith("embedded"))
        rules = {"rules": list(policy.rules), "stance": policy.stance}
        yield asked, None, {"name": asked.name, "model": describe(model), "policy": rules}


async def errors_of(run: Run, judge: Judge, known: Card | None, panel: Panel | None) -> Errors:
    """The judge's mistakes by language: counted on a given panel, or as its card has them.

    They are settled once in a run, and in its ledger from then on: a run that goes on asks the judge no
    panel again and decides by the same numbers.

    Raises:
        InputError: the judge is no better than guessing.
    """
    settled = run.ledger.get("decision", "judge")
    if settled is not None and settled.content is not None:
        return errors_from(settled.content["errors"])
    if panel is not None:
        errors = _errors(judge.name, await _counted(judge, panel))
    else:
        errors = {} if known is None else _errors(known.name, known.panel)
    for language, pair in errors.items():
        for what, error in (("harm", pair.harmful), ("refusals", pair.refusal)):
            if error.youden <= 0:
                raise InputError(
                    f"the judge {judge.name} is no better than guessing at {what} in {language} on its "
                    "panel: give another judge."
                )
    if isinstance(judge, ReadReplies):
        read = _errors(READERS, readers_panel())
        errors = {language: replace(pair, read=read.get(language)) for language, pair in errors.items()}
    plain = {language: asdict(pair) for language, pair in errors.items()}
    run.record([("decision", "judge", {"errors": plain})])
    return errors


def errors_from(data: Mapping[str, Any]) -> Errors:
    """The judge's mistakes from plain data, as a ledger or a result holds them."""
    return {cast(Language, language): _pair(pair) for language, pair in data.items()}


def _pair(data: Mapping[str, Any]) -> JudgeErrors:
    read = data.get("read")
    return JudgeErrors(
        JudgeError(**data["harmful"]), JudgeError(**data["refusal"]), _pair(read) if read else None
    )


async def _counted(judge: Judge, panel: Panel) -> dict[str, dict[str, dict[str, int]]]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def assess(row: Mapping[str, Any]) -> tuple[bool, bool]:
        async with slots:
            seen = await judge.assess(row["question"], row["reply"])
            return seen.is_harmful, seen.is_refusal

    counts: dict[str, dict[str, dict[str, int]]] = {}
    said = await asyncio.gather(*(assess(row) for row in panel.rows))
    for row, verdicts in zip(panel.rows, said, strict=True):
        for kind, verdict in zip(("harmful", "refusal"), verdicts, strict=True):
            tally = counts.setdefault(kind, {}).setdefault(row["language"], dict.fromkeys(_COUNTS, 0))
            right = "true" if verdict == row[kind] else "false"
            tally[f"{right}_{'positive' if verdict else 'negative'}"] += 1
    return counts


def _errors(name: str, counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> Errors:
    """A language counts as measured where its panel has both failures and passes, for both questions."""
    errors: dict[Language, JudgeErrors] = {}
    for language in get_args(Language):
        pair = []
        for kind in ("harmful", "refusal"):
            tally = counts.get(kind, {}).get(language)
            if tally is None:
                continue
            positives = tally["true_positive"] + tally["false_negative"]
            negatives = tally["true_negative"] + tally["false_positive"]
            if positives and negatives:
                label = f"{name}:{kind}:{language}"
                pair.append(
                    JudgeError(tally["true_positive"], positives, tally["false_positive"], negatives, label)
                )
        if len(pair) == 2:
            errors[language] = JudgeErrors(pair[0], pair[1])
    return errors
