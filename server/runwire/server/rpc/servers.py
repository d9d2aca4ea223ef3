"""The service of servers: what operators ask."""

from dataclasses import dataclass, fields
from datetime import timedelta

from runwire.server.core.overview import Overview
from runwire.server.model.queues import GraphQueue
from runwire.server.model.servers import Server
from runwire.server.rpc.calls import Context
from runwire.v1 import server_pb2 as wire
from runwire.v1 import server_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What a server allows; see the settings of the same names."""

    max_request_bytes: int
    max_concurrent_calls: int
    max_pending_runs: int
    max_attempts: int
    recursion_limit: int
    cancel_grace: timedelta
    drain_grace: timedelta
    heartbeat_interval: timedelta
    event_retention: timedelta
    stateless_run_retention: timedelta
    request_retention: timedelta
    max_runs_per_assistant: int
    max_runs_per_principal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a server knows of itself."""

    server_id: str
    graph_ids: list[str]
    promises: Promises


class ServerServicer(server_pb2_grpc.ServerServiceServicer):
    """Answers for `runwire.v1.ServerService`."""

    def __init__(self, overview: Overview, about: About) -> None:
        self._overview = overview
        self._about = about

    async def GetServerInfo(
        self, request: wire.GetServerInfoRequest, context: Context
    ) -> wire.GetServerInfoResponse:
        """Return what this server is, and who is alive."""
        alive = await self._overview.servers()
        own = [each for each in alive if each.server_id == self._about.server_id]
        return wire.GetServerInfoResponse(
            server=_server_message(own[0]) if own else None,
            graph_ids=self._about.graph_ids,
            limits=_limits_message(self._about.promises),
            servers=[_server_message(each) for each in alive],
        )

    async def GetQueueStats(
        self, request: wire.GetQueueStatsRequest, context: Context
    ) -> wire.GetQueueStatsResponse:
        """Return how the queue stands."""
        stats = await self._overview.queue()
        return wire.GetQueueStatsResponse(
            pending_runs=sum(graph.pending for graph in stats.graphs),
            delayed_runs=sum(graph.delayed for graph in stats.graphs),
            running_runs=sum(graph.running for graph in stats.graphs),
            cancelling_runs=sum(graph.cancelling for graph in stats.graphs),
            claimable_runs=stats.claimable,
            oldest_pending_age=stats.oldest_pending,
            oldest_claimable_age=stats.oldest_claimable,
            free_slots=stats.free_slots,
            graphs=[_graph_message(graph) for graph in stats.graphs],
            capped=stats.capped,
        )


def _server_message(server: Server) -> wire.Server:
    return wire.Server(
        server_id=server.server_id,
        host_name=server.name,
        version=server.version,
        address=server.address,
        takes_calls=server.takes_calls,
        executes_runs=server.executes_runs,
        max_concurrent_runs=server.max_concurrent_runs,
        executing_runs=server.executing,
        draining=server.draining,
        start_time=server.start_time,
        update_time=server.update_time,
        lease_expire_time=server.lease_until,
        graph_ids=server.graph_ids,
    )


def _limits_message(promises: Promises) -> wire.ServerLimits:
    return wire.ServerLimits(
        **{field.name: getattr(promises, field.name) for field in fields(promises)}
    )


def _graph_message(graph: GraphQueue) -> wire.GraphQueue:
    return wire.GraphQueue(
        graph_id=graph.graph_id,
        pending_runs=graph.pending,
        delayed_runs=graph.delayed,
        running_runs=graph.running,
        cancelling_runs=graph.cancelling,
    )
