from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fangxin.gateway._errors import ApiError
from fangxin.gateway._request import ChatRequest, parse
from fangxin.models import Sampling

USER = {"role": "user", "content": "hello"}


def read(data: Any) -> ChatRequest:
    return parse(json.dumps(data).encode(), "m", Sampling())


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"messages": NaN}', b"[" * 5000]
)
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse(body, "m", Sampling())
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("data", "param", "words"),
    [
        ({}, "messages", "at least one message"),
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": "hello"}, "messages", "a list"),
        ({"messages": ["hello"]}, "messages[0]", "an object"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "unknown role 'robot'"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "unknown role None"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role", "unknown role"),
        ({"messages": [{"role": "tool", "content": "x"}, USER]}, "messages[0].role", "tool calls"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "must be text"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "must be text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0]",
            "text parts only",
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "text parts only"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
            "must be text",
        ),
        ({"messages": [USER, {"role": "assistant", "content": "Sure:"}]}, "messages[1].role", "a user's"),
        ({"messages": [USER] * 1025}, "messages", "at most 1024"),
        ({"messages": [USER], "n": 2}, "n", "must be 1"),
        ({"messages": [USER], "stream": "yes"}, "stream", "true or false"),
        ({"messages": [USER], "temperature": 3}, "temperature", "at most 2"),
        ({"messages": [USER], "temperature": "hot"}, "temperature", "a number"),
        ({"messages": [USER], "temperature": True}, "temperature", "a number"),
        ({"messages": [USER], "top_p": 0}, "top_p", "above 0"),
        ({"messages": [USER], "max_tokens": 0}, "max_tokens", "at least 1"),
        ({"messages": [USER], "max_tokens": 1.5}, "max_tokens", "whole"),
        ({"messages": [USER], "max_completion_tokens": 2**40}, "max_completion_tokens", "whole"),
        ({"messages": [USER], "seed": "x"}, "seed", "whole"),
        ({"messages": [USER], "stop": [1]}, "stop", "texts"),
        ({"messages": [USER], "stop": ""}, "stop", "text"),
        ({"messages": [USER], "model": 3}, "model", "must be text"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_field(data: Any, param: str, words: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(data)
    assert caught.value.status == 400
    assert caught.value.param == param
    assert words in str(caught.value)
    assert set(caught.value.data()["error"]) == {"message", "type", "param", "code"}


def test_another_model_is_not_found() -> None:
    with pytest.raises(ApiError) as caught:
        read({"messages": [USER], "model": "gpt-9"})
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert "'m'" in str(caught.value)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        parse(b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "m", Sampling())
    assert caught.value.status == 400


def test_nulls_and_unknown_fields_change_nothing() -> None:
    nulls = dict.fromkeys(
        ["model", "n", "stream", "temperature", "top_p", "max_tokens", "seed", "stop", "stream_options"]
    )
    asked = read({"messages": [USER], "tools": [], "logit_bias": {}, "anything": 1} | nulls)
    assert asked.sampling == Sampling()
    assert (asked.stream, asked.stream_usage) == (False, False)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]) | json_values},
    optional={"content": json_values},
)
fields = [
    "model",
    "n",
    "stream",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stop",
]


@given(
    st.lists(messages | json_values, max_size=3) | json_values,
    st.dictionaries(st.sampled_from([*fields, "stream_options", "tools"]), json_values, max_size=4),
)
def test_any_json_is_read_or_refused(rows: Any, more: dict[str, Any]) -> None:
    try:
        asked = read({"messages": rows} | more)
    except ApiError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert refusal.status in (400, 404)
        json.dumps(refusal.data(), ensure_ascii=False).encode()
    else:
        assert asked.dialogue.turns[-1].role == "user"
        assert asked.sampling.max_tokens >= 1
        assert 0 <= asked.sampling.temperature <= 2


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_with_a_400(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse(body, "m", Sampling())
    assert caught.value.status == 400
