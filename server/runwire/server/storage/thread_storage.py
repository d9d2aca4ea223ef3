"""Queries on what a thread takes up: each looks at so many rows and no more."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal, select

from runwire.server.model.ids import time_of_checkpoint
from runwire.server.model.threads import ThreadStorage, Use
from runwire.server.storage.byte_length import byte_length
from runwire.server.storage.tables import checkpoint_writes, checkpoints, run_events, runs

ROWS = 10_000
"""Rows of one kind that are looked at, at most."""


def measure_thread(connection: Connection, thread_id: str) -> ThreadStorage:
    """Return what a thread takes up. The bytes are those of the contents, as far as they can be
    large; what the database makes of them on the disk is more, or less where it compresses."""
    ends = connection.execute(_ends, {"thread_id": thread_id}).one()
    made = _use(connection, _runs, thread_id)
    segments = _use(connection, _segments, thread_id)
    return ThreadStorage(
        thread_id=thread_id,
        checkpoints=_use(connection, _checkpoints, thread_id),
        pending_writes=_use(connection, _writes, thread_id),
        runs=made,
        event_segments=replace(segments, at_least=segments.at_least or made.at_least),
        oldest_checkpoint_time=time_of_checkpoint(ends.oldest),
        newest_checkpoint_time=time_of_checkpoint(ends.newest),
    )


def _use(connection: Connection, query: Any, thread_id: str) -> Use:
    count, size = connection.execute(query, {"thread_id": thread_id, "limit": ROWS + 1}).one()
    return Use(min(count, ROWS), int(size), at_least=count > ROWS)


def _sum(rows: Select[Any]) -> Select[Any]:
    found = rows.limit(bindparam("limit")).subquery()
    return select(func.count(), func.coalesce(func.sum(found.c.size), 0)).select_from(found)


def _of_thread(table: Any) -> Any:
    return table.c.thread_id == bindparam("thread_id")


_columns = (runs.c.spec, runs.c.config, runs.c.context, runs.c.output, runs.c.interrupts)
_newest_runs = (
    select(
        runs.c.run_id,
        sum((func.coalesce(byte_length(column), 0) for column in _columns), start=literal(0)).label(
            "size"
        ),
    )
    .where(_of_thread(runs))
    .order_by(runs.c.create_time.desc(), runs.c.run_id.desc())
)
_runs = _sum(_newest_runs)
_checkpoints = _sum(
    select(func.length(checkpoints.c.checkpoint).label("size")).where(_of_thread(checkpoints))
)
_writes = _sum(
    select(func.length(checkpoint_writes.c.value).label("size")).where(
        _of_thread(checkpoint_writes)
    )
)
# Of the newest runs: to look for events of all the others, which have none any more, has no end.
_segments = _sum(
    select(func.length(run_events.c.data).label("size")).where(
        run_events.c.run_id.in_(
            _newest_runs.with_only_columns(runs.c.run_id).limit(bindparam("limit"))
        )
    )
)


def _end(newest: bool) -> Any:
    column = checkpoints.c.checkpoint_id
    return (
        select(column)
        .where(_of_thread(checkpoints), checkpoints.c.checkpoint_ns == "")
        .order_by(column.desc() if newest else column)
        .limit(1)
        .scalar_subquery()
    )


_ends = select(_end(newest=False).label("oldest"), _end(newest=True).label("newest"))
