from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from yarl import URL

from fangxin.dialogue import printable
from fangxin.models._types import FailureKind, ModelError

_LARGEST_BODY = 64 * 2**20
_LARGEST_EVENT = 4 * 2**20
_RETRIED = frozenset({408, 409, 425, 429})


def read_key(env: str = "OPENAI_API_KEY", file: str | Path | None = None) -> str | None:
    """The API key: a file's text where one is given, else an environment variable's.

    Args:
        env: the variable to read; unset or blank means no key.
        file: a file that holds the key and nothing else.

    Raises:
        ModelError: the file can't be read, or holds no key.
    """
    if file is None:
        return os.environ.get(env, "").strip() or None
    try:
        key = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not text"
        raise ModelError(f"The key file {file} can't be read: {reason}.", "auth", fatal=True) from None
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ModelError(
            f"The key file {file} must hold one key on one line and nothing else.", "auth", fatal=True
        )
    return key


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint is waited for.

    Attributes:
        timeout: seconds that one attempt may take; for a stream, seconds between two pieces.
        retries: attempts after the first, on refused or broken connections, 408, 409, 429 and 5xx.
            A timeout is not retried: whoever hangs once mostly hangs again.
        first_wait: seconds before the first retry; doubled for each further one, with jitter.
        longest_wait: seconds that one wait may take, `Retry-After` included.
        total: seconds for a call with all its attempts and waits; 5 timeouts when None.
    """

    timeout: float = 60.0
    retries: int = 4
    first_wait: float = 0.5
    longest_wait: float = 60.0
    total: float | None = None

    @property
    def limit(self) -> float:
        """Seconds for a whole call."""
        return 5 * self.timeout if self.total is None else self.total

    def wait(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 0); `asked` is `Retry-After`."""
        if asked is not None:
            return min(asked + random.uniform(0, 0.1 * asked), self.longest_wait)
        return min(self.first_wait * 2.0**attempt, self.longest_wait) * random.uniform(0.5, 1.0)


class _Transient(Exception):
    """A failure that another attempt may cure."""

    def __init__(self, error: ModelError, asked: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.asked = asked


class Endpoint:
    """Bounded, retried, timed HTTP requests to one server; every failure is a `ModelError`.

    It belongs to the event loop in which it is first used. Proxies of the environment are used only
    where asked for, redirects are not followed (they would carry the key elsewhere), and no secret
    is in a message or in `repr`.

    Args:
        where: what messages call the server.
        patience: timeouts and retries.
        concurrency: requests under way at a time (>= 1).
        secrets: texts that no message may show, should the server echo them.
        key_given: whether a key goes with the requests; shapes the advice on a 401.
        trust_env: use HTTP_PROXY and its kin.
    """

    def __init__(
        self,
        where: str,
        patience: Patience,
        *,
        concurrency: int,
        secrets: tuple[str, ...] = (),
        key_given: bool = False,
        trust_env: bool = False,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self.where = where
        self.patience = patience
        self.concurrency = concurrency
        self._secrets = tuple(secret for secret in secrets if secret)
        self._key_given = key_given
        self._trust_env = trust_env
        self._slots = asyncio.Semaphore(concurrency)
        self._session: aiohttp.ClientSession | None = None
        self._resume_at = 0.0

    def __repr__(self) -> str:
        return f"Endpoint({self.where!r})"

    async def fetch(
        self, method: str, url: URL, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[bytes, float]:
        """Send one request until it is answered, or patience ends.

        Returns:
            The body of a 2xx answer, and the seconds that the successful attempt took.

        Raises:
            ModelError: no such answer.
        """
        async with self._slots:
            deadline = time.monotonic() + self.patience.limit
            attempt = 0
            while True:
                await self._gate(deadline)
                started = time.monotonic()
                limit = aiohttp.ClientTimeout(
                    total=min(self.patience.timeout, max(0.001, deadline - started))
                )
                try:
                    body = await self._once(method, url, content, headers, limit)
                    return body, time.monotonic() - started
                except _Transient as fault:
                    await self._wait_or_give_up(fault, attempt, deadline)
                attempt += 1

    async def events(
        self, url: URL, content: bytes, headers: Mapping[str, str]
    ) -> AsyncGenerator[bytes, None]:
        """POST, and yield the data of each server-sent event as it comes.

        Retries happen only before the first event: what was yielded can't be taken back.

        Raises:
            ModelError: no answer, or a connection that broke.
        """
        async with self._slots:
            deadline = time.monotonic() + self.patience.limit
            attempt = 0
            while True:
                begun = False
                await self._gate(deadline)
                limit = aiohttp.ClientTimeout(
                    total=max(0.001, deadline - time.monotonic()), sock_read=self.patience.timeout
                )
                try:
                    async with aclosing(self._events_once(url, content, headers, limit)) as events:
                        async for data in events:
                            begun = True
                            yield data
                    return
                except _Transient as fault:
                    if begun:
                        raise fault.error from None
                    await self._wait_or_give_up(fault, attempt, deadline)
                attempt += 1

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _gate(self, deadline: float) -> None:
        # A 429's Retry-After holds back every call, not only the one that met it.
        pause = min(self._resume_at, deadline) - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)

    async def _wait_or_give_up(self, fault: _Transient, attempt: int, deadline: float) -> None:
        wait = self.patience.wait(attempt, fault.asked)
        now = time.monotonic()
        if attempt >= self.patience.retries or now + wait >= deadline:
            raise fault.error from None
        if fault.asked is not None:
            self._resume_at = max(self._resume_at, now + wait)
        await asyncio.sleep(wait)

    async def _once(
        self,
        method: str,
        url: URL,
        content: bytes | None,
        headers: Mapping[str, str],
        limit: aiohttp.ClientTimeout,
    ) -> bytes:
        try:
            async with self._open().request(
                method, url, data=content, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                if not 200 <= response.status < 300:
                    raise await self._refused(response)
                return await _read(response, _LARGEST_BODY, self.where)
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None

    async def _events_once(
        self, url: URL, content: bytes, headers: Mapping[str, str], limit: aiohttp.ClientTimeout
    ) -> AsyncGenerator[bytes, None]:
        try:
            async with self._open().post(
                url, data=content, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                if not 200 <= response.status < 300:
                    raise await self._refused(response)
                async with aclosing(_sse(response.content.iter_any(), self.where)) as events:
                    async for data in events:
                        yield data
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the semaphore bounds it
                trust_env=self._trust_env,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _broken(self, error: Exception) -> Exception:
        if isinstance(error, TimeoutError):
            return ModelError(
                f"{self.where} did not answer within {self.patience.timeout:g} s: "
                "check the server, raise the timeout, or lower the concurrency.",
                "timeout",
            )
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return ModelError(
                f"{self.where} has a certificate that this machine does not trust: "
                "check the URL, or add its authority to the system's certificates.",
                "unreachable",
                fatal=True,
            )
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno or 0
            reason = os.strerror(number) if number > 0 else error.os_error.strerror or "the connection failed"
        elif isinstance(
            error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionError
        ):
            reason = "the connection broke before the answer was complete"
        elif isinstance(error, aiohttp.ClientResponseError):
            reason = "what answers there does not speak HTTP"
        else:
            reason = f"the connection failed ({type(error).__name__})"
        return _Transient(
            ModelError(
                f"Can't reach {self.where}: {self.shown(reason)}. "
                "Check that the server runs and that the URL is right.",
                "unreachable",
            )
        )

    async def _refused(self, response: aiohttp.ClientResponse) -> Exception:
        status = response.status
        said = self._said(await response.content.read(65536))
        told = f": {said.rstrip('.')}" if said else ""
        if status in (401, 403):
            advice = "check the API key" if self._key_given else "it needs an API key, and none was given"
            return ModelError(f"{self.where} refused access ({status}): {advice}.", "auth", fatal=True)
        if status == 404:
            return ModelError(
                f"{self.where} does not know this model or address (404{told}). "
                "Check the model's name and the URL.",
                "missing",
                fatal=True,
            )
        if 300 <= status < 400:
            return ModelError(
                f"{self.where} redirects elsewhere ({status}): give the final URL.", "rejected", fatal=True
            )
        if status == 429:
            if "insufficient_quota" in said or "exceeded your current quota" in said:
                return ModelError(
                    f"{self.where} says that the account's quota is used up (429{told}).",
                    "rate_limited",
                    fatal=True,
                )
            return self._transient(
                response,
                f"{self.where} kept answering 429, too many requests{told}. "
                "Lower the concurrency, or try again later.",
                "rate_limited",
            )
        if status in _RETRIED or status >= 500:
            return self._transient(
                response,
                f"{self.where} kept failing with status {status}{told}. Look at the server's log.",
                "server_error",
            )
        return ModelError(f"{self.where} rejected the request ({status}{told}).", "rejected")

    def _transient(self, response: aiohttp.ClientResponse, message: str, kind: FailureKind) -> _Transient:
        return _Transient(ModelError(message, kind), retry_after(response.headers.get("Retry-After")))

    def _said(self, body: bytes) -> str:
        """The server's own words on an error, short, on one line, without secrets."""
        text = body.decode("utf-8", "replace")
        try:
            data: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            return "" if "<html" in text.lower() else self.shown(text)
        parts = []
        if isinstance(data, dict):
            error = data.get("error", data)
            if isinstance(error, dict):
                codes = [code for code in (error.get("code"), error.get("type")) if isinstance(code, str)]
                parts = [error.get("message") or error.get("detail"), *codes[:1]]
            else:
                parts = [error]
        words = [part for part in parts if isinstance(part, str) and part]
        return self.shown(f"{words[0]} [{words[1]}]" if len(words) > 1 else "".join(words))

    def shown(self, text: str) -> str:
        """A server's words made fit for a message: short, on one line, without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = " ".join(printable(text.replace("\n", " ")).split())
        return text if len(text) <= 300 else text[:299] + "…"


def retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for (a number, or an HTTP date); None where it doesn't."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None


async def _read(response: aiohttp.ClientResponse, most: int, where: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most:
            raise ModelError(f"{where} sent more than {most // 2**20} MiB for one reply.", "bad_reply")
        parts.append(chunk)
    return b"".join(parts)


async def _sse(chunks: AsyncIterator[bytes], where: str) -> AsyncGenerator[bytes, None]:
    """The `data` of each event (WHATWG HTML, 9.2.6), whatever way the bytes are cut."""
    rest = b""
    data: list[bytes] = []
    async for chunk in chunks:
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if len(rest) + sum(map(len, data)) > _LARGEST_EVENT:
            raise ModelError(f"{where} sent a stream event of more than 4 MiB.", "bad_reply")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
    if rest.startswith(b"data:"):
        data.append(rest[5:].removeprefix(b" "))
    if data:
        yield b"\n".join(data)
