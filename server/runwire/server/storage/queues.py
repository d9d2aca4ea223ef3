"""Queries on the queue of all runs that have not ended. They read an index, not the runs, and
count no further than they are told."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, exists, func, select

from runwire.server.model.queues import GraphQueue
from runwire.server.model.runs import RunState
from runwire.server.storage.servers import LIVE
from runwire.server.storage.tables import IN_FLIGHT, runs, servers


class Counted(NamedTuple):
    """The runs in flight, by graph; how many of them any server may claim now; and since when the
    first pending one has waited."""

    graphs: list[GraphQueue]
    claimable: int
    oldest_pending: datetime | None


def count_in_flight(connection: Connection, *, up_to: int) -> Counted:
    """Count the runs in flight, no more than `up_to` of them."""
    rows = connection.execute(_count_in_flight, {"up_to": up_to}).all()
    graphs = [
        GraphQueue(
            graph_id=row.graph_id,
            pending=row.pending,
            delayed=row.delayed,
            running=row.running,
            cancelling=row.cancelling,
        )
        for row in rows
    ]
    waiting = [row.oldest_pending for row in rows if row.oldest_pending is not None]
    return Counted(graphs, sum(row.claimable for row in rows), min(waiting, default=None))


_counted = (
    select(runs.c.graph_id, runs.c.state, runs.c.runnable, runs.c.wake_time, runs.c.due_time)
    .where(IN_FLIGHT)
    .limit(bindparam("up_to"))
    .subquery()
)
_is_pending = _counted.c.state == RunState.PENDING.value
_waits_for_turn = _is_pending & _counted.c.wake_time.is_(None)
_waits_for_time = _is_pending & _counted.c.wake_time.is_not(None)
_count_in_flight = (
    select(
        _counted.c.graph_id,
        func.count().filter(_waits_for_turn).label("pending"),
        func.count().filter(_waits_for_time).label("delayed"),
        func.count().filter(_counted.c.state == RunState.RUNNING.value).label("running"),
        func.count().filter(_counted.c.state == RunState.CANCELLING.value).label("cancelling"),
        func.count().filter(_counted.c.runnable).label("claimable"),
        func.min(_counted.c.due_time).filter(_waits_for_turn).label("oldest_pending"),
    )
    .group_by(_counted.c.graph_id)
    .order_by(_counted.c.graph_id)
)


def oldest_claimable(connection: Connection) -> datetime | None:
    """Return since when the claimable run has waited that is first in turn."""
    oldest: datetime | None = connection.scalar(_oldest_claimable)
    return oldest


_oldest_claimable = select(func.min(runs.c.due_time)).where(runs.c.runnable)


def count_orphans(connection: Connection, now: datetime, *, up_to: int) -> int:
    """Count the runs whose server holds no lease at `now`, no more than `up_to` of them."""
    return connection.scalar(_count_orphans, {"now": now, "up_to": up_to}) or 0


_count_orphans = select(func.count()).select_from(
    select(runs.c.owner)
    .where(
        runs.c.owner.is_not(None),
        ~exists().where(servers.c.server_id == runs.c.owner, LIVE),
    )
    .limit(bindparam("up_to"))
    .subquery()
)


def count_active(connection: Connection, *, up_to: int) -> int:
    """Count the runs that some server owns, no more than `up_to` of them."""
    return connection.scalar(_count_active, {"up_to": up_to}) or 0


_count_active = select(func.count()).select_from(
    select(runs.c.owner).where(runs.c.owner.is_not(None)).limit(bindparam("up_to")).subquery()
)
