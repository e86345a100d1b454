"""The embedded engine's process: `python -m fangxin.models._llama_server`.

Reads one line of JSON settings from its input, serves, writes one line of JSON with its address to
its output, and ends when its input closes: however the parent died, nobody is left behind.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from typing import Any


def _end_with_parent(parent: int) -> None:
    # Should another child of the parent hold the pipe's other end, the parent's number still tells.
    while os.getppid() == parent:
        if select.select([0], [], [], 1.0)[0] and not os.read(0, 4096):
            break
    os._exit(0)


def _params(settings: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["weights"]
    params.model_alias = {settings["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    params.n_gpu_layers = 0
    params.fit_params = False
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    # Each slot keeps its last prompt; a second, 8 GiB cache beside them measured slower.
    params.cache_ram_mib = 0
    # A request says temperature and top_p, and no cut but these is made behind its back.
    params.sampling.top_k = 0
    params.sampling.min_p = 0.0
    params.sampling.penalty_freq = settings["frequency_penalty"]
    params.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(path, scale) for path, scale in settings["adapters"]
    ]
    return params


def main() -> int:
    """Serve until the input closes."""
    report = os.dup(1)
    os.dup2(2, 1)  # the engine's own words must not mix with the report
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return 1
        line += byte
    settings = json.loads(line)
    threading.Thread(target=_end_with_parent, args=(settings["parent"],), daemon=True).start()
    import xllamacpp

    try:
        server = xllamacpp.Server(_params(settings))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    os.write(report, json.dumps({"url": server.listening_address}).encode() + b"\n")
    os.close(report)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
