from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson
from yarl import URL

from fangxin.dialogue import Dialogue
from fangxin.models._endpoint import Endpoint, Patience
from fangxin.models._tokens import estimate_tokens
from fangxin.models._types import ModelError, Reply, Sampling, TokenLogprob


class OpenAIModel:
    """A model behind an OpenAI-compatible `/chat/completions`.

    It belongs to the event loop in which it is first used; close it when done. An empty reply that
    the server means (a choice whose text is empty) is a valid, empty `Reply`; a body without choices
    is an error.

    Args:
        base_url: such as `http://127.0.0.1:8000/v1`; a bare host gets `/v1`, and a full
            `…/chat/completions` is taken too.
        model_name: the name that the server knows the model by.
        key: the API key; sent as a bearer token, shown nowhere.
        timeout: seconds for one attempt; for a stream, between two pieces.
        retries: attempts after the first.
        concurrency: requests under way at a time.
        patience: replaces `timeout` and `retries` where waits must be set too.
        extra: further fields of the request body, such as `{"lora": [...]}`; part of the identity.
        one_by_one: ask for several replies in several requests (each with its own seed) and not by
            `n`; set by itself when a server rejects `n`.
        identity: what the completion cache knows the model by; the URL and the name when None.
        trust_env: use the proxies of the environment.

    Raises:
        ModelError: the URL or the key can't be used.
    """

    def __init__(
        self,
        base_url: str,
        model_name: str,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 4,
        concurrency: int = 16,
        patience: Patience | None = None,
        extra: Mapping[str, Any] | None = None,
        one_by_one: bool = False,
        identity: str | None = None,
        trust_env: bool = False,
    ) -> None:
        base = endpoint_url(base_url)
        if key is not None and not (key and key.isascii() and key.isprintable()):
            raise ModelError(
                "The API key holds characters that no key has: check the variable or the file that it "
                "comes from.",
                "auth",
                fatal=True,
            )
        self._name = model_name
        self._extra = dict(extra or {})
        self._one_by_one = one_by_one
        self._limit_field = "max_tokens"
        self._url = base.with_path(f"{base.path}/chat/completions", keep_query=True)
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        shown = str(base.with_query(None))
        self._endpoint = Endpoint(
            shown,
            patience or Patience(timeout=timeout, retries=retries),
            concurrency=concurrency,
            secrets=(key,) if key else (),
            key_given=key is not None,
            trust_env=trust_env,
        )
        parts = [f"openai:{identity or shown}", model_name]
        if self._extra:
            parts.append(orjson.dumps(self._extra, option=orjson.OPT_SORT_KEYS).decode())
        self._identity = " ".join(parts)

    def __repr__(self) -> str:
        return f"OpenAIModel({self._endpoint.where!r}, {self._name!r})"

    @property
    def name(self) -> str:
        """The model's name at the server."""
        return self._name

    @property
    def identity(self) -> str:
        """All that tells this model from another, without secrets: the cache's key starts with it."""
        return self._identity

    def describe(self) -> dict[str, Any]:
        """The model, for reports and bundles."""
        return {"kind": "openai", "name": self._name, "url": self._endpoint.where, "extra": self._extra}

    async def reply(self, dialogue: Dialogue, sampling: Sampling, n: int = 1) -> list[Reply]:
        """Continue a dialogue `n` times.

        Where a seed is set, the i-th reply of one-by-one requests is drawn with `seed + i`.

        Raises:
            ModelError: no usable reply.
        """
        if n < 1:
            raise ValueError("n must be at least 1")
        messages = dialogue.messages()
        if self._one_by_one and n > 1:
            return await self._singly(messages, sampling, 0, n)
        replies: list[Reply] = []
        while len(replies) < n:
            wanted = n - len(replies)
            try:
                replies += await self._ask(messages, _shifted(sampling, len(replies)), wanted)
            except ModelError as error:
                if error.kind != "rejected" or error.fatal or wanted == 1:
                    raise
                # Some servers reject n outright; if it was something else, the single request says so.
                replies += await self._singly(messages, sampling, len(replies), n)
                self._one_by_one = True
        return replies[:n]

    async def stream(self, dialogue: Dialogue, sampling: Sampling) -> AsyncIterator[str]:
        """Continue a dialogue once, piece by piece.

        Raises:
            ModelError: no usable reply, or a stream that broke off.
        """
        body = self._body(dialogue.messages(), sampling, 1) | {"stream": True}
        finished = False
        async with aclosing(self._endpoint.events(self._url, _encoded(body), self._headers)) as events:
            async for data in events:
                if data.strip() == b"[DONE]":
                    finished = True
                    break
                piece, ended = self._piece(data)
                finished = finished or ended
                if piece:
                    yield piece
        if not finished:
            raise ModelError(f"{self._endpoint.where} broke the stream off before its end.", "bad_reply")

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    async def _singly(
        self, messages: list[dict[str, str]], sampling: Sampling, first: int, n: int
    ) -> list[Reply]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._ask(messages, _shifted(sampling, i), 1)) for i in range(first, n)
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result()[0] for task in tasks]

    async def _ask(self, messages: list[dict[str, str]], sampling: Sampling, n: int) -> list[Reply]:
        content = _encoded(self._body(messages, sampling, n))
        try:
            body, seconds = await self._endpoint.fetch("POST", self._url, content, self._headers)
        except ModelError as error:
            if self._limit_field == "max_tokens" and "max_completion_tokens" in str(error):
                self._limit_field = "max_completion_tokens"
                return await self._ask(messages, sampling, n)
            raise
        return parse_completion(body, seconds, self._endpoint.where)

    def _body(self, messages: list[dict[str, str]], sampling: Sampling, n: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._name,
            "messages": messages,
            self._limit_field: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.logprobs:
            body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
        if sampling.grammar:
            body["grammar"] = sampling.grammar
        if n > 1:
            body["n"] = n
        return body | self._extra

    def _piece(self, data: bytes) -> tuple[str, bool]:
        where = self._endpoint.where
        event = decode(data, where)
        if not isinstance(event, dict) or event.get("error"):
            said = event.get("error") if isinstance(event, dict) else None
            said = said.get("message", "") if isinstance(said, dict) else said or ""
            raise ModelError(
                f"{where} broke the stream off with an error: {self._endpoint.shown(str(said))}", "bad_reply"
            )
        choices = event.get("choices")
        if not isinstance(choices, list):
            raise ModelError(f"{where} sent a stream event without choices.", "bad_reply")
        if not choices:
            return "", False
        choice = choices[0] if isinstance(choices[0], dict) else {}
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        return (text if isinstance(text, str) else ""), bool(choice.get("finish_reason"))


def endpoint_url(base_url: str) -> URL:
    """The address that `/chat/completions` is under.

    Raises:
        ModelError: not an HTTP address, or one with a key in it.
    """
    try:
        url = URL(base_url.strip())
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ModelError("The model's URL must be like http://127.0.0.1:8000/v1.", "rejected", fatal=True)
    if url.user or url.password:
        raise ModelError(
            "The model's URL holds a name or password: put the key in an environment variable or a file.",
            "rejected",
            fatal=True,
        )
    path = url.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return url.with_path(path or "/v1", keep_query=True)


def parse_completion(body: bytes, seconds: float, where: str) -> list[Reply]:
    """Replies of a chat completion's JSON.

    Args:
        body: the answer as it came.
        seconds: that it took.
        where: the server, for messages.

    Raises:
        ModelError: not JSON, or without choices that hold a message.
    """
    data = decode(body, where)
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices:
        raise ModelError(f"{where} answered without any choices: is it a chat completion API?", "bad_reply")
    choices.sort(key=lambda c: c.get("index", 0) if isinstance(c, dict) else 0)
    replies = [_choice(choice, seconds, where) for choice in choices]
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    counts = _shares(_count(usage.get("completion_tokens")), replies)
    prompt = _count(usage.get("prompt_tokens"))
    return [
        replace(reply, prompt_tokens=0 if i else prompt, completion_tokens=counts[i])
        for i, reply in enumerate(replies)
    ]


def decode(body: bytes, where: str) -> Any:
    """JSON of an answer; lone surrogates, which no store takes, become replacement characters.

    Raises:
        ModelError: not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        data = json.loads(body.decode("utf-8", "replace"))
        text = json.dumps(data, ensure_ascii=False).encode("utf-16", "surrogatepass")
        return json.loads(text.decode("utf-16", "replace"))
    except (ValueError, RecursionError):
        raise ModelError(f"{where} answered with broken JSON.", "bad_reply") from None


def _choice(choice: Any, seconds: float, where: str) -> Reply:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise ModelError(f"{where} answered with a choice that holds no message.", "bad_reply")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(
            p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str)
        )
    if content is None:
        content = message.get("refusal") or ""
    if not isinstance(content, str):
        raise ModelError(f"{where} answered with a message that is not text.", "bad_reply")
    return Reply(
        text=content,
        finish=str(choice.get("finish_reason") or "stop"),
        seconds=seconds,
        logprobs=_logprobs(choice.get("logprobs")),
    )


def _logprobs(data: Any) -> tuple[TokenLogprob, ...]:
    rows = data.get("content") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return ()
    tokens = []
    for row in rows:
        if isinstance(row, dict):
            top = row.get("top_logprobs")
            tops = [t for t in top if isinstance(t, dict)] if isinstance(top, list) else []
            tokens.append(
                TokenLogprob(
                    _token(row),
                    _logprob(row.get("logprob")),
                    tuple((_token(other), _logprob(other.get("logprob"))) for other in tops),
                )
            )
    return tuple(tokens)


def _token(row: Mapping[str, Any]) -> str:
    """A token's text; where its bytes are no text by themselves, they are what it is."""
    listed = row.get("bytes")
    if isinstance(listed, list):
        try:
            escaped = bytes(listed).decode("utf-8", "surrogateescape")
        except (TypeError, ValueError):  # not bytes
            escaped = ""
        if any("\udc80" <= character <= "\udcff" for character in escaped):
            return escaped
    return str(row.get("token", ""))


def _logprob(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else -math.inf


def _count(value: Any) -> int:
    return max(0, value) if isinstance(value, int) else 0


def _shares(total: int, replies: Sequence[Reply]) -> list[int]:
    """Split the tokens that a server counted over all its choices; estimate them where it counts none."""
    if total and len(replies) == 1:
        return [total]
    if all(reply.logprobs for reply in replies):
        return [len(reply.logprobs) for reply in replies]
    sizes = [estimate_tokens(reply.text) for reply in replies]
    # Some servers (llama.cpp) count the first choice only: a share far under the estimate is no count.
    if total < 0.5 * sum(sizes):
        return sizes
    ends = [round(total * sum(sizes[: i + 1]) / sum(sizes)) if sum(sizes) else 0 for i in range(len(sizes))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _shifted(sampling: Sampling, by: int) -> Sampling:
    return replace(sampling, seed=sampling.seed + by) if sampling.seed is not None and by else sampling


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except (orjson.JSONEncodeError, TypeError):
        raise ModelError(
            "The dialogue holds text that is not valid Unicode (a lone surrogate): remove it.", "rejected"
        ) from None
