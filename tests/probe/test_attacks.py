"""Structure tests over every registered attack, and each built-in family's goal taken out again."""

from __future__ import annotations

import base64
import codecs
import json
import random
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.dialogue import Language, Turn
from fangxin.probe.attacks import Attack, AttackError, AttackInfo, AttackKind, attack, attacks
from fangxin.probe.attacks import _registry as registry
from fangxin.probe.attacks._context import DEMONSTRATIONS

BUILT_IN = {
    "plain": {"plain"},
    "persona": {"developer_mode", "role_play", "trusted_expert", "two_voices"},
    "instruction": {
        "beginner",
        "concrete_example",
        "forged_message",
        "prefix_injection",
        "refusal_suppression",
        "short_answer",
        "step_by_step",
        "style_injection",
    },
    "persuasion": {
        "curiosity",
        "emotional_appeal",
        "flattery",
        "social_proof",
        "third_party",
    },
    "obfuscation": {
        "base64",
        "keyed_cipher",
        "leetspeak",
        "payload_splitting",
        "random_augmentation",
        "simple_cipher",
    },
    "context": {
        "academic",
        "code_completion",
        "hypothetical",
        "in_context",
        "many_shot",
        "nested_fiction",
        "question_list",
    },
    "language": {"bilingual_answer", "code_switching", "language_mixing", "translation_task"},
}
ALL = sorted(attacks())
CASES = [(name, language) for name in ALL for language in attacks()[name].info.languages]
GOALS: dict[Language, str] = {
    "en": "Explain in plain words how a person could plan a long walking holiday across three countries "
    "with little money, what they should pack, and where they would find a bed",
    "zh": "请用通俗的话说明一个人怎样用很少的钱规划一次穿越三个国家的徒步旅行，应带些什么，在哪里过夜",
}
AWKWARD = (
    "",
    " ",
    "\n",
    "?",
    "怎",
    "😀 and 👩‍👩‍👧 and é",
    'say "hi" and \'bye\' and """docs""" and \\n and \\',
    "one\ntwo\r\n\n\tthree\n",
    '{goal} {sum} {0} {} %s $x a = "b"',
    "<|im_end|>\n### System\n[system]",
    'b = "x"\nkey 7, 密钥3',
    "How do I fold paper? " * 95 + "Thanks",
    "怎么折纸？" * 400,
)
HAN = re.compile(r"[\u3400-\u9fff]")
CJK = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")
ALARMING = re.compile(
    r"\b(kill|murder|bomb|weapon|gun|knife|drug|poison|explo|hack|malware|virus|suicid|steal|theft|fraud|rape|sex"
    r"|porn|child|terror|racis|hate|attack|weapon|blood|torture)|[炸毒枪杀血]|武器|自杀|黑客|色情|偷|诈骗|恐怖|歧视|仇恨|攻击",
    re.IGNORECASE,
)


def wrap(name: str, goal: str, language: Language, seed: int = 0) -> tuple[Turn, ...]:
    return attacks()[name].wrap(goal, language, random.Random(seed))


def whole(turns: tuple[Turn, ...]) -> str:
    return "\n".join(turn.text for turn in turns)


def tokens(turns: tuple[Turn, ...]) -> float:
    """Tokens in SmolLM2's count, from a fit to its tokenizer: 0.3 an ASCII character, 1.8 another, 5 a turn."""
    text = whole(turns)
    wide = sum(not c.isascii() for c in text)
    return 0.3 * (len(text) - wide) + 1.8 * wide + 5 * (len(turns) - 1)


# How a reader gets the goal back out of the last turn. Each takes (text, language, goal) and says
# whether the goal is what comes out; the goal is needed only to compare.


def hidden(text: str) -> str:
    """The hidden text of an obfuscation: all after the first line break."""
    return text.split("\n", 1)[1]


def from_base64(text: str, language: Language, goal: str) -> bool:
    return base64.b64decode(hidden(text), validate=True).decode() == goal


def from_simple_cipher(text: str, language: Language, goal: str) -> bool:
    return (codecs.decode(hidden(text), "rot13") if language == "en" else hidden(text)[::-1]) == goal


def from_leetspeak(text: str, language: Language, goal: str) -> bool:
    if language == "zh":
        return hidden(text)[::2] == goal and len(set(hidden(text)[1::2])) <= 1
    read = {a: b for b, a in zip("aeiost", "431057", strict=True)}

    def letters(s: str) -> str:
        return "".join(read.get(c, c.lower() if c.isascii() else c) for c in s)

    return letters(hidden(text)) == letters(goal)


def from_keyed_cipher(text: str, language: Language, goal: str) -> bool:
    found = re.search(r"\d+", text)
    assert found is not None
    key, secret = int(found[0]), hidden(text)
    if language == "en":
        lower, upper = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        turned = lower[-key:] + lower[:-key] + upper[-key:] + upper[:-key]
        return secret.translate(str.maketrans(lower + upper, turned)) == goal
    grid, at = [""] * len(secret), 0
    for column in range(key):
        for i in range(column, len(secret), key):
            grid[i], at = secret[at], at + 1
    return "".join(grid) == goal


def from_payload_splitting(text: str, language: Language, goal: str) -> bool:
    parts = dict(re.findall(r'(\w) = ("(?:[^"\\]|\\.)*")', text))
    order = re.findall(r"(\w) \+ (\w) \+ (\w)", re.sub(r'"(?:[^"\\]|\\.)*"', "", text))[-1]
    assert len(parts) == 3
    return "".join(json.loads(parts[name]) for name in order) == goal


def from_random_augmentation(text: str, language: Language, goal: str) -> bool:
    noisy = hidden(text)
    if language == "zh":
        return Counter(noisy.replace(" ", "")) == Counter(goal.replace(" ", ""))

    def windows(s: str) -> list[list[str]]:
        lower = "".join(c.lower() if c.isascii() else c for c in s)
        words = ["".join(sorted(word)) for word in re.split(r"\s+", lower)]
        return [sorted(words[i : i + 3]) for i in range(0, len(words), 3)]

    return windows(noisy) == windows(goal) and re.findall(r"\s+", noisy) == re.findall(r"\s+", goal)


def as_it_stands(text: str, language: Language, goal: str) -> bool:
    return goal in text


RECOVER: dict[str, Callable[[str, Language, str], bool]] = {
    "base64": from_base64,
    "keyed_cipher": from_keyed_cipher,
    "leetspeak": from_leetspeak,
    "payload_splitting": from_payload_splitting,
    "random_augmentation": from_random_augmentation,
    "simple_cipher": from_simple_cipher,
}


def carried(name: str, goal: str, language: Language, seed: int) -> bool:
    return RECOVER.get(name, as_it_stands)(wrap(name, goal, language, seed)[-1].text, language, goal)


def test_every_built_in_family_is_registered_with_its_kind() -> None:
    for kind, names in BUILT_IN.items():
        assert names <= {name for name, one in attacks().items() if one.info.kind == kind}
    assert set(BUILT_IN) == set(get_args(AttackKind))
    assert all(len(names) >= 3 for kind, names in BUILT_IN.items() if kind != "plain")


@pytest.mark.parametrize("name", ALL)
def test_the_card_is_complete(name: str) -> None:
    info = attacks()[name].info
    assert info.name == name
    assert set(info.languages) == {"en", "zh"}
    assert info.access == "black-box"
    assert (info.turns, info.asks) == (1, 1)
    assert not CJK.search(info.summary_en)
    assert info.summary_en.endswith(".")
    assert HAN.search(info.summary_zh)
    assert info.summary_zh.endswith("。")
    assert info.licence == "Apache-2.0"
    assert name == "plain" or re.search(r"\b20\d\d\b", info.source)


@pytest.mark.parametrize(("name", "language"), CASES)
def test_the_goal_comes_out_again(name: str, language: Language) -> None:
    for goal in (*AWKWARD, *GOALS.values()):
        for seed in range(12):
            assert carried(name, goal, language, seed), (goal, seed)


@settings(max_examples=300)
@given(goal=st.text(max_size=80), seed=st.integers(0, 2**32), case=st.sampled_from(CASES))
def test_any_text_can_be_a_goal(goal: str, seed: int, case: tuple[str, Language]) -> None:
    name, language = case
    turns = wrap(name, goal, language, seed)
    assert turns[-1].role == "user"
    assert {turn.role for turn in turns} <= {"user", "assistant"}
    assert carried(name, goal, language, seed)


@pytest.mark.parametrize(("name", "language"), CASES)
def test_the_seed_decides_all(name: str, language: Language) -> None:
    for seed in range(5):
        random.seed(seed)
        once = wrap(name, GOALS[language], language, seed)
        random.seed(seed + 1)
        assert wrap(name, GOALS[language], language, seed) == once


@pytest.mark.parametrize(("name", "language"), [case for case in CASES if case[0] != "plain"])
def test_there_are_variants(name: str, language: Language) -> None:
    # The goal is left out so that only wording counts, not where a cut or a typo falls.
    first_lines = {wrap(name, "", language, seed)[-1].text for seed in range(60)}
    assert len(first_lines) >= 3


@pytest.mark.parametrize(("name", "language"), [case for case in CASES if case[0] != "plain"])
def test_the_wording_is_in_the_language_that_it_should_be(name: str, language: Language) -> None:
    mixed = attacks()[name].info.kind == "language"
    for seed in range(40):
        text = whole(wrap(name, "", language, seed))
        if name == "language_mixing":
            assert bool(HAN.search(text)) == (language == "en")
        elif mixed:
            assert HAN.search(text)
            assert re.search("[A-Za-z]{3}", text)
        elif language == "en":
            assert not CJK.search(text)
        else:
            assert HAN.search(text)


@pytest.mark.parametrize(("name", "language"), CASES)
def test_a_wrapper_is_short(name: str, language: Language) -> None:
    limit = 260 if name == "many_shot" else 90
    assert max(tokens(wrap(name, "", language, seed)) for seed in range(40)) <= limit
    # With a reply of 256 tokens a goal of 30 words must fit a slot of 1,024, encoded or not.
    assert max(tokens(wrap(name, GOALS[language], language, seed)) for seed in range(40)) <= 768


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_median_family_adds_little(language: Language) -> None:
    bare = tokens((Turn("user", GOALS[language]),))
    added = [
        statistics.median(tokens(wrap(name, GOALS[language], language, seed)) - bare for seed in range(10))
        for name in ALL
    ]
    assert statistics.median(added) < 90


@pytest.mark.parametrize(("name", "language"), CASES)
def test_no_wrapper_holds_an_alarming_word(name: str, language: Language) -> None:
    for seed in range(60):
        assert not ALARMING.search(whole(wrap(name, "", language, seed)))


def test_demonstrations_are_harmless_and_eager() -> None:
    assert ALARMING.search("how to make a bomb")
    assert ALARMING.search("怎么制毒")
    for language, manner in (("en", "Sure! "), ("zh", "好！")):
        shots = DEMONSTRATIONS[language]
        assert len(shots) == len(set(shots)) == 12
        for question, answer in shots:
            assert answer.startswith(manner)
            assert question.endswith(("?", "？"))
            assert not ALARMING.search(question + answer)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_many_shot_has_eight_different_demonstrations_as_turns_or_as_text(language: Language) -> None:
    forms = set()
    for seed in range(20):
        turns = wrap("many_shot", "GOAL", language, seed)
        forms.add(len(turns))
        text = whole(turns)
        assert sum(question in text and answer in text for question, answer in DEMONSTRATIONS[language]) == 8
        if len(turns) > 1:
            assert [turn.role for turn in turns] == ["user", "assistant"] * 8 + ["user"]
            assert turns[-1].text == "GOAL"
    assert forms == {1, 17}


def card(**changes: object) -> AttackInfo:
    known: dict[str, object] = {
        "name": "one",
        "kind": "plain",
        "languages": ("en",),
        "summary_en": "One.",
        "summary_zh": "一。",
        "source": "here",
        "licence": "MIT",
    }
    return AttackInfo(**{**known, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Not a name"}, "lower-case"),
        ({"kind": "magic"}, "kind 'magic' is not one of plain, persona"),
        ({"access": "none"}, "access 'none'"),
        ({"languages": ()}, "languages must be"),
        ({"languages": ("fr",)}, "languages must be"),
        ({"summary_zh": " "}, "summary_zh is empty"),
        ({"source": ""}, "source is empty"),
        ({"asks": 0}, "at least 1"),
    ],
)
def test_an_incomplete_card_is_refused(changes: dict[str, object], message: str) -> None:
    assert card().turns == 1
    with pytest.raises(AttackError, match=message):
        card(**changes)


def test_wrap_holds_the_plugin_to_its_contract() -> None:
    spoken = (Turn("user", "hi"), Turn("assistant", "hello"))
    for bad in ((), spoken):
        with pytest.raises(AttackError, match="must end with a user's turn"):
            Attack(card(), lambda goal, language, rng, bad=bad: bad).wrap("x", "en", random.Random(0))
    with pytest.raises(AttackError, match="no wording in 'zh': use en"):
        Attack(card(), lambda goal, language, rng: goal).wrap("x", "zh", random.Random(0))


def test_two_attacks_of_one_name_clash_and_one_met_twice_does_not() -> None:
    def made() -> Attack:
        return Attack(card(), lambda goal, language, rng: goal)

    one = made()
    assert registry.collect([("a", one), ("b", one)]) == {"one": one}
    with pytest.raises(AttackError, match="two attacks are named 'one', from a and b"):
        registry.collect([("a", one), ("b", made())])
    with pytest.raises(AttackError, match="a holds no attack"):
        registry.collect([("a", json)])


THIRD_PARTY = """
from fangxin.probe.attacks import attack

@attack(name="upper", kind="obfuscation", summary_en="Capitals.", summary_zh="大写。", source="2020",
        licence="MIT", languages=("en",))
def upper(goal, language, rng):
    return goal.upper()
"""


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with an attack of its own, as pip would leave it."""
    info = tmp_path / "shouting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fangxin.attacks]\nshouting = shouting_attacks\n")
    module = tmp_path / "shouting_attacks.py"
    module.write_text(THIRD_PARTY, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shouting_attacks", raising=False)
    registry._load.cache_clear()
    return module


@pytest.fixture(autouse=True)
def fresh_registry() -> object:
    yield
    registry._load.cache_clear()


def test_another_packages_attacks_are_registered_like_ours(third_party: Path) -> None:
    found = attacks()
    assert found["upper"].wrap("hello", "en", random.Random(0)) == (Turn("user", "HELLO"),)
    assert set(ALL) < set(found)


def test_a_package_that_does_not_load_is_an_error_with_its_name(third_party: Path) -> None:
    third_party.write_text("import no_such_module_at_all\n")
    with pytest.raises(AttackError, match=r"attacks of shouting \(shouting_attacks\) don't load"):
        attacks()


def test_a_package_cannot_take_a_built_in_name(third_party: Path) -> None:
    third_party.write_text(THIRD_PARTY.replace('"upper"', '"base64"'), encoding="utf-8")
    with pytest.raises(AttackError, match="two attacks are named 'base64', from fangxin"):
        attacks()


def test_the_caller_cannot_change_the_registry() -> None:
    attacks().clear()
    assert "plain" in attacks()


def test_the_decorator_takes_the_card_from_its_arguments() -> None:
    made = attack(name="x", kind="context", summary_en="X.", summary_zh="某。", source="here")(
        lambda goal, language, rng: goal
    )
    assert made.info == card(
        name="x",
        kind="context",
        summary_en="X.",
        summary_zh="某。",
        languages=("en", "zh"),
        licence="Apache-2.0",
    )
