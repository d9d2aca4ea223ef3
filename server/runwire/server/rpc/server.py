"""The gRPC server: its limits, its services, its start and its end."""

import errno
import logging
import socket
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runwire.server.core.assistants import Assistants
from runwire.server.core.crons import Crons
from runwire.server.core.overview import Overview
from runwire.server.core.run_changes import RunChanges
from runwire.server.core.runs import Runs
from runwire.server.core.states import States
from runwire.server.core.store import Store
from runwire.server.core.thread_streams import ThreadStreams
from runwire.server.core.threads import Threads
from runwire.server.core.webhooks import Webhooks
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.rpc.assistants import AssistantServicer
from runwire.server.rpc.crons import CronServicer
from runwire.server.rpc.disconnects import Disconnects
from runwire.server.rpc.health import HealthServicer
from runwire.server.rpc.interceptors import Boundary, OpenCalls
from runwire.server.rpc.reflection import add_reflection
from runwire.server.rpc.runs import RunServicer
from runwire.server.rpc.servers import About, ServerServicer
from runwire.server.rpc.store import StoreServicer
from runwire.server.rpc.streams import HEARTBEAT
from runwire.server.rpc.threads import ThreadServicer
from runwire.server.rpc.webhooks import WebhookServicer
from runwire.v1 import (
    assistants_pb2,
    assistants_pb2_grpc,
    crons_pb2,
    crons_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    store_pb2,
    store_pb2_grpc,
    threads_pb2,
    threads_pb2_grpc,
    webhooks_pb2,
    webhooks_pb2_grpc,
)

logger = logging.getLogger(__name__)

SERVICES = tuple(
    service.full_name
    for file in (
        assistants_pb2,
        threads_pb2,
        runs_pb2,
        crons_pb2,
        store_pb2,
        webhooks_pb2,
        server_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
)
"""The full names of our services."""


class CannotListen(Exception):
    """The server's address cannot be bound."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server takes. `request_bytes` is the largest request; `streams_per_connection`
    counts the calls that one connection may have open, `calls` those of all connections."""

    request_bytes: int = 32 * 1024 * 1024
    calls: int = 2000
    streams_per_connection: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What answers calls: the part of core behind each service. `webhook_urls` says which URLs
    runs may name."""

    assistants: Assistants
    threads: Threads
    states: States
    thread_streams: ThreadStreams
    runs: Runs
    crons: Crons
    store: Store
    webhooks: Webhooks
    run_changes: RunChanges
    overview: Overview
    about: About
    webhook_urls: UrlPolicy


class RpcServer:
    """Serves the contract at an address for the duration of an `async with`; without anything
    `answering` there is health alone.

    Its health is NOT_SERVING until `set_serving(True)`. On leaving, open calls have `grace` to
    end by themselves: streams and waiting calls do so as soon as core drains. Then they are
    cancelled, which is not taken for their callers' leaving.
    """

    def __init__(
        self,
        address: str,
        answering: Answering | None,
        *,
        limits: Limits = Limits(),
        heartbeat: timedelta = HEARTBEAT,
        grace: timedelta = timedelta(seconds=5),
        reflection: bool = True,
        shares_port: bool = False,
        principal_header: str = "",
    ) -> None:
        self._address = address
        self._answering = answering
        self._services = SERVICES if answering else ()
        self._limits = limits
        self._heartbeat = heartbeat
        self._grace = grace.total_seconds()
        self._reflection = reflection
        self._shares_port = shares_port
        self._principal_header = principal_header
        self._calls = OpenCalls()
        self._disconnects = Disconnects(answering.runs) if answering else None
        self._health = HealthServicer(self._services)
        self._server: grpc.aio.Server | None = None
        self.port = 0
        """The port that is listened on, once the server has started."""

    def set_serving(self, serving: bool) -> None:
        """Tell health probes whether to send calls here."""
        self._health.set_serving(serving)

    def set_live(self, live: bool) -> None:
        """Tell health probes whether the process works, or should be replaced."""
        self._health.set_live(live)

    async def __aenter__(self) -> Self:
        # Made here and not before: gRPC's server belongs to the loop it is made on.
        self._server = grpc.aio.server(
            interceptors=[
                Boundary(self._calls, self._limits.request_bytes, self._principal_header)
            ],
            options=_options(self._limits, shares_port=self._shares_port),
            maximum_concurrent_rpcs=self._limits.calls,
        )
        self._add_services(self._server)
        self.port = _bind(self._server, self._address)
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._health.end_watches()
        if self._disconnects is not None:
            await self._disconnects.close()
        await self._server.stop(self._grace)
        await self._calls.wait_ended()

    def _add_services(self, server: grpc.aio.Server) -> None:
        if self._answering is not None and self._disconnects is not None:
            self._add_nouns(server, self._answering, self._disconnects)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._reflection:
            health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            add_reflection(server, [*self._services, health])

    def _add_nouns(
        self, server: grpc.aio.Server, answering: Answering, disconnects: Disconnects
    ) -> None:
        assistants_pb2_grpc.add_AssistantServiceServicer_to_server(
            AssistantServicer(answering.assistants), server
        )
        threads_pb2_grpc.add_ThreadServiceServicer_to_server(
            ThreadServicer(
                answering.threads,
                answering.states,
                answering.thread_streams,
                heartbeat=self._heartbeat,
            ),
            server,
        )
        runs_pb2_grpc.add_RunServiceServicer_to_server(
            RunServicer(
                answering.runs,
                answering.run_changes,
                disconnects,
                heartbeat=self._heartbeat,
                webhooks=answering.webhook_urls,
            ),
            server,
        )
        webhooks_pb2_grpc.add_WebhookServiceServicer_to_server(
            WebhookServicer(answering.webhooks), server
        )
        crons_pb2_grpc.add_CronServiceServicer_to_server(
            CronServicer(answering.crons, webhooks=answering.webhook_urls), server
        )
        store_pb2_grpc.add_StoreServiceServicer_to_server(StoreServicer(answering.store), server)
        server_pb2_grpc.add_ServerServiceServicer_to_server(
            ServerServicer(answering.overview, answering.about), server
        )


def _options(limits: Limits, *, shares_port: bool) -> list[tuple[str, int]]:
    return [
        # What is a little too large is refused by ourselves, with a reason.
        ("grpc.max_receive_message_length", 2 * limits.request_bytes),
        # A unary answer too large for its caller is the caller's limit to raise.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        # A caller that is gone without a word is noticed within 40 s.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Callers may do the same, a little more often than gRPC allows by default.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", 300_000),
        # Connections are renewed, for the sake of balancers. Without a grace: it would cut off
        # streams, and a run may be meant to be cancelled when its caller's stream ends.
        ("grpc.max_connection_age_ms", 1_800_000),
        # Two servers on one port take each other's callers: only those that are told to.
        ("grpc.so_reuseport", int(shares_port)),
    ]


def _bind(server: grpc.aio.Server, address: str) -> int:
    """Return the port bound; raises `CannotListen`."""
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise CannotListen(address, _why_not(address))
    return port


def _why_not(address: str) -> str:
    """Return why an address cannot be bound: gRPC does not say."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "the address is in use"
        return error.strerror or str(error)
    return "gRPC does not take the address"
