from __future__ import annotations

from pathlib import Path

import pytest

from fangxin.dialogue import Dialogue
from fangxin.models import (
    CachedModel,
    Meter,
    ModelError,
    OpenAIModel,
    Patience,
    Price,
    Sampling,
    estimate,
    estimate_tokens,
)

from .conftest import Stub, echo

HELLO = Dialogue().say("hello")


async def test_counts_calls_tokens_and_price(stub: Stub, tmp_path: Path) -> None:
    model = OpenAIModel(stub.url, "m", patience=Patience(retries=0))
    meter = Meter(CachedModel(model, tmp_path / "c.db"), Price(1.0, 10.0))
    await meter.reply(HELLO, Sampling(), n=2)
    await meter.reply(HELLO, Sampling(), n=2)
    stub.script = [(500, {}, "")]
    with pytest.raises(ModelError):
        await meter.reply(Dialogue().say("other"), Sampling())
    spent = meter.spent
    assert (spent.calls, spent.replies, spent.cached, spent.failures) == (3, 4, 2, 1)
    assert (spent.prompt_tokens, spent.completion_tokens) == (7, 6)
    assert (spent.cached_prompt_tokens, spent.cached_completion_tokens) == (7, 6)
    assert spent.price == pytest.approx((7 * 1 + 6 * 10) / 1e6)
    assert spent.seconds > 0
    assert meter.identity == model.identity
    assert meter.describe() == model.describe()
    await meter.close()


async def test_a_failed_stream_is_a_failure(stub: Stub) -> None:
    meter = Meter(OpenAIModel(stub.url, "m", patience=Patience(retries=0)))
    stub.script = [(500, {}, ""), echo]
    with pytest.raises(ModelError):
        _ = [piece async for piece in meter.stream(HELLO, Sampling())]
    assert (meter.spent.calls, meter.spent.failures, meter.spent.replies) == (1, 1, 0)
    assert meter.spent.price is None
    await meter.close()


def test_estimate_tokens() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("abcdefgh") == 2
    assert estimate_tokens("放心放心放心放心放心") == 7
    assert estimate_tokens("放心abcdefgh") == 4  # 1.4 + 2, rounded up


def test_estimate_is_of_everything_that_will_be_sent() -> None:
    found = estimate([HELLO, HELLO.answer("hi").say("more")], Sampling(max_tokens=100), 3, Price(2, 4))
    assert found.calls == 2
    assert found.completion_tokens == 600
    assert found.prompt_tokens == (4 + 2) + (4 + 2) + (4 + 1) + (4 + 1)
    assert found.price == pytest.approx((22 * 2 + 600 * 4) / 1e6)
    assert estimate([], Sampling()).price is None
