from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from fangxin.dialogue import Dialogue, Turn
from fangxin.gateway._errors import ApiError
from fangxin.models import Sampling

_MOST_MESSAGES = 1024
_MOST_STOPS = 16


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a caller of `/v1/chat/completions` asks for.

    Attributes:
        dialogue: the turns, the last one a user's.
        sampling: how the reply is drawn.
        stream: whether it goes out piece by piece.
        stream_usage: whether a stream ends with a chunk that counts the tokens.
    """

    dialogue: Dialogue
    sampling: Sampling
    stream: bool
    stream_usage: bool


def parse(body: bytes, model_name: str, default: Sampling) -> ChatRequest:
    """Read a request's body; fields that this gateway doesn't know are left alone.

    Args:
        body: the JSON as it came.
        model_name: the only model there is here.
        default: what a field that isn't given, or is null, falls back to.

    Raises:
        ApiError: 400 with the field at fault, or 404 for another model.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _bad(f"The body is not valid JSON: {error}.") from None
    if not isinstance(data, dict):
        raise _bad("The body must be a JSON object with messages.")
    model = data.get("model")
    if model is not None and not isinstance(model, str):
        raise _bad("model must be text.", "model")
    if model not in (None, "", model_name):
        raise ApiError(
            404,
            f"The model {model!r} is not here: ask for {model_name!r}, or leave model out.",
            "invalid_request_error",
            param="model",
            code="model_not_found",
        )
    if data.get("n") not in (None, 1):
        raise _bad("n must be 1: this gateway gives one answer a request.", "n")
    options = data.get("stream_options")
    return ChatRequest(
        Dialogue(turns=_turns(data.get("messages"))),
        _sampling(data, default),
        stream=_flag(data, "stream"),
        stream_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _bad(message: str, param: str | None = None) -> ApiError:
    return ApiError(400, message, "invalid_request_error", param=param)


def _turns(messages: Any) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        raise _bad("messages must be a list of at least one message.", "messages")
    if len(messages) > _MOST_MESSAGES:
        raise _bad(f"messages holds {len(messages)} messages: send at most {_MOST_MESSAGES}.", "messages")
    turns = tuple(_turn(message, f"messages[{i}]") for i, message in enumerate(messages))
    if turns[-1].role != "user":
        raise _bad("The last message must be a user's.", f"messages[{len(turns) - 1}].role")
    return turns


def _turn(message: Any, at: str) -> Turn:
    if not isinstance(message, dict):
        raise _bad(f"{at} must be an object with a role and a content.", at)
    role = message.get("role")
    text = _text(message.get("content"), f"{at}.content")
    match role:
        case "system" | "developer":
            return Turn("system", text)
        case "user":
            return Turn("user", text)
        case "assistant":
            return Turn("assistant", text)
        case "tool" | "function":
            raise _bad(f"{at} has the role {role!r}: this gateway does not pass on tool calls.", f"{at}.role")
    shown = repr(role)[:40]
    raise _bad(f"{at} has the unknown role {shown}: use system, developer, user or assistant.", f"{at}.role")


def _text(content: Any, at: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _bad(f"{at} must be text, or a list of text parts.", at)
    texts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            shown = repr(kind)[:40] if isinstance(kind, str) else "without a type"
            raise _bad(f"{at}[{i}] is a part {shown}: this gateway takes text parts only.", f"{at}[{i}]")
        if not isinstance(part.get("text"), str):
            raise _bad(f"{at}[{i}].text must be text.", f"{at}[{i}].text")
        texts.append(part["text"])
    return "\n".join(texts)


def _sampling(data: Mapping[str, Any], default: Sampling) -> Sampling:
    given: dict[str, Any] = {}
    for field, low, high in (("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)):
        value = data.get(field)
        if value is not None:
            if not _is_number(value) or not low <= value <= high or (field == "top_p" and value == 0):
                lowest = "above 0 and" if field == "top_p" else f"at least {low:g} and"
                raise _bad(f"{field} must be a number {lowest} at most {high:g}.", field)
            given[field] = float(value)
    for field in ("max_tokens", "max_completion_tokens"):  # the newer name wins
        value = _whole(data, field, lambda n: 1 <= n < 2**31, "must be a whole number of at least 1.")
        if value is not None:
            given["max_tokens"] = value
    seed = _whole(data, "seed", lambda n: -(2**63) <= n < 2**63, "must be a whole number of 64 bits.")
    if seed is not None:
        given["seed"] = seed
    stop = data.get("stop")
    if stop is not None:
        stops = [stop] if isinstance(stop, str) else stop
        if (
            not isinstance(stops, list)
            or len(stops) > _MOST_STOPS
            or not all(isinstance(s, str) and s for s in stops)
        ):
            raise _bad(f"stop must be a text or a list of at most {_MOST_STOPS} texts.", "stop")
        given["stop"] = tuple(stops)
    return replace(default, **given)


def _whole(data: Mapping[str, Any], field: str, fits: Callable[[int], bool], told: str) -> int | None:
    value = data.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not fits(value):
        raise _bad(f"{field} {told}", field)
    return value


def _flag(data: Mapping[str, Any], field: str) -> bool:
    value = data.get(field)
    if value is not None and not isinstance(value, bool):
        raise _bad(f"{field} must be true or false.", field)
    return bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
