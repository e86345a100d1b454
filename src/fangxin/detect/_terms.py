from __future__ import annotations

import gzip
import json
import logging
import time
import tomllib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Self

from fangxin.detect._matcher import Found, Matcher
from fangxin.detect._verdict import DetectorError, Verdict
from fangxin.risks import RiskError, risk

NO_THEME = "listed"
_EVERY = 1.0  # seconds between two looks at the files
log = logging.getLogger("fangxin.detect")

Terms = Iterable[str] | Mapping[str, Iterable[str]]


def read_terms(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read a list of terms, by theme.

    A `.toml` or `.json` file holds a list of terms for each theme. Any other is UTF-8 text with a term a
    line, and behind it, where it has any, a tab and its themes, parted by commas; empty lines and lines that
    begin with `# ` are left out. Each may be gzipped (`.gz`).

    Raises:
        DetectorError: the file can't be read or holds no terms.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
        ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
        if ending == ".toml":
            found = _of_mapping(tomllib.loads(text))
        elif ending == ".json":
            found = _of_mapping(json.loads(text))
        else:
            found = _of_lines(text)
    except UnicodeDecodeError as error:
        raise DetectorError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8.") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise DetectorError(f"The terms in {path} can't be read: {reason}.") from None
    if not any(map(str.strip, (term for terms in found.values() for term in terms))):
        raise DetectorError(f"{path} holds no terms: write one a line.")
    return found


def _of_mapping(data: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(data, dict) or not all(
        isinstance(terms, list) and all(isinstance(term, str) for term in terms) for terms in data.values()
    ):
        raise ValueError('each theme must be a list of texts, as in insult = ["one", "two"]')
    return {theme: tuple(terms) for theme, terms in data.items()}


def _of_lines(text: str) -> dict[str, tuple[str, ...]]:
    found = defaultdict(list)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("# "):
            continue
        term, _, themes = line.rstrip("\r").partition("\t")
        if "\t" in themes:
            raise ValueError(f"line {number} has more than one tab: write a term, a tab and its themes")
        for theme in themes.split(","):
            found[theme.strip() or NO_THEME].append(term)
    return {theme: tuple(terms) for theme, terms in found.items()}


class TermDetector:
    """Finds listed terms, however they are disguised: see `docs/blocklist.md`.

    Terms are matched with width, case, accents, invisible characters, look-alike letters and traditional or
    simplified forms folded, with digits and signs for letters (`sh1t`), and with spaces or signs put between
    their letters; those of an alphabet as whole words ("ass" is not in "class").

    Attributes:
        terms: the terms of every theme, on or not.
        themes: those that are on; all where it is None.
        homophones: whether Han may be put by others of the same sound, or by their pinyin.
    """

    name = "terms"

    def __init__(
        self, terms: Terms, *, themes: Iterable[str] | None = None, homophones: bool = False
    ) -> None:
        """Make a detector of terms, all of one theme or by theme.

        Raises:
            DetectorError: a theme is on that no term has.
        """
        by_theme = terms if isinstance(terms, Mapping) else {NO_THEME: terms}
        self.themes = None if themes is None else tuple(themes)
        self.homophones = homophones
        self._files: _Files | None = None
        self._set({theme: tuple(of_theme) for theme, of_theme in by_theme.items()})

    @classmethod
    def from_files(
        cls, *paths: str | Path, themes: Iterable[str] | None = None, homophones: bool = False
    ) -> Self:
        """A detector of the terms in files (see `read_terms`), which are read again when one has changed.

        A changed file is looked for once a second while the detector is in use, and read when it has been
        the same for two looks; until the new list is ready the old one serves. A file that can't be read then
        leaves the old list in place, with a warning in the log.

        Raises:
            DetectorError: a file can't be read or holds no terms; a theme is on that no term has.
        """
        files = _Files(tuple(map(Path, paths)))
        detector = cls(files.read(), themes=themes, homophones=homophones)
        detector._files = files
        return detector

    def __eq__(self, other: object) -> bool:
        """Whether two detectors find the same."""
        if not isinstance(other, TermDetector):
            return NotImplemented
        mine, theirs = ((it.terms, it.themes, it.homophones) for it in (self, other))
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]

    @property
    def matcher(self) -> Matcher:
        """The terms that are on, ready to be looked for; of the files as they are by now."""
        if self._files is not None and self._files.changed():
            Thread(target=self._reload, daemon=True).start()
        return self._matcher

    def find(self, text: str) -> tuple[Found, ...]:
        """The terms in a text, in order, not overlapping.

        Of terms that overlap, the one that begins first counts, and of those the longest.
        """
        return self.matcher.scan(text).found

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Unsafe when a term is in the text; the verdict names its theme, and the risk where that is one."""
        start = time.perf_counter()
        found = self.find(text)
        ms = (time.perf_counter() - start) * 1000
        if not found:
            return Verdict("safe", 0.0, reason="It holds no listed term.", by=self.name, ms=ms)
        themes = sorted({theme for one in found for theme in one.themes})
        known = next((theme for theme in themes if _is_risk(theme)), None)
        spans = tuple((one.start, one.end) for one in found)
        reason = f"It holds {len(found)} listed term{'s'[: len(found) > 1]} (theme: {', '.join(themes)})."
        return Verdict("unsafe", 1.0, known, spans, reason, self.name, ms)

    def refresh(self) -> None:
        """Read the files now, whether they have changed or not.

        Raises:
            DetectorError: a file can't be read or holds no terms; the old list stays.
        """
        if self._files is not None:
            with self._files.lock:
                self._set(self._files.read())

    def _reload(self) -> None:
        try:
            self.refresh()
        except DetectorError as error:
            log.warning("The old list of terms stays in use. %s", error)
        else:
            log.warning("A new list of %d terms is in use.", sum(map(len, self.terms.values())))

    def _set(self, terms: dict[str, tuple[str, ...]]) -> None:
        on = self.themes if self.themes is not None else tuple(terms)
        if missing := [theme for theme in on if theme not in terms]:
            raise DetectorError(
                f"No term has the theme {missing[0]!r}: the list has {', '.join(sorted(terms)) or 'none'}."
            )
        matcher = Matcher({theme: terms[theme] for theme in on}, homophones=self.homophones)
        self.terms: Mapping[str, tuple[str, ...]] = terms
        self._matcher = matcher


class _Files:
    """Files of terms, and whether they have changed since they were read."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.lock = Lock()
        self._paths = paths
        self._read: object = None  # what tells versions of the files apart: when they were last read,
        self._seen: object = None  # and when they were last looked at
        self._due = 0.0

    def read(self) -> dict[str, tuple[str, ...]]:
        self._read = self._seen = self._state()
        found: dict[str, list[str]] = defaultdict(list)
        for path in self._paths:
            for theme, terms in read_terms(path).items():
                found[theme] += terms
        return {theme: tuple(terms) for theme, terms in found.items()}

    def changed(self) -> bool:
        """Whether the files are others than those last read, and were the same at the last look.

        A file that is still being written is not the same at two looks.
        """
        now = time.monotonic()
        if now < self._due or self.lock.locked():
            return False
        self._due = now + _EVERY
        state, before = self._state(), self._seen
        self._seen = state
        return state != self._read and state == before

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_version(path) for path in self._paths]


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _is_risk(theme: str) -> bool:
    try:
        risk(theme)
    except RiskError:
        return False
    return True
