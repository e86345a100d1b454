from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_engine_dies_with_a_killed_parent() -> None:
    program = (
        "import asyncio, os\n"
        "from fangxin.models import EmbeddedModel\n"
        "async def main():\n"
        "    async with EmbeddedModel.start(threads=1, slots=1, context=64) as model:\n"
        "        print(model._engine._process.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        engine = int(parent.stdout.readline())
        assert _alive(engine)
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while _alive(engine) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(engine)


def test_ends_when_nobody_speaks_to_it() -> None:
    command = [sys.executable, "-m", "fangxin.models._llama_server"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
