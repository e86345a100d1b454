from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import sys
import typer
from fangxin.cli import app
assert "numpy" not in sys.modules, "numpy is imported before a command can say how many threads it takes"
from fangxin.cli._threads import one_blas_thread
one_blas_thread()
import os, numpy
a = numpy.ones((600, 600), numpy.float32)
for _ in range(5):
    a @ a
print(os.environ["OPENBLAS_NUM_THREADS"], len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux's list of threads")
@pytest.mark.parametrize(("given", "expected"), [(None, "1 1"), ("2", "2")])
def test_numpy_takes_one_thread_unless_the_user_says_otherwise(given: str | None, expected: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if given is not None:
        environment["OPENBLAS_NUM_THREADS"] = given
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(expected)
