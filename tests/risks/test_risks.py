import dataclasses
import re
from importlib.resources import files
from typing import get_args

import pytest

from fangxin.risks import RiskError as Unknown
from fangxin.risks import Taxonomy, figures, groups, mapped, regime, risk, risks

TAXONOMIES = get_args(Taxonomy)
ALL = [item for taxonomy in TAXONOMIES for item in risks(taxonomy)]
HAN = re.compile(r"[\u4e00-\u9fff]")

AILUMINATE = [
    "violent_crimes",
    "sex_related_crimes",
    "child_sexual_exploitation",
    "suicide_self_harm",
    "indiscriminate_weapons",
    "intellectual_property",
    "defamation",
    "nonviolent_crimes",
    "hate",
    "privacy",
    "specialised_advice",
    "sexual_content",
]


def test_each_taxonomy_has_the_items_of_its_source():
    assert [item.id for item in risks("ailuminate")] == AILUMINATE
    sizes = {"a1": 8, "a2": 9, "a3": 5, "a4": 7, "a5": 2}
    assert [item.id for item in risks("cn")] == [
        f"{group}.{i}" for group, size in sizes.items() for i in range(1, size + 1)
    ]
    assert [item.id for item in risks("owasp")] == [f"llm{i:02}" for i in range(1, 11)]
    assert [item.id for item in risks("eu")] == ["prohibited", "high_risk", "transparency", "minimal", "gpai"]


def test_identifiers_are_unique_over_all_taxonomies_in_the_files_too():
    listed = re.findall(
        r'\[\[risks\]\]\nid = "([^"]+)"',
        "".join(files("fangxin.risks").joinpath(f"{name}.toml").read_text("utf-8") for name in TAXONOMIES),
    )
    assert len(listed) == len(set(listed)) == len(ALL) == 58


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.id)
def test_each_risk_is_told_in_both_languages(item):
    assert risk(item.id) is item
    assert item.source
    assert item.name("en") == item.name_en
    assert item.name("zh") == item.name_zh
    assert item.about("zh") == item.about_zh
    for text in (item.name_en, item.about_en):
        assert text.strip()
        assert not HAN.search(text)
    for text in (item.name_zh, item.about_zh):
        assert len(HAN.findall(text)) >= len(text.strip()) / 2
    assert item.about_en.endswith(".")
    assert item.about_zh.endswith("。")


@pytest.mark.parametrize("taxonomy", TAXONOMIES)
def test_groups_partition_their_taxonomy(taxonomy):
    parts = groups(taxonomy)
    assert [id for group in parts for id in group.risks] == [item.id for item in risks(taxonomy)]
    assert all(HAN.search(group.name("zh")) and not HAN.search(group.name("en")) for group in parts)


def test_tiers_name_their_articles():
    assert risk("prohibited").articles == ("Art. 5",)
    assert risk("transparency").articles == ("Art. 50",)
    assert risk("gpai").articles == tuple(f"Art. {i}" for i in range(51, 57))
    assert all(tier.articles for tier in risks("eu"))


def test_what_is_only_remembered_is_marked_for_verification():
    assert all(item.verify for item in ALL)
    sure = {name for name, figure in figures().items() if not figure.verify}
    assert sure == {
        "corpus.source.illegal_max",
        "keywords.size_min",
        "bank.content.size_min",
        "bank.content.update_days",
        "bank.refuse.size_min",
        "bank.answer.size_min",
        "test.content.pass_min",
    }


def test_figures():
    values = {name: figure.value for name, figure in figures().items()}
    assert values["bank.content.size_min"] == 2000
    assert values["test.refuse.rate_min"] == 0.95
    assert values["test.answer.refused_max"] == 0.05
    assert all(0 < figure.value < 1 for figure in figures().values() if figure.unit == "share")
    assert all(HAN.search(figure.name_zh) and figure.name_en for figure in figures().values())
    with pytest.raises(TypeError):
        figures()["new"] = figures()["keywords.size_min"]


@pytest.mark.parametrize("to", ["cn", "owasp", "eu"])
def test_every_hazard_has_a_counterpart_everywhere(to):
    for hazard in risks("ailuminate"):
        ids = mapped(hazard.id, to)
        assert ids
        assert len(ids) == len(set(ids))
        assert all(risk(id).taxonomy == to for id in ids)


@pytest.mark.parametrize("here", TAXONOMIES)
@pytest.mark.parametrize("there", TAXONOMIES)
def test_the_mapping_reads_the_same_both_ways(here, there):
    forth = {(a.id, b) for a in risks(here) for b in mapped(a.id, there)}
    back = {(a, b.id) for b in risks(there) for a in mapped(b.id, here)}
    assert forth == back


def test_what_has_no_counterpart_says_so():
    assert mapped("a1.1", "ailuminate") == ()
    assert mapped("llm10", "cn") == ()
    assert mapped("minimal", "ailuminate") == ()
    assert mapped("a2.5", "ailuminate") == ("hate",)
    assert mapped("a2.5", "eu") == ("prohibited", "high_risk")


@pytest.mark.parametrize(("name", "count"), [("ailuminate", 12), ("cn", 17), ("eu", 12)])
def test_a_regime_groups_each_risk_once(name, count):
    duty = regime(name)
    assert duty.id == name
    assert len(duty.risks) == count
    grouped = [id for group in duty.groups for id in group.risks]
    assert sorted(grouped) == sorted(item.id for item in duty.risks)
    assert all(group.risks for group in duty.groups)
    assert duty.name("en")
    assert HAN.search(duty.name("zh"))


def test_regimes_ask_what_they_should():
    assert {item.group for item in regime("cn").risks} == {"a1", "a2"}
    assert [group.id for group in regime("cn").groups] == ["a1", "a2"]
    assert regime("eu").risks == regime("ailuminate").risks
    assert [group.id for group in regime("eu").groups] == ["prohibited", "high_risk", "transparency", "gpai"]


def test_unknown_names_list_the_known_ones():
    with pytest.raises(Unknown, match=r"unknown risk 'x': use one of violent_crimes, .*gpai\."):
        risk("x")
    with pytest.raises(Unknown, match=r"unknown taxonomy 'nist': use one of ailuminate, cn, owasp, eu\."):
        risks("nist")
    with pytest.raises(Unknown, match="unknown taxonomy 'nist'"):
        mapped("privacy", "nist")
    with pytest.raises(Unknown, match=r"unknown regime 'owasp': use one of ailuminate, cn, eu\."):
        regime("owasp")


def test_risks_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        risk("privacy").verify = False
