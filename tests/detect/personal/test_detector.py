import pytest

from fangxin.detect import DetectorError, Verdict
from fangxin.detect.personal import Finding, PersonalDataDetector, PresidioFinder


async def test_a_text_with_personal_data_is_unsafe():
    verdict = await PersonalDataDetector().check(
        "Mail ada@corp.org or bob@corp.org, call 415-555-2671.", question="?"
    )
    assert (verdict.label, verdict.risk, verdict.by) == ("unsafe", "privacy", "personal-data")
    assert verdict.reason == "Personal data: e-mail address (2), phone number."
    assert verdict.spans == ((5, 17), (21, 33), (40, 52))
    assert verdict.probability == 0.95
    assert "ada" not in repr(verdict)


async def test_any_other_is_safe():
    verdict = await PersonalDataDetector().check("How do I kill a Python process?")
    assert verdict == Verdict("safe", 0.0, by="personal-data", ms=verdict.ms)


async def test_long_texts_are_judged_too():
    assert (await PersonalDataDetector().check("x " * 20_000 + "ada@corp.org")).unsafe


def test_kinds_and_confidence_are_chosen():
    text = "My name is Ada Smith, ada@corp.org"
    assert len(PersonalDataDetector().find(text)) == 2
    assert [one.kind for one in PersonalDataDetector(least=0.7).find(text)] == ["email"]
    assert [one.kind for one in PersonalDataDetector(frozenset({"name"})).find(text)] == ["name"]


class Entities:
    def find(self, text):
        return [Finding("name", 0, 3, 0.85), Finding("name", 4, 9, 0.2), Finding("passport", 10, 12, 0.9)]


def test_another_finder_adds_its_findings():
    detector = PersonalDataDetector(frozenset({"name", "email"}), more=Entities())
    assert detector.find("Ada wrote ada@corp.org") == [
        Finding("name", 0, 3, 0.85),
        Finding("email", 10, 22, 0.95),
    ]


def test_a_finder_that_is_not_there_is_an_error():
    with pytest.raises(DetectorError, match=r"fangxin\[presidio\]"):
        PresidioFinder.load("no_such_model_of_spacy")


def test_presidio_adds_names():
    pytest.importorskip("presidio_analyzer", reason="the extra `presidio` is not installed")
    pytest.importorskip("en_core_web_sm", reason="no spaCy model is installed")
    detector = PersonalDataDetector(more=PresidioFinder.load("en_core_web_sm"))
    text = "Yesterday Barack Obama called 415-555-2671."
    assert {one.kind for one in detector.find(text)} >= {"name", "phone"}
