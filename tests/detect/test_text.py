from fangxin.detect._text import identity, language, side


def test_language_by_script():
    assert language("How do I bake bread?") == "en"
    assert language("怎么做红烧肉？") == "zh"
    assert language("用Python写一个排序函数") == "zh"
    assert language("Translate 你好 into English please") == "en"
    assert language("") == "en"


def test_identity_ignores_case_width_spaces_and_marks():
    assert identity("How do I  bake bread?") == identity("how do i bake bread")
    assert identity("ＡＢＣ 你好！") == identity("abc你好")
    assert identity("bake bread") != identity("bake beans")
    assert 0 <= identity("x") < 2**63


def test_sides_are_shared_out_as_said():
    texts = [f"question number {i} about something" for i in range(4000)]
    for answered, share in ((True, 0.6), (False, 0.25)):
        got = sum(side(text, answered=answered) == "judge" for text in texts) / len(texts)
        assert abs(got - share) < 0.03
