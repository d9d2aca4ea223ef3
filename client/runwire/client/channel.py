"""The connection to a server: its channel, and the one place where calls are made and their errors
translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

from runwire.client.connecting import Endpoint, Services, Tries, services_on
from runwire.client.errors import UnavailableError

Request = TypeVar("Request")
Response = TypeVar("Response")

Token = str | Callable[[], str | Awaitable[str]]
"""A token, or a function, which may be asynchronous, that gives one for each call."""


class Connection(Endpoint):
    """A channel to one server, opened by the first call, and what all calls on it share.

    A connection belongs to the event loop on which it is first used.
    """

    _channel: grpc.aio.Channel | None = None
    _services: Services | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, url: str, *, token: Token | None, **settings: Any) -> None:
        super().__init__(url, has_token=token is not None, **settings)
        self._token = token
        self._closing = asyncio.Event()

    @property
    def services(self) -> Services:
        """The server's services. Raises RuntimeError if the client is closed or belongs to another
        event loop."""
        if self.closed:
            raise RuntimeError("this client is closed")
        loop = asyncio.get_running_loop()
        if self._services is None:
            self._loop = loop
            self._services = self._open()
        if self._loop is not loop:
            raise RuntimeError("this client is in use on another event loop: make one for each")
        return self._services

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        headers: Mapping[str, str] | None,
        *,
        waits: bool = False,
        timeout: float | None = None,
    ) -> Response:
        """Return a call's answer. A call that `waits` for a run has no deadline, any other one
        `timeout` seconds, by default the client's.

        Raises a `RunwireError`.
        """
        tries = Tries(self, request, timeout or self._timeout)
        while True:
            try:
                return await self._try(method, request, headers, waits=waits, limit=tries.left())
            except UnavailableError as error:
                tries.count(error)

    async def _try(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        headers: Mapping[str, str] | None,
        *,
        waits: bool,
        limit: float | None,
    ) -> Response:
        metadata = await self._sent(headers)
        call = method(request, metadata=metadata, **self._limits(limit, waits=waits))
        try:
            with self._noting_contact(waits):
                response = await call
        except grpc.aio.AioRpcError as error:
            raise self._failure(error, limited=not waits) from None
        except asyncio.CancelledError:
            self._check_closed()
            raise
        self.reached = True
        return response

    @contextmanager
    def _noting_contact(self, waits: bool) -> Iterator[None]:
        """Note for the length of a block that a server is there, although a call that waits has no
        answer yet: it may be lost before it has one."""
        channel = self._channel
        if not waits or self.reached or channel is None:
            yield
            return

        async def note() -> None:
            with suppress(grpc.aio.UsageError):  # the channel was closed meanwhile
                await channel.channel_ready()
                self.reached = True

        noting = asyncio.create_task(note())
        try:
            yield
        finally:
            noting.cancel()

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        headers: Mapping[str, str] | None,
    ) -> AsyncGenerator[Response, None]:
        """Give a call's messages as they come, without deadline. Raises a `RunwireError`."""
        call = method(request, metadata=await self._sent(headers))
        try:
            async for message in call:
                self.reached = True
                yield message
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
        except asyncio.CancelledError:
            self._check_closed()
            raise
        finally:
            call.cancel()

    async def _sent(self, headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call, with a token that is fresh."""
        token = self._token() if callable(self._token) else self._token
        if isinstance(token, Awaitable):
            token = await token
            self.check_open()
        return self._metadata(headers, token)

    async def close(self) -> None:
        """Close the channel; calls that are under way end with `UnavailableError`."""
        self.closed = True
        self._closing.set()
        if self._channel is not None:
            await self._channel.close()

    async def rest(self, seconds: float) -> None:
        """Wait for so long, or until the connection is closed. Raises `UnavailableError` then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        self.check_open()

    def _open(self) -> Services:
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(self.target, self._options)
        else:
            channel = grpc.aio.secure_channel(self.target, self._credentials, self._options)
        self._channel = channel
        return services_on(channel)

    def _check_closed(self) -> None:
        # gRPC cancels the calls of a channel that is closed. To their callers that is an error:
        # nobody has cancelled *them*.
        task = asyncio.current_task()
        if self.closed and not (task and task.cancelling()):
            raise self._closed_during_call()
