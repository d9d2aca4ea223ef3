"""The connection to a server: its channel, and the one place where calls are made and their errors
translated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import grpc
import grpc.aio

from runwire.client.errors import RunwireError, UnavailableError, from_call
from runwire.client.reconnect import Reconnect
from runwire.v1.assistants_pb2_grpc import AssistantServiceStub
from runwire.v1.crons_pb2_grpc import CronServiceStub
from runwire.v1.runs_pb2_grpc import RunServiceStub
from runwire.v1.store_pb2_grpc import StoreServiceStub
from runwire.v1.threads_pb2_grpc import ThreadServiceStub
from runwire.v1.webhooks_pb2_grpc import WebhookServiceStub

Request = TypeVar("Request")
Response = TypeVar("Response")

MEBIBYTE = 1024 * 1024

# Calls that a second time changes nothing about: they read, they set what they are given, or they
# carry a request_id. The others are the caller's to repeat; those that wait for a run have
# `reconnect.persist`, since a channel retries five times at most.
_REPEATABLE = {
    "AssistantService": (
        "CreateAssistant",
        "GetAssistant",
        "ListAssistants",
        "UpdateAssistant",
        "ListAssistantVersions",
        "SetLatestAssistantVersion",
        "GetAssistantGraph",
        "GetAssistantSchemas",
        "ListAssistantSubgraphs",
    ),
    "ThreadService": (
        "CreateThread",
        "GetThread",
        "ListThreads",
        "UpdateThread",
        "GetThreadState",
        "ListThreadStates",
    ),
    "RunService": ("CreateRun", "BatchCreateRuns", "GetRun", "ListRuns"),
    "StoreService": ("PutItem", "GetItem", "DeleteItem", "SearchItems", "ListNamespaces"),
    "WebhookService": ("ListWebhookDeliveries", "GetWebhookDelivery"),
    "CronService": ("CreateCron", "GetCron", "ListCrons", "UpdateCron"),
}

_SERVICE_CONFIG: dict[str, Any] = {
    "methodConfig": [
        {
            "name": [
                {"service": f"runwire.v1.{service}", "method": method}
                for service, methods in _REPEATABLE.items()
                for method in methods
            ],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

# Several servers share one database, and each answers for every run: calls go to all that answer.
# With one address it is gRPC's default, to stay with the first that answers.
_BALANCED_CONFIG = {**_SERVICE_CONFIG, "loadBalancingConfig": [{"round_robin": {}}]}

_OPTIONS: dict[str, Any] = {
    # Thread states and lists of them are one message each; gRPC's own limit is 4 MiB.
    "grpc.max_receive_message_length": 64 * MEBIBYTE,
    "grpc.max_send_message_length": -1,
    # A silent network is noticed while a stream waits; the server takes a ping every 10 s.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.http2.max_pings_without_data": 0,
    # gRPC would wait for up to two minutes before it looks for a server that is back.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 5_000,
    "grpc.max_reconnect_backoff_ms": 2_000,
}


class Services(NamedTuple):
    """The calls of each service on one channel."""

    assistants: AssistantServiceStub
    threads: ThreadServiceStub
    runs: RunServiceStub
    store: StoreServiceStub
    webhooks: WebhookServiceStub
    crons: CronServiceStub


class Connection:
    """A channel to one server, opened by the first call, and what all calls on it share.

    `reached` tells whether a server has ever answered, or taken a call that waits. A connection
    belongs to the event loop on which it is first used.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None,
        credentials: grpc.ChannelCredentials | None,
        timeout: float | None,
        reconnect: Reconnect,
        options: Sequence[tuple[str, Any]],
    ) -> None:
        self.target, secure = _target(url)
        config = _BALANCED_CONFIG if _names_several(self.target) else _SERVICE_CONFIG
        defaults = {**_OPTIONS, "grpc.service_config": json.dumps(config)}
        self.reconnect = reconnect
        self.reached = False
        self.closed = False
        self._credentials = credentials or (grpc.ssl_channel_credentials() if secure else None)
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._options = [*{**defaults, **dict(options)}.items()]
        self._channel: grpc.aio.Channel | None = None
        self._services: Services | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

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
    ) -> Response:
        """Return a call's answer. A call that `waits` for a run has no deadline.

        Raises a `RunwireError`.
        """
        timeout = None if waits else self._timeout
        call = method(request, timeout=timeout, metadata=self._metadata(headers))
        try:
            with self._noting_contact(waits):
                response = await call
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from None
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
        call = method(request, metadata=self._metadata(headers))
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

    async def close(self) -> None:
        """Close the channel; calls that are under way end with `UnavailableError`."""
        self.closed = True
        if self._channel is not None:
            await self._channel.close()

    def _open(self) -> Services:
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(self.target, self._options)
        else:
            channel = grpc.aio.secure_channel(self.target, self._credentials, self._options)
        self._channel = channel
        return Services(
            AssistantServiceStub(channel),
            ThreadServiceStub(channel),
            RunServiceStub(channel),
            StoreServiceStub(channel),
            WebhookServiceStub(channel),
            CronServiceStub(channel),
        )

    def _metadata(self, headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
        merged = {**self._headers, **(headers or {})}
        return tuple((key.lower(), value) for key, value in merged.items())

    def _failure(self, error: grpc.aio.AioRpcError) -> RunwireError:
        failure = from_call(error, self.target)
        if failure.reason:
            self.reached = True
        return failure

    def _check_closed(self) -> None:
        # gRPC cancels the calls of a channel that is closed. To their callers that is an error:
        # nobody has cancelled *them*.
        task = asyncio.current_task()
        if self.closed and not (task and task.cancelling()):
            raise UnavailableError("the client was closed during the call", code="CANCELLED")


def _target(url: str) -> tuple[str, bool]:
    """Return gRPC's name for an address, and whether it is to be reached by TLS."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("http", "https"):
        return rest.rstrip("/"), scheme == "https"
    if "," in url and not url.startswith(_LISTS):
        # gRPC takes lists of addresses, under these names, and none of host names.
        family = "ipv6:" if url.startswith("[") else "ipv4:"
        return family + url, False
    return url, False


_LISTS = ("ipv4:", "ipv6:", "unix:", "dns:")


def _names_several(target: str) -> bool:
    return "," in target or target.startswith("dns:///")
