from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.detect import normalised

# Characters that fold into none, one or several, beside ordinary ones.
odd = st.sampled_from("ﬁ㎏½ＡｂÉé\u0301İßſ\u200b\u00ad\ufe0f\u3164 \t\n\u3000你，［가…")
texts = st.text(st.one_of(odd, st.characters()), max_size=40)


@given(texts)
def test_each_folded_character_comes_from_somewhere_in_order(text: str) -> None:
    folded, origin = normalised(text)
    assert len(folded) == len(origin)
    assert origin == sorted(origin)
    assert all(0 <= i < len(text) for i in origin)
    for part, i in zip(folded, origin, strict=True):
        assert part in normalised(text[i])[0]


@given(texts, st.integers(0, 40))
def test_a_prefix_folds_to_a_prefix(text: str, end: int) -> None:
    whole, origin = normalised(text)
    part, part_origin = normalised(text[:end])
    assert whole.startswith(part)
    assert origin[: len(part)] == part_origin


@given(texts)
def test_folding_twice_is_folding_once(text: str) -> None:
    folded = normalised(text)[0]
    assert normalised(folded)[0] == folded


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＫＩＬＬ", "kill"),
        ("k\u200bi\u00adl\ufe0fl", "kill"),
        ("Straße", "strasse"),
        ("a \u3000\n\t b", "a b"),
        ("［最终回复］", "[最终回复]"),
        ("\ud800x", "x"),
        ("é", "e\u0301"),
        ("", ""),
    ],
)
def test_examples(text: str, folded: str) -> None:
    assert normalised(text)[0] == folded
