import os
import subprocess
import sys

import pytest

from fangxin.ledger import LedgerError, lock


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    with lock(tmp_path), pytest.raises(LedgerError) as raised, lock(tmp_path):
        pass
    assert str(raised.value) == f"another run (pid {os.getpid()}) is using this folder: {tmp_path}."
    with lock(tmp_path):
        pass


def test_a_dead_run_holds_nothing(tmp_path):
    script = "import sys, os\nfrom fangxin.ledger import lock\nwith lock(sys.argv[1]):\n print('held', flush=True)\n input()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(LedgerError, match=rf"another run \(pid {process.pid}\)"), lock(tmp_path):
        pass
    process.kill()
    process.communicate()
    with lock(tmp_path):
        pass


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(LedgerError, match="can't be locked: No such file"), lock(tmp_path / "none"):
        pass
