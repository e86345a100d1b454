import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fangxin.detect._minilm import LONGEST, QUESTION, carried, framed

PIECES = carried()[1]


def shown(text: str) -> list[str]:
    names = {number: piece for piece, number in PIECES._numbers.items()}
    return [names[number] for number in PIECES.encode(text)]


def test_words_are_split_as_bert_splits_them() -> None:
    # Taken from the model's own tokenizer (the package `tokenizers`, 0.22).
    assert shown("Unaffable cafés, don't!") == ["una", "##ffa", "##ble", "cafes", ",", "don", "'", "t", "!"]
    assert shown("e-mail: a.b@c.io\t42") == ["e", "-", "mail", ":", "a", ".", "b", "@", "c", ".", "io", "42"]
    assert shown("怎么 so") == ["[UNK]", "[UNK]", "so"]
    assert shown("x" * 101) == ["[UNK]"]
    assert shown("\x00\ufeff \u200d") == []


@given(st.text(max_size=60))
def test_case_and_accents_say_nothing(text: str) -> None:
    bare = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    assert PIECES.encode(text) == PIECES.encode(bare)


@given(st.text(max_size=900), st.text(max_size=2000))
def test_a_pair_is_framed_and_bounded(question: str, reply: str) -> None:
    ids, asked = framed(PIECES, question, reply)
    assert 3 <= len(ids) <= LONGEST
    assert asked <= QUESTION + 2
    assert ids[0] == 101
    assert ids[asked - 1] == ids[-1] == 102
