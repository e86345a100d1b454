from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.detect import DetectorError, StreamCheck, Verdict, Window, Windows, check_whole

pieces_of_text = st.lists(
    st.one_of(
        st.sampled_from(
            ["Ok. ", "!", "\n", "。", "好", "a", "word ", "3.1", "，", ".", "\ud83d", "\u200b", ""]
        ),
        st.text(max_size=30),
        st.integers(1, 400).map(lambda n: "x" * n),
        st.integers(1, 60).map(lambda n: "some words, " * n),
    ),
    max_size=25,
)


class Scored:
    """A detector that gives the highest score of the words in a text, and counts what it is given."""

    name = "scored"

    def __init__(self, **scores: float) -> None:
        self.scores = scores
        self.seen: list[str] = []

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        self.seen.append(text)
        score = max((s for word, s in self.scores.items() if word in text), default=0.0)
        return Verdict("unsafe" if score >= 0.5 else "safe", score, spans=((0, len(text)),), by=self.name)


async def fed(check: StreamCheck, pieces: list[str]) -> Verdict | None:
    for piece in pieces:
        if (verdict := await check.feed(piece)) is not None:
            return verdict
    return await check.close()


def windows(pieces: list[str], cutter: Windows | None = None) -> list[Window]:
    cutter = cutter or Windows()
    return [window for piece in pieces for window in cutter.feed(piece)] + list(cutter.close())


def cut(text: str, sizes: list[int]) -> list[str]:
    ends = sorted({min(size, len(text)) for size in sizes} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(ends)]


@given(pieces_of_text)
def test_windows_cover_the_text_and_are_at_most_eight_times_as_long(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = windows(pieces)
    assert "".join(window.text[-window.fresh :] for window in found) == text
    for window in found:
        assert text[window.start : window.end] == window.text
        assert 1 <= window.fresh <= 120
        assert len(window.text) <= window.fresh + 200
    for window in found[:-1]:  # the last one may be what `close` left
        assert len(window.text) <= Windows.SHARE * window.fresh
    assert sum(len(window.text) for window in found) <= Windows.SHARE * len(text) + 320


@given(pieces_of_text, st.lists(st.integers(0, 600)))
def test_windows_do_not_depend_on_the_pieces(pieces: list[str], sizes: list[int]) -> None:
    text = "".join(pieces)
    assert windows(cut(text, sizes)) == windows([text])
    if len(text) < 300:
        assert windows(list(text)) == windows([text])


def test_a_window_ends_with_a_sentence() -> None:
    found = windows(["First one, 3.14 of it. Second one! 第三句很短。第四句也很短。Last"])
    fresh = [window.text[-window.fresh :] for window in found]
    assert fresh == ["First one, 3.14 of it.", " Second one!", " 第三句很短。", "第四句也很短。", "Last"]


def test_a_long_sentence_is_cut_at_a_clause_or_anywhere() -> None:
    words = windows(["word " * 30 + "and more, much more of it"])
    assert words[0].text == "word " * 24  # at most 120, behind white space
    letters = windows(["x" * 300])
    assert [window.fresh for window in letters] == [120, 120, 60]


@pytest.mark.parametrize(("reach", "longest"), [(-1, 10), (0, 1), (400, 100)])
def test_windows_that_could_cost_more_than_their_share_are_refused(reach: int, longest: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        Windows(reach, longest)


def test_a_megabyte_in_one_piece_or_in_many() -> None:
    text = "x" * 400_000 + "!" * 100_000 + "Some words. " * 40_000
    found = windows([text])
    assert sum(len(window.text) for window in found) <= Windows.SHARE * len(text) + 320
    assert windows(list(text[350_000:450_000])) == windows([text[350_000:450_000]])


async def test_a_surely_unsafe_sentence_ends_it_at_once() -> None:
    detector = Scored(BAD=0.95)
    check = StreamCheck(detector, "q")
    assert await check.feed("One is fine. Two is BAD") is None
    assert check.cleared == len("One is fine.")
    verdict = await check.feed(" indeed. Three.")
    assert verdict is not None
    assert verdict.spans == ((0, len("One is fine. Two is BAD indeed.")),)
    assert check.cleared == len("One is fine.")  # nothing of the sentence ever was
    assert not any("Three" in text for text in detector.seen)


async def test_doubt_holds_back_until_a_window_clears_it() -> None:
    class Doubting(Scored):
        async def check(self, text: str, *, question: str | None = None) -> Verdict:
            score = 0.6 if "odd" in text and "harmless" not in text else 0.0
            self.seen.append(text)
            return Verdict("unsafe" if score else "safe", score)

    check = StreamCheck(Doubting())
    for piece, cleared in (("All is well. ", 12), ("That is odd. ", 12), ("But harmless. ", 39)):
        assert await check.feed(piece) is None
        assert check.cleared == cleared
    assert await check.close() is None
    assert check.cleared == 40


async def test_doubt_that_nothing_clears_is_read_once_more_and_decided() -> None:
    detector = Scored(odd=0.6)
    check = StreamCheck(detector)
    text = "Fine so far. " * 30 + "This is odd. "
    assert await fed(check, [text]) is not None  # in doubt to the end
    assert detector.seen[-1] == text
    assert 340 < check.cleared < text.index("odd")
    detector = Scored(odd=0.6)
    verdict = await fed(StreamCheck(detector), [text, "And it goes on. " * 100])
    assert verdict is not None
    assert len("".join(detector.seen)) < 8 * 900  # decided before it left the windows, not at the end


async def test_the_last_reading_may_clear_it() -> None:
    class Whole(Scored):
        async def check(self, text: str, *, question: str | None = None) -> Verdict:
            score = 0.6 if "odd" in text and "A joke" not in text else 0.0
            return Verdict("unsafe" if score else "safe", score)

    check = StreamCheck(Whole())
    text = "A joke follows. " + "Fine so far. " * 30 + "This is odd."
    assert await fed(check, [text]) is None
    assert check.cleared == len(text)


@settings(deadline=None)
@given(pieces_of_text, st.sampled_from([{}, {"o": 0.6}, {"word": 0.7, "x": 0.0}, {"。": 0.6}]))
def test_each_character_is_read_a_bounded_number_of_times(
    pieces: list[str], scores: dict[str, float]
) -> None:
    """Also with a detector that is always in doubt: the last reading of it clears here."""

    class Lenient(Scored):
        async def check(self, text: str, *, question: str | None = None) -> Verdict:
            verdict = await super().check(text, question=question)
            return Verdict("safe", 0.0) if len(text) > 320 else verdict

    text = "".join(pieces)
    detector = Lenient(**scores)
    check = StreamCheck(detector)
    verdict = asyncio.run(fed(check, pieces))
    assert check.read == sum(map(len, detector.seen)) <= 12 * len(text) + 320 + 960
    if verdict is None:
        assert check.cleared == len(text)


@settings(deadline=None)
@given(pieces_of_text, st.lists(st.integers(0, 600)), st.sampled_from([0.6, 0.95]))
def test_the_verdict_does_not_depend_on_the_pieces(pieces: list[str], sizes: list[int], score: float) -> None:
    text = "".join(pieces)

    async def of(parts: list[str]) -> tuple[Verdict | None, int]:
        check = StreamCheck(Scored(word=score, 好=score))
        return await fed(check, parts), check.cleared

    assert asyncio.run(of(cut(text, sizes))) == asyncio.run(of([text]))


async def test_a_text_with_a_controversial_window_is_read_once_more_at_its_end() -> None:
    class Unsure(Scored):
        async def check(self, text: str, *, question: str | None = None) -> Verdict:
            self.seen.append(text)
            if "odd" in text and "also" in text:
                return Verdict("unsafe", 0.6)
            return Verdict("controversial" if "odd" in text else "safe", 0.3)

    plain, odd = "Fine so far. " * 30, "This is odd. "
    text = odd + plain + "And also this."
    detector = Unsure()
    check = StreamCheck(detector)
    assert await check.feed(text) is None
    assert check.cleared > 300  # what is only controversial isn't held back
    assert await check.close() is not None
    assert detector.seen[-1] == text
    detector = Unsure()
    assert await fed(StreamCheck(detector), [plain]) is None
    assert plain not in detector.seen  # plainly safe all along: once is enough


async def test_nothing_is_read_where_nothing_is_said() -> None:
    detector = Scored()
    check = StreamCheck(detector)
    assert await fed(check, ["", "\n\n", "  ", "\n" * 500]) is None
    assert check.cleared == 504
    assert detector.seen == []


async def test_a_whole_text_is_read_at_once_where_it_can_be() -> None:
    short, long = Scored(), Scored()
    assert await check_whole(short, "Fine. " * 100) is None
    assert len(short.seen) == 1
    harm = await check_whole(Scored(BAD=0.6), "Fine. " * 10 + "BAD.")
    assert harm is not None
    assert await check_whole(long, "Fine. " * 1000) is None
    assert max(map(len, long.seen)) <= 320
    late = await check_whole(Scored(BAD=0.95), "Fine. " * 1000 + "BAD.")  # no detector reads so far at once
    assert late is not None


async def test_a_detector_that_cannot_judge_is_an_error() -> None:
    class Broken(Scored):
        async def check(self, text: str, *, question: str | None = None) -> Verdict:
            raise DetectorError("no")

    with pytest.raises(DetectorError):
        await StreamCheck(Broken()).feed("One. Two.")
    with pytest.raises(DetectorError):
        await fed(StreamCheck(Broken()), ["One"])
