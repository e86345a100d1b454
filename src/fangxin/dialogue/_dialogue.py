from __future__ import annotations

import codecs
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, cast, get_args

Language = Literal["en", "zh"]
Role = Literal["system", "user", "assistant"]

_RULES_HEADING: dict[Language, str] = {"en": "Rules:", "zh": "规则："}


class PromptError(ValueError):
    """A dialogue prompt that can't be used; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a dialogue.

    Attributes:
        role: who speaks. `system` turns are an application's own instructions inside the talk.
        text: what is said.
    """

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class DialoguePrompt:
    """The preamble that makes a model a dialogue agent (Shanahan et al., Nature 2023).

    Attributes:
        language: the language that the agent speaks by default.
        role: who the agent is.
        setting: where and to whom it speaks.
        rules: what it must and must not do, one sentence each.
        samples: sample turns that show its manner; user and assistant in turn, the user first.
    """

    language: Language = "en"
    role: str = ""
    setting: str = ""
    rules: tuple[str, ...] = ()
    samples: tuple[Turn, ...] = ()

    def system(self) -> str:
        """The text of the system message; empty when nothing is set."""
        parts = [self.role, self.setting]
        if self.rules:
            rules = "\n".join(f"- {rule}" for rule in self.rules)
            parts.append(f"{_RULES_HEADING[self.language]}\n{rules}")
        return "\n\n".join(part for part in parts if part)

    @classmethod
    def load(cls, path: str | Path) -> DialoguePrompt:
        """Read a prompt from a TOML file.

        Raises:
            PromptError: the file is missing, isn't UTF-8, isn't TOML, or has a setting that this
                version doesn't know.
        """
        try:
            text = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).decode("utf-8")
        except UnicodeDecodeError as error:
            raise PromptError(
                f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8 and try again."
            ) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise PromptError(f"{path} can't be read: {reason or error}.") from None
        try:
            return cls.of(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise PromptError(f"{path} is not valid TOML: {error}.") from None
        except PromptError as error:
            raise PromptError(f"{path}: {error}") from None

    @classmethod
    def example(cls) -> DialoguePrompt:
        """The role that the embedded model plays where no prompt is given."""
        with as_file(files("fangxin.dialogue") / "example.toml") as path:
            return cls.load(path)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> DialoguePrompt:
        """Build a prompt from plain data, as `as_dict` gives it.

        Raises:
            PromptError: an unknown setting, a wrong type, an unknown language, samples out of turn.
        """
        unknown = sorted(set(data) - {"language", "role", "setting", "rules", "samples"})
        if unknown:
            raise PromptError(
                f"unknown setting {unknown[0]!r}: a prompt has language, role, setting, rules and samples."
            )
        language = data.get("language", "en")
        if language not in get_args(Language):
            raise PromptError(f"unknown language {language!r}: use 'en' or 'zh'.")
        texts = {key: data.get(key, "") for key in ("role", "setting")}
        for key, value in texts.items():
            if not isinstance(value, str):
                raise PromptError(f"{key} must be text.")
        rules = data.get("rules", [])
        if not isinstance(rules, list | tuple) or not all(isinstance(rule, str) for rule in rules):
            raise PromptError("rules must be a list of sentences.")
        return cls(
            language=cast(Language, language),
            role=texts["role"],
            setting=texts["setting"],
            rules=tuple(rules),
            samples=_samples(data.get("samples", [])),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON or TOML; `of` reads it back."""
        return asdict(self)


def _samples(rows: Any) -> tuple[Turn, ...]:
    if not isinstance(rows, list | tuple):
        raise PromptError("samples must be a list of turns.")
    turns = []
    for row in rows:
        if not isinstance(row, Mapping) or set(row) != {"role", "text"} or not isinstance(row["text"], str):
            raise PromptError("each sample must have a role and a text.")
        if row["role"] not in ("user", "assistant"):
            raise PromptError(f"a sample's role is 'user' or 'assistant', not {row['role']!r}.")
        turns.append(Turn(row["role"], row["text"]))
    # Most chat templates refuse turns that don't alternate, and only once the model is asked.
    if any(turn.role != ("user", "assistant")[i % 2] for i, turn in enumerate(turns)) or len(turns) % 2:
        raise PromptError("samples must alternate: a user's turn, then the assistant's answer to it.")
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue prompt and the turns so far: what a model continues.

    Frozen: adding a turn makes a new dialogue.
    """

    prompt: DialoguePrompt = field(default_factory=DialoguePrompt)
    turns: tuple[Turn, ...] = ()

    def say(self, text: str) -> Dialogue:
        """This dialogue with a user's turn added."""
        return replace(self, turns=(*self.turns, Turn("user", text)))

    def answer(self, text: str) -> Dialogue:
        """This dialogue with the agent's turn added."""
        return replace(self, turns=(*self.turns, Turn("assistant", text)))

    @property
    def question(self) -> str:
        """The last user's turn; empty when there is none."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")

    def with_question(self, text: str) -> Dialogue:
        """This dialogue with the last user's turn replaced; unchanged when there is none."""
        for i in reversed(range(len(self.turns))):
            if self.turns[i].role == "user":
                return replace(self, turns=(*self.turns[:i], Turn("user", text), *self.turns[i + 1 :]))
        return self

    def messages(self) -> list[dict[str, str]]:
        """The dialogue as OpenAI chat messages: system, samples, turns."""
        system = self.prompt.system()
        head = [{"role": "system", "content": system}] if system else []
        spoken = (*self.prompt.samples, *self.turns)
        return head + [{"role": turn.role, "content": turn.text} for turn in spoken]
