"""Queries on threads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    select,
    update,
)

from runwire.server.model.requests import ANY_TIME, Order, Page, SortKey, TimeRange
from runwire.server.model.runs import Interrupt, JsonText, RunError
from runwire.server.model.threads import PruneStrategy, Thread, ThreadState, ThreadTtl
from runwire.server.storage import gone
from runwire.server.storage.json_contains import contains
from runwire.server.storage.pages import read_page
from runwire.server.storage.tables import threads
from runwire.server.storage.time_ranges import within
from runwire.server.storage.values import (
    error_from_data,
    error_to_data,
    interrupts_from_data,
    interrupts_to_data,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadFilter:
    """Which threads; what is empty does not narrow."""

    thread_ids: Sequence[str] = ()
    states: Sequence[ThreadState] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    created: TimeRange = ANY_TIME
    updated: TimeRange = ANY_TIME
    state_updated: TimeRange = ANY_TIME


def add_thread(
    connection: Connection,
    thread_id: str,
    metadata: dict[str, Any],
    now: datetime,
    ttl: ThreadTtl | None = None,
) -> Thread:
    """Store a new, empty thread and return it. No `ttl`: it is kept for ever."""
    row: dict[str, Any] = {
        "thread_id": thread_id,
        "state": ThreadState.IDLE.value,
        "rest_state": ThreadState.IDLE.value,
        "metadata": metadata,
        "values": None,
        "interrupts": [],
        "error": None,
        "create_time": now,
        "update_time": now,
        "state_update_time": now,
        **_ttl_columns(ttl, now),
    }
    connection.execute(_insert, row)
    return Thread(
        thread_id=thread_id,
        state=ThreadState.IDLE,
        metadata=metadata,
        create_time=now,
        update_time=now,
        state_update_time=now,
        ttl=ttl if ttl and ttl.ends else None,
    )


_insert = insert(threads)


def _ttl_columns(ttl: ThreadTtl | None, now: datetime) -> dict[str, Any]:
    if ttl is None or not ttl.ends:
        return {"ttl_seconds": None, "ttl_strategy": None, "ttl_check_time": None}
    return {
        "ttl_seconds": ttl.duration.total_seconds(),
        "ttl_strategy": ttl.strategy.value,
        "ttl_check_time": now + ttl.duration,
    }


def copy_thread(connection: Connection, source: Thread, target: str, now: datetime) -> None:
    """Store a thread that shows what the runs of `source` that have ended have left there."""
    values = {"source": source.thread_id, "target": target, "now": now}
    columns = {f"new_{name}": value for name, value in _ttl_columns(source.ttl, now).items()}
    connection.execute(_copy, {**values, **columns})


def get_thread(connection: Connection, thread_id: str) -> Thread | None:
    """Return a thread, or None."""
    row = connection.execute(_get, {"thread_id": thread_id}).one_or_none()
    return None if row is None else _thread(row)


_get = select(threads).where(threads.c.thread_id == bindparam("thread_id"))


def is_there(connection: Connection, thread_id: str) -> bool:
    """Return whether there is such a thread."""
    return connection.scalar(_is_there, {"thread_id": thread_id}) is not None


_is_there = select(threads.c.thread_id).where(threads.c.thread_id == bindparam("thread_id"))


def lock_queue(connection: Connection, thread_id: str) -> bool:
    """Keep a thread's queue from being changed by others before this transaction ends. Return
    whether there is such a thread."""
    return connection.scalar(_lock_queue, {"thread_id": thread_id}) is not None


_lock_queue = (
    select(threads.c.thread_id)
    .where(threads.c.thread_id == bindparam("thread_id"))
    .with_for_update()
)


def lock_thread(connection: Connection, thread_id: str) -> Thread | None:
    """Return a thread whose queue nobody else can change before this transaction ends, or None."""
    row = connection.execute(_lock, {"thread_id": thread_id}).one_or_none()
    return None if row is None else _thread(row)


_lock = _get.with_for_update()


def list_threads(
    connection: Connection,
    wanted: ThreadFilter,
    order: Order,
    *,
    limit: int,
    cursor: str | None,
    with_values: bool = True,
) -> Page[Thread]:
    """Return up to `limit` threads in their order, from `cursor` on, fewer if their values are
    large; without their values if they are not asked for."""
    columns = threads.c if with_values else (*_BUT_VALUES, null().label("values"))
    column = threads.c[order.by.value]
    by_id = order.by is SortKey.THREAD_ID
    key = (column,) if by_id else (column, threads.c.thread_id)
    query = select(*columns).where(*_conditions(wanted))
    rows, following = read_page(connection, query, key, order, limit, cursor, _size)
    return Page([_thread(row) for row in rows], following)


def _size(row: Row[Any]) -> int:
    values: str | None = row._mapping["values"]
    return 0 if values is None else len(values) if values.isascii() else len(values.encode())


_BUT_VALUES = [column for column in threads.c if column.name != "values"]


def count_threads(connection: Connection, wanted: ThreadFilter) -> int:
    """Return how many threads pass a filter."""
    query = select(func.count()).select_from(threads).where(*_conditions(wanted))
    return connection.scalar(query) or 0


def _conditions(wanted: ThreadFilter) -> list[ColumnElement[bool]]:
    conditions = [
        *within(threads.c.create_time, wanted.created),
        *within(threads.c.update_time, wanted.updated),
        *within(threads.c.state_update_time, wanted.state_updated),
    ]
    if wanted.thread_ids:
        conditions.append(threads.c.thread_id.in_(wanted.thread_ids))
    if len(wanted.states) == 1:  # so that the index of states has the order, too
        conditions.append(threads.c.state == wanted.states[0])
    elif wanted.states:
        conditions.append(threads.c.state.in_(sorted(wanted.states)))
    for column, held in (
        (threads.c.metadata, wanted.metadata),
        (threads.c["values"], wanted.values),
    ):
        if held:
            conditions.append(contains(column, orjson.dumps(held).decode()))
    return conditions


def set_metadata(
    connection: Connection, thread_id: str, metadata: dict[str, Any], now: datetime
) -> None:
    """Replace a thread's metadata."""
    values = {"this_thread": thread_id, "new_metadata": metadata, "now": now}
    connection.execute(_set_metadata, values)


_this = threads.c.thread_id == bindparam("this_thread")
_now = bindparam("now", type_=threads.c.update_time.type)
_set_metadata = (
    update(threads)
    .where(_this)
    .values(metadata=bindparam("new_metadata", type_=threads.c.metadata.type), update_time=_now)
)


def set_ttl(connection: Connection, thread_id: str, ttl: ThreadTtl, now: datetime) -> None:
    """Give a thread another TTL, which counts from now."""
    columns = {f"new_{name}": value for name, value in _ttl_columns(ttl, now).items()}
    connection.execute(_set_ttl, {"this_thread": thread_id, "now": now, **columns})


_set_ttl = (
    update(threads)
    .where(_this)
    .values(
        ttl_seconds=bindparam("new_ttl_seconds", type_=threads.c.ttl_seconds.type),
        ttl_strategy=bindparam("new_ttl_strategy", type_=threads.c.ttl_strategy.type),
        ttl_check_time=bindparam("new_ttl_check_time", type_=_now.type),
        update_time=_now,
    )
)


_given = {
    "thread_id": bindparam("target", type_=threads.c.thread_id.type),
    "state": threads.c.rest_state,
    "create_time": _now,
    "update_time": _now,
    "state_update_time": _now,
    "ttl_seconds": bindparam("new_ttl_seconds", type_=threads.c.ttl_seconds.type),
    "ttl_strategy": bindparam("new_ttl_strategy", type_=threads.c.ttl_strategy.type),
    "ttl_check_time": bindparam("new_ttl_check_time", type_=_now.type),
}
_copy = insert(threads).from_select(
    threads.c.keys(),
    select(*(_given.get(column.name, column) for column in threads.c)).where(
        threads.c.thread_id == bindparam("source")
    ),
)


def set_state(connection: Connection, thread_id: str, *, busy: bool, now: datetime) -> None:
    """Make a thread BUSY, or return it to the state in which its last run left it; nothing
    changes if that is its state."""
    statement = _set_busy if busy else _set_resting
    connection.execute(statement, {"this_thread": thread_id, "now": now})


# A TTL that had passed, and had left nothing to take, counts again.
_ttl_check_time = func.coalesce(
    threads.c.ttl_check_time, case((threads.c.ttl_seconds.is_not(None), _now))
)
_BUSY = ThreadState.BUSY.value
_set_busy = (
    update(threads)
    .where(_this, threads.c.state != _BUSY)
    .values(state=_BUSY, update_time=_now, state_update_time=_now, ttl_check_time=_ttl_check_time)
)
_set_resting = (
    update(threads)
    .where(_this, threads.c.state != threads.c.rest_state)
    .values(state=threads.c.rest_state, update_time=_now, state_update_time=_now)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What a run, or a state update, leaves on its thread. No `values`: they stay as they are."""

    rest_state: ThreadState
    values: JsonText | None = None
    interrupts: tuple[Interrupt, ...] = ()
    error: RunError | None = None


def leave(
    connection: Connection, thread_id: str, remains: Remains, now: datetime, *, busy: bool
) -> None:
    """Store what was left on a thread; `busy`: other runs of it are in flight."""
    values = {
        "this_thread": thread_id,
        "new_state": (ThreadState.BUSY if busy else remains.rest_state).value,
        "new_rest_state": remains.rest_state.value,
        "new_interrupts": interrupts_to_data(remains.interrupts),
        "new_error": error_to_data(remains.error),
        "now": now,
    }
    if remains.values is None:
        connection.execute(_leave, values)
    else:
        connection.execute(_leave_values, {**values, "new_values": remains.values})


_leave = (
    update(threads)
    .where(_this)
    .values(
        state=bindparam("new_state"),
        rest_state=bindparam("new_rest_state"),
        interrupts=bindparam("new_interrupts", type_=threads.c.interrupts.type),
        error=bindparam("new_error", type_=threads.c.error.type),
        update_time=_now,
        state_update_time=_now,
        ttl_check_time=_ttl_check_time,
    )
)
_leave_values = _leave.values({"values": bindparam("new_values", type_=threads.c["values"].type)})


def delete_thread(connection: Connection, thread_id: str) -> bool:
    """Delete a thread that no run refers to. Return whether there was one."""
    gone.note_deleted_thread(connection, thread_id)
    return connection.execute(_delete, {"this_thread": thread_id}).rowcount == 1


_delete = delete(threads).where(_this)


def _thread(row: Row[Any]) -> Thread:
    state = ThreadState(row.state)
    return Thread(
        thread_id=row.thread_id,
        state=state,
        metadata=row.metadata,
        create_time=row.create_time,
        update_time=row.update_time,
        state_update_time=row.state_update_time,
        values=row._mapping["values"],
        interrupts=interrupts_from_data(row.interrupts),
        # A busy thread's is kept for when its run is taken back.
        error=error_from_data(row.error) if state is ThreadState.FAILED else None,
        ttl=_ttl(row),
    )


def _ttl(row: Row[Any]) -> ThreadTtl | None:
    if row.ttl_seconds is None:
        return None
    return ThreadTtl(timedelta(seconds=row.ttl_seconds), PruneStrategy(row.ttl_strategy))
