import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.detect._hashing import BITS, LONGEST, grams

TEXTS = ["How do I bake bread?", "", "怎么做红烧肉？", "a", "\ud800 \x00", "don't", "🙂🙂 café"]


def rows(texts):
    found = grams(texts)
    return [sorted(part.tolist()) for part in np.split(found.ids, found.starts[1:])]


def test_texts_in_a_batch_do_not_touch_each_other():
    assert rows(TEXTS) == [rows([text])[0] for text in TEXTS]
    assert len({tuple(row) for row in rows(TEXTS)}) == len(TEXTS)


def test_words_are_found_wherever_they_stand():
    (first,), (second,) = rows(["bread"]), rows(["we like bread."])
    assert len(set(first) & set(second)) >= 4  # the word, and its letters by fours but for the ends
    (first,), (second,) = rows(["红烧"]), rows(["做红烧肉"])
    assert len(set(first) & set(second)) >= 3  # both characters, and the pair


def test_case_width_and_invisible_letters_do_not_matter():
    assert rows(["ＢＲＥＡＤ"]) == rows(["bread"]) == rows(["br\u200bead"])


def test_only_the_start_of_a_long_text_is_read():
    assert rows(["word " * LONGEST]) == rows(["word " * LONGEST + "more"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=60), max_size=5))
def test_any_text_has_grams_in_range(texts):
    found = grams(texts)
    assert len(found.starts) == len(texts)
    if texts:
        assert (found.ids >= 0).all()
        assert (found.ids < 1 << BITS).all()
        assert np.isfinite(found.scores(np.ones((1 << BITS, 2), np.int8))).all()


def test_a_score_is_the_sum_over_the_root_of_the_number():
    table = np.zeros((1 << BITS, 1), np.float32)
    (ids,) = rows(["bread"])
    table[ids] = 1
    assert grams(["bread"]).scores(table)[0, 0] == pytest.approx(len(ids) ** 0.5)
