from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from fangxin.dialogue import Language, Turn

AttackKind = Literal["plain", "persona", "instruction", "persuasion", "obfuscation", "context", "language"]
Access = Literal["black-box", "grey-box", "white-box"]
Templates = dict[Language, tuple[str, ...]]

# What a plugin's function returns: the turns to add, or one text where a single user's turn is all.
Wrapped = str | tuple[Turn, ...]
WrapFunction = Callable[[str, Language, random.Random], Wrapped]


class AttackError(Exception):
    """An attack that can't be registered or used; the message says what to change."""


@dataclass(frozen=True, slots=True)
class AttackInfo:
    """The card of an attack family.

    Attributes:
        name: lower-case identifier, unique among all registered attacks.
        kind: what the family exploits; runs are stratified by it. `plain` is the goal as it stands,
            `persona` gives the model a self without rules, `instruction` sets format or authority
            against refusal, `persuasion` gives reasons, `obfuscation` hides the wording, `context`
            surrounds the goal with a frame or examples, `language` mixes English and Chinese.
        languages: the languages that it has its own wording for.
        summary_en: one sentence for a reader of English.
        summary_zh: the same for a reader of Chinese.
        source: where the idea was published.
        licence: of the wording and code (an SPDX identifier); ideas themselves carry none.
        access: what of the model it needs to see.
        turns: user's turns that the agent answers in one use (>= 1).
        asks: calls of the agent in one use (>= 1).
    """

    name: str
    kind: AttackKind
    languages: tuple[Language, ...]
    summary_en: str
    summary_zh: str
    source: str
    licence: str
    access: Access = "black-box"
    turns: int = 1
    asks: int = 1

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise AttackError(f"an attack's name is lower-case letters, digits and _, not {self.name!r}.")
        for what, value, known in (
            ("kind", self.kind, get_args(AttackKind)),
            ("access", self.access, get_args(Access)),
        ):
            if value not in known:
                raise AttackError(f"attack {self.name}: {what} {value!r} is not one of {', '.join(known)}.")
        if not self.languages or set(self.languages) - set(get_args(Language)):
            raise AttackError(f"attack {self.name}: languages must be 'en', 'zh' or both.")
        for what in ("summary_en", "summary_zh", "source", "licence"):
            if not getattr(self, what).strip():
                raise AttackError(f"attack {self.name}: {what} is empty.")
        if self.turns < 1 or self.asks < 1:
            raise AttackError(f"attack {self.name}: turns and asks are at least 1.")


@dataclass(frozen=True, slots=True)
class Attack:
    """A single-use attack: goal to turns.

    Attributes:
        info: its card.
        function: what builds the turns; call `wrap` instead.
    """

    info: AttackInfo
    function: WrapFunction = field(repr=False)

    def wrap(self, goal: str, language: Language, rng: random.Random) -> tuple[Turn, ...]:
        """The turns to add to an agent's dialogue.

        Args:
            goal: what the attacker wants answered, in `language`.
            language: one of `info.languages`.
            rng: draws the template and its variations; the same state gives the same turns.

        Returns:
            At least one turn, the last one a user's.

        Raises:
            AttackError: no wording in that language, or the plugin broke the contract.
        """
        if language not in self.info.languages:
            raise AttackError(
                f"attack {self.info.name} has no wording in {language!r}: "
                f"use {' or '.join(self.info.languages)}."
            )
        wrapped = self.function(goal, language, rng)
        turns = (Turn("user", wrapped),) if isinstance(wrapped, str) else tuple(wrapped)
        if not turns or turns[-1].role != "user":
            raise AttackError(f"attack {self.info.name} must end with a user's turn.")
        return turns


def attack(
    *,
    name: str,
    kind: AttackKind,
    summary_en: str,
    summary_zh: str,
    source: str,
    licence: str = "Apache-2.0",
    languages: tuple[Language, ...] = ("en", "zh"),
    access: Access = "black-box",
    turns: int = 1,
    asks: int = 1,
) -> Callable[[WrapFunction], Attack]:
    """Make an `Attack` of a function `(goal, language, rng) -> str | tuple[Turn, ...]`.

    A text stands for one user's turn. A module of attacks is registered by an entry point in the
    group `fangxin.attacks` that names the module. See `AttackInfo` for the arguments.

    Raises:
        AttackError: incomplete or unknown metadata.
    """
    info = AttackInfo(
        name=name,
        kind=kind,
        languages=languages,
        summary_en=summary_en,
        summary_zh=summary_zh,
        source=source,
        licence=licence,
        access=access,
        turns=turns,
        asks=asks,
    )
    return lambda function: Attack(info, function)


def fill(template: str, **slots: str) -> str:
    """Put texts into a template's `{slots}` in one pass.

    Braces inside a goal stay as they are, which `str.format` with several slots and chained
    `str.replace` do not both promise; braces of code in a template need no escaping.
    """
    return re.sub(r"\{([a-z]+)\}", lambda m: slots.get(m[1], m[0]), template)


def draw(templates: Templates, language: Language, rng: random.Random, **slots: str) -> str:
    """One of the language's templates, filled."""
    return fill(rng.choice(templates[language]), **slots)
