from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fangxin.report import _evidence, _measured, _repairs
from fangxin.report._result import LANGUAGES, read, run_id
from fangxin.report._verdict import verdict
from fangxin.report._words import Section, Words

_HTML_LANGUAGE = {"en": "en", "zh": "zh-Hans"}


def render(result: Mapping[str, Any]) -> str:
    """Make one self-contained HTML page of a run's result, in English and Chinese.

    The page fetches nothing and runs nothing but one small script that remembers the language; its
    Content-Security-Policy allows exactly that script and its own style, by hash. Without JavaScript it
    opens in English and the switch still works. Texts of models are stripped by `printable` and escaped,
    and examples are redacted unless the result says otherwise.

    Args:
        result: the JSON of a run's `result.json`, as plain data. Rates and their differences are shares of 1
            (`false_blocks_per_1000` is a count in a thousand); what is missing or null is not measured.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        ReportError: the result has no status that this version knows.
    """
    data = read(result)
    style, script = _asset("style.css"), _asset("switch.js")
    pages = [_page(Words(data, language)) for language in LANGUAGES]
    return (
        _environment()
        .get_template("page.html")
        .render(
            pages=pages,
            run=run_id(data),
            style=Markup(style),
            script=Markup(script),
            policy="; ".join(
                (
                    "default-src 'none'",
                    f"style-src '{_hash(style)}'",
                    f"script-src '{_hash(script)}'",
                    "img-src data:",
                    "base-uri 'none'",
                    "form-action 'none'",
                )
            ),
        )
    )


def _page(words: Words) -> dict[str, Any]:
    """What the template needs for one language."""
    result = words.result
    agent = result.get("agent") or {}
    model = agent.get("model") or {} if isinstance(agent, Mapping) else {}
    about = [
        (words.t("page.model"), str(model.get("name") or "") if isinstance(model, Mapping) else ""),
        (words.t("page.regime"), words.regime(result["regime"]) if result.get("regime") else ""),
        (words.t("page.started"), words.moment(result.get("started"))),
        (words.t("page.took"), words.duration(result.get("seconds")) if result.get("seconds") else ""),
        (words.t("page.run"), run_id(result) if run_id(result) != "RUN" else ""),
    ]
    return {
        "language": words.language,
        "lang": _HTML_LANGUAGE[words.language],
        "t": words.t,
        "about": [(name, value) for name, value in about if value],
        "verdict": verdict(words),
        "sections": _sections(words),
    }


def _sections(words: Words) -> list[Section]:
    made = (
        _measured.arms(words),
        _measured.weak(words),
        _measured.family(words),
        _measured.tongue(words),
        _repairs.weaknesses(words),
        _repairs.repairs(words),
        _repairs.price(words),
        _evidence.examples(words),
        _evidence.proof(words),
        _evidence.judges(words),
        _evidence.record(words),
    )
    return [section for section in made if section]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("fangxin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _asset(name: str) -> str:
    return files("fangxin.report").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    """A Content-Security-Policy source for an inline element with exactly this text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
