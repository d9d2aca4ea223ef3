"""One HTTP request to an address that a caller chose: what it may reach, and what it may cost."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from socket import SOCK_STREAM, gaierror, getaddrinfo
from typing import Any

import httpcore

from runwire.server.core.delivering import LONGEST_ASKED, Answer
from runwire.server.model.webhook_urls import UrlPolicy, problem_of_address

CONNECT_SECONDS = 5.0
"""How long finding an address, connecting to it and TLS may take, each."""

ANSWER_BYTES = 64 * 1024
"""How much of an answer's body is read, so that its connection can be used again."""

RESOLVERS = 4
"""Names that are looked up at the same time. On threads of their own: a lookup that hangs cannot
be stopped, and must not be in anybody's way."""

GONE = 410
RETRY_AFTER = frozenset({429, 503})

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses that a name stands for. Raises OSError."""


class Refused(Exception):
    """A host is at an address that must not be called. The message says why."""


class Poster:
    """Sends requests, until it is closed."""

    def __init__(
        self,
        policy: UrlPolicy,
        *,
        seconds: float,
        connections: int,
        resolve: Resolve | None = None,
    ) -> None:
        """`seconds` is how long a request may take in all, `connections` how many there are at
        most."""
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(RESOLVERS, "webhook-names")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=connections,
            keepalive_expiry=5.0,
            network_backend=_Guarded(policy, resolve or self._resolve),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._pool.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Send one request and return what came of it. No redirect is followed."""
        seen: list[Answer] = []
        try:
            async with asyncio.timeout(self._seconds):
                await self._exchange(url, headers, body, seen)
        except Refused as error:
            return Answer(error=str(error), final=True)
        except httpcore.ConnectTimeout:
            return Answer(error=f"no connection within {CONNECT_SECONDS:g} seconds")
        except (TimeoutError, httpcore.TimeoutException):
            # What the answer says counts, however long the rest of it takes.
            return seen[0] if seen else Answer(error=f"no answer within {self._seconds:g} seconds")
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            return seen[0] if seen else Answer(error=_words(error))
        return seen[0]

    async def _exchange(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, seen: list[Answer]
    ) -> None:
        timeouts = {"connect": CONNECT_SECONDS}
        request = self._pool.stream(
            "POST",
            url,
            headers=[(name.encode(), value.encode()) for name, value in headers],
            content=body,
            extensions={"timeout": timeouts},
        )
        async with request as response:
            seen.append(_answer(response))
            size = 0
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > ANSWER_BYTES:
                    break

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: getaddrinfo(host, port, type=SOCK_STREAM)
        )
        return [str(entry[4][0]) for entry in found]


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that may be called, and decides on the very address that it connects
    to: a name that stands for another one a moment later changes nothing."""

    def __init__(self, policy: UrlPolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of a host's addresses that answers, unless one of them must not be
        called. Raises `Refused`."""
        try:
            async with asyncio.timeout(timeout):
                addresses = list(dict.fromkeys(await self._addresses(host, port)))
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} could not be looked up in time") from None
        for address in addresses:
            if problem := problem_of_address(ip_address(address), self._policy):
                raise Refused(f"{host} {problem}")
        failure: Exception = gaierror(f"{host} has no address")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.NetworkError, httpcore.TimeoutException) as error:
                failure = error
        raise failure

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            return [str(ip_address(host))]
        except ValueError:
            # A scope is only there for link-local addresses, which are never called.
            return [text.partition("%")[0] for text in await self._resolve(host, port)]

    async def connect_unix_socket(self, *path: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        """Refuse: no URL names a socket."""
        raise Refused("sockets of this machine are not called")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def _answer(response: httpcore.Response) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(status)
    error = f"the receiver answered {status}"
    if 300 <= status < 400:
        error += ", and redirects are not followed"
    wait = _retry_after(response) if status in RETRY_AFTER else timedelta(0)
    return Answer(status, error, final=status == GONE, retry_after=wait)


def _retry_after(response: httpcore.Response) -> timedelta:
    """Return the wait that an answer asks for, in seconds or as a moment; none if it makes no
    sense."""
    values = [value for name, value in response.headers if name.lower() == b"retry-after"]
    text = values[0].decode("ascii", "replace").strip() if values else ""
    if text.isascii() and text.isdecimal():
        # Cut before it is a number: a thousand digits are no time.
        return min(timedelta(seconds=int(text[:9])), LONGEST_ASKED)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return timedelta(0)
    wait = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)
    return min(max(wait, timedelta(0)), LONGEST_ASKED)


def _words(error: Exception) -> str:
    """Return what went wrong with a connection. Never longer than a sentence."""
    said = str(error.__cause__ or error) or type(error).__name__
    return f"the receiver cannot be reached: {said}"[:500]
