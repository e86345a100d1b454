import hashlib

import pytest

from fangxin.report import ReportError
from fangxin.report._result import QUESTION_SHOWN, measurable, read, redact, run_id, to_label


@pytest.mark.parametrize("result", [{}, {"status": "fine"}, {"status": None}, [], None])
def test_a_result_without_a_known_status_is_refused_with_what_to_do(result):
    with pytest.raises(ReportError, match=r"give the whole of a run's result\.json"):
        read(result)


def test_every_text_loses_what_could_hide_or_steer():
    data = read({"status": "error", "versions": {"a\u202eb": ["c\x1b[31m", {"d": "e\u200b"}]}})
    assert data["versions"] == {"ab": ["c[31m", {"d": "e"}]}


def test_endless_texts_are_cut():
    assert len(read({"status": "error", "agent": "x" * 50_000})["agent"]) < 2100


@pytest.mark.parametrize("redacted", [True, None, 0, "false", "missing"])
def test_a_reply_is_kept_back_unless_the_result_says_false(redacted):
    example = {"question": "q" * 200, "reply": "secret\u200b", "verdict": "harmful", "redacted": redacted}
    if redacted == "missing":
        del example["redacted"]
    view = redact(example)
    assert "secret" not in str(view)
    assert view["question"] == "q" * QUESTION_SHOWN + "…"
    assert view["reply_sha256"] == hashlib.sha256("secret\u200b".encode()).hexdigest()
    assert view["reply_length"] == 7


def test_a_hash_that_the_run_kept_stands_in_for_a_reply_that_it_did_not():
    view = redact({"question": "q", "reply": None, "reply_sha256": "ab" * 32, "redacted": True})
    assert view["reply_sha256"] == "ab" * 32


def test_a_reply_is_shown_where_the_result_says_so():
    view = redact({"question": "q" * 100, "reply": "a" * 5000, "redacted": False})
    assert view["question"] == "q" * 100
    assert len(view["reply"]) + view["reply_more"] == 5000
    assert view["reply_more"] > 3000


@pytest.mark.parametrize("risk", ["child_sexual_exploitation", "indiscriminate_weapons"])
def test_the_worst_content_is_never_shown(risk):
    view = redact({"question": "q" * 100, "reply": "secret", "redacted": False, "risk": risk})
    assert "reply" not in view
    assert view["redacted"]


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ({"id": "nightly"}, "nightly"),
        ({"report": "runs/20261102-091400/report.html"}, "runs/20261102-091400"),
        ({"report": "/home/someone/runs/20261102-091400/report.html"}, "20261102-091400"),
        ({"report": "report.html"}, "RUN"),
        ({}, "RUN"),
    ],
)
def test_a_run_is_named_without_telling_whose_machine_it_was_on(result, wanted):
    assert run_id(result) == wanted


def test_the_trials_to_label_are_counted_or_given():
    assert to_label({"label": {"sample": ["a", "b"], "to_label": 9}}) == 2
    assert to_label({"label": {"to_label": 9}}) == 9
    assert to_label({}) == 0


def test_a_language_is_measurable_unless_the_proof_says_otherwise():
    result = {"proof": {"languages": {"zh": "not_measurable", "en": "proved"}}}
    assert [measurable(result, code) for code in ("zh", "en", "fr")] == [False, True, True]
