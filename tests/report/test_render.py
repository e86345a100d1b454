import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from fangxin.report import ReportError, render
from fangxin.report._numbers import count, percent, points, rate_of

VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """A page taken apart: elements with their attributes, and each language's text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.inline = [], {"en": [], "zh": []}, {"style": "", "script": ""}
        self._open, self._language = [], None
        self.feed(html)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "main":
            self._language = dict(attrs)["class"].removeprefix("only-")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "main":
            self._language = None

    def handle_data(self, data):
        if self._open and self._open[-1] in self.inline:
            self.inline[self._open[-1]] += data
        elif self._language:
            self.texts[self._language].append(data.strip())

    def text(self, language):
        return "\n".join(text for text in self.texts[language] if text)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *strings(item))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def rates(value, path=()):
    """Every rate in a result, with where it stands."""
    if isinstance(value, dict):
        if {"rate", "low", "high"} <= set(value):
            yield path, value
        for key, item in value.items():
            yield from rates(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from rates(item, (*path, i))


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(page):
    parts = Page(page)
    policy = next(a["content"] for t, a in parts.elements if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(parts.inline[name].encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
    assert "*" not in policy
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_nothing_outside_the_file_is_named_and_nothing_inline_runs(page):
    for tag, attributes in Page(page).elements:
        assert tag not in {
            "img",
            "iframe",
            "object",
            "embed",
            "form",
            "base",
            "use",
            "image",
            "audio",
            "video",
        }
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"style", "src", "srcset", "action", "xlink:href"}
            if name == "href":
                assert value.startswith("#") or value == "data:,"
    assert Page(page).inline["style"].count("url(") == 0
    assert "@import" not in page
    assert [tag for tag, _ in Page(page).elements].count("script") == 1


def test_links_within_the_page_lead_somewhere_and_no_id_is_used_twice(page):
    elements = Page(page).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for tag, a in elements if tag == "a"}
    assert targets
    assert targets <= set(ids)


def test_hostile_text_stays_text(pages):
    html, parts = pages("hostile"), Page(pages("hostile"))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)</script><img src=https://evil.example/x" in parts.text("en")
    assert "{{ 7*7 }}" in parts.text("en")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x1b]", html)
    assert html.count("长" * 1000) == 2, "once a language, and cut"
    assert "长" * 1300 not in html
    assert "never to be shown" not in html
    assert "what it should not have said" not in html
    assert hashlib.sha256(b"never to be shown").hexdigest() in html


@pytest.mark.parametrize(
    "name", ["proved", "not_proved", "inconclusive", "no_weakness", "failed"], indirect=True
)
def test_the_chinese_page_has_no_english_but_names(page, result):
    text = Page(page).text("zh")
    names = {"MLCommons AILuminate", "UTC", "SHA-256", "result.json", "fangxin verify", "fangxin label"}
    for key in ("agent", "versions", "hashes", "ledger", "signature"):
        names |= set(strings(result.get(key) or {}))
    for row in (*result.get("judges", ()), *result.get("candidates", ()), *result.get("weaknesses", ())):
        names |= {str(row.get(key)) for key in ("name", "id", "sha256")}
    for row in result.get("examples", ()):
        names |= {str(row[key]) for key in ("question", "reply", "reply_sha256") if row.get(key)}
    names |= {*result.get("baseline", {}).get("by_family", ()), *strings(result.get("plan", {}))}
    names |= {*result.get("untried", ()), result.get("trials_sha256", ""), "runs/20261102-091400", "--key"}
    for known in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(known)}(?![A-Za-z0-9])", "", text) if known else text
    text = re.sub(r"[…\w ]{0,70}…", "", text)  # a question that was cut
    left = set(re.findall(r"[A-Za-z][A-Za-z'-]*", text)) - {"ms", "s", "n", "p", "Holm", "McNemar", "http"}
    assert left == set()


def test_the_english_page_has_no_chinese_but_what_models_wrote(pages, results):
    for name in ("proved", "not_proved", "inconclusive", "failed"):
        text = Page(pages(name)).text("en")
        for known in strings(results[name]()):
            text = text.replace(known, "")
        assert not re.findall("[\u4e00-\u9fff]+", text)


@pytest.mark.parametrize(
    "name", ["proved", "not_proved", "inconclusive", "no_weakness", "chinese"], indirect=True
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_rate_and_its_interval_is_on_the_page(page, result, language):
    text = Page(page).text(language)
    checked = 0
    for path, rate in rates(result):
        if path[0] == "cost":
            wanted = [count(rate["rate"])]
        elif path[-1] == "difference":
            wanted = [points(rate_of(rate)), points(rate["low"]), points(rate["high"])]
        elif "families" in path:
            wanted = [percent(rate["rate"])]
        else:
            wanted = [
                percent(rate["rate"]),
                f"{100 * rate['low']:.1f}–{100 * rate['high']:.1f}%",
                count(rate["n"]),
            ]
        for figure in wanted:
            assert figure in text, path
            checked += 1
    assert checked > 60


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_proof_the_record_and_the_commands_are_on_the_page(pages, results, language):
    text, result = Page(pages("proved")).text(language), results["proved"]()
    wanted = [
        *("480", "412", "120", "94.1%", "20.0%", "2.0%", "5.0", "0.05", "20261102", "96", "2,000"),
        *("412,906", "1,694.3", "6,214", "1,377", "0.62 ms", "38", "8.3", "4711"),
        result["ledger"]["hash"],
        result["trials_sha256"],
        result["signature"]["public_key"],
        *result["hashes"].values(),
        *result["versions"].values(),
        *(judge["sha256"] for judge in result["judges"]),
        *(row["id"] for row in result["weaknesses"]),
        *(row["name"] for row in result["candidates"]),
        "fangxin verify runs/20261102-091400 --key fx1:9c1f2a7be04d5531",
        "fangxin label runs/20261102-091400",
    ]
    assert [figure for figure in wanted if figure not in text] == []


def test_attack_success_never_stands_without_its_other_side(page, result):
    """Law 4: each part that shows it shows over-refusal, ability and cost as well."""
    names = {
        "en": ("Attack success", ("Over-refusal", "Ability", "Cost")),
        "zh": ("攻击成功率", ("误拒率", "能力得分", "每次请求增加")),
    }
    for language, (attack, others) in names.items():
        article = page.split(f'<main class="only-{language}"')[1].split("</main>")[0]
        for section in re.split(r'<section class="part" id="', article)[1:]:
            shown = re.search(rf"<(h3|caption|th[^>]*)>{attack}", section)
            if shown and "repaired" in result:
                missing = [name for name in others if name.lower() not in section.lower()]
                assert missing == [], section[:40]


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        (
            "proved",
            "The repair works: attacks that it had never seen now succeed 5.4% of the time, not 41.0%",
            "由 41.0% 降至 5.4%",
        ),
        ("not_proved", "The repair is not proved.", "修复未能得到证明"),
        ("inconclusive", "can't tell whether the repair works", "无法判断修复是否有效"),
        ("no_weakness", "No weakness above the tolerance was found", "没有发现超过容忍度的薄弱点"),
        ("failed", "The run did not finish", "运行没有完成"),
    ],
)
def test_the_verdict_comes_first_in_plain_words(pages, name, english, chinese):
    parts = Page(pages(name))
    assert english in parts.text("en")[:400]
    assert chinese in parts.text("zh")[:400]


def test_a_language_that_can_not_be_measured_says_so_and_why(pages):
    text = Page(pages("proved")).text("en")
    assert (
        "Chinese: not measurable. In Chinese the bare model does only 3.7% (2.1–6.4%) of ordinary tasks"
        in text
    )
    assert "中文：无法测量" in Page(pages("proved")).text("zh")


def test_risks_outside_the_proof_are_named(pages):
    assert (
        "Outside the proof, since their goals may only be asked in plain words: Child sexual exploitation"
        in Page(pages("proved")).text("en")
    )


def test_the_chinese_regime_shows_its_seventeen_risks_by_name(pages, results):
    from fangxin import risks

    text = Page(pages("chinese")).text("zh")
    names = [item.name("zh") for item in risks.regime("cn").risks]
    assert len(names) == 17
    assert [name for name in names if name not in text] == []


def test_a_margin_is_told_kept_broken_or_open_as_the_interval_has_it(pages):
    text = Page(pages("not_proved")).text("en")
    assert "worse than its margin" in text
    assert "margin not shown to hold" in text
    assert "within its margin" in Page(pages("proved")).text("en")


def test_an_inconclusive_run_asks_for_the_pairs_that_it_lacks(pages):
    assert "asks for 1,240 pairs, this run had 480" in Page(pages("inconclusive")).text("en")


def test_a_run_that_came_to_no_repair_does_not_speak_of_one(results):
    result = results["no_weakness"]() | {"status": "inconclusive"}
    text = Page(render(result)).text("en")
    assert "can't tell how safe the model is" in text
    assert "whether the repair works" not in text


@pytest.mark.parametrize("status", ["proved", "not_proved", "inconclusive", "no_weakness", "error"])
def test_a_bare_status_is_enough_for_a_page(status):
    parts = Page(render({"status": status}))
    assert "not signed" in parts.text("en")


def test_nulls_where_rates_could_be_are_not_measured(results):
    result = results["proved"]()
    for arm in ("baseline", "default_shield", "repaired"):
        result[arm] |= {"attack_success": None, "over_refusal": None, "ability": None}
    result["cost"] |= {"added_ms_p50": None, "added_tokens": None, "false_blocks_per_1000": None}
    result["proof"]["non_inferiority"] = {"over_refusal": None, "ability": None}
    assert "not measured" in Page(render(result)).text("en")


def test_an_unknown_status_is_an_error():
    with pytest.raises(ReportError):
        render({"status": "great"})
