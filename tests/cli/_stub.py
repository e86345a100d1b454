"""A scripted OpenAI-compatible server in a thread, for commands that run to their end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Stub:
    pieces: list[str] = field(default_factory=lambda: ["Hello. ", "Bye."])
    status: int = 200
    wait: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def stubbed(**script: Any) -> Iterator[Stub]:
    stub = Stub(**script)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self._json(200, {"data": [{"id": "stub-model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.bodies.append(body)
            stub.keys.append(self.headers["Authorization"])
            if stub.status != 200:
                self._json(stub.status, {"error": {"message": "the stub was told to fail"}})
            elif body.get("stream"):
                self._stream()
            else:
                message = {"role": "assistant", "content": "".join(stub.pieces)}
                self._json(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

        def _json(self, status: int, data: Any) -> None:
            raw = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                for piece in stub.pieces:
                    self._event(json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]}))
                    time.sleep(stub.wait)
                self._event("[DONE]")
            except OSError:
                pass  # the caller hung up

        def _event(self, data: str) -> None:
            self.wfile.write(f"data: {data}\n\n".encode())
            self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
