import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fangxin.detect.personal import Remembering, find, settled

parts = st.sampled_from(
    [
        "Call 415-555-2671", "138001", "38000", ". ", "。", "\n", "12 Main St", "., ", "Springfield, IL 62704", "ada@corp", ".org", " ",
        "Mr. ", "Ada Smith", "我住在北京市海淀区", "中关村大街27号", "3号楼", "，", "-----BEGIN " + "PRIVATE KEY-----", "abcd", "-----END " + "PRIVATE KEY-----",
        "My name is ", "密码是", "hello2024", "!",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(parts, max_size=12))
@example(["12 Main St", ". ", "\n", "Springfield, IL 62704", "\n", "x"])
@example(["-----BEGIN " + "PRIVATE KEY-----", "\n", "abcd", "\n", "-----END " + "PRIVATE KEY-----", "\n"])
def test_what_is_settled_stays_settled(reply):
    whole, end = settled("".join(reply), find)
    assert end == len("".join(reply))
    last = 0
    for n in range(len(reply) + 1):
        found, until = settled("".join(reply[:n]), find, final=False)
        assert last <= until
        assert found == [one for one in whole if one.start < until]
        assert all(one.end <= until for one in found)
        last = until


def test_an_address_may_go_on_in_the_next_line():
    text = "Send it to 12 Main St.\nSpringfield, IL 62704\nThanks"
    assert settled("Send it to 12 Main St.\n", find, final=False) == ([], 0)
    [one] = settled(text, find)[0]
    assert text[one.start : one.end] == "12 Main St.\nSpringfield, IL 62704"


def test_a_key_is_taken_whole():
    key = "-----BEGIN " + "PRIVATE KEY-----\n" + "QUJD\n" * 40 + "-----END " + "PRIVATE KEY-----"
    assert settled(key[:150], find, final=False) == ([], 0)
    [one] = settled(f"{key}\nbye", find)[0]
    assert (one.start, one.end) == (0, len(key))


@pytest.mark.parametrize(
    "line",
    ["I live at 12 Main St.\n", "ordinary words of a reply. ", "-----BEGIN " + "PRIVATE KEY-----\n", "。"],
)
def test_long_replies_take_bounded_time(line):
    text = line * (20_000 // len(line))
    start = time.process_time()
    settled(text, find)
    assert time.process_time() - start < 4.0


def test_a_growing_reply_is_not_read_again_and_again():
    asked = []
    remembering = Remembering(lambda text: asked.append(text) or find(text))
    text = "She wrote to ada@corp.org today. " * 40
    for end in range(0, len(text) + 1, 11):
        settled(text[:end], remembering, final=False)
    assert len(asked) <= 41
    assert settled(text, remembering) == settled(text, find)


def test_what_is_remembered_is_no_text_and_not_much():
    remembering = Remembering(find, most=3)
    for name in ("ada", "bob", "cyd", "dan", "eve"):
        assert len(remembering(f"{name}@corp.org")) == 1
    assert len(remembering._known) <= 3
    assert "corp" not in repr(vars(remembering))
