"""Queries on the queue of all runs that have not ended. They read an index, not the runs, and
count no further than they are told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    bindparam,
    exists,
    func,
    select,
    tuple_,
)

from runwire.server.model.queues import GraphQueue
from runwire.server.model.runs import Run, RunState
from runwire.server.storage.servers import LIVE
from runwire.server.storage.tables import ACTIVE, BEGUN, IN_FLIGHT, runs, servers


class Counted(NamedTuple):
    """The runs in flight, by graph; how many of each graph wait for a slot and for nothing else;
    and since when the first pending one has waited."""

    graphs: list[GraphQueue]
    claimable: dict[str, int]
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
    claimable = {row.graph_id: row.claimable for row in rows if row.claimable}
    return Counted(graphs, claimable, min(waiting, default=None))


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


def oldest_claimable(connection: Connection, graph_ids: Sequence[str]) -> datetime | None:
    """Return since when the claimable run of some graphs has waited that has waited the longest."""
    oldest: datetime | None = connection.scalar(_oldest_claimable, {"known_graphs": graph_ids})
    return oldest


# The index begins with the rank: so the first of each rank is looked for.
_first_rank = (
    select(func.min(runs.c.rank).label("rank")).where(runs.c.runnable).cte("ranks", recursive=True)
)
_next_rank = select(func.min(runs.c.rank)).where(runs.c.runnable, runs.c.rank > _first_rank.c.rank)
_ranks = _first_rank.union_all(
    select(_next_rank.scalar_subquery()).where(_first_rank.c.rank.is_not(None))
)
_known_graphs: BindParameter[list[str]] = bindparam("known_graphs", expanding=True)
_oldest_of_rank = select(func.min(runs.c.due_time).label("due_time")).where(
    runs.c.runnable, runs.c.rank == _ranks.c.rank, runs.c.graph_id.in_(_known_graphs)
)
_oldest_of_each = select(_oldest_of_rank.scalar_subquery().label("due_time")).select_from(_ranks)
_oldest_claimable = select(func.min(_oldest_of_each.subquery().c.due_time))


class Before(NamedTuple):
    """What comes before a run: on its thread, and of what is claimable; and whether either was
    counted to the end."""

    on_thread: int
    claimable: int
    capped: bool


def count_before(
    connection: Connection, run: Run, graph_ids: Sequence[str], *, up_to: int
) -> Before:
    """Count what comes before a pending run, looking at no more than `up_to` of each. Of what is
    claimable, runs of `graph_ids` alone count."""
    place = {"due_time": run.due_time, "run_id": run.run_id, "up_to": up_to}
    on_thread = 0
    if run.thread_id is not None and run.attempt == 0:  # before one that has begun, there is none
        values = {**place, "thread_id": run.thread_id}
        on_thread = connection.scalar(_count_on_thread, values) or 0
    values = {**place, "rank": -run.spec.priority, "known_graphs": graph_ids}
    looked_at, claimable = connection.execute(_count_claimable, values).one()
    return Before(on_thread, claimable or 0, max(on_thread, looked_at) >= up_to)


def _earlier(*columns: Column[Any]) -> ColumnElement[bool]:
    place = [bindparam(column.name, type_=column.type) for column in columns]
    return tuple_(*columns) < tuple_(*place)


_on_thread = runs.c.thread_id == bindparam("thread_id")
_first_on_thread = (
    select(runs.c.run_id)
    .where(_on_thread, IN_FLIGHT, _earlier(runs.c.due_time, runs.c.run_id))
    .limit(bindparam("up_to"))
    .subquery()
)
# One that has begun may be due later: it did so while this one waited for a time.
_later = ~_earlier(runs.c.due_time, runs.c.run_id)
_executing_on_thread = select(runs.c.run_id).where(_on_thread, ACTIVE, _later)
_begun_on_thread = select(runs.c.run_id).where(_on_thread, BEGUN, _later)
_count_on_thread = select(
    select(func.count()).select_from(_first_on_thread).scalar_subquery()
    + select(func.count()).select_from(_executing_on_thread.subquery()).scalar_subquery()
    + select(func.count()).select_from(_begun_on_thread.subquery()).scalar_subquery()
)
_first_claimable = (
    select(runs.c.graph_id)
    .where(runs.c.runnable, _earlier(runs.c.rank, runs.c.due_time, runs.c.run_id))
    .limit(bindparam("up_to"))
    .subquery()
)
_count_claimable = select(
    func.count(),
    func.count().filter(_first_claimable.c.graph_id.in_(_known_graphs)),
).select_from(_first_claimable)


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
