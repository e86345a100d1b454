"""What a judge is asked: ShieldLM's form around a text that can't break out of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal
from unicodedata import normalize

from fangxin.detect._labels import ANSWER, REFUSAL, Labels
from fangxin.dialogue import Dialogue, Language, hidden

Stance = Literal["loose", "strict"]
Mode = Literal["reply", "text", "prompt"]

_LETTER = {"user": "A", "assistant": "B", "system": "S"}
_ANALYSIS: Mapping[Language, str] = {"en": "Analysis", "zh": "分析"}
_PLACE: Mapping[Language, int] = {"en": 0, "zh": 1}
# Where a judgement without its analysis is over.
ENDS = ("[Analysis", "[分析", "【分析")


@dataclass(frozen=True)
class Policy:
    """What an application holds to be unsafe.

    Attributes:
        rules: one's own, a plain sentence each, in any language; they go before the judge's opinion.
        stance: `strict` takes what is controversial for unsafe, `loose` for safe, and each tells the judge so
            by a rule or two of ours after one's own; None keeps three labels.
    """

    rules: tuple[str, ...] = ()
    stance: Stance | None = None

    @classmethod
    def of(cls, text: str, stance: Stance | None = None) -> Policy:
        """Rules as people write them: one a line; empty lines and those that start with `#` don't count."""
        lines = (" ".join(line.split()) for line in text.splitlines())
        return cls(tuple(line for line in lines if line and not line.startswith("#")), stance)


def mode_of(dialogue: Dialogue) -> Mode | None:
    """What of a dialogue is judged: its last reply, a reply alone, or what was asked; None of none."""
    roles = [turn.role for turn in dialogue.turns]
    if not roles or roles[-1] == "system":
        return None
    if roles[-1] == "user":
        return "prompt"
    return "reply" if "user" in roles else "text"


def instruction(
    dialogue: Dialogue,
    language: Language,
    policy: Policy,
    code: str,
    *,
    coded: bool = True,
    refusal: bool = False,
) -> str:
    """The judge's prompt. Whatever changes from call to call comes last, so that engines read the rest once.

    Args:
        dialogue: judged by its last turn (see `mode_of`); its prompt isn't shown.
        language: that the instruction is in.
        policy: of the application.
        code: in the fence; nothing in the dialogue may hold it.
        coded: whether the labels carry the code too.
        refusal: whether a line shall say if the reply declines.
    """
    words = _words()[language]
    mode = mode_of(dialogue)
    if mode is None:
        raise ValueError("the dialogue ends with no turn that could be judged")
    rules = [*policy.rules, *(words[policy.stance][mode] if policy.stance else ())]
    fence = f"=== {code} ==="
    parts = [words["task"][mode], *_listed(words["labels"][mode])]
    if rules:
        parts += [words["rules"], *_listed(rules)]
    parts += ["", words["fence"].format(fence=fence)]
    if any(turn.role == "system" for turn in dialogue.turns):
        parts.append(words["application"])
    parts += ["", fence, *(f"{_LETTER[turn.role]}: {neutral(turn.text)}" for turn in dialogue.turns), fence]
    mark = code if coded else ""
    parts += ["", words["form"], f"{marker(ANSWER, language, mark)} {words['answer']}"]
    if refusal:
        parts.append(f"{marker(REFUSAL, language, mark)} {words['refusal']}")
    parts.append(f"[{_ANALYSIS[language]}] {words['analysis']}")
    return "\n".join(parts)


def marker(labels: Labels, language: Language, code: str = "") -> str:
    """What a label stands behind, such as `[Answer 3f9a2c]`."""
    return f"[{labels.names[_PLACE[language]]}{code and ' ' + code}]"


def grammar(language: Language, code: str = "", *, refusal: bool = False, explain: bool = False) -> str:
    """The form in llama.cpp's GBNF, for a judge that would not keep to it."""
    lines = [ANSWER, REFUSAL] if refusal else [ANSWER]
    found = []
    for labels in lines:
        words = [f'"{pair[_PLACE[language]]}"' for pair in labels.words.values()]
        found.append(f'"{marker(labels, language, code)} " ({" | ".join(words)})')
    if explain:
        found.append(f'"[{_ANALYSIS[language]}] " [^\\n]+')
    return "root ::= " + ' "\\n" '.join(found)


def analysis(text: str) -> str:
    """What a judge wrote as its analysis, on one line; empty where it wrote none."""
    found = re.search(
        rf"[\[【［][ \t]*(?i:{'|'.join(_ANALYSIS.values())})[^\]】］\n]*[\]】］]([^\x00]*)", text
    )
    return " ".join(found[1].strip(" \t\n*:：").split()) if found else ""


# Text under judgement

_BREAKS = re.compile("\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_BRACKETS = "[]【】〔〕〖〗「」『』<>|"
_OPEN, _CLOSE = r"\[【〔〖「『", r"\]】〕〗」』"
_NAMES = "|".join((*ANSWER.names, *REFUSAL.names, *_ANALYSIS.values()))
_TAGS = "s|bos|eos|pad|think|system|user|assistant|im_start|im_end|start_of_turn|end_of_turn"
_TOKEN = re.compile(
    rf"""(?mix)
      [{_OPEN}] [ \t]* (?:{_NAMES}) [^{_OPEN}{_CLOSE}<\n]{{0,60}} [{_CLOSE}]?  # a label of the form
    | <\| [^{_OPEN}<>|\n]{{0,60}} \|? >?                                      # <|im_start|> and its kin
    | </? (?:{_TAGS}) >
    | \[/? (?:inst|sys|system_prompt|available_tools|tool_calls) \]
    | <</? sys >>
    """
)
_TURN = re.compile(rf"(?mi)^((?:[^\w\n]|_)*)([{''.join(_LETTER.values())}])[ \t*_]*:")
_FENCE = re.compile(r"(?m)^[ \t]*=+[ \t]*\w{1,64}[ \t]*=+[ \t]*$")


def neutral(text: str) -> str:
    """A text that can be shown to a judge: nothing in it looks like the form, a turn, or a control token.

    Brackets of labels (`[Answer]`, `【答案】`) and of chat templates' control tokens become round ones, `A:`
    at the start of a line becomes `(A)`, and what looks like the fence loses its signs; so too where they
    are written in full-width letters or with invisible characters in between. The rest stays as it is.
    """
    text = _BREAKS.sub("\n", text.encode("utf-8", "replace").decode())
    text = _rewritten(_TOKEN, text, lambda match: f"({match[0].strip(_BRACKETS)})")
    text = _rewritten(_TURN, text, lambda match: f"{match[1]}({match[2]})")
    return _rewritten(_FENCE, text, lambda match: match[0].replace("=", "-"))


def _rewritten(pattern: re.Pattern[str], text: str, new: Callable[[re.Match[str]], str]) -> str:
    """A text with what the pattern finds in its folded form rewritten."""
    folded, origin = folded_of(text)
    pieces: list[str] = []
    done = 0
    for match in pattern.finditer(folded):
        pieces += [text[done : origin[match.start()]], new(match)]
        done = origin[match.end() - 1] + 1
    return "".join([*pieces, text[done:]])


def folded_of(text: str) -> tuple[str, list[int]]:
    """A text with each character in its plain width and none hidden, and where each came from."""
    kept = [i for i, character in enumerate(text) if not hidden(character)]
    return "".join(_plain(text[i]) for i in kept), kept


@lru_cache(maxsize=1 << 16)
def _plain(character: str) -> str:
    plain = normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def _listed(lines: list[str]) -> list[str]:
    return [f"- {line}" for line in lines]


@cache
def _words() -> Mapping[Language, Any]:
    found = tomllib.loads(files("fangxin.detect").joinpath("form.toml").read_text("utf-8"))
    return {"en": found["en"], "zh": found["zh"]}
