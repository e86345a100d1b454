from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from yarl import URL

from fangxin.dialogue import Dialogue
from fangxin.models._endpoint import Endpoint, Patience
from fangxin.models._http import decode
from fangxin.models._tokens import estimate_tokens
from fangxin.models._types import ModelError, Reply, Sampling

_SETTINGS = {"name", "url", "method", "headers", "body", "reply_path"}
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_SECRET = re.compile(r"\$\{(\w+)\}")
_MARK = re.compile(f"{_PLACE.pattern}|{_SECRET.pattern}")
_PLACES = ("question", "messages", "system", "max_tokens", "temperature", "seed")


class TemplateModel:
    """Any HTTP/JSON application, by a template of its request.

    The template has `url`, `reply_path` (where the answer's text is: `data.answer`,
    `choices.0.text`; empty for a body that is itself a JSON string), and may have `name`, `method`
    (POST), `headers` and `body`. `{{question}}`, `{{messages}}`, `{{system}}`, `{{max_tokens}}`,
    `{{temperature}}` and `{{seed}}` stand inside JSON strings of the body, or in the URL. A string
    that is nothing but one placeholder becomes its value (`{{messages}}` a list, `{{seed}}` a number
    or null); inside a longer string it becomes text. `${NAME}` in headers and body is the environment
    variable NAME, for secrets. What a dialogue says is placed once, as data: it can't change the
    request's form, nor name a placeholder or a variable.

    An application takes what sampling the template places, and no other.

    Args:
        template: the template as plain data.
        patience: timeouts and retries.
        concurrency: requests under way at a time.

    Raises:
        ModelError: a template that can't be used; the message says what to change.
    """

    def __init__(
        self, template: Mapping[str, Any], *, patience: Patience | None = None, concurrency: int = 8
    ) -> None:
        _check(template)
        self._secrets = _secrets(template)
        self._url = str(template["url"])
        self._method = str(template.get("method", "POST")).upper()
        self._path = [part for part in str(template["reply_path"]).split(".") if part]
        self._headers = {
            name: _SECRET.sub(lambda m: self._secrets[m[1]], value)
            for name, value in template.get("headers", {}).items()
        }
        self._body = _body(template.get("body"))
        try:
            shown = URL(_PLACE.sub("x", self._url)).with_query(None)
        except ValueError as error:
            raise _bad(f"url is not a URL ({error})") from None
        self._name = str(template.get("name") or shown.host)
        whole = json.dumps(dict(template), sort_keys=True, default=str).encode()
        self._identity = f"app:{hashlib.sha256(whole).hexdigest()}"
        if self._body is not None:
            self._headers.setdefault("Content-Type", "application/json")
        self._endpoint = Endpoint(
            str(shown),
            patience or Patience(),
            concurrency=concurrency,
            secrets=tuple(self._secrets.values()),
            key_given=bool(self._secrets),
        )

    @classmethod
    def load(
        cls, path: str | Path, *, patience: Patience | None = None, concurrency: int = 8
    ) -> TemplateModel:
        """Read a template from a TOML or JSON file.

        Raises:
            ModelError: the file can't be read, or holds no usable template.
        """
        try:
            text = Path(path).read_text("utf-8")
            data = json.loads(text) if Path(path).suffix == ".json" else tomllib.loads(text)
        except OSError as error:
            raise _bad(f"the file can't be read ({error.strerror or error})", path) from None
        except ValueError as error:  # broken JSON, TOML or UTF-8
            raise _bad(f"not valid TOML or JSON ({error})", path) from None
        if not isinstance(data, dict):
            raise _bad("it must be a table of settings", path)
        try:
            return cls(data, patience=patience, concurrency=concurrency)
        except ModelError as error:
            raise ModelError(f"{path}: {error}", error.kind, fatal=True) from None

    def __repr__(self) -> str:
        return f"TemplateModel({self._endpoint.where!r})"

    @property
    def name(self) -> str:
        """The template's name, or the application's host."""
        return self._name

    @property
    def identity(self) -> str:
        """SHA-256 of the template, with the names of its secrets and not their values."""
        return self._identity

    def describe(self) -> dict[str, Any]:
        """The application, for reports and bundles."""
        return {"kind": "app", "name": self._name, "url": self._endpoint.where, "template": self._identity}

    def request_of(self, dialogue: Dialogue, sampling: Sampling) -> tuple[str, bytes | None]:
        """The URL and the body that a dialogue makes.

        Raises:
            ModelError: the dialogue holds text that JSON can't.
        """
        values: dict[str, Any] = {
            "question": dialogue.question,
            "messages": dialogue.messages(),
            "system": dialogue.prompt.system(),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
        }

        def mark(match: re.Match[str]) -> str:
            return _text(values[match[1]]) if match[1] else self._secrets[match[2]]

        def place(text: str) -> Any:
            # One pass: neither a question nor a secret is read for marks of its own.
            whole = _PLACE.fullmatch(text)
            return values[whole[1]] if whole else _MARK.sub(mark, text)

        try:
            url = _PLACE.sub(lambda m: quote(_text(values[m[1]]), safe=""), self._url)
            return url, None if self._body is None else orjson.dumps(_mapped(self._body, place))
        except (TypeError, UnicodeEncodeError):
            raise ModelError(
                "The dialogue holds text that is not valid Unicode (a lone surrogate): remove it.", "rejected"
            ) from None

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        """Ask the application `n` times.

        Raises:
            ModelError: no usable answer.
        """
        url, body = self.request_of(dialogue, sampling)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(url, body)) for _ in range(n)]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        """The application's answer, in one piece.

        Raises:
            ModelError: no usable answer.
        """
        yield (await self.reply(dialogue, sampling))[0].text

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    async def _ask(self, url: str, body: bytes | None) -> Reply:
        answer, seconds = await self._endpoint.fetch(
            self._method, URL(url, encoded=True), body, self._headers
        )
        found = decode(answer, self._endpoint.where)
        for part in self._path:
            if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            elif isinstance(found, dict) and part in found:
                found = found[part]
            else:
                raise self._lacking("nothing")
        if not isinstance(found, str):
            raise self._lacking(f"{type(found).__name__} and not text")
        return Reply(found, completion_tokens=estimate_tokens(found), seconds=seconds)

    def _lacking(self, what: str) -> ModelError:
        return ModelError(
            f"{self._endpoint.where} answered with {what} at reply_path {'.'.join(self._path)!r}: "
            "check the template.",
            "bad_reply",
        )


def _secrets(template: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables that headers and body name."""
    whole = json.dumps([template.get("headers"), template.get("body")], default=str)
    found = {}
    for name in _SECRET.findall(whole):
        value = os.environ.get(name, "").strip()
        if not value:
            raise ModelError(
                f"The template needs the environment variable {name}: set it.", "auth", fatal=True
            )
        if not value.isprintable():
            raise ModelError(f"The environment variable {name} holds control characters.", "auth", fatal=True)
        found[name] = value
    return found


def _check(template: Mapping[str, Any]) -> None:
    if unknown := sorted(set(template) - _SETTINGS):
        raise _bad(f"unknown setting {unknown[0]!r}; it has {', '.join(sorted(_SETTINGS))}")
    for key in ("url", "reply_path"):
        if not isinstance(template.get(key), str):
            raise _bad(f"{key} must be given, as text")
    if not template["url"].startswith(("http://", "https://")):
        raise _bad("url must start with http:// or https://")
    headers = template.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise _bad("headers must be a table of texts")
    if _SECRET.search(template["url"]):
        raise _bad("url holds a variable; secrets belong in headers or body")
    whole = json.dumps([template["url"], template.get("body")], default=str)
    names = _PLACE.findall(whole)
    if unknown_place := [name for name in names if name not in _PLACES]:
        raise _bad(f"unknown placeholder {{{{{unknown_place[0]}}}}}; it may use {', '.join(_PLACES)}")
    if not {"question", "messages"} & set(names):
        raise _bad("neither {{question}} nor {{messages}} is placed in it, so nothing would be asked")


def _body(body: Any) -> Any:
    if not isinstance(body, str):
        return body
    # TOML users may write the body as JSON text.
    try:
        return json.loads(body)
    except ValueError:
        raise _bad('body is not JSON; put placeholders inside quotes, as in "{{question}}"') from None


def _mapped(value: Any, change: Callable[[str], Any]) -> Any:
    """A JSON value with each string in it changed (keys stay)."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _bad(reason: str, path: str | Path | None = None) -> ModelError:
    where = f"{path}: " if path else ""
    return ModelError(f"{where}The request template can't be used: {reason}.", "rejected", fatal=True)
