from __future__ import annotations

import unicodedata
from functools import lru_cache

from fangxin.dialogue import hidden


def normalised(text: str) -> tuple[str, list[int]]:
    """Fold a text for matching and say where each folded character came from.

    Folds width and compatibility forms (NFKD, so that accents are characters of their own) and case, makes
    one space of any run of white space, and drops what is `hidden` (zero-width characters among them).
    What is folded of a prefix is a prefix of what is folded of the whole.

    Returns:
        The folded text and, for each of its characters, the index in `text`.
    """
    parts: list[str] = []
    origin: list[int] = []
    for i, character in enumerate(text):
        for part in folded(character):
            if part == " " and parts and parts[-1] == " ":
                continue
            parts.append(part)
            origin.append(i)
    return "".join(parts), origin


@lru_cache(maxsize=1 << 16)
def folded(character: str) -> str:
    """What one character folds to, see `normalised`: none, one or several characters."""
    if hidden(character) or unicodedata.category(character) == "Cs":
        return ""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(" " if part.isspace() else part for part in parts if not hidden(part))
