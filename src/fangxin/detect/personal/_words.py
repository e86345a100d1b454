from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files


@cache
def _lists() -> dict[str, dict[str, str]]:
    text = (files("fangxin.detect.personal") / "words.toml").read_text("utf-8")
    return tomllib.loads(text)


def words(section: str, name: str) -> list[str]:
    """A list of `words.toml`."""
    return [word.replace("_", " ") for word in _lists()[section][name].split()]


def any_of(section: str, *names: str) -> str:
    """A pattern of the words of some lists, the longest first; fit for verbose patterns too."""
    found = sorted(
        {word for name in names for word in words(section, name)}, key=lambda word: (-len(word), word)
    )
    single = "".join(re.escape(word) for word in found if len(word) == 1)
    longer = [re.escape(word) for word in found if len(word) > 1]
    return f"(?:{'|'.join([*longer, *([f'[{single}]'] if single else [])])})"
