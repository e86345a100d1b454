from __future__ import annotations

import gzip
import logging
import os
import time
from pathlib import Path

import pytest

from fangxin.detect import DetectorError, Matcher, TermDetector, Verdict, read_terms


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


# Files


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "# our list\r\none\r\n\r\n二 三\t甲\r\nfour\t甲, b\r\n"),
        ("a.tsv", "one\n二 三\t甲\nfour\t甲,b"),
        ("a.tsv", "\ufeffone\t\n二 三\t甲\nfour\t甲,b\n"),
        ("a.toml", 'listed = ["one"]\n"甲" = ["二 三", "four"]\nb = ["four"]\n'),
        ("a.json", '{"listed": ["one"], "甲": ["二 三", "four"], "b": ["four"]}'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_read(tmp_path: Path, name: str, text: str, packed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read_terms(path) == {"listed": ("one",), "甲": ("二 三", "four"), "b": ("four",)}


def test_a_hash_may_begin_a_term(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "#one\n#\n# none\n")
    assert read_terms(path) == {"listed": ("#one", "#")}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"\xff\xfe", "is not UTF-8"),
        ("a.txt", b"", "holds no terms: write one a line"),
        ("a.txt", b"# nothing\n\n \n", "holds no terms"),
        ("a.tsv", b"a\tb\tc\n", "line 1 has more than one tab"),
        ("a.toml", b"a = 1", "each theme must be a list of texts"),
        ("a.toml", b"a = [1]", "each theme must be a list of texts"),
        ("a.toml", b"a = ", "can't be read"),
        ("a.toml", b"", "holds no terms"),
        ("a.json", b"[]", "each theme must be a list of texts"),
        ("a.json", b"{", "can't be read"),
        ("a.txt.gz", b"a\n", "can't be read"),
        ("a.txt.gz", gzip.compress(b"abc\n" * 9)[:-9], "can't be read"),
        (".", None, "can't be read: Is a directory"),
        ("none.txt", None, "can't be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(
    tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DetectorError, match=words) as caught:
        read_terms(tmp_path / name)
    assert "\n" not in str(caught.value)


# Themes and verdicts


def test_settings_say_which_themes_are_on() -> None:
    terms = {"insult": ("fool",), "drinks": ("beer", "fool's gold")}
    text = "A fool and his beer."
    found = TermDetector(terms).find(text)
    assert [(one.term, one.themes) for one in found] == [("fool", ("insult",)), ("beer", ("drinks",))]
    some = TermDetector(terms, themes=("insult",))
    assert [one.term for one in some.find(text)] == ["fool"]
    assert some.terms == terms
    assert TermDetector(terms, themes=()).find(text) == ()
    with pytest.raises(DetectorError, match=r"No term has the theme 'food': the list has drinks, insult\."):
        TermDetector(terms, themes=("food",))


async def test_verdicts_name_the_theme() -> None:
    words = TermDetector({"insult": ("fool",), "hate": ("beer",)})
    safe = await words.check("Nothing here.")
    assert (safe.label, safe.probability, safe.by) == ("safe", 0.0, "terms")
    verdict = await words.check("A FOOL drinks b*e*e*r.", question="Who?")
    assert isinstance(verdict, Verdict)
    assert verdict.unsafe
    assert verdict.probability == 1.0
    assert verdict.risk == "hate"
    assert verdict.spans == ((2, 6), (14, 21))
    assert verdict.reason == "It holds 2 listed terms (theme: hate, insult)."
    assert (await words.check("fool")).risk is None


def test_detectors_of_the_same_terms_are_equal() -> None:
    assert TermDetector(("a", "b")) == TermDetector({"listed": ["a", "b"]})
    assert TermDetector(("a",)) != TermDetector(("b",))
    assert TermDetector(("a",)) != TermDetector(("a",), homophones=True)
    assert TermDetector(("a",)) != "a"


# Lists that change


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fangxin.detect._terms.time.monotonic", clock)
    return clock


def settle(words: TermDetector, clock: Clock, before: Matcher) -> bool:
    """Look twice, a second apart, and wait until another list serves; False when none comes."""
    for _ in range(2):
        clock.now += 1.1
        assert words.find("") == ()
    for _ in range(200):
        if words._matcher is not before:
            return True
        if not words._files.lock.locked():  # type: ignore[union-attr]
            time.sleep(0.002)
            if not words._files.lock.locked():  # type: ignore[union-attr]
                break
        time.sleep(0.01)
    return words._matcher is not before


def replaced(path: Path, data: bytes) -> None:
    (path.parent / "new").write_bytes(data)
    os.replace(path.parent / "new", path)


def test_a_changed_file_is_taken_up(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    one, two = written(tmp_path / "one.txt", "apple\n"), written(tmp_path / "two.txt", "pear\n")
    words = TermDetector.from_files(one, two)
    assert len(words.find("apple pear plum")) == 2
    old = words._matcher
    replaced(two, b"plum\n")
    assert len(words.find("apple pear plum")) == 2  # not looked at yet
    with caplog.at_level(logging.WARNING, "fangxin.detect"):
        assert settle(words, clock, old)
    assert [one.term for one in words.find("apple pear plum")] == ["apple", "plum"]
    assert "A new list of 2 terms is in use." in caplog.text


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    path = written(tmp_path / "one.txt", "apple\n")
    words = TermDetector.from_files(path)
    old = words._matcher
    for size in range(1, 5):
        replaced(path, b"plum\n" * size)
        clock.now += 1.1
        words.find("")
        time.sleep(0.01)
        assert words._matcher is old
    assert settle(words, clock, old)


@pytest.mark.parametrize("data", [b"", b"\xff", None])
def test_a_broken_new_file_leaves_the_old_list(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, data: bytes | None
) -> None:
    path = written(tmp_path / "one.txt", "apple\n")
    words = TermDetector.from_files(path)
    old = words._matcher
    if data is None:
        path.unlink()
    else:
        replaced(path, data)
    with caplog.at_level(logging.WARNING, "fangxin.detect"):
        assert not settle(words, clock, old)
        assert not settle(words, clock, old)
    assert caplog.text.count("The old list of terms stays in use.") == 1  # said once
    assert str(path) in caplog.text
    assert len(words.find("apple")) == 1
    with pytest.raises(DetectorError):
        words.refresh()
    assert len(words.find("apple")) == 1
    replaced(path, b"pear\n")
    assert settle(words, clock, old)
    assert [one.term for one in words.find("apple pear")] == ["pear"]


def test_a_new_file_must_have_the_themes_that_are_on(tmp_path: Path) -> None:
    path = written(tmp_path / "one.tsv", "apple\tfruit\n")
    words = TermDetector.from_files(path, themes=("fruit",))
    replaced(path, b"apple\tfood\n")
    with pytest.raises(DetectorError, match="No term has the theme 'fruit'"):
        words.refresh()
    assert len(words.find("apple")) == 1
    assert words.terms == {"fruit": ("apple",)}


def test_refresh_reads_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "one.txt", "apple\n")
    words = TermDetector.from_files(path)
    replaced(path, b"pear\n")
    words.refresh()
    assert [one.term for one in words.find("apple pear")] == ["pear"]
    TermDetector(("apple",)).refresh()  # no files: nothing to do
