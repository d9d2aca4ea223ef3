"""What operators ask about all servers together: who is alive, and how the queue stands."""

import builtins
from datetime import datetime, timedelta

from runwire.server.model.queues import QueueStats
from runwire.server.model.servers import Server
from runwire.server.storage import queues, servers
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database

MAX_COUNTED = 20_000
"""Runs that are counted at most: an answer costs no more than these, some 20 ms."""


class Overview:
    """Answers for all servers on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def servers(self) -> builtins.list[Server]:
        """Return the servers that are alive, in the order of their starts."""
        return await self._database.read(list_alive)

    async def queue(self) -> QueueStats:
        """Return how the queue stands."""
        return await self._database.read(read_queue)


def list_alive(connection: Connection) -> list[Server]:
    """Return the servers that are alive, in the order of their starts."""
    now = current_time(connection)
    return [each for each in servers.list_servers(connection) if each.is_alive(now)]


def read_queue(connection: Connection) -> QueueStats:
    """Return how the queue stands."""
    now = current_time(connection)
    counted = queues.count_in_flight(connection, up_to=MAX_COUNTED)
    slots = [
        server.max_concurrent_runs - server.executing
        for server in list_alive(connection)
        if not server.draining
    ]
    return QueueStats(
        graphs=counted.graphs,
        claimable=counted.claimable,
        oldest_pending=_age(counted.oldest_pending, now),
        oldest_claimable=_age(queues.oldest_claimable(connection), now),
        free_slots=sum(max(0, free) for free in slots),
        capped=sum(graph.in_flight for graph in counted.graphs) >= MAX_COUNTED,
    )


def _age(since: datetime | None, now: datetime) -> timedelta | None:
    return None if since is None else max(timedelta(0), now - since)
