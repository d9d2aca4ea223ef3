"""What servers tell of themselves and of the queue, as dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from runwire.client.convert import time_of

if TYPE_CHECKING:
    from runwire.client.schema import GraphQueue, QueueStats, Server, ServerInfo
    from runwire.v1 import server_pb2


def info_of(response: server_pb2.GetServerInfoResponse) -> ServerInfo:
    """Return what the called server is and allows, and who is alive."""
    return {
        "server": _server_of(response.server) if response.HasField("server") else None,
        "graph_ids": [*response.graph_ids],
        "limits": _limits_of(response.limits),
        "servers": [_server_of(server) for server in response.servers],
    }


def queue_of(stats: server_pb2.GetQueueStatsResponse) -> QueueStats:
    """Return the queue's numbers."""
    return {
        "pending_runs": stats.pending_runs,
        "delayed_runs": stats.delayed_runs,
        "running_runs": stats.running_runs,
        "cancelling_runs": stats.cancelling_runs,
        "claimable_runs": stats.claimable_runs,
        "oldest_pending_seconds": _age_of(stats, "oldest_pending_age"),
        "oldest_claimable_seconds": _age_of(stats, "oldest_claimable_age"),
        "free_slots": stats.free_slots,
        "graphs": [_graph_of(graph) for graph in stats.graphs],
        "capped": stats.capped,
    }


def _server_of(server: server_pb2.Server) -> Server:
    return {
        "server_id": server.server_id,
        "host_name": server.host_name,
        "version": server.version,
        "address": server.address or None,
        "takes_calls": server.takes_calls,
        "executes_runs": server.executes_runs,
        "max_concurrent_runs": server.max_concurrent_runs,
        "executing_runs": server.executing_runs,
        "draining": server.draining,
        "started_at": time_of(server, "start_time"),
        "updated_at": time_of(server, "update_time"),
        "lease_expires_at": time_of(server, "lease_expire_time"),
        "graph_ids": [*server.graph_ids],
    }


def _graph_of(graph: server_pb2.GraphQueue) -> GraphQueue:
    return {
        "graph_id": graph.graph_id,
        "pending_runs": graph.pending_runs,
        "delayed_runs": graph.delayed_runs,
        "running_runs": graph.running_runs,
        "cancelling_runs": graph.cancelling_runs,
    }


def _limits_of(limits: server_pb2.ServerLimits) -> dict[str, int | float]:
    values = {field.name: getattr(limits, field.name) for field in limits.DESCRIPTOR.fields}
    return {
        name: value.ToTimedelta().total_seconds() if isinstance(value, Duration) else value
        for name, value in values.items()
    }


def _age_of(stats: server_pb2.GetQueueStatsResponse, field: str) -> float | None:
    if not stats.HasField(field):
        return None
    age: Duration = getattr(stats, field)
    return age.ToTimedelta().total_seconds()
