"""Queries on what is kept for a while only: the runs that have ended, and their events.

Each call is a small part of the work, so that a transaction that makes it is short; it is to be
repeated until it finds nothing. Rows that another server is at work on are passed over.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    TextClause,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)

from runwire.server.storage import gone
from runwire.server.storage.tables import STATELESS, run_events, runs

RUNS = 25
"""Runs that one call takes, at most."""

SEGMENTS = 200
"""Segments of events that one call deletes, at most."""

SEGMENT_BYTES = 2 * 1024 * 1024
"""Bytes of events after which one call deletes no more."""


class Leftover(StrEnum):
    """What runs leave behind that is not kept for ever. Each run that has ended is one of these,
    or has been."""

    EVENTS = "events"
    """The events of a run on a thread; the run itself stays with its thread."""
    STATELESS_RUN = "stateless_run"
    """A run without a thread, and its events."""
    ROLLED_BACK_RUN = "rolled_back_run"
    """What tells that a run was taken back, and its events."""


def delete_leftovers(connection: Connection, kind: Leftover, *, before: datetime) -> int:
    """Delete some of what runs left behind that ended before `before`, the oldest first. Return
    how many runs it was about."""
    values = {"before": before, "limit": RUNS}
    found = connection.scalars(_EXPIRED[kind], values).all()
    if not found:
        return 0
    emptied = _delete_events(connection, found)
    if emptied:
        statement = _forget_events if kind is Leftover.EVENTS else _delete_runs
        connection.execute(statement, {"these_runs": emptied})
    return len(found)


def delete_some_of_thread(connection: Connection, thread_id: str) -> bool:
    """Delete some of a thread's runs, none of which is in flight. Return whether there are more."""
    found = connection.scalars(_of_thread, {"thread_id": thread_id, "limit": RUNS}).all()
    if found:
        emptied = _delete_events(connection, found)
        values = {"these_runs": emptied}
        gone.note_deleted_runs(connection, runs.c.run_id.in_(_these), values)
        connection.execute(_delete_runs, values)
        return len(emptied) == RUNS or len(emptied) < len(found)
    return False


def _delete_events(connection: Connection, run_ids: Sequence[str]) -> Sequence[str]:
    """Delete events of runs, as many as one transaction should; return the runs that have none
    any more."""
    values = {"these_runs": run_ids, "limit": SEGMENTS}
    sizes = connection.scalars(_sizes, values).all()
    emptied = run_ids
    if len(sizes) == SEGMENTS or sum(sizes) > SEGMENT_BYTES:
        emptied = _that_fit(connection, run_ids)
    if emptied:
        connection.execute(_delete_events_of, {"these_runs": emptied})
    else:
        _delete_newest_events(connection, run_ids[0])
    return emptied


def _that_fit(connection: Connection, run_ids: Sequence[str]) -> Sequence[str]:
    """Return how many of the runs, the first first, can lose all their events together."""
    segments = size = 0
    for count, run_id in enumerate(run_ids):
        values = {"these_runs": [run_id], "limit": SEGMENTS - segments}
        sizes = connection.scalars(_sizes, values).all()
        segments, size = segments + len(sizes), size + sum(sizes)
        if segments == SEGMENTS or size > SEGMENT_BYTES:
            return run_ids[:count]
    return run_ids


def _delete_newest_events(connection: Connection, run_id: str) -> None:
    """Delete events of one run from its end backwards: of a log without its end nothing is read
    any more."""
    rows = connection.execute(_newest, {"run_id": run_id, "limit": SEGMENTS}).all()
    size = count = 0
    while count < len(rows) and size <= SEGMENT_BYTES:
        size += rows[count].size
        count += 1
    last = rows[count - 1]
    values = {"run_id": run_id, "attempt": last.attempt, "first_index": last.first_index}
    connection.execute(_delete_from, values)


def _expired(*which: ColumnElement[bool] | TextClause) -> Select[str]:
    return (
        select(runs.c.run_id)
        .where(*which, runs.c.end_time < bindparam("before", type_=runs.c.due_time.type))
        .order_by(runs.c.end_time)
        .limit(bindparam("limit"))
        .with_for_update(skip_locked=True)
    )


# The conditions are those of the partial indexes.
_expired_events = _expired(runs.c.events_kept, runs.c.thread_id.is_not(None), ~runs.c.rolled_back)
_expired_stateless_runs = _expired(STATELESS, ~runs.c.rolled_back)
_expired_rolled_back_runs = _expired(runs.c.rolled_back)
_EXPIRED = {
    Leftover.EVENTS: _expired_events,
    Leftover.STATELESS_RUN: _expired_stateless_runs,
    Leftover.ROLLED_BACK_RUN: _expired_rolled_back_runs,
}
_of_thread = (
    select(runs.c.run_id)
    .where(runs.c.thread_id == bindparam("thread_id"))
    .limit(bindparam("limit"))
    # Runs before their events, as everybody does.
    .with_for_update()
)

_these: BindParameter[list[str]] = bindparam("these_runs", expanding=True)
_delete_runs = delete(runs).where(runs.c.run_id.in_(_these))
_forget_events = update(runs).where(runs.c.run_id.in_(_these)).values(events_kept=False)

_sizes = (
    select(func.length(run_events.c.data))
    .where(run_events.c.run_id.in_(_these))
    .limit(bindparam("limit"))
)
_delete_events_of = delete(run_events).where(run_events.c.run_id.in_(_these))
_newest = (
    select(
        run_events.c.attempt,
        run_events.c.first_index,
        func.length(run_events.c.data).label("size"),
    )
    .where(run_events.c.run_id == bindparam("run_id"))
    .order_by(run_events.c.attempt.desc(), run_events.c.first_index.desc())
    .limit(bindparam("limit"))
)
_delete_from = delete(run_events).where(
    run_events.c.run_id == bindparam("run_id"),
    tuple_(run_events.c.attempt, run_events.c.first_index)
    >= tuple_(bindparam("attempt"), bindparam("first_index")),
)
