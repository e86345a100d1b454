from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from fangxin.dialogue import Dialogue
from fangxin.models import (
    EmbeddedModel,
    ModelError,
    Sampling,
    connect,
    embedded_weights,
    free_threads,
)

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

HELLO = Dialogue().say("What is the capital of France?")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[EmbeddedModel]:
    async with EmbeddedModel.start(threads=1, slots=2, context=256) as model:
        yield model


async def test_replies_with_counts_and_log_probabilities(model: EmbeddedModel) -> None:
    [reply] = await model.reply(HELLO, Sampling(max_tokens=6, logprobs=3))
    assert reply.text
    assert reply.completion_tokens == 6 == len(reply.logprobs)
    assert reply.finish == "length"
    assert reply.prompt_tokens > 20
    for token in reply.logprobs:
        assert len(token.top) == 3
        assert all(value <= 0 for _, value in token.top)
        assert token.logprob <= max(value for _, value in token.top)
    first = reply.logprobs[0]
    assert first.logprob == max(value for _, value in first.top), "greedy takes the likeliest"


async def test_the_penalty_ends_repetition(model: EmbeddedModel) -> None:
    again = Dialogue().say("Write a long poem about the moon and the sea.")
    assert model.describe()["frequency_penalty"] == 0.5
    [damped] = await model.reply(again, Sampling(max_tokens=64))
    async with EmbeddedModel.start(threads=1, slots=1, context=256, frequency_penalty=0) as freely:
        assert freely.identity != model.identity
        [reply] = await freely.reply(again, Sampling(max_tokens=64))
    words = [text.split() for text in (damped.text, reply.text)]
    assert len(set(words[0])) / len(words[0]) > len(set(words[1])) / len(words[1])


async def test_each_of_n_has_its_own_seed(model: EmbeddedModel) -> None:
    sampling = Sampling(max_tokens=12, temperature=1.0, seed=5)
    both = await model.reply(HELLO, sampling, n=2)
    [again] = await model.reply(HELLO, Sampling(max_tokens=12, temperature=1.0, seed=6))
    assert both[0].text != both[1].text
    assert both[1].text == again.text
    assert all(reply.completion_tokens <= 12 for reply in both)


async def test_streams(model: EmbeddedModel) -> None:
    pieces = [piece async for piece in model.stream(HELLO, Sampling(max_tokens=8))]
    [reply] = await model.reply(HELLO, Sampling(max_tokens=8))
    assert len(pieces) > 3
    assert "".join(pieces) == reply.text


async def test_a_prompt_over_the_context_is_said(model: EmbeddedModel) -> None:
    long = Dialogue().say("word " * 1000)
    with pytest.raises(ModelError, match="context of 256 tokens") as caught:
        await model.reply(long, Sampling(max_tokens=4))
    assert not caught.value.fatal
    with pytest.raises(ModelError, match="context of 256 tokens"):
        _ = [piece async for piece in model.stream(long, Sampling(max_tokens=4))]


async def test_strangers_are_kept_out(model: EmbeddedModel) -> None:
    request = urllib.request.Request(f"{model.base_url}/v1/chat/completions", b"{}")
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        await asyncio.to_thread(urllib.request.urlopen, request)
    caught.value.close()
    with pytest.raises(urllib.error.HTTPError) as caught:
        await asyncio.to_thread(urllib.request.urlopen, f"{model.base_url}/")
    caught.value.close()


async def test_describes_what_is_served(model: EmbeddedModel) -> None:
    facts = json.loads(json.dumps(model.describe()))
    assert facts["file_sha256"] == model.model_fingerprint
    assert facts["quantisation"] == "Q8_0"
    assert (facts["threads"], facts["slots"], facts["context"]) == (1, 2, 256)
    assert model.model_fingerprint in model.identity
    assert model.key not in f"{model!r} {model.identity} {facts} {model._wire!r}"


def adapter(path: Path, base: Path) -> Path:
    """A LoRA of rank 1 over one matrix, in GGUF form: strong enough to change what is said."""
    from gguf import GGUFReader, GGUFWriter

    name = "blk.15.ffn_down.weight"
    [(columns, rows)] = [tensor.shape.tolist() for tensor in GGUFReader(base).tensors if tensor.name == name]
    writer = GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 1.0)
    draw = np.random.default_rng(3)
    writer.add_tensor(f"{name}.lora_a", draw.normal(size=(1, columns)).astype(np.float32))
    writer.add_tensor(f"{name}.lora_b", draw.normal(size=(rows, 1)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


async def test_an_adapter_is_taken_and_left_out_on_one_engine(model: EmbeddedModel, tmp_path: Path) -> None:
    sampling = Sampling(max_tokens=8)
    [plain] = await model.reply(HELLO, sampling)
    tuned = adapter(tmp_path / "lora.gguf", embedded_weights().path)
    async with connect("embedded", concurrency=1, threads=1, context=256, adapters=[(tuned, 1.0)]) as adapted:
        assert isinstance(adapted, EmbeddedModel)
        bare, same = adapted.scaled(0.0), adapted.scaled(1.0)
        replies = [(await one.reply(HELLO, sampling))[0].text for one in (adapted, bare, same, adapted)]
        assert replies[0] == replies[2] == replies[3] != plain.text
        assert replies[1] == plain.text
        assert len({model.identity, adapted.identity, bare.identity}) == 3
        assert [one.describe()["adapters"][0]["scale"] for one in (adapted, bare)] == [1.0, 0.0]
        await bare.close()
        await same.close()
        assert (await adapted.reply(HELLO, sampling))[0].text == replies[0], "the engine runs on"
        with pytest.raises(ValueError, match="zip"):
            adapted.scaled()


async def test_an_engine_that_dies_in_use_is_said() -> None:
    async with EmbeddedModel.start(threads=1, slots=1, context=64) as model:
        os.kill(model._engine._process.pid, signal.SIGKILL)
        with pytest.raises(ModelError, match="engine died") as caught:
            await model.reply(HELLO, Sampling(max_tokens=4))
        assert caught.value.fatal


async def test_broken_weights_end_in_the_engine_s_own_words(tmp_path: Path) -> None:
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(ModelError, match=r"damaged GGUF|did not start"):
        async with EmbeddedModel.start(weights=weights):
            pass


async def test_threads_leave_room_for_others() -> None:
    assert 1 <= free_threads() <= len(os.sched_getaffinity(0))
