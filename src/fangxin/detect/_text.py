from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence, Sized
from typing import Literal

from fangxin.dialogue import Language

Side = Literal["judge", "guard"]

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_WORDS = re.compile(r"[^\W\d_]+")
# Questions that come with replies are few and the judge lives on them; bare prompts the guard's.
_JUDGE_SHARE = {True: 0.6, False: 0.25}


def language(text: str) -> Language:
    """`zh` where Chinese characters carry at least as much as the words in letters, else `en`."""
    han = len(_HAN.findall(text))
    words = len(_WORDS.findall(_HAN.sub(" ", text)))
    return "zh" if han > words else "en"


def identity(text: str) -> int:
    """A 63-bit number that texts share only if they differ in case, width, spaces or punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join(re.findall(r"\w", folded))
    return int.from_bytes(hashlib.sha256(bare.encode()).digest()[:8], "big") >> 1


def side(text: str, *, answered: bool) -> Side:
    """Whose training row a prompt is: every row is the judge's or the guard's, never both's.

    Args:
        text: the prompt or question.
        answered: whether any data file has it with a reply; the same for every row of one text.
    """
    return "judge" if identity(text) / 2**63 < _JUDGE_SHARE[answered] else "guard"


def runs(tokens: Sequence[Sized], most: int) -> Iterator[slice]:
    """Neighbouring texts to read in one pass: as many as `most` tokens hold, and one at the least."""
    start = size = 0
    for i, ids in enumerate(tokens):
        if size and size + len(ids) > most:
            yield slice(start, i)
            start, size = i, 0
        size += len(ids)
    if start < len(tokens):
        yield slice(start, len(tokens))
