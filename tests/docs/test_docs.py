"""The documentation: its examples run, its commands and settings exist, its links lead somewhere."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

import pytest
import typer
from typer.exceptions import TyperException

from fangxin.agent import Bundle, ModelSpec
from fangxin.cli import app
from fangxin.cli._settings import affordable, settings_of
from fangxin.defend import Shield
from fangxin.dialogue import Dialogue, DialoguePrompt
from fangxin.models import Sampling, TemplateModel
from fangxin.repair import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
_FENCE = re.compile(r"^```(\w*)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SERVED = "http://127.0.0.1:8400/"


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line it starts at, its language, a mark behind it, its text."""

    page: str
    line: int
    language: str
    mark: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks_of(page, text):
    return [
        Block(page, text[: found.start()].count("\n") + 1, found[1], found[2] or "", found[3])
        for found in _FENCE.finditer(text)
    ]


BLOCKS = [
    block for page in PAGES for block in blocks_of(str(page.relative_to(ROOT)), page.read_text("utf-8"))
]


def commands_of(shell):
    """The command lines of a shell block, as words, comments and variables before them left out."""
    lines = shell.replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    # What a shell does with stdin and stdout is no argument.
    return [list(takewhile(lambda word: word not in ("<", ">", "|"), words)) for words in found if words]


COMMANDS = [(str(b), words) for b in BLOCKS if b.language == "sh" for words in commands_of(b.text)]


def of_fangxin(words):
    """The arguments that a command line gives to fangxin; None where it calls something else."""
    if words[0] == "fangxin":
        return words[1:]
    if words[:2] == ["docker", "run"]:
        return words[words.index("fangxin") + 1 :]
    return None


def accept(arguments):
    """Let the command line's own parser read arguments, without running anything; its context."""
    command, name, rest = typer.main.get_command(app), "fangxin", list(arguments)
    while rest and rest[0] in getattr(command, "commands", {}):
        name, *rest = rest
        command = command.commands[name]
    assert not getattr(command, "commands", None), f"no such command: {' '.join(arguments)}"
    return command.make_context(name, rest)


def only(language, mark=""):
    return [block for block in BLOCKS if block.language == language and block.mark == mark]


def marked(mark):
    found = [block for block in BLOCKS if block.mark == mark]
    assert found, f"no block is marked {mark!r}"
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder as the pages assume it: bot.py of docs/models.md, and a bundle that asks it."""
    folder = tmp_path_factory.mktemp("docs")
    [bot] = [block for block in only("python") if block.text.startswith("# bot.py\n")]
    (folder / "bot.py").write_text(bot.text, "utf-8")
    bundle = Bundle(ModelSpec("python:bot:answer"), shield=Shield.default())
    bundle.save(folder / "runs" / "latest" / "bundle")
    return folder


def environment(folder):
    return {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder), "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def gateway(place):
    """The address at which the bundle of `place` is served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from fangxin.cli import main; main()", "serve", "runs/latest/bundle"]
    served = subprocess.Popen(
        [*command, "--port", str(port)], cwd=place, env=environment(place), stderr=subprocess.PIPE, text=True
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(300):
            assert served.poll() is None, served.stderr.read()
            try:
                urllib.request.urlopen(f"{address}healthz", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        served.terminate()
        served.communicate(timeout=30)


def example(block):
    marks = [pytest.mark.engine] if '"embedded"' in block.text else []
    return pytest.param(block, id=str(block), marks=marks)


@pytest.mark.parametrize("block", [example(b) for b in only("python") if _SERVED not in b.text])
def test_examples_run(block, place):
    run_python(block.text, place)


@pytest.mark.parametrize("block", [b for b in only("python") if _SERVED in b.text], ids=str)
def test_examples_of_callers_run_against_a_served_bundle(block, place, gateway):
    said = run_python(block.text.replace(_SERVED, gateway), place)
    assert "You said: Name three colours." in said


def run_python(text, folder):
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        env={**environment(folder), "XDG_CACHE_HOME": str(Path.home() / ".cache")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("where", "words"), [c for c in COMMANDS if of_fangxin(c[1]) is not None])
def test_commands_exist_with_their_options(where, words):
    accept(of_fangxin(words))


@pytest.mark.parametrize("line", ["fangxin harden --no-such-option", "fangxin nothing", "fangxin serve"])
def test_the_check_of_commands_finds_wrong_ones(line):
    [words] = commands_of(line)
    with pytest.raises((AssertionError, TyperException), match=r"(?i)no such|missing"):
        accept(of_fangxin(words))


@pytest.mark.parametrize(("where", "words"), [c for c in COMMANDS if c[1][:2] == ["fangxin", "harden"]])
def test_budgets_pay_for_a_proof(where, words):
    given = accept(of_fangxin(words)).params
    wishes = {key: given[key] for key in ("regime", "budget", "seed", "max_tokens") if given[key] is not None}
    if given["language"]:
        wishes["languages"] = tuple(given["language"])
    affordable(settings_of(None, wishes))


@pytest.mark.parametrize("block", marked("run"), ids=str)
def test_commands_marked_to_run_do(block, place):
    for words in commands_of(block.text):
        program = [sys.executable, "-c", "from fangxin.cli import main; main()", *of_fangxin(words)]
        done = subprocess.run(
            program, cwd=place, env=environment(place), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    asked = {words[1] for _, words in COMMANDS if words[0] == "make"}
    said = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)[^`]*`", page.read_text("utf-8"))}
    assert {"run", "test"} <= asked
    assert asked | said <= targets


def test_the_settings_file_has_every_setting_with_its_default(tmp_path):
    [block] = marked("settings")
    assert block.page == "docs/loop.md"
    shown = tomllib.loads(block.text)
    assert list(shown) == list(asdict(Settings()))
    path = tmp_path / "settings.toml"
    path.write_text(block.text, "utf-8")
    assert settings_of(path, {}) == Settings()


@pytest.mark.parametrize("block", marked("prompt"), ids=str)
def test_prompt_files_load(block, tmp_path):
    path = tmp_path / "prompt.toml"
    path.write_text(block.text, "utf-8")
    prompt = DialoguePrompt.load(path)
    assert all(prompt.as_dict().values()), "the example shows every setting"


@pytest.mark.parametrize("block", marked("template"), ids=str)
async def test_templates_load_and_place_the_question(block, tmp_path, monkeypatch):
    monkeypatch.setenv("HELPDESK_KEY", "key")
    path = tmp_path / "template.toml"
    path.write_text(block.text, "utf-8")
    model = TemplateModel.load(path)
    _, body = model.request_of(Dialogue().say("When do you open?"), Sampling(max_tokens=7))
    await model.close()
    sent = tomllib.loads(block.text)["body"]
    assert b'"When do you open?"' in body
    assert b'"limit":7' in body
    assert set(sent) == {"text", "history", "limit"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = _FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} isn't there"
        if anchor:
            assert anchor in {slug(heading) for heading in headings(there.read_text("utf-8"))}, target


def headings(text):
    return re.findall(r"^#+ .*$", _FENCE.sub("", text), re.MULTILINE)


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-")


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name})" in index


def test_both_readmes_say_the_same():
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))

    def shape(text):
        blocks = blocks_of("", text)
        prose = _FENCE.sub("", text)
        return {
            "headings": [heading.split(" ")[0] for heading in headings(text)],
            "commands": [commands_of(b.text) for b in blocks if b.language == "sh"],
            "code": [b.text for b in blocks if b.language != "sh"],
            "rows": [line.count("|") for line in prose.splitlines() if line.startswith("|")],
            "lists": [line[:2] for line in prose.splitlines() if re.match(r"- |\d\.", line)],
            "links": set(re.findall(r"\]\(([^)\s]+)\)", prose)) - {"README.md", "README.zh.md"},
            "in code": sorted(set(re.findall(r"`([^`\n]+)`", prose))),
        }

    assert shape(english) == shape(chinese)
    # They start with the two commands.
    assert [words[:2] for words in commands_of(blocks_of("", english)[0].text)] == [
        ["make", "run"],
        ["make", "test"],
    ]
    assert english.index("```sh") < 20
