from __future__ import annotations

import itertools
import random
import time
import unicodedata

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fangxin.detect import Found, Matcher, Scan

EN = ["ass", "ass hat", "kill yourself", "shit", "fuck", "bitch", "hell", "anal", "penis", "4chan", "naïve"]
ZH = ["去死", "死", "死磕到底", "法轮功", "傻逼", "代开发票", "AV女优"]
TERMS = [*EN, *ZH, "c++", "a$$", "?!", "🖕", "f**k", "ア", "ﬁ"]
PLAIN = Matcher({"words": TERMS})
SOUND = Matcher({"words": TERMS}, homophones=True)


def found(text: str, matcher: Matcher = PLAIN) -> list[str]:
    return [text[one.start : one.end] for one in matcher.scan(text).found]


# Disguises that are seen through


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Kill Yourself!", ["Kill Yourself"]),
        ("ＫＩＬＬ　ｙｏｕｒｓｅｌｆ", ["ＫＩＬＬ　ｙｏｕｒｓｅｌｆ"]),
        ("k\u200bi\u2060ll your\u00adself", ["k\u200bi\u2060ll your\u00adself"]),
        ("kill\n  yourself, KILL-YOURSELF", ["kill\n  yourself", "KILL-YOURSELF"]),
        ("#killyourself", ["killyourself"]),
        ("f\u0336u\u0336c\u0336k", ["f\u0336u\u0336c\u0336k"]),
        ("fück naive nai\u0308ve NAÏVE", ["fück", "naive", "nai\u0308ve", "NAÏVE"]),
        ("ѕhіt ꮪНІТ 𝓼𝓱𝓲𝓽 ⓢⓗⓘⓣ 🅂🄷🄸🅃 🇸🇭🇮🇹", ["ѕhіt", "ꮪНІТ", "𝓼𝓱𝓲𝓽", "ⓢⓗⓘⓣ", "🅂🄷🄸🅃", "🇸🇭🇮🇹"]),
        ("sh1t 5h1t $hit sh!t b!tch! b17ch.", ["sh1t", "5h1t", "$hit", "sh!t", "b!tch", "b17ch"]),
        ("@ss @$$hat kil1 y0urself", ["@ss", "@$$hat", "kil1 y0urself"]),
        (
            "f u c k, f.u.c.k f*u*c*k f-u-c-k f_u_c_k; f u ck",
            ["f u c k", "f.u.c.k", "f*u*c*k", "f-u-c-k", "f_u_c_k", "f u ck"],
        ),
        ("fu*ck f.uck f❤uck", ["fu*ck", "f.uck", "f❤uck"]),
        ("what a f u c k u", ["f u c k"]),
        ("k i l l y o u r s e l f", ["k i l l y o u r s e l f"]),
        ("s\nh\ni\nt", ["s\nh\ni\nt"]),
        (
            "法*轮*功 法 轮 功 法.輪.功 法|轮功 法❤轮❤功",
            ["法*轮*功", "法 轮 功", "法.輪.功", "法|轮功", "法❤轮❤功"],
        ),
        ("發輪功不是，法輪功是", ["法輪功"]),
        ("法，轮，功", ["法，轮，功"]),
        ("代開發票", ["代開發票"]),
        ("ＡＶ女優 A.V女优", ["ＡＶ女優", "A.V女优"]),
        ("去\u200b死 去 死 去_死", ["去\u200b死", "去 死", "去_死"]),
        ("C++, f**k, what?!no 🖕🏽", ["C++", "f**k", "?!", "🖕"]),
        ("a$$ a$$!", ["a$$", "a$$"]),
        ("an ass hat, ass的ass", ["ass hat", "ass", "ass"]),
        ("ass hats", ["ass"]),  # the longer term is no word here, the shorter is
        ("㌀", ["㌀"]),  # a square of four kana
        ("ﬁ FI", ["ﬁ", "FI"]),
    ],
)
def test_disguises_are_seen_through(text: str, seen: list[str]) -> None:
    assert found(text) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("法论功 发轮功 珐仑攻", ["法论功", "发轮功", "珐仑攻"]),
        ("法lun功 fa轮gong", ["法lun功", "fa轮gong"]),
        ("falungong, fa lun gong FaLunGong", ["falungong", "fa lun gong", "FaLunGong"]),
        ("傻bi sha逼", ["傻bi", "sha逼"]),
        ("戴开發piao", ["戴开發piao"]),
        ("法轮功", ["法轮功"]),
        # Of two Han, homophones are ordinary words; and pinyin alone is too short to say.
        ("沙比 傻比 shabi", []),
        ("falungongs afalungong", []),
        ("法轮", []),
    ],
)
def test_homophones_and_pinyin_are_an_option(text: str, seen: list[str]) -> None:
    assert found(text, SOUND) == seen
    if text != "法轮功":
        assert found(text) == []


Disguise = st.sampled_from(["width", "case", "hidden", "marks", "signs", "alike", "capitals"])
_ALIKE = str.maketrans("aceiopsxyhktm", "асеіорѕхуһκτｍ")


def disguised(term: str, how: str) -> str:
    if how == "width":
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in term)
    if how == "case":
        return "".join(c.upper() if i % 2 else c for i, c in enumerate(term))
    if how == "hidden":
        return "\u200b\u2060".join(term)
    if how == "marks":
        return "".join(f"{c}\u0335" if c.isalpha() else c for c in term)
    if how == "signs":
        return " ".join("*".join(word) for word in term.split(" "))
    if how == "capitals":
        return "".join(
            f"{unicodedata.lookup(f'MATHEMATICAL BOLD CAPITAL {c.upper()}')}"
            if c.isascii() and c.isalpha()
            else c
            for c in term
        )
    return term.translate(_ALIKE)


@given(
    st.sampled_from(["fuck", "kill yourself", "bitch", "法轮功", "去死", "代开发票"]),
    st.lists(Disguise, unique=True, max_size=4),
    st.text(max_size=8),
    st.text(max_size=8),
)
@settings(deadline=None)
def test_a_term_that_stands_alone_is_found_under_any_disguises(
    term: str, hows: list[str], before: str, after: str
) -> None:
    assume(not any(unicodedata.category(c)[0] in "LNMCS" for c in before[-2:] + after[:2]))
    for how in hows:
        term = disguised(term, how)
    text = f"{before} . {term} . {after}"
    at = len(before) + 3
    spans = [(one.start, one.end) for one in PLAIN.scan(text).found]
    assert any(
        start <= at and at + len(term.rstrip("\u0335\u200b\u2060*＊")) <= end for start, end in spans
    ), (text, spans)


# What is none


@pytest.mark.parametrize(
    "text",
    [
        "class assess compass glass passing assume assassin bass Assam Sussex",
        "Scunthorpe Penistone analysis canal banal shell hello Hitchcock",
        "skill yourselves, assé, 4chans, passé",
        "he'll she’ll We'll all's well",
        "Adele's hit single, push it, it's hitting, his hit, wish it",
        "the pen is mightier; a nal; fu ck; as soon as she",
        "c l a s s, h e l l o, a n a l y s i s, S-h-e-l-l",
        "A55, Galaxy A55 phones, MP5, 455, 5417",
        "我去，死了；我去。死气沉沉；“去”“死角”".replace("死", "想"),
        "法制轮流成功。法，轮流。功夫",
        "傻得可爱，逼真",
        "发票代开",
        "c+ f*k ? ! a$",
        "fuuck shiit",
        "ass\u200bets ass\u0301ets",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_what_ordinary_writing_puts_between_han_does_not_make_a_term() -> None:
    assert found("我去，死了") == ["死"]
    assert found("法，轮功") == []
    assert found("他说“去”。死") == ["死"]


def test_scunthorpe() -> None:
    words = Matcher({"": ["cunt", "penis", "sex"]})
    assert found("Scunthorpe, Penistone and Essex are places; sex is a word.", words) == ["sex"]


def test_too_many_signs_part_a_term() -> None:
    assert found(f"法{'*' * 8}轮功") != []
    assert found(f"法{'*' * 9}轮功") == []


# Lists


def test_a_find_says_which_term_and_its_themes() -> None:
    words = Matcher({"one": ["Kill  Yourself", "x"], "two": ["kill-yourself", "kill"], "three": ["y"]})
    assert words.scan("KILL YOURSELF y").found == (
        Found(0, 13, "Kill Yourself", ("one", "two")),
        Found(14, 15, "y", ("three",)),
    )


def test_an_empty_list_finds_nothing() -> None:
    for terms in ([], ["", " ", "\u200b"]):
        assert Matcher({"": terms}, homophones=True).scan("anything at all").found == ()
        assert Matcher({"": terms}).scan("anything at all", final=False) == Scan((), 15, 12)


@given(st.lists(st.text(max_size=6), max_size=6), st.text(max_size=20))
@settings(max_examples=50, deadline=None)
def test_any_text_is_a_list_and_any_text_is_searched(terms: list[str], text: str) -> None:
    words = Matcher({"": terms}, homophones=True)
    spans = words.scan(text).found
    assert all(0 <= one.start < one.end <= len(text) for one in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


# Texts of which more may come


pieces = st.one_of(
    st.sampled_from(TERMS),
    st.sampled_from("asfuckhitbel1450$!@+*.,' \n-傻逼去死法轮功发论六四沙\u200b\u0301Ａ🇫㌀\""),
    st.sampled_from(["sha", "fa", "lun", "gong", "  ", "......... "]),
)
texts = st.lists(st.one_of(pieces, pieces, pieces, st.text(max_size=2)), max_size=14).map("".join)


@given(texts, st.sampled_from([PLAIN, SOUND]))
@settings(max_examples=300, deadline=None)
@example("h e l l o k", PLAIN)
@example("sh!t!!x", PLAIN)
@example("n a a s s", PLAIN)
@example("ass......... hell", PLAIN)
@example("法lun功", SOUND)
@example("去死磕到底", PLAIN)
def test_what_is_found_in_a_prefix_stays_found(text: str, matcher: Matcher) -> None:
    """Read all at once, each prefix anew, or from where the last one ended: the same."""
    whole = matcher.scan(text).found
    at = begin = shown = 0
    taken: list[Found] = []
    for end in range(len(text) + 1):
        anew = matcher.scan(text[:end], final=False)
        assert anew.until >= shown
        shown = anew.until
        assert anew.found == tuple(one for one in whole if one.start < anew.until)
        assert all(one.end <= anew.until <= end for one in anew.found)
        onward = matcher.scan(text[:end], at, begin, final=False)
        assert onward.until >= max(at, anew.until)
        assert onward.begin <= onward.until
        taken += onward.found
        assert tuple(taken) == tuple(one for one in whole if one.start < onward.until)
        at, begin = onward.until, onward.begin
    assert (*taken, *matcher.scan(text, at, begin).found) == whole


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("Hello. I kill ", "Hello. I "),
        ("Hello. I kill t", "Hello. I kill t"),
        ("Hello. I kill yourself", "Hello. I "),
        ("Hello. I kill yourself ", "Hello. I kill yourself "),
        ("你去", "你"),
        ("你去了", "你去了"),
        ("sh!", ""),
        ("ass", ""),
        ("an ass ", "an "),  # an "ass hat", perhaps
        ("f u c k ", ""),
        ("f u c k you are", "f u c k you are"),
    ],
)
def test_only_what_may_become_a_term_is_open(text: str, settled: str) -> None:
    assert text[: PLAIN.scan(text, final=False).until] == settled


# Work


def spent(matcher: Matcher, text: str, times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        matcher.scan(text)
    return time.process_time() - start


def test_a_large_list_and_a_long_text_are_quick() -> None:
    rng = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz"
    terms = ["".join(rng.choices(letters, k=rng.randint(5, 9))) for _ in range(50_000)]
    terms += [
        "".join(chr(rng.randint(0x4E00, 0x9FA5)) for _ in range(rng.randint(2, 6))) for _ in range(50_000)
    ]
    start = time.process_time()
    words = Matcher({"": terms})
    assert time.process_time() - start < 6  # about 1.2 s on a free core
    text = ("an ordinary sentence of an ordinary reply. " + "一句普通的回答，没有什么特别的。" * 3) * 1000
    spent(words, text)
    assert len(text) / spent(words, text, 3) * 3 > 2.5e6  # characters a second; 10 million on a free core
    assert spent(words, text[:200], 200) / 200 < 0.0005  # 0.00003


@pytest.mark.parametrize(
    "unit", ["a", "死", "s h i t ", "$", "!1", "\u200b", "f*", "a$", "ﷺ", "k1", "\u0301", "法，"]
)
def test_hostile_texts_take_bounded_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert spent(SOUND, text) < 3
    start = time.process_time()
    SOUND.scan(text, final=False)
    assert time.process_time() - start < 3
