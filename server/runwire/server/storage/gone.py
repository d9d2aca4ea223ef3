"""Noting what leaves no row behind, for readers of changes: deleted runs and threads, and updates
of threads' states. In the transaction that does it, and kept as long as events are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    insert,
    literal,
    select,
)

from runwire.server.model.changes import ChangeKind
from runwire.server.model.ids import new_id
from runwire.server.storage.change_numbers import next_change
from runwire.server.storage.clock import current_time
from runwire.server.storage.notifications import note_moves
from runwire.server.storage.tables import changes, runs

_COLUMNS = ("run_id", "thread_id", "assistant_id", "graph_id", "state", "metadata")


def note_deleted_runs(
    connection: Connection, which: ColumnElement[bool], values: Mapping[str, Any]
) -> None:
    """Note that the runs for which `which` holds with `values` are about to be deleted. Those that
    were rolled back are gone already."""
    described = select(
        runs.c.run_id,
        *(runs.c[name] for name in _COLUMNS),
        next_change(),
        literal(ChangeKind.RUN_DELETED.value),
        bindparam("now", type_=changes.c.create_time.type),
    ).where(which, ~runs.c.rolled_back)
    statement = (
        insert(changes)
        .from_select(
            ["change_id", *_COLUMNS, "change", "kind", "create_time"],
            described,
            include_defaults=False,
        )
        .returning(changes.c.thread_id)
    )
    thread_ids = connection.scalars(statement, {**values, "now": current_time(connection)}).all()
    if thread_ids:
        note_moves(connection, thread_ids)


def note_deleted_thread(connection: Connection, thread_id: str) -> None:
    """Note that a thread is deleted, and forget what was to be told of its states."""
    connection.execute(_forget_updates, {"this_thread": thread_id})
    _note(connection, ChangeKind.THREAD_DELETED, thread_id, None)


_forget_updates = delete(changes).where(
    changes.c.thread_id == bindparam("this_thread"),
    changes.c.kind == ChangeKind.STATE_UPDATED.value,
)


def note_state_update(connection: Connection, thread_id: str, data: bytes) -> None:
    """Note that a caller has updated a thread's state; `data` is what is told of it."""
    _note(connection, ChangeKind.STATE_UPDATED, thread_id, data)


def _note(connection: Connection, kind: ChangeKind, thread_id: str, data: bytes | None) -> None:
    values = {
        "change_id": new_id(),
        "kind": kind.value,
        "thread_id": thread_id,
        "data": data,
        "create_time": current_time(connection),
    }
    connection.execute(_insert, values)
    note_moves(connection, [thread_id])


_insert = insert(changes)


def forget(connection: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` notes that are older than `before`; return how many there were."""
    return len(connection.execute(_delete_expired, {"before": before, "limit": limit}).all())


# The candidates come from a CTE: a planner may run a LIMIT subquery more than once.
_expired = (
    select(changes.c.change_id)
    .where(changes.c.create_time < bindparam("before", type_=changes.c.create_time.type))
    .order_by(changes.c.create_time)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("expired")
)
_delete_expired = (
    delete(changes)
    .where(changes.c.change_id.in_(select(_expired.c.change_id)))
    # SQLite's driver counts no rows of a statement that begins with a CTE.
    .returning(changes.c.change_id)
)
