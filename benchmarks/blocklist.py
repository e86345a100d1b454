"""The blocklist: speed at 100,000 terms, disguises seen through, ordinary text left alone; beside its peers.

    python benchmarks/blocklist.py                   # terms made up, texts of the bank of goals
    python benchmarks/blocklist.py --data FOLDER     # terms of lexicons/zh_terms, texts of dev/benign_prompts
    python benchmarks/blocklist.py --no-peers        # nothing is installed

Fails where it reads fewer than 5 million characters a second of processor time. Peers are installed, pinned,
into environments under build/: better-profanity, alt-profanity-check with scikit-learn, and LLM Guard without
what its BanSubstrings doesn't need. They get our list, but for alt-profanity-check, which has none: a model
scores a text, for English profanity alone.

The panel (blocklist_panel.toml): each planted term, under each disguise that can be put on it, in each of
three sentences; and sentences without a term that look as if they had one. All is of our own hand, written
beside the code that it tries; traditional forms and pinyin don't come from its tables.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import time
import tomllib
import unicodedata
import venv
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WANTED = 5e6
PEERS = {
    "better-profanity 0.7.0": ["better-profanity==0.7.0"],
    "alt-profanity-check 1.9.1": ["alt-profanity-check==1.9.1"],
    "LLM Guard 0.3.16, substrings": ["--no-deps", "llm-guard==0.3.16", "structlog==25.5.0"],
    "LLM Guard 0.3.16, words": ["--no-deps", "llm-guard==0.3.16", "structlog==25.5.0"],
}

PANEL = tomllib.loads((Path(__file__).parent / "blocklist_panel.toml").read_text("utf-8"))
EN: list[str] = PANEL["en"]
ZH: list[list[str]] = [row["forms"] for row in PANEL["zh"]]
SIMPLIFIED = [simple for simple, *_ in ZH]
CYRILLIC = str.maketrans("aceiopsxyh", "асеіорѕхуһ")
LEET = str.maketrans("aeiost", "431057")
SIGNS = str.maketrans("ais", "@!$")


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text)


def bold(text: str) -> str:
    name = "MATHEMATICAL SANS-SERIF BOLD SMALL {}"
    return "".join(unicodedata.lookup(name.format(c.upper())) if c.isalpha() else c for c in text)


def put(sign: str) -> Callable[[str], str]:
    return lambda text: sign.join(text.replace(" ", ""))


def inside(sign: str) -> Callable[[str], str]:
    return lambda text: text[:2] + sign + text[2:]


DISGUISES: dict[str, dict[str, Callable[[str], str]]] = {
    "en": {
        "none": str,
        "case": lambda text: "".join(c.upper() if i % 2 else c for i, c in enumerate(text)),
        "full width": wide,
        "zero width": lambda text: "\u200b".join(text),
        "marks": lambda text: "".join(f"{c}\u0336" if c.isalpha() else c for c in text),
        "signs: f.u.c.k": put("."),
        "signs: f*u*c*k": put("*"),
        "signs: fu*ck": inside("*"),
        "spaces: f u c k": put(" "),
        "look-alikes: Cyrillic": lambda text: text.translate(CYRILLIC),
        "look-alikes: mathematical": bold,
        "leet: sh1t": lambda text: text.translate(LEET),
        "leet: $h!t": lambda text: text.translate(SIGNS),
        "no spaces": lambda text: text.replace(" ", ""),
        "two at once": lambda text: wide("-".join(text.replace(" ", "").translate(CYRILLIC))),
    },
    "zh": {
        "none": str,
        "zero width": lambda text: "\u200b".join(text),
        "signs: 法*轮": put("*"),
        "signs: ❤ between": put("❤"),
        "spaces: 法 轮": put(" "),
        "comma between all": put("，"),
        "two at once": lambda text: " ".join(f"{c}\u200b" for c in text),
    },
}
# By what is put for each term, where it isn't a rule that says it.
FORMS: dict[str, dict[str, str]] = {
    "traditional": {simple: form for simple, form, *_ in ZH if form != simple},
    "homophones": {simple: form for simple, _, form, _ in ZH if form},
    "pinyin: fa lun gong": {simple: pinyin for simple, *_, pinyin in ZH if len(simple) > 2},
    "pinyin: falungong": {simple: pinyin.replace(" ", "") for simple, *_, pinyin in ZH if len(simple) > 2},
    "pinyin: 法lun功": {simple: simple[0] + pinyin.split(" ")[1] + simple[2:] for simple, *_, pinyin in ZH},
}


def planted() -> dict[tuple[str, str], list[str]]:
    """Texts with a term, by language and disguise."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)

    def plant(language: str, how: str, term: str, disguised: str) -> None:
        if disguised != term or how == "none":
            texts[language, how] += [carrier.format(disguised) for carrier in PANEL["carriers"][language]]

    for how, disguise in DISGUISES["en"].items():
        for term in EN:
            plant("en", how, term, disguise(term))
    for how, disguise in DISGUISES["zh"].items():
        for term in SIMPLIFIED:
            if how != "comma between all" or len(term) > 2:
                plant("zh", how, term, disguise(term))
    for how, forms in FORMS.items():
        for term, form in forms.items():
            plant("zh", how, term, form)
    return dict(texts)


# Us and the peers: a list of terms, then whether each text holds one


Found = Callable[[list[str]], list[bool]]


def ours(terms: Iterable[str], *, homophones: bool = False) -> Found:
    from fangxin.detect import TermDetector

    words = TermDetector(tuple(terms), homophones=homophones)
    return lambda texts: [bool(words.find(text)) for text in texts]


def peer(name: str, terms: list[str]) -> Found:
    """The peer of that name; called in its own environment."""
    if name.startswith("better"):
        from better_profanity import profanity

        profanity.load_censor_words(terms)
        return lambda texts: [profanity.contains_profanity(text) for text in texts]
    if name.startswith("alt"):
        from profanity_check import predict

        return lambda texts: [bool(label) for label in predict(texts)]
    # Its packages import torch and more, which this scanner doesn't use: their own code is passed by.
    from importlib.metadata import distribution
    from types import ModuleType

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for module in ("llm_guard", "llm_guard.input_scanners"):
        shell = ModuleType(module)
        shell.__path__ = [str(distribution("llm-guard").locate_file(module.replace(".", "/")))]
        sys.modules[module] = shell
    from llm_guard.input_scanners.ban_substrings import BanSubstrings

    kind = "word" if name.endswith("words") else "str"
    scanner = BanSubstrings(terms, match_type=kind, redact=True)
    return lambda texts: [not scanner.scan(text)[1] for text in texts]


def answer_as_peer(name: str) -> None:
    """Read a job as JSON from stdin, write the answer as JSON to stdout."""
    job = json.load(sys.stdin)
    if name.startswith("alt") and "sample" in job:
        job["terms"] = []
    finds = peer(name, job["terms"])
    told: dict[str, Any] = {"found": finds(job.get("texts", [])) if job.get("texts") else []}
    if sample := job.get("sample"):
        start, read = time.process_time(), 0
        while time.process_time() - start < 2:  # at least once through
            finds(sample)
            read += sum(map(len, sample))
        told["speed"] = read / (time.process_time() - start)
    json.dump(told, sys.stdout)


def asked(name: str, job: Mapping[str, Any]) -> dict[str, Any]:
    folder = ROOT / "build" / "peers" / name.split(",")[0].replace(" ", "-")
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *PEERS[name]]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"can't be installed: {done.stderr.strip().splitlines()[-1]}")
        (folder / "installed").touch()
    done = subprocess.run(
        [python, __file__, "--peer", name],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    if done.returncode:
        raise RuntimeError(f"fails: {done.stderr.strip().splitlines()[-1]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


# What is measured


def spent(work: Callable[[], object], rounds: int = 5) -> float:
    """The least processor seconds of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def read_rows(path: Path) -> list[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def texts_of(data: Path | None) -> dict[str, list[str]]:
    if data is not None:
        rows = read_rows(data / "dev" / "benign_prompts.jsonl.gz")
        return {lang: [row["text"] for row in rows if row["lang"] == lang] for lang in ("en", "zh")}
    from fangxin.probe import goals

    return {"en": [goal.text for goal in goals("en")], "zh": [goal.text for goal in goals("zh")]}


def mixed(texts: Mapping[str, list[str]], half: int) -> str:
    """As many characters of each language, in turns of about 400."""
    rng = random.Random(5)
    pieces = {}
    for lang, of_lang in texts.items():
        joined = "\n".join(rng.sample(of_lang, len(of_lang)))
        joined *= -(-half // len(joined))
        pieces[lang] = [joined[i : i + 400] for i in range(0, half, 400)]
    return "".join(en + zh for en, zh in zip(pieces["en"], pieces["zh"], strict=True))


def made_up(n: int = 100_000) -> list[str]:
    """Half words of Latin letters, one or two to a term, half runs of two to six Han."""
    rng = random.Random(3)

    def word() -> str:
        return "".join(rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))

    def han() -> str:
        return "".join(chr(0x4E00 + int(abs(rng.gauss(0, 5000))) % 20_900) for _ in range(rng.randint(2, 6)))

    terms: set[str] = set()
    while len(terms) < n:
        terms.add(han() if len(terms) % 2 else " ".join(word() for _ in range(rng.randint(1, 2))))
    return sorted(terms)


def lexicon(data: Path) -> dict[str, list[str]]:
    from fangxin.detect import read_terms

    return {theme: list(terms) for theme, terms in read_terms(data / "lexicons" / "zh_terms.txt.gz").items()}


def speed(terms: list[str], text: str) -> tuple[float, list[tuple[str, str]]]:
    """Our characters a second with a list, and the rows of the table."""
    from ahocorasick_rs import AhoCorasick

    from fangxin.detect import Matcher

    rows, rates = [], []
    short = [text[i : i + 200] for i in range(0, 100_000, 200)]
    for homophones in (False, True):
        start = time.process_time()
        words = Matcher({"": terms}, homophones=homophones)
        made = time.process_time() - start
        found = len(words.scan(text).found)
        rates.append(len(text) / spent(partial(words.scan, text)))
        each = sorted(spent(partial(words.scan, one), 3) * 1e6 for one in short)
        called = "homophones, too" if homophones else "full normalisation"
        rows += [
            (f"{called}: million characters/s", f"{rates[-1] / 1e6:.1f}"),
            (f"{called}: 200 characters, median (95th of 100)", f"{each[250]:.0f} ({each[475]:.0f}) us"),
            (f"{called}: the list made ready", f"{made:.1f} s"),
            (f"{called}: terms in 10,000 characters", f"{found / len(text) * 1e4:.0f}"),
        ]
        if not homophones:
            rows += stream(words, text[:4000])
    bare = AhoCorasick(terms)
    rate = len(text) / spent(lambda: bare.find_matches_as_indexes(text, overlapping=True))
    return rates[0], [
        *rows,
        ("ahocorasick-rs alone, nothing folded: million characters/s", f"{rate / 1e6:.1f}"),
    ]


def stream(words: Any, reply: str) -> list[tuple[str, str]]:
    """A reply that comes in pieces of four characters: what is held back after each, and the work."""
    ends = range(4, len(reply) + 1, 4)

    def onward(n: int) -> float:
        def read() -> None:
            at = begin = 0
            for end in range(4, n + 1, 4):
                scan = words.scan(reply[:end], at, begin, final=False)
                at, begin = scan.until, scan.begin

        return spent(read, 3) * 1e3

    held = sorted(end - words.scan(reply[:end], final=False).until for end in ends)
    anew = spent(lambda: [words.scan(reply[:end], final=False) for end in ends], 1) * 1e3
    return [
        (
            f"a stream, {len(ends)} steps of 4 characters: held back, median (95th of 100)",
            f"{held[len(held) // 2]} ({held[len(held) * 95 // 100]}) characters",
        ),
        (
            "the stream: its first half; all of it",
            f"{onward(len(reply) // 2):.0f}; {onward(len(reply)):.0f} ms",
        ),
        ("the stream, were each step read from the beginning", f"{anew:.0f} ms"),
    ]


def table(head: list[str], rows: Iterable[Iterable[str]]) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def share(found: list[bool]) -> str:
    return f"{100 * sum(found) / len(found):.0f} %"


def hits(found: list[bool]) -> str:
    return str(sum(found))


def panel(peers: list[str]) -> None:
    """Disguises and hard negatives, for us and the peers."""
    terms = [*EN, *SIMPLIFIED]
    hidden = {f"{language}: {how}": texts for (language, how), texts in planted().items()}
    harmless: dict[str, list[str]] = PANEL["harmless"]
    jobs = [(terms, hidden), ([*terms, *PANEL["short"]], harmless)]
    found: dict[str, list[list[bool]]] = {
        "Fangxin": [ours(own)(texts) for own, of in jobs for texts in of.values()],
        "with homophones": [ours(own, homophones=True)(texts) for own, of in jobs for texts in of.values()],
    }
    for name in peers:
        found[name] = []
        for own, of in jobs:
            every = [text for texts in of.values() for text in texts]
            told = iter(asked(name, {"terms": own, "texts": every})["found"])
            found[name] += [[next(told) for _ in texts] for texts in of.values()]
    rows = list(zip(*found.values(), strict=True))
    for what, of, cell in (("terms found", hidden, share), ("no term: false hits", harmless, hits)):
        texts = [(name, str(len(of_name))) for name, of_name in of.items()]
        cells = [[cell(one) for one in row] for row in rows[: len(of)]]
        table([what, "texts", *found], ([*text, *row] for text, row in zip(texts, cells, strict=True)))
        rows = rows[len(of) :]


def naive(themes: Mapping[str, list[str]], texts: Mapping[str, list[str]]) -> None:
    """The share of ordinary prompts that a list taken as it is would hit."""
    lists = {"all themes": [term for terms in themes.values() for term in terms], **themes}
    rows = []
    for theme, terms in lists.items():
        finds = ours(terms)
        found = {lang: finds(of_lang) for lang, of_lang in texts.items()}
        every = [hit for hits in found.values() for hit in hits]
        rows.append(
            [theme, str(len(terms)), *(f"{100 * sum(f) / len(f):.1f} %" for f in (*found.values(), every))]
        )
    table(
        ["terms of zh_terms used as they are", "terms", *(f"benign {lang} hit" for lang in texts), "all hit"],
        rows,
    )


def peer_speeds(peers: list[str], terms: list[str], text: str) -> list[tuple[str, str]]:
    sample = [text[i : i + 200] for i in range(0, 2000, 200)]
    rows = []
    for name in peers:
        few = sample[:1] if name.startswith("better") else sample
        try:
            rate = f"{asked(name, {'terms': terms, 'sample': few})['speed']:,.0f}"
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            rate = str(error).splitlines()[0]
        rows.append((name, rate))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("FANGXIN_DATA")
    parser.add_argument(
        "--data", type=Path, default=Path(data) if data else None, help="the folder of the data"
    )
    parser.add_argument("--no-peers", action="store_true", help="measure Fangxin alone")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        answer_as_peer(options.peer)
        return 0
    peers = []
    for name in () if options.no_peers else PEERS:
        try:
            asked(name, {"terms": ["x"], "texts": ["x"]})
            peers.append(name)
        except (RuntimeError, subprocess.SubprocessError, OSError) as error:
            print(f"Left out: {name} {error}")
    texts = texts_of(options.data)
    text = mixed(texts, 500_000)
    lists = {"made up": made_up()}
    if options.data is not None:
        themes = lexicon(options.data)
        lists["zh_terms"] = sorted({term for terms in themes.values() for term in terms})
        lists["zh_terms"] = random.Random(1).sample(lists["zh_terms"], 100_000)
    slowest = float("inf")
    for name, terms in lists.items():
        rate, rows = speed(terms, text)
        slowest = min(slowest, rate)
        table([f"100,000 terms: {name}; processor time of one core", ""], rows)
    table(["the same list: characters/s", ""], peer_speeds(peers, terms, text))
    panel(peers)
    if options.data is not None:
        naive(themes, texts)
    holds = slowest >= WANTED
    print(f"\nSlowest: {slowest / 1e6:.1f} million characters/s; wanted: {WANTED / 1e6:.0f}.")
    return not holds


if __name__ == "__main__":
    sys.exit(main())
