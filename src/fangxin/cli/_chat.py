from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fangxin.cli._terminal import InputError
from fangxin.cli._threads import one_blas_thread

if TYPE_CHECKING:
    from fangxin.agent import Agent, Answer
    from fangxin.models import Sampling

_WORDS = {
    "en": {
        "you": "you> ",
        "agent": "agent> ",
        "hello": "Talking with {model}{shield}. /new /verdicts /save [FILE] /quit. Ctrl-C stops a reply.",
        "shielded": ", behind {layers}",
        "bare": ", without a shield",
        "new": "A new talk.",
        "verdicts on": "Verdicts are shown.",
        "verdicts off": "Verdicts are hidden.",
        "saved": "Saved in {path}, after every turn from now on.",
        "unknown": "Unknown command {command}: there are /new, /verdicts, /save [FILE] and /quit.",
        "stopped": "Stopped; this exchange is left out of the talk.",
        "dropped": "Blocked; this exchange is left out of what the model sees next.",
        "empty": "(the model said nothing)",
        "passed": "shield: let through, {ms:.1f} ms",
        "no shield": "no shield",
        "blocked": "shield: {stage} blocked by {by}, {risk}p = {p:.2f}. {reason} {ms:.1f} ms",
        "failed": "{error} Try again, or /new to begin a new talk.",
        "input": "question",
        "output": "reply",
    },
    "zh": {
        "you": "你> ",
        "agent": "助手> ",
        "hello": "正在与 {model} 对话{shield}。命令：/new /verdicts /save [文件] /quit。按 Ctrl-C 停止回复。",
        "shielded": "，防护：{layers}",
        "bare": "，无防护",
        "new": "新的对话。",
        "verdicts on": "显示判定。",
        "verdicts off": "隐藏判定。",
        "saved": "已保存到 {path}，此后每轮自动保存。",
        "unknown": "未知命令 {command}：可用 /new、/verdicts、/save [文件]、/quit。",
        "stopped": "已停止；本轮不计入对话。",
        "dropped": "已拦截；模型之后看不到本轮内容。",
        "empty": "（模型没有回答）",
        "passed": "防护：放行，{ms:.1f} 毫秒",
        "no shield": "无防护",
        "blocked": "防护：{by} 拦截（{stage}），{risk}p = {p:.2f}。{reason} {ms:.1f} 毫秒",
        "failed": "{error} 请重试，或用 /new 开始新的对话。",
        "input": "问题",
        "output": "回复",
    },
}
_COMMANDS = {"/quit", "/verdicts", "/save", "/new"}
_CONTEXT = 4096  # one talk, one slot: about 100 MB with the embedded model


def chat(
    target: Annotated[
        str, typer.Argument(help="embedded, embedded:FILE.gguf, an API's URL, or a bundle's folder.")
    ] = "embedded",
    model_name: Annotated[str | None, typer.Option(help="The model at that URL.")] = None,
    prompt: Annotated[
        Path | None, typer.Option(help="A dialogue prompt (TOML); a bundle has its own.")
    ] = None,
    show_verdicts: Annotated[
        bool, typer.Option("--show-verdicts", help="Show the shield's verdict on each turn.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Keep the talk in this file, as JSON.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest reply.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, max=2.0, help="0 is greedy.")] = None,
    key_env: Annotated[str, typer.Option(help="The variable with the API's key.")] = "OPENAI_API_KEY",
    key_file: Annotated[Path | None, typer.Option(help="A file with the API's key.")] = None,
) -> None:
    """Talk with a model or a bundle. Lines come from stdin where that is no terminal."""
    one_blas_thread()
    from fangxin.cli._settings import prompt_of

    is_bundle = Path(target).is_dir()
    if is_bundle and prompt is not None:
        raise InputError("A bundle has its own dialogue prompt: leave --prompt out.")
    if model_name is not None and not target.startswith(("http://", "https://")):
        raise InputError("--model-name goes with a URL: leave it out.")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    spoken = prompt_of(target, prompt)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Agent]:
        from fangxin.agent import Agent, Bundle
        from fangxin.models import connect

        if is_bundle:
            async with Bundle.load(target).open() as agent:
                yield agent
            return
        async with connect(
            target,
            model_name=model_name,
            key_env=key_env,
            key_file=key_file,
            concurrency=1,
            context=_CONTEXT,
        ) as model:
            yield Agent(model, spoken)

    given: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        agent = runner.run(stack.enter_async_context(opened()))
        try:
            sampling = replace(agent.sampling, **{k: v for k, v in given.items() if v is not None})
            Talk(agent, sampling, runner.run, language(), show_verdicts).go(save)
        finally:
            runner.run(stack.aclose())


def language() -> str:
    """The language of the environment, `zh` or `en`."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


@dataclass
class Talk:
    """A talk in a terminal, or over pipes.

    Attributes:
        agent: who answers.
        sampling: how.
        run: runs a coroutine to its end; Ctrl-C cancels it.
        language: of what the program says.
        verdicts: whether the shield's are shown.
    """

    agent: Agent
    sampling: Sampling
    run: Callable[[Coroutine[Any, Any, Answer]], Answer]
    language: str
    verdicts: bool
    path: Path | None = None
    talks: list[list[dict[str, Any]]] = field(default_factory=lambda: [[]])

    def go(self, save: Path | None) -> None:
        """Talk until the lines end or `/quit`."""
        from fangxin.dialogue import Dialogue

        if save is not None:
            self._save_in(save)
        layers = ", ".join(layer.kind for layer in self.agent.shield.layers)
        shield = self._words("shielded", layers=layers) if layers else self._words("bare")
        self._note("hello", model=self.agent.model.name, shield=shield)
        dialogue = Dialogue()
        while (line := self._read()) is not None:
            command, _, rest = line.partition(" ")
            if command == "/quit":
                return
            if command == "/new":
                dialogue = Dialogue()
                self.talks.append([])
                self._note("new")
            elif command == "/verdicts":
                self.verdicts = not self.verdicts
                self._note("verdicts on" if self.verdicts else "verdicts off")
            elif command == "/save":
                self._save_command(rest.strip())
            elif re.fullmatch(r"/\w+", line):
                self._note("unknown", command=line)
            elif line:
                dialogue = self._exchange(dialogue, line)

    def _exchange(self, dialogue: Any, question: str) -> Any:
        from fangxin.defend import DefenceError
        from fangxin.detect import DetectorError
        from fangxin.models import ModelError

        asked = dialogue.say(question)
        if _interactive():
            _write(self._words("agent"))
        try:
            answer = self.run(self.agent.respond(asked, self.sampling, on_piece=_show))
        except KeyboardInterrupt:
            _write("\n")
            if not sys.stdin.isatty():
                raise
            self._note("stopped")
            return dialogue
        except (ModelError, DefenceError, DetectorError) as error:
            _write("\n")
            if not sys.stdin.isatty() or getattr(error, "fatal", False):
                raise
            self._note("failed", error=error)
            return dialogue
        _write("\n")
        if not answer.text:
            self._note("empty")
        if self.verdicts:
            self._verdict(answer)
        self.talks[-1].append(_row(question, answer))
        self._save()
        if answer.block is not None and answer.block.stage == "input":
            # The guard reads every turn that people wrote: kept, this one would block all that follow.
            self._note("dropped")
            return dialogue
        return asked.answer(answer.text)

    def _verdict(self, answer: Answer) -> None:
        if answer.block is None:
            self._note("passed" if self.agent.shield.layers else "no shield", ms=answer.added_ms)
            return
        verdict = answer.block.verdict
        self._note(
            "blocked",
            stage=self._words(answer.block.stage),
            by=answer.block.by,
            risk=f"{verdict.risk}, " if verdict.risk else "",
            p=verdict.probability,
            reason=verdict.reason,
            ms=answer.added_ms,
        )

    def _save_command(self, name: str) -> None:
        if name or self.path is None:
            path = Path(name or f"talk-{datetime.now():%Y%m%d-%H%M%S}.json")
            try:
                self._save_in(path)
            except InputError as error:
                self._line(str(error))
                return
        self._save()
        self._note("saved", path=self.path)

    def _save_in(self, path: Path) -> None:
        if path.exists():
            raise InputError(f"{path} exists: choose another file for the talk.")
        if not path.parent.is_dir():
            raise InputError(f"The folder {path.parent} isn't there: make it first.")
        self.path = path

    def _save(self) -> None:
        if self.path is None:
            return
        data = {
            "format": 1,
            "model": self.agent.model.name,
            "prompt": self.agent.prompt.as_dict(),
            "talks": [talk for talk in self.talks if talk],
        }
        # mkstemp makes the file 0600: a talk is private. A kill leaves the old file or the new one.
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(json.dumps(data, ensure_ascii=False, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise

    def _read(self) -> str | None:
        """The next line, without white space around it; None at the end."""
        try:
            if _interactive():
                import readline  # noqa: F401 - gives input() a line editor

                return input(self._words("you")).strip()
            if sys.stdin.isatty():
                sys.stderr.write(self._words("you"))
                sys.stderr.flush()
            line = sys.stdin.readline()
        except EOFError:
            _write("\n")
            return None
        except KeyboardInterrupt:
            _write("\n")
            if sys.stdin.isatty():
                return None
            raise
        return line.strip() if line else None

    def _words(self, key: str, **values: Any) -> str:
        return _WORDS[self.language][key].format(**values)

    def _note(self, key: str, **values: Any) -> None:
        self._line(self._words(key, **values))

    def _line(self, text: str) -> None:
        """A line of the program's own, dim, on stderr."""
        from fangxin.dialogue import printable

        text = printable(text)
        dim = sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        sys.stderr.write(f"\x1b[2m{text}\x1b[0m\n" if dim else f"{text}\n")
        sys.stderr.flush()


def _interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _show(piece: str) -> None:
    """Show a piece of a reply; harmless whatever the model says, as every control character goes."""
    from fangxin.dialogue import printable

    _write(printable(piece))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _row(question: str, answer: Answer) -> dict[str, Any]:
    row: dict[str, Any] = {"question": question, "answer": answer.text, "block": None}
    if answer.block is not None:
        verdict = answer.block.verdict
        row["block"] = {
            "stage": answer.block.stage,
            "by": answer.block.by,
            "probability": verdict.probability,
            "risk": verdict.risk,
            "reason": verdict.reason,
        }
    return row
