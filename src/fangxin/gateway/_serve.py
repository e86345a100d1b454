from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from starlette.types import ASGIApp


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def serve(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 8400,
    *,
    on_ready: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
) -> None:
    """Serve an application until SIGINT or SIGTERM, or until cancelled.

    Requests under way are answered first; a second signal ends them.

    Args:
        app: such as `fangxin.gateway.app` makes.
        host: the address to listen at, a number or `localhost`.
        port: the port, 1 to 65535.
        on_ready: called once connections are accepted.
        on_stop: called at the first signal.

    Raises:
        OSError: the address can't be listened at.
    """
    address = "127.0.0.1" if host == "localhost" else host
    _try_bind(address, port)
    server = Server(
        app,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(server.serve())
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        if signals == 1:
            server.stop()  # type: ignore[no-untyped-call]
            if on_stop is not None:
                on_stop()
        else:
            work.cancel()

    handled = (signal.SIGINT, signal.SIGTERM)
    for number in handled:
        with suppress(ValueError):  # not in the main thread: whoever runs us cancels
            loop.add_signal_handler(number, stop)
    try:
        await _until_up(address, port, work)
        if on_ready is not None and not work.done():
            on_ready()
        await asyncio.wait({work})
        if not work.cancelled():
            work.result()
            if not signals:
                raise RuntimeError("the HTTP server ended by itself")
    finally:
        for number in handled:
            with suppress(ValueError):
                loop.remove_signal_handler(number)
        if not work.done():
            server.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait({work})


def _try_bind(address: str, port: int) -> None:
    # The server shares its port with whoever asks to (SO_REUSEPORT): two gateways would split the requests.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise OSError(error.errno, f"{address} port {port}: {error.strerror}") from None


async def _until_up(address: str, port: int, work: asyncio.Task[None]) -> None:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    while not work.done():
        try:
            _, writer = await asyncio.open_connection(reached, port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            await writer.wait_closed()
            return
    work.result()
