"""The connection to a server for callers without an event loop: its channel, and the one place
where calls are made and their errors translated."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc

from runwire.client.connecting import Endpoint, Services, Tries, services_on
from runwire.client.errors import RunwireError, UnavailableError
from runwire.client.nodes import calling_node

if TYPE_CHECKING:
    import grpc.aio

Request = TypeVar("Request")
Response = TypeVar("Response")

Token = str | Callable[[], str]
"""A token, or a function that gives one for each call."""


class Connection(Endpoint):
    """A channel to one server, opened by the first call, and what all calls on it share. Any
    number of threads may use it at once."""

    _channel: grpc.Channel | None = None
    _services: Services | None = None
    # One for all: what it is held for takes no time.
    _opening = Lock()

    def __init__(self, url: str, *, token: Token | None, **settings: Any) -> None:
        super().__init__(url, has_token=token is not None, **settings)
        self._token = token
        self._closing = Event()

    @property
    def services(self) -> Services:
        """The server's services. Raises RuntimeError if the client is closed."""
        with self._opening:
            if self.closed:
                raise RuntimeError("this client is closed")
            if self._services is None:
                self._services = self._open()
        return self._services

    def call(
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
                return self._try(method, request, headers, waits=waits, limit=tries.left())
            except UnavailableError as error:
                tries.count(error)

    def _try(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        headers: Mapping[str, str] | None,
        *,
        waits: bool,
        limit: float | None,
    ) -> Response:
        call = cast("grpc.UnaryUnaryMultiCallable[Request, Response]", method)
        try:
            with self._noting_contact(waits):
                how = {"metadata": self._sent(headers), **self._limits(limit, waits=waits)}
                node = calling_node() if waits else None
                if node is None:
                    response = call(request, **how)
                else:
                    waiting = call.future(request, **how)
                    node.stops_with(waiting)
                    response = waiting.result()
        except grpc.FutureCancelledError:
            raise self._stopped_during_call() from None
        except grpc.RpcError as error:
            raise self._translated(error, limited=not waits) from None
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

        def note(state: grpc.ChannelConnectivity | None) -> None:
            self.reached = self.reached or state is grpc.ChannelConnectivity.READY

        channel.subscribe(note)
        try:
            yield
        finally:
            channel.unsubscribe(note)

    def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        headers: Mapping[str, str] | None,
    ) -> Generator[Response, None, None]:
        """Give a call's messages as they come, without deadline. Raises a `RunwireError`."""
        start = cast("grpc.UnaryStreamMultiCallable[Request, Response]", method)
        call = start(request, metadata=self._sent(headers))
        node = calling_node()
        if node is not None:
            node.stops_with(call)
        try:
            for message in call:
                self.reached = True
                yield message
        except grpc.RpcError as error:
            if node is not None and node.is_stopped:
                raise self._stopped_during_call() from None
            raise self._translated(error) from None
        finally:
            call.cancel()

    def _sent(self, headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call, with a token that is fresh."""
        return self._metadata(headers, self._token() if callable(self._token) else self._token)

    def close(self) -> None:
        """Close the channel; calls that are under way in other threads end with
        `UnavailableError`."""
        with self._opening:
            self.closed = True
        self._closing.set()
        if self._channel is not None:
            self._channel.close()

    def rest(self, seconds: float) -> None:
        """Wait for so long, or until the connection is closed. Raises `UnavailableError` then."""
        self._closing.wait(seconds)
        self.check_open()

    def _open(self) -> Services:
        if self._credentials is None:
            channel = grpc.insecure_channel(self.target, self._options)
        else:
            channel = grpc.secure_channel(self.target, self._credentials, self._options)
        self._channel = channel
        return services_on(channel)

    def _translated(self, error: grpc.RpcError, *, limited: bool = False) -> RunwireError:
        # What a channel raises is a call as well, which its type does not say.
        if self.closed:
            return self._closed_during_call()
        failed: Any = error
        return self._failure(failed, limited=limited)
