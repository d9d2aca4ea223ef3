# Made from ../servers.py by client/make_sync.py: change that one.
"""The servers and the queue that they share. langgraph_sdk has nothing of this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from runwire.client.overview import info_of, queue_of
from runwire.v1 import server_pb2

if TYPE_CHECKING:
    from runwire.client.schema import QueueStats, ServerInfo
    from runwire.client.sync.channel import Connection


class SyncServersClient:
    """What can be asked of the servers. `headers` are sent as metadata with the call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get_info(self, *, headers: Mapping[str, str] | None = None) -> ServerInfo:
        """Return what the server that is called is and allows, and all that are alive."""
        response = self._connection.call(
            self._connection.services.servers.GetServerInfo,
            server_pb2.GetServerInfoRequest(),
            headers,
        )
        return info_of(response)

    def get_queue_stats(self, *, headers: Mapping[str, str] | None = None) -> QueueStats:
        """Return how many runs of all servers wait and execute, and what room there is."""
        response = self._connection.call(
            self._connection.services.servers.GetQueueStats,
            server_pb2.GetQueueStatsRequest(),
            headers,
        )
        return queue_of(response)
