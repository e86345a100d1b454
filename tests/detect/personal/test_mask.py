import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.detect.personal import KINDS, Finding, Vault, canonical, find, mask, mask_all, restore

TEXT = "My name is Ada Smith, mail ada@corp.org or call 415-555-2671. Or (415) 555-2671!"


def test_placeholders_stand_for_values_and_come_back():
    masked = mask(TEXT)
    assert masked.text == "My name is <NAME_1>, mail <EMAIL_1> or call <PHONE_1>. Or <PHONE_1>!"
    assert (
        restore("Dear <NAME_1>: <PHONE_1>, <EMAIL_1>.", masked.vault)
        == "Dear Ada Smith: 415-555-2671, ada@corp.org."
    )
    assert find(masked.text) == []


def test_chinese_text_gets_chinese_placeholders():
    masked = mask("我叫张伟，电话13800138000，邮箱a@b.cn。")
    assert masked.text == "我叫〔姓名1〕，电话〔电话1〕，邮箱〔邮箱1〕。"
    assert restore("〔姓名1〕您好", masked.vault) == "张伟您好"


def test_a_value_keeps_its_placeholder_over_a_talk():
    first = mask("call 13800138000")
    second = mask("it's +86 138-0013-8000 or 13900139000", first.vault)
    assert second.text == "it's <PHONE_1> or <PHONE_2>"
    assert restore("<PHONE_2>", second.vault) == "13900139000"
    assert len(first.vault) == 1  # the first is as it was


def test_what_was_found_once_is_masked_wherever_it_stands():
    texts, vault = mask_all(
        ["我叫王小明。", "王小明，你好！", "secret is Tr0ub4dor&3? password: Tr0ub4dor&3"]
    )
    assert texts == ["我叫〔姓名1〕。", "〔姓名1〕，你好！", "secret is <SECRET_1>? password: <SECRET_1>"]
    assert len(vault) == 2


def test_more_texts_change_nothing_before():
    talk = ["mail a@corp.org", "mail b@corp.org, a@corp.org", "call 415-555-2671"]
    whole, _ = mask_all(talk)
    for n in range(len(talk)):
        assert mask_all(talk[:n])[0] == whole[:n]


def test_a_placeholder_that_somebody_wrote_is_never_filled():
    masked = mask("What is <EMAIL_1>, [email 2]? Mine is ada@corp.org.")
    assert masked.text.endswith("Mine is <EMAIL_3>.")
    assert restore("<EMAIL_1> [email 2] <EMAIL_3>", masked.vault) == "<EMAIL_1> [email 2] ada@corp.org"


@pytest.mark.parametrize(
    "written",
    [
        "<EMAIL_1>",
        "<email_1>",
        "< EMAIL_1 >",
        "<EMAIL 1>",
        "[EMAIL_1]",
        "〔邮箱1〕",
        "【邮箱 1】",
        "《EMAIL-1》",
    ],
)
def test_models_may_change_how_a_placeholder_looks(written):
    vault = mask("ada@corp.org").vault
    assert restore(f"to {written}.", vault) == "to ada@corp.org."


@pytest.mark.parametrize("written", ["<EMAIL_2>", "EMAIL_1", "<EMAIL_01>", "<NAME_1>", "<EMAIL_1", "<b>"])
def test_what_is_no_placeholder_stays(written):
    vault = mask("ada@corp.org").vault
    assert restore(written, vault) == written


def test_printing_shows_no_value():
    masked = mask(TEXT)
    for said in (repr(masked), str(masked.vault), f"{masked.vault}", repr([masked.vault])):
        assert "Ada" not in said
        assert "corp" not in said
        assert "2671" not in said


@given(st.sampled_from(sorted(KINDS)), st.text(max_size=20))
def test_canonical_forms_are_their_own(kind, value):
    once = canonical(kind, value)
    assert canonical(kind, once) == once


parts = st.sampled_from(
    [
        *"<〔[]〕>_ 1a",
        "EMAIL",
        "<EMAIL_1>",
        "〔邮箱1〕",
        "NAME_1",
        "<EMAIL_12>",
        "hello ",
        "ada@corp.org ",
        "张伟",
        "\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(parts, max_size=12).map("".join))
def test_beginnings_give_beginnings(reply):
    vault = mask_all(["My name is Ada Smith, ada@corp.org", "b@corp.org c@corp.org"])[1]
    whole = restore(reply, vault)
    shown = ""
    for end in range(len(reply) + 1):
        more = restore(reply[:end], vault, final=False)
        assert more.startswith(shown)
        assert whole.startswith(more)
        shown = more


def test_little_is_held_back():
    vault = mask("ada@corp.org").vault
    assert restore("I wrote to <EMA", vault, final=False) == "I wrote to "
    assert restore("if a < b then", vault, final=False) == "if a < b then"
    assert restore("I wrote to <EMA", Vault(), final=False) == "I wrote to <EMA"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab@.c1\n <>_EMAIL"), max_size=30), max_size=4))
def test_masked_talks_come_back_as_they_were(talk):
    texts, vault = mask_all(talk, find=lambda text: [one for one in find(text) if one.kind == "email"])
    spellings = {}
    for (kind, plain), (_, value) in vault.entries.items():
        spellings.setdefault((kind, plain), value)
    for text, masked in zip(talk, texts, strict=True):
        back = restore(masked, vault)
        assert back.casefold() == text.casefold()


def test_other_finders_can_be_used():
    masked = mask("the eagle has landed", find=lambda text: [Finding("name", 4, 9, 1.0)])
    assert masked.text == "the <NAME_1> has landed"


def test_vaults_can_be_kept():
    vault = mask(TEXT).vault
    assert pickle.loads(pickle.dumps(vault)) == vault
    assert vault.value("email", 1) == "ada@corp.org"
    assert vault.value("email", 2) is None
