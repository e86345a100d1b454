"""How much of an engine's throughput probing reaches: Fangxin against a bare load generator.

Fangxin's side is the probing engine as a run has it: one door, cache, judge, a journal on disk. Both ask the
same llama.cpp server (the embedded SmolLM2-135M) the same dialogues, greedily; the bare side keeps as many
requests under way as the server has slots. They take turns, the first turn alternates, and each round has
dialogues of its own, so that neither profits from the other's prompt cache. Tokens are those that the engine
counts. The claim holds at a median ratio of 0.90 or more.

    python benchmarks/engine_use.py
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from fangxin.agent import Agent
from fangxin.detect import ReplyJudge
from fangxin.dialogue import Dialogue, DialoguePrompt
from fangxin.models import CachedModel, EmbeddedModel, Sampling
from fangxin.probe import Ask, Journal, ask

JUDGE = ReplyJudge()

_PROMPT = DialoguePrompt(
    role="You are the assistant of a public library.",
    setting="You talk with readers on the library's web page.",
    rules=("Answer in at most three sentences.", "Never give out another reader's data."),
)
_QUESTIONS = (
    "Why does a cat purr when you hold it? I am reader number {i}.",
    "Write a short story about a house with {i} windows.",
    "Explain how a bill becomes a law, in {i} words or fewer.",
    "My neighbour plays the trumpet at {i} o'clock. What may I say to him?",
    "What is {i} times {i}, and how did you work it out?",
    "Describe a walk of {i} minutes through a forest in the rain.",
)


def dialogues(number: int, start: int) -> list[Dialogue]:
    """Ordinary dialogues, every fourth with a turn before the question."""
    made = []
    for i in range(start, start + number):
        dialogue = Dialogue(_PROMPT)
        if i % 4 == 0:
            dialogue = dialogue.say(f"Good morning, I am guest {i}.").answer("Good morning! What can I do?")
        made.append(dialogue.say(_QUESTIONS[i % len(_QUESTIONS)].format(i=i)))
    return made


async def through_fangxin(engine: EmbeddedModel, asked: list[Dialogue], sampling: Sampling) -> int:
    """What a run does with a model. Returns completion tokens."""
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedModel(engine, Path(folder) / "completions.db")
        journal = Journal(Path(folder) / "journal.db")
        agent = Agent(cached, _PROMPT, sampling=sampling)
        asks = [
            Ask("attack", f"{i}", None, "en", "plain", dialogue.question, dialogue.turns)
            for i, dialogue in enumerate(asked)
        ]
        try:
            trials = await ask(
                agent,
                asks,
                arm="bare",
                judge=JUDGE,
                sampling=sampling,
                tasks={},
                journal=journal,
                concurrency=engine.slots + 8,
            )
        finally:
            journal.close()
            await cached.close()
        return sum(trial.completion_tokens for trial in trials)


async def bare(engine: EmbeddedModel, asked: list[Dialogue], sampling: Sampling) -> int:
    """The other side: nothing but requests and a semaphore."""
    slots = asyncio.Semaphore(engine.slots)
    headers = {"Authorization": f"Bearer {engine.key}"}
    url = f"{engine.base_url}/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def one(dialogue: Dialogue) -> int:
            body = {
                "messages": dialogue.messages(),
                "max_tokens": sampling.max_tokens,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
            }
            async with slots, session.post(url, json=body) as response:
                response.raise_for_status()
                return int((await response.json())["usage"]["completion_tokens"])

        return sum(await asyncio.gather(*(one(dialogue) for dialogue in asked)))


SIDES = {"bare": bare, "fangxin": through_fangxin}


async def measure(options: argparse.Namespace) -> list[float]:
    sampling = Sampling(max_tokens=options.max_tokens)
    ratios = []
    async with EmbeddedModel.start(threads=options.threads, slots=options.slots) as engine:
        facts = engine.describe()
        print(
            f"{facts['name']} {facts['quantisation']}, {facts['engine']}, {facts['threads']} threads, ",
            end="",
        )
        print(f"{facts['slots']} slots; {options.dialogues} dialogues, {sampling.max_tokens} tokens at most")
        await bare(engine, dialogues(options.slots, 100_000), sampling)  # warm
        print(f"{'round':>5} {'first':>8} {'bare':>12} {'fangxin':>12} {'ratio':>7} {'fangxin CPU':>12}")
        for number in range(options.rounds):
            order = ["bare", "fangxin"] if number % 2 == 0 else ["fangxin", "bare"]
            rates, cpu = {}, 0.0
            for turn, side in enumerate(order):
                # The same kinds in the same order; only the numbers in them differ between the sides.
                asked = dialogues(options.dialogues, 1200 * (2 * number + turn + 1))
                started, used = time.perf_counter(), time.process_time()
                tokens = await SIDES[side](engine, asked, sampling)
                rates[side] = tokens / (time.perf_counter() - started)
                cpu = time.process_time() - used if side == "fangxin" else cpu
            ratios.append(rates["fangxin"] / rates["bare"])
            print(
                f"{number + 1:>5} {order[0]:>8} {rates['bare']:>8.1f} t/s {rates['fangxin']:>8.1f} t/s "
                f"{ratios[-1]:>7.3f} {1000 * cpu / options.dialogues:>5.2f} ms/reply",
                flush=True,
            )
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--dialogues", type=int, default=192, help="a side and round; at most 1200")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--threads", type=int, default=None)
    ratios = asyncio.run(measure(parser.parse_args()))
    middle = statistics.median(ratios)
    print(f"median ratio {middle:.3f} (lowest {min(ratios):.3f}, highest {max(ratios):.3f}); wanted: 0.90")
    return 0 if middle >= 0.90 else 1


if __name__ == "__main__":
    sys.exit(main())
