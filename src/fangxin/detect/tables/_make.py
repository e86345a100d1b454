"""Make the tables of this folder again: `make tables`. Runs in an environment of its own.

Nothing here is copied by hand: look-alikes are Unicode's (UTS 39, as `confusable-homoglyphs` carries it) and
what the names of characters say, simplified forms OpenCC's, pinyin pypinyin's first readings. NOTICE.txt has
the licences.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).parent
# Scripts whose letters are put for Latin ones. Others are as like (an Arabic heh and an o), but not read so.
SCRIPTS = ["LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "CANADIAN", "DESERET"]
NAMED = re.compile(
    r"(?:LATIN (?:(?:CAPITAL|SMALL) )?LETTER|REGIONAL INDICATOR SYMBOL LETTER) "
    r"(?:(?:SMALL CAPITAL|TURNED|REVERSED|INVERTED|SIDEWAYS|SCRIPT|OPEN|INSULAR|DOTLESS|CLOSED|BARRED"
    r"|TAILLESS|LONG) )*"
    r"([A-Z]|AE|OE)(?: WITH .+)?$"
)
# Letters whose likeness is in the eye, not in UTS 39 or the name.
BY_HAND = {"μ": "u", "ω": "w", "ɔ": "c"}
KANA = "ニハロカタエト"


def name(character: str) -> str:
    return unicodedata.name(character, "")


def folded(character: str) -> str:
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())


def bare(text: str) -> str:
    """Without marks, and without the direction marks that the data puts around right-to-left letters."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Me", "Cf"))


def confusable() -> dict[str, str]:
    """What UTS 39 says that a single character looks like."""
    data = json.loads((files("confusable_homoglyphs") / "confusables.json").read_text("utf-8"))
    like: dict[str, str] = {}
    for one, others in data.items():
        # The data has both directions; the prototype is what several characters share.
        for other in others:
            a, b = bare(one), bare(other["c"])
            for source, target in ((a, b), (b, a)):
                if len(source) == 1 and not source.isascii() and len(target) == 1:
                    if target.isascii() and target.isalpha():
                        like[source] = target.lower()
                    elif source in KANA or name(source).startswith("CJK RADICAL"):
                        like.setdefault(source, target)
    return like


def alike() -> dict[str, str]:
    """What each character is read as, where compatibility folding alone doesn't say so."""
    like = confusable()
    found = dict(BY_HAND)
    for code in range(0x80, sys.maxunicode + 1):
        character = chr(code)
        category, called = unicodedata.category(character), name(character)
        if category[0] in "CMZ" or category in ("Sm", "Sk") or called.startswith(("COMBINING", "TAG ")):
            continue
        plain = bare(folded(character))
        if plain.isascii() and plain.isalpha():
            continue  # folding alone says so
        target = ""
        if called.split(" ")[0] in SCRIPTS:
            lower, upper = character.lower(), character.upper()
            target = like.get(character, "")
            if target in ("", "l") and lower != character:
                target = like.get(lower, target)
            target = target or like.get(upper, "")
        elif character in KANA or called.startswith("CJK RADICAL"):
            target = like.get(character, "")
        if not target and (named := NAMED.search(called)):
            target = named[1].lower()
        if target:
            found.setdefault(character, target)
    return found


def simplified() -> dict[str, str]:
    """The simplified form of each Han character that has another one."""
    from opencc import OpenCC

    convert = OpenCC("t2s").convert
    found = {}
    for code in range(0x3400, 0x3FFFF):
        character = chr(code)
        if name(character).startswith("CJK UNIFIED") and (form := convert(character)) != character:
            assert len(form) == 1
            found[character] = form
    # A few simplified forms are themselves given another one (㳠 to 𣸣): all the way down.
    return {character: found.get(form, form) for character, form in found.items()}


def pinyin(other_forms: Mapping[str, str]) -> dict[str, str]:
    """The first reading of each simplified character of the basic plane, without its tone."""
    from pypinyin import lazy_pinyin

    found = {}
    for code in range(0x3400, 0xA000):
        character = chr(code)
        [reading] = lazy_pinyin(character)
        if character not in other_forms and re.fullmatch("[a-zü]+", reading):
            found[character] = reading.replace("ü", "v")
    return found


def write(file: str, about: str, rows: Iterable[str]) -> None:
    made_with = {"alike": "confusable-homoglyphs", "simplified": "opencc", "pinyin": "pypinyin"}[file]
    head = f"# {about}\n# Made by _make.py with {made_with} {version(made_with)}; see NOTICE.txt.\n"
    (HERE / f"{file}.txt").write_text(head + "".join(f"{row}\n" for row in rows), "utf-8")


def grouped(table: Mapping[str, str]) -> list[str]:
    by_target = defaultdict(list)
    for character, target in table.items():
        by_target[target].append(character)
    return [f"{target}\t{''.join(sorted(characters))}" for target, characters in sorted(by_target.items())]


def main() -> None:
    forms = simplified()
    write("alike", "What is read, tab, the characters that are put for it.", grouped(alike()))
    write("simplified", "The simplified form, tab, its other forms.", grouped(forms))
    write("pinyin", "A syllable, tab, the characters that are first read so.", grouped(pinyin(forms)))


if __name__ == "__main__":
    main()
