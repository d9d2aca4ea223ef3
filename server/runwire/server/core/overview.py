"""What operators ask about all servers together: who is alive, and how the queue stands."""

import builtins
from collections.abc import Iterable
from datetime import datetime, timedelta

from runwire.server.model.queues import QueuePosition, QueueStats
from runwire.server.model.runs import Run, RunState
from runwire.server.model.servers import Server
from runwire.server.storage import queues, servers
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database

MAX_COUNTED = 20_000
"""Runs that are counted at most: an answer costs no more than these, some 20 ms."""


MAX_BEFORE = 1000
"""Runs before a pending one that are counted at most."""


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
    claiming = [server for server in servers.list_servers(connection) if server.may_claim(now)]
    slots = [server.max_concurrent_runs - server.executing for server in claiming]
    graph_ids = claimed_graphs(claiming)
    return QueueStats(
        graphs=counted.graphs,
        claimable=sum(counted.claimable.get(graph_id, 0) for graph_id in graph_ids),
        oldest_pending=_age(counted.oldest_pending, now),
        oldest_claimable=_age(queues.oldest_claimable(connection, graph_ids), now),
        free_slots=sum(max(0, free) for free in slots),
        capped=sum(graph.in_flight for graph in counted.graphs) >= MAX_COUNTED,
    )


def claimed_graphs(claiming: Iterable[Server]) -> builtins.list[str]:
    """Return the graphs of which servers begin runs."""
    return sorted({graph_id for server in claiming for graph_id in server.graph_ids})


def read_position(connection: Connection, run: Run) -> QueuePosition | None:
    """Return what comes before a run; None unless it is pending."""
    if run.state is not RunState.PENDING:
        return None
    now = current_time(connection)
    claiming = [server for server in servers.list_servers(connection) if server.may_claim(now)]
    before = queues.count_before(connection, run, claimed_graphs(claiming), up_to=MAX_BEFORE)
    return QueuePosition(
        on_thread=min(before.on_thread, MAX_BEFORE),
        claimable=before.claimable,
        capped=before.capped,
    )


def _age(since: datetime | None, now: datetime) -> timedelta | None:
    return None if since is None else max(timedelta(0), now - since)
