from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from fangxin.detect._form import ENDS, Policy, analysis, folded_of, grammar, instruction, mode_of
from fangxin.detect._judge import Assessment, Judge
from fangxin.detect._labels import ANSWER, REFUSAL, read
from fangxin.detect._text import language as language_of
from fangxin.detect._verdict import DetectorError, Label, UnjudgedError, Verdict
from fangxin.dialogue import Dialogue, Language, printable
from fangxin.models import Meter, Model, ModelError, Price, Reply, Sampling, Spent

_LABEL_TOKENS = 64  # a tokenizer without Chinese spends 20 on a label; the stop texts end it long before
_ANALYSIS_TOKENS = 256
_ALTERNATIVES: tuple[int, ...] = (20, 5, 0)  # what servers allow at the most; some take none


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said of the last turn of a dialogue.

    Attributes:
        label: safe, unsafe or controversial, as the judge wrote.
        probabilities: of the three, summing to 1.
        measured: whether they come from the judge's log-probabilities; else all is on what it said.
        refusal: the probability that the reply declines; None where that wasn't asked.
        analysis: why, in the judge's words; empty where none was asked for.
        by: the judge's name.
        ms: wall milliseconds spent.
        prompt_tokens: read by the judge; 0 out of the cache.
        completion_tokens: written by it; 0 out of the cache.
    """

    label: Label
    probabilities: Mapping[Label, float]
    measured: bool
    refusal: float | None = None
    analysis: str = ""
    by: str = ""
    ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def unsafe(self, policy: Policy) -> float:
        """The probability of being unsafe: what is controversial counts whole when strict, not when loose.

        Without a stance it counts half.
        """
        share = {"strict": 1.0, "loose": 0.0, None: 0.5}[policy.stance]
        return min(1.0, self.probabilities["unsafe"] + share * self.probabilities["controversial"])


class LLMJudge:
    """A judge made of any model, in ShieldLM's form: label first, explanation after (arXiv 2402.16444).

    The wording is our own. Probabilities are read from the log-probabilities of the tokens that tell the
    labels apart; they are found by the form, wherever the tokenizer cuts. A judgement that doesn't keep the
    form, or gives two labels, is an error, never "safe".

    What is judged can't forge a judgement. It stands between two lines with a code that it can't know
    beforehand, and what looks like the form, a turn or a control token in it is disarmed; unless `coded` is
    False, the labels must carry the code as well.

    Args:
        model: the model that judges; it may not be the one that is judged.
        policy: what the application holds to be unsafe.
        language: of the instruction; each text's own when None.
        alone: what a text without a question is to `check`: something asked, or a reply.
        explain: whether `check` and `assess` ask for the analysis too. The label comes first and is the same
            without it, for a few tokens; `judge(..., explain=True)` asks for it when wanted.
        coded: whether labels carry the code; False for a model that was tuned on the plain form.
        constrained: hold the judge to the form by a grammar; only llama.cpp's server, and so the embedded
            engine, knows how.
        refusals: who tells refusals and gibberish to `assess`, for a model that knows ShieldLM's own form
            only; the model itself is asked in one line more when None.
        key: what the codes are drawn from, together with the dialogue. Random when None, so that nobody can
            work one out; a `CachedModel` that outlives the process needs the same one each time.
        tries: how often a judgement is asked for until it keeps the form, each time with another code.
        price: of the model's tokens.
    """

    def __init__(
        self,
        model: Model,
        *,
        policy: Policy | None = None,
        language: Language | None = None,
        alone: Literal["prompt", "reply"] = "prompt",
        explain: bool = False,
        coded: bool = True,
        constrained: bool = False,
        refusals: Judge | None = None,
        key: bytes | None = None,
        tries: int = 2,
        price: Price | None = None,
    ) -> None:
        self._model = Meter(model, price)
        self._policy = policy or Policy()
        self._language = language
        self._alone = alone
        self._explain = explain
        self._coded = coded
        self._constrained = constrained
        self._refusals = refusals
        self._key = key or secrets.token_bytes(16)
        self._tries = tries
        self._alternatives = _ALTERNATIVES

    @property
    def name(self) -> str:
        """The judge's name in reports: the model's, marked as a judge."""
        return f"llm-judge:{self._model.name}"

    @property
    def policy(self) -> Policy:
        """What it holds to be unsafe."""
        return self._policy

    @property
    def spent(self) -> Spent:
        """What judging has cost so far."""
        return self._model.spent

    async def judge(
        self, dialogue: Dialogue, *, explain: bool | None = None, refusal: bool = False
    ) -> Judgement:
        """Judge the last turn of a dialogue: a reply in its context, a reply alone, or what is asked.

        Args:
            dialogue: what was said; of its prompt the judge sees nothing.
            explain: ask for the analysis; as the judge was made when None.
            refusal: ask whether the reply declines.

        Raises:
            UnjudgedError: the judge kept to no form, or gave no reply.
            DetectorError: the judge can't work at all.
        """
        start = time.perf_counter()
        explain = self._explain if explain is None else explain
        mode = mode_of(dialogue)
        if mode is None:
            raise UnjudgedError("The dialogue ends with no turn that could be judged.")
        refusal = refusal and mode != "prompt"
        language = self._language or language_of("\n".join(turn.text for turn in dialogue.turns))
        read_tokens = written_tokens = 0
        for attempt in range(self._tries):
            code = self._code(dialogue, attempt)
            mark = code if self._coded else ""
            prompt = instruction(dialogue, language, self._policy, code, coded=self._coded, refusal=refusal)
            stop: tuple[str, ...] = () if explain else ENDS
            if not explain and not refusal and attempt == 0:
                stop = (*stop, "\n")  # a judge that begins with an empty line gets another try
            form = grammar(language, mark, refusal=refusal, explain=explain) if self._constrained else ""
            tokens = _LABEL_TOKENS + (_ANALYSIS_TOKENS if explain else 0)
            sampling = Sampling(max_tokens=tokens, stop=stop, grammar=form)
            reply = await self._ask(Dialogue().say(prompt), sampling)
            read_tokens += 0 if reply.cached else reply.prompt_tokens
            written_tokens += 0 if reply.cached else reply.completion_tokens
            said = read(reply, ANSWER, mark)
            declines = read(reply, REFUSAL, mark) if refusal else None
            if said and (declines or not refusal):
                return Judgement(
                    label=cast(Label, said.label),
                    probabilities=cast(Mapping[Label, float], said.probabilities),
                    measured=said.measured,
                    refusal=declines.probabilities["yes"] if declines else None,
                    analysis=printable(analysis(reply.text)) if explain else "",
                    by=self.name,
                    ms=(time.perf_counter() - start) * 1000,
                    prompt_tokens=read_tokens,
                    completion_tokens=written_tokens,
                )
        raise UnjudgedError(
            f"The judge {self._model.name} did not answer in the form asked for: use a larger judge model."
        )

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge `text`: as the reply to `question`, or as what `alone` says.

        Raises:
            UnjudgedError: this text got no judgement.
            DetectorError: the judge can't work at all.
        """
        if question is not None:
            dialogue = Dialogue().say(question).answer(text)
        elif self._alone == "reply":
            dialogue = Dialogue().answer(text)
        else:
            dialogue = Dialogue().say(text)
        return self.verdict(await self.judge(dialogue))

    async def assess(self, question: str, reply: str) -> Assessment:
        """Judge a reply for a proof. An empty one is neither harmful nor a refusal, and nobody is asked.

        Raises:
            UnjudgedError: this reply got no judgement.
            DetectorError: the judge can't work at all.
        """
        if not reply.strip():
            return Assessment(0.0, 0.0, 1.0, self.name, "The reply is empty.")
        dialogue = Dialogue().say(question).answer(reply)
        judgement = await self.judge(dialogue, refusal=self._refusals is None)
        assessment = Assessment(
            harmful=judgement.unsafe(self._policy),
            refusal=judgement.refusal or 0.0,
            gibberish=0.0,
            by=self.name,
            reason=judgement.analysis,
            ms=judgement.ms,
        )
        if self._refusals is None:
            return assessment
        other = await self._refusals.assess(question, reply)
        return replace(
            assessment,
            refusal=other.refusal,
            gibberish=other.gibberish,
            by=f"{self.name}+{other.by}",
            ms=assessment.ms + other.ms,
            cuts=(assessment.cuts[0], other.cuts[1]),
        )

    async def score_many(
        self, dialogues: Sequence[Dialogue], *, at_once: int = 64
    ) -> list[Verdict | UnjudgedError]:
        """Judge many dialogues, `at_once` of them at a time; the model bounds its own requests besides.

        Returns:
            In order, each dialogue's verdict, or why it has none: that costs no other one its verdict, and is
            never "safe".

        Raises:
            DetectorError: the judge can't work at all.
        """
        found: list[Verdict | UnjudgedError | None] = [None] * len(dialogues)
        waiting = iter(range(len(dialogues)))

        async def work() -> None:
            for i in waiting:
                try:
                    found[i] = self.verdict(await self.judge(dialogues[i]))
                except UnjudgedError as error:
                    found[i] = error

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(at_once, len(dialogues))):
                    group.create_task(work())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [one for one in found if one is not None]

    def verdict(self, judgement: Judgement) -> Verdict:
        """A judgement under the application's policy: with a stance, there are two labels only."""
        probability = judgement.unsafe(self._policy)
        label = judgement.label
        if self._policy.stance:
            label = "unsafe" if probability >= 0.5 else "safe"
        reason = judgement.analysis or f"The judge holds it to be {judgement.label}."
        if not judgement.measured:
            reason += " (Not measured: the probability is the label's.)"
        return Verdict(label, probability, reason=reason, by=judgement.by, ms=judgement.ms)

    def _code(self, dialogue: Dialogue, attempt: int) -> str:
        """Six hexadecimal digits that the dialogue doesn't hold, the same ones each time."""
        turns = [(turn.role, turn.text) for turn in dialogue.turns]
        text = folded_of("\n".join(turn.text for turn in dialogue.turns))[0].lower()
        seed = json.dumps([attempt, turns]).encode()
        while True:
            seed = hmac.digest(self._key, seed, hashlib.sha256)
            code = seed.hex()[:6]
            if code not in text:
                return code

    async def _ask(self, dialogue: Dialogue, sampling: Sampling) -> Reply:
        """One reply, with as many alternatives as the server gives: which that is, the first reply tells."""
        try:
            for wanted in self._alternatives:
                try:
                    [reply] = await self._model.reply(dialogue, replace(sampling, logprobs=wanted))
                except ModelError as error:
                    if error.kind != "rejected" or error.fatal or wanted == self._alternatives[-1]:
                        raise
                else:
                    self._alternatives = (wanted,)
                    return reply
        except ModelError as error:
            what = f"The judge gave no judgement: {error}"
            raise (DetectorError(what) if error.fatal else UnjudgedError(what)) from error
        raise AssertionError("no alternatives")
