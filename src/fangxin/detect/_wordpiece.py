from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

_UNKNOWN = "[UNK]"
_LONGEST = 100  # letters of a word that is still looked up


class WordPieces:
    """BERT's uncased tokens: lower case without accents, split at spaces and marks, then by longest match.

    Devlin et al., "BERT" (2019); WordPiece of Wu et al. (2016).

    Args:
        vocabulary: pieces to their numbers; the pieces inside a word begin with `##`.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._numbers = vocabulary
        self._word = lru_cache(1 << 15)(self._pieces)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's pieces, without any marks around them."""
        return [number for word in _words(text) for number in self._word(word)]

    def _pieces(self, word: str) -> tuple[int, ...]:
        unknown = (self._numbers[_UNKNOWN],)
        if len(word) > _LONGEST:
            return unknown
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self._numbers:
                    found.append(self._numbers[piece])
                    start = end
                    break
            else:
                return unknown
        return tuple(found)


def _words(text: str) -> list[str]:
    shown = "".join(_shown(character) for character in text)
    bare = "".join(c for c in unicodedata.normalize("NFD", shown.lower()) if unicodedata.category(c) != "Mn")
    return re.findall(r"\S+", "".join(_apart(c) for c in bare))


@lru_cache(maxsize=1 << 12)
def _shown(character: str) -> str:
    if character in "\t\n\r":
        return " "
    kind = unicodedata.category(character)
    if character in "\0\ufffd" or kind in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return ""
    return " " if kind == "Zs" else character


@lru_cache(maxsize=1 << 12)
def _apart(character: str) -> str:
    """The character, with spaces around it where it is a word by itself: marks and Chinese characters."""
    code = ord(character)
    mark = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    han = (
        0x3400 <= code <= 0x4DBF
        or 0x4E00 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )
    return f" {character} " if mark or han or unicodedata.category(character).startswith("P") else character
