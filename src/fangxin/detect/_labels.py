"""Labels out of what a judge said: from its text, and their probabilities from its tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fangxin.models import Reply, TokenLogprob

# Around a label: what a judge may put there without meaning anything by it.
_SPACE = r"[ \t\u3000]"
_LEAST = 0.25  # of the probability must be on labels, or they were not what the judge chose among
_DRESS = r"[ \t\u3000*_`\"'“”]*"
_MARKER = (
    rf"^[ \t\u3000>*_#`-]*[\[【［]{_SPACE}*(?ai:{{names}}){_SPACE}*{{code}}{_SPACE}*[\]】］][*_]*[:：]?"
    rf"(?:{_DRESS}\n)*{_DRESS}"
)
# Alone on its line, or before the next marker: a label inside a sentence is none.
_END = rf"{_DRESS}(?:[.。!！]{_DRESS})?(?=$|[\[【［])"


@dataclass(frozen=True)
class Labels:
    """The labels of one line of the form.

    Attributes:
        names: what stands in the line's marker, in English and Chinese.
        words: label -> what it is called in English and Chinese. No word of one label begins a word of
            another, so that a label is known from its first tokens.
    """

    names: tuple[str, str]
    words: Mapping[str, tuple[str, str]]

    def __post_init__(self) -> None:
        for one, label in self.label_of.items():
            for other, another in self.label_of.items():
                if label != another and other.startswith(one):
                    raise ValueError(
                        f"{other!r} begins like {one!r}: their first tokens don't tell them apart"
                    )

    @cached_property
    def label_of(self) -> Mapping[str, str]:
        """Word -> label."""
        return {word: label for label, words in self.words.items() for word in words}

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """Matches a label that is said to its end."""
        words = sorted(self.label_of, key=len, reverse=True)
        return re.compile(f"((?ai:{'|'.join(words)})){_END}", re.M)

    def marker(self, code: str) -> re.Pattern[str]:
        """Matches a line's beginning up to where the label starts."""
        return re.compile(_MARKER.format(names="|".join(self.names), code=re.escape(code)), re.M)

    def at(self, text: str, start: int) -> str | None:
        """The label that stands there, said to its end."""
        found = self.whole.match(text, start)
        return self.label_of[found[1].lower()] if found else None

    def begun(self, text: str, start: int) -> set[str]:
        """The labels that a text may turn out to have there when it goes on; none where it is too short."""
        if label := self.at(text, start):
            return {label}
        said = _bytes(text[start:]).lower()
        return {label for word, label in self.label_of.items() if said and word.encode().startswith(said)}


ANSWER = Labels(
    ("Answer", "答案"),
    {
        "safe": ("safe", "安全"),
        "unsafe": ("unsafe", "不安全"),
        "controversial": ("controversial", "有争议"),
    },
)
REFUSAL = Labels(("Refusal", "拒绝"), {"yes": ("yes", "是"), "no": ("no", "否")})


@dataclass(frozen=True, slots=True)
class Said:
    """A label that a judge gave.

    Attributes:
        label: the one that it wrote.
        probabilities: of each label, summing to 1; all on the written one where nothing was measured.
        measured: whether they come from the tokens' log-probabilities.
    """

    label: str
    probabilities: Mapping[str, float]
    measured: bool


def read(reply: Reply, labels: Labels, code: str = "") -> Said | None:
    """The label that a judge gave in a line of the form.

    Args:
        reply: the judge's; with its tokens' log-probabilities, where the engine has them.
        labels: which line.
        code: what its marker holds beside the name.

    Returns:
        None where the line is missing or holds no label, or where two lines disagree.
    """
    marker = labels.marker(code)
    found = _find(reply.text, labels, marker)
    if found is None:
        return None
    label, _ = found
    probabilities = _measured(reply.logprobs, labels, marker, label)
    if probabilities is None:
        return Said(label, {one: float(one == label) for one in labels.words}, False)
    return Said(label, probabilities, True)


def _find(text: str, labels: Labels, marker: re.Pattern[str]) -> tuple[str, int] | None:
    """The label, and where its marker begins; None where there is none, or several that differ."""
    found = [
        (label, line.start())
        for line in marker.finditer(text)
        if (label := labels.at(text, line.end())) is not None
    ]
    return found[0] if found and len({label for label, _ in found}) == 1 else None


def _measured(
    tokens: Sequence[TokenLogprob], labels: Labels, marker: re.Pattern[str], label: str
) -> dict[str, float] | None:
    """The labels' probabilities: p(c) is the sum over ways to begin label c of the product of p(token).

    Tokens are followed along what was said, from the first one to the first that tells the label. At each of
    them, an alternative that tells a label adds its own path to that label; one that tells none is left out.
    A label that no alternative began has at most the probability of the last alternative listed, and
    gets it. Then all are scaled to a sum of 1.

    Returns:
        None where the tokens don't spell the label or lack probabilities, and where most of the probability
        is on no label at all: a judge that a grammar forces to choose has not been choosing.
    """
    whole = b"".join(_bytes(token.token) for token in tokens)
    found = _find(_text(whole), labels, marker)
    if found is None or found[0] != label:
        return None
    start = found[1]
    first = len(_bytes(_text(whole)[:start]))
    ways: dict[str, list[float]] = {one: [] for one in labels.words}
    path, at, reached = 0.0, 0, 0.0
    for token in tokens:
        if not token.logprob > -math.inf:  # NaN too
            return None
        before, at = whole[:at], at + len(_bytes(token.token))
        if at > first:
            if not any(ways.values()):
                reached = path
            options = token.top
            if unlisted := all(text != token.token for text, _ in token.top):
                options = (*token.top, (token.token, token.logprob))
            for text, logprob in options:
                told = _told(before + _bytes(text), labels, marker, start)
                if len(told) == 1 and logprob > -math.inf:
                    ways[told.pop()].append(path + min(logprob, 0.0))
            if unlisted and any(ways.values()) and _joined(token):
                return None
            if _told(before + _bytes(token.token), labels, marker, start) == {label}:
                sure = sum(math.exp(log - reached) for logs in ways.values() for log in logs)
                return _shares(ways, path, token) if sure >= _LEAST else None
        path += min(token.logprob, 0.0)
    return None


def _joined(token: TokenLogprob) -> bool:
    """Whether this is several tokens of one character, of which the engine lists but the last.

    llama.cpp's server does that: a Chinese character in three tokens comes as one, with the third's numbers.
    """
    data = _bytes(token.token)
    return any(
        data.endswith(_bytes(text)) and math.isclose(logprob, token.logprob, abs_tol=1e-6)
        for text, logprob in token.top
        if text
    )


def _told(text: bytes, labels: Labels, marker: re.Pattern[str], start: int) -> set[str]:
    said = _text(text)
    line = marker.match(said, start)
    return labels.begun(said, line.end()) if line else set()


def _shares(ways: Mapping[str, Sequence[float]], path: float, token: TokenLogprob) -> dict[str, float]:
    said = math.exp(min(token.logprob, 0.0))
    listed = [math.exp(min(logprob, 0.0)) for _, logprob in token.top] or [said]
    rest = max(0.0, 1.0 - sum(listed)) / max(1, sum(not logs for logs in ways.values()))
    # Judges are asked greedily: what wasn't said is no likelier than what was.
    most = min(*listed, rest, said)
    floor = path + math.log(most) if most > 0 else -math.inf
    logs = {label: _logsumexp(found) if found else floor for label, found in ways.items()}
    top = max(logs.values())
    mass = {label: math.exp(log - top) for label, log in logs.items()}
    return {label: value / sum(mass.values()) for label, value in mass.items()}


def _logsumexp(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs))


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate of no token's
        return text.encode("utf-8", "replace")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
