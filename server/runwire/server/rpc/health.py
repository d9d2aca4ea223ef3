"""The standard health service, for probes and load balancers.

Ours instead of grpcio-health-checking's, which is SERVING before the server is, and whose watches
hold up its end.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runwire.server.rpc.calls import Context, send

LIVENESS = "liveness"
"""The service whose health is that of the process: it stays SERVING while the server drains."""

_Response = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Answers for the whole server, by the empty name, for each of its services, and for
    `LIVENESS`. Nothing but liveness is SERVING until it is said to be."""

    def __init__(self, services: Iterable[str]) -> None:
        self._readiness = frozenset({"", *services})
        self._statuses: dict[str, int] = {
            **dict.fromkeys(self._readiness, _Response.NOT_SERVING),
            LIVENESS: _Response.SERVING,
        }
        self._changed = asyncio.Event()
        self._ended = False

    def set_serving(self, serving: bool) -> None:
        """Say whether the server takes calls. False for good once the watches have ended."""
        status = _Response.SERVING if serving and not self._ended else _Response.NOT_SERVING
        self._set(dict.fromkeys(self._readiness, status))

    def set_live(self, live: bool) -> None:
        """Say whether the process works, or should be replaced."""
        self._set({LIVENESS: _Response.SERVING if live else _Response.NOT_SERVING})

    def end_watches(self) -> None:
        """Let each open watch tell its last status and end: the server stops."""
        self._ended = True
        self.set_serving(False)
        self._wake()

    def _set(self, statuses: dict[str, int]) -> None:
        if statuses.items() <= self._statuses.items():
            return
        self._statuses.update(statuses)
        self._wake()

    def _wake(self) -> None:
        # Whoever waits for the old event wakes once; the next round has an event of its own.
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Any:
        """Answer with the status of one service."""
        status = self._statuses.get(request.service)
        if status is None:
            # The health protocol's own answer; clients of it know nothing of our details.
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _Response(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Answer with the status of one service, and again whenever it has changed."""
        last = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, _Response.SERVICE_UNKNOWN)
            if status != last:
                await send(context, _Response(status=status))
                last = status
            elif self._ended:
                return
            else:
                await changed.wait()

    async def List(self, request: Any, context: Context) -> Any:
        """Answer with the status of each service. Called only if grpcio-health-checking is new
        enough to have the method."""
        statuses = {name: _Response(status=status) for name, status in self._statuses.items()}
        return vars(health_pb2)["HealthListResponse"](statuses=statuses)
