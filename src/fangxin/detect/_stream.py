from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fangxin.detect._text import language
from fangxin.detect._verdict import Detector, Verdict

# A full stop ends a sentence only before white space.
SENTENCE_END = re.compile(r"[。！？；!?\n]|[.;](?=\s)")
_CLAUSE_END = re.compile(r"[，、：,:]|\s")
# Unsafe from here on is sure enough to stop a reply at one window (see benchmarks/streams.py).
_SURE = 0.9
# Characters read at once, at most. Near what the shipped encoder reads (256 tokens), and most replies whole.
_MOST = {"en": 960, "zh": 320}


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that is read at once.

    Attributes:
        text: what is read: up to `reach` characters from before, then the fresh ones.
        start: where `text` begins in the whole, in characters.
        fresh: how many of its last characters were in no window before (>= 1).
    """

    text: str
    start: int
    fresh: int

    @property
    def end(self) -> int:
        """Where `text` ends in the whole."""
        return self.start + len(self.text)


class Windows:
    """Cuts a text that is still being written into windows for a detector.

    A window ends with a sentence. It begins up to `reach` characters before that sentence, which may be
    harmless only by itself. Where sentences are short, one waits for the next until what is fresh is an
    eighth of the window; so all windows together are at most eight times as long as the text, and the
    window of `close` more. A sentence longer than `longest` is cut at the end of a clause, or anywhere.

    The windows depend on the text alone, not on the pieces that it came in.

    Attributes:
        reach: characters read again before the fresh ones (>= 0).
        longest: characters that a window may add (>= 2, and >= 2 * reach / 7).
    """

    SHARE = 8

    def __init__(self, reach: int = 200, longest: int = 120) -> None:
        if reach < 0 or longest < 2 or longest // 2 * (self.SHARE - 1) < reach:
            raise ValueError("reach must be at least 0, longest at least 2 and at least 2 * reach / 7.")
        self.reach, self.longest = reach, longest
        self._before = ""  # the last characters that were in a window
        self._waiting = ""  # those that were in none
        self._start = 0  # where the waiting ones begin in the whole
        self._looked = 0  # how far they hold no end of a window

    def feed(self, piece: str) -> Iterator[Window]:
        """The windows that `piece` completes; take them all before the next piece."""
        text, at = self._waiting + piece, 0
        while (end := self._end(text, at)) is not None:
            yield self._window(text[at:end])
            at, self._looked = end, 0
        self._waiting = text[at:]
        self._looked = max(0, len(self._waiting) - 1)  # the last one may be a full stop

    def close(self) -> Iterator[Window]:
        """The window of what is left, if anything is."""
        if self._waiting:
            yield self._window(self._waiting)
            self._waiting, self._looked = "", 0

    def _end(self, text: str, at: int) -> int | None:
        known, last = len(self._before), at + self.longest
        # One more than a window may hold: whether its last full stop ends a sentence, the next one tells.
        for match in SENTENCE_END.finditer(text, at + self._looked, min(len(text), last + 1)):
            end = match.end()
            if end <= last and (end - at) * self.SHARE >= known + end - at and not text[at:end].isspace():
                return end
        if len(text) <= last:
            return None
        ends = [m.end() for m in _CLAUSE_END.finditer(text, at + self.longest // 2, last)]
        return ends[-1] if ends else last

    def _window(self, fresh: str) -> Window:
        window = Window(self._before + fresh, self._start - len(self._before), len(fresh))
        self._before = window.text[-self.reach :] if self.reach else ""
        self._start += len(fresh)
        return window


class StreamCheck:
    """A detector at work on a text that is still being written.

    It reads window by window (see `Windows`). A surely unsafe window (probability >= 0.9) ends the text at
    once. After one that is unsafe but less surely so, the text waits: the next windows, which read it again,
    may clear it. If none has when it leaves the window or the text ends, it is read once more with more
    before it, and that decides. So is the end of a text of which any window was in doubt, be it only
    controversial. Each character is thus read at most 8 + 4 times, however long the text.

    Attributes:
        detector: reads the windows.
        question: that the text replies to, where it is a reply.
        cleared: how many of the text's characters, from its beginning, may be shown.
        read: how many characters the detector was given.
    """

    def __init__(self, detector: Detector, question: str | None = None) -> None:
        self.detector, self.question = detector, question
        self.cleared = 0
        self.read = 0
        self._windows = Windows()
        self._last = ""  # what came last, for reading again
        self._end = 0  # where the last window ended
        self._doubtful: int | None = None  # where what waits to be cleared begins
        self._unsure = False  # some window was not plainly safe

    async def feed(self, piece: str) -> Verdict | None:
        """Go on with the text.

        Returns:
            The verdict that ends it, with spans of the whole text; None where it may go on.

        Raises:
            DetectorError: the detector could not judge.
        """
        return await self._check(self._windows.feed(piece))

    async def close(self) -> Verdict | None:
        """End the text; all of it is cleared unless a verdict comes.

        Raises:
            DetectorError: the detector could not judge.
        """
        verdict = await self._check(self._windows.close())
        if verdict is None and self._unsure:
            verdict = await self._again()
        return verdict

    async def _check(self, windows: Iterator[Window]) -> Verdict | None:
        for window in windows:
            verdict = await self._window(window)
            if verdict is not None:
                return verdict
            await asyncio.sleep(0)  # a long piece must not keep others waiting
        return None

    async def _window(self, window: Window) -> Verdict | None:
        self._last = (self._last + window.text[-window.fresh :])[-max(_MOST.values()) :]
        self._end = window.end
        if window.text[-window.fresh :].strip():  # else nothing new is said
            verdict = await self._read(window.text, window.start)
            self._unsure |= verdict.label != "safe"
            if not verdict.unsafe:
                self._doubtful = None
            elif verdict.probability >= _SURE:
                return verdict
            elif self._doubtful is None:
                self._doubtful = window.end - window.fresh
            elif window.start > self._doubtful:
                return await self._again()
        if self._doubtful is None:
            self.cleared = self._end
        return None

    async def _again(self) -> Verdict | None:
        text = self._last[-_MOST[language(self._last)] :]
        verdict = await self._read(text, self._end - len(text))
        if verdict.unsafe:
            return verdict
        self._doubtful, self.cleared = None, self._end
        return None

    async def _read(self, text: str, start: int) -> Verdict:
        self.read += len(text)
        verdict = await self.detector.check(text, question=self.question)
        return replace(verdict, spans=tuple((start + a, start + b) for a, b in verdict.spans))


async def check_whole(detector: Detector, text: str, question: str | None = None) -> Verdict | None:
    """Judge a text that is all there: at once, or as a stream where that is more than can be read at once.

    Returns:
        The verdict that stops it; None where nothing does.

    Raises:
        DetectorError: the detector could not judge.
    """
    if len(text) <= _MOST[language(text)]:
        verdict = await detector.check(text, question=question)
        return verdict if verdict.unsafe else None
    check = StreamCheck(detector, question)
    return await check.feed(text) or await check.close()
