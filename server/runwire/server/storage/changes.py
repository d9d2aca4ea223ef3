"""Queries on what has changed since somebody looked. A run is told of as it is now, however often
it has changed: its row has the number of its last change.

A transaction's changes become visible at its commit, and that may be later than a commit with
greater numbers. What a reader has seen is therefore a `Horizon`, and never a number alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
    select,
    tuple_,
    union,
    update,
)

from runwire.server.model.changes import (
    NOTHING,
    Change,
    ChangeKey,
    ChangeKind,
    DeletedRun,
    Horizon,
    Place,
)
from runwire.server.model.runs import RunState
from runwire.server.storage.json_contains import contains
from runwire.server.storage.runs import RunFilter, get_runs, passing
from runwire.server.storage.tables import ACTIVE, IN_FLIGHT, changes, runs


def horizon(connection: Connection) -> Horizon:
    """Return what can be seen in this transaction, which must be a reading one."""
    if connection.dialect.name == "sqlite":
        return Horizon((connection.scalar(_newest) or 0) + 1)
    _, following, still_open = str(connection.scalar(_snapshot)).split(":")
    return Horizon(int(following), tuple(map(int, filter(None, still_open.split(",")))))


_newest = select(
    func.max(
        func.coalesce(select(func.max(runs.c.change)).scalar_subquery(), 0),
        func.coalesce(select(func.max(changes.c.change)).scalar_subquery(), 0),
    )
)
_snapshot = select(cast(func.pg_current_snapshot(), Text))


def forget_foreign_numbers(connection: Connection) -> None:
    """Give the least number to what has one that no transaction here has had: a dump brings its
    own, and PostgreSQL numbers the transactions of a new cluster from the beginning. They would
    count as not seen for ever, and not be told of."""
    if connection.dialect.name != "sqlite":
        for statement in _forget_foreign:
            connection.execute(statement)


_next_number = cast(cast(func.pg_snapshot_xmax(func.pg_current_snapshot()), Text), BigInteger)
_forget_foreign = [
    update(table).where(table.c.change >= _next_number).values(change=0)
    for table in (runs, changes)
]


def list_changes(
    connection: Connection, wanted: RunFilter, place: Place, *, limit: int
) -> list[Change]:
    """Return up to `limit` changes of runs that are `wanted`, after a place that has its `until`,
    in the order of their numbers; also those that were rolled back, and those that were deleted
    since."""
    found = _moved(connection, wanted, place, limit)
    if place.seen != NOTHING:
        found += _noted(connection, _narrowed(_deleted, wanted), place, limit)
    return sorted(found, key=lambda change: change.key)[:limit]


def list_changes_of_thread(
    connection: Connection, thread_id: str, place: Place, *, limit: int
) -> list[Change]:
    """Return up to `limit` changes of a thread and its runs, as `list_changes` does."""
    found = _moved(connection, RunFilter(thread_id=thread_id), place, limit)
    query = _notes.where(changes.c.thread_id == thread_id)
    if place.seen == NOTHING:
        # Of another thread, which had the same name.
        query = query.where(changes.c.kind != ChangeKind.THREAD_DELETED.value)
    found += _noted(connection, query, place, limit)
    return sorted(found, key=lambda change: change.key)[:limit]


def _moved(connection: Connection, wanted: RunFilter, place: Place, limit: int) -> list[Change]:
    query = passing(select(runs.c.change, runs.c.run_id), replace(wanted, assistant_id=""))
    if wanted.assistant_id:
        # So that the index of changes is taken: SQLite would read all that the assistant ever ran,
        # and again whenever any run has moved.
        query = query.where(func.coalesce(runs.c.assistant_id, "") == wanted.assistant_id)
    if wanted.states:
        query = query.where(runs.c.state.in_(sorted(wanted.states)))
    if place.unfinished:
        # As a list of ids: SQLite would read all runs, because they are in order.
        query = query.where(IN_FLIGHT, runs.c.run_id.in_(_unfinished))
    rows = connection.execute(_after(query, runs, runs.c.run_id, place, limit)).all()
    there = get_runs(connection, [row.run_id for row in rows])
    return [
        Change(ChangeKey(row.change, row.run_id), ChangeKind.MOVED, run=there[row.run_id])
        for row in rows
    ]


_in_flight = runs.alias("in_flight")
_unfinished = select(_in_flight.c.run_id).where(IN_FLIGHT)


def _noted(connection: Connection, query: Select[Any], place: Place, limit: int) -> list[Change]:
    rows = connection.execute(_after(query, changes, changes.c.change_id, place, limit))
    return [_note(row) for row in rows]


_notes = select(changes)
_deleted = _notes.where(changes.c.kind == ChangeKind.RUN_DELETED.value)


def _narrowed(query: Select[Any], wanted: RunFilter) -> Select[Any]:
    if wanted.thread_id:
        query = query.where(changes.c.thread_id == wanted.thread_id)
    if wanted.assistant_id:
        query = query.where(changes.c.assistant_id == wanted.assistant_id)
    if wanted.states:
        query = query.where(changes.c.state.in_(sorted(wanted.states)))
    if wanted.metadata:
        text = orjson.dumps(wanted.metadata).decode()
        query = query.where(contains(changes.c.metadata, text))
    return query


def _after(
    query: Select[Any], table: Table, change_id: ColumnElement[str], place: Place, limit: int
) -> Select[Any]:
    """Return a query on what comes after a place, the first `limit` of it."""
    assert place.until is not None
    key = (table.c.change, change_id)
    query = query.where(_unseen(table, place.seen), table.c.change < place.until.next)
    if place.until.open:
        # Of these, what has become visible meanwhile comes with what is told of later.
        query = query.where(table.c.change.not_in(place.until.open))
    return query.where(tuple_(*key) > tuple_(*place.after)).order_by(*key).limit(limit)


def _unseen(table: Table, seen: Horizon) -> ColumnElement[bool]:
    if not seen.open:
        return table.c.change >= seen.next
    # The first half says nothing new, but where in the index to begin.
    return (table.c.change >= min(seen.open)) & (
        (table.c.change >= seen.next) | table.c.change.in_(seen.open)
    )


def list_changed_threads(connection: Connection, seen: Horizon) -> Sequence[str | None]:
    """Return the threads on which something has changed that is not `seen`; None among them: runs
    without a thread have."""
    moved = select(runs.c.thread_id).where(_unseen(runs, seen))
    noted = select(changes.c.thread_id).where(_unseen(changes, seen))
    return connection.scalars(union(moved, noted)).all()


def active_of_thread(connection: Connection, thread_id: str) -> str | None:
    """Return the run of a thread that executes, None if there is none."""
    return connection.scalars(_active, {"thread_id": thread_id}).one_or_none()


_active = select(runs.c.run_id).where(runs.c.thread_id == bindparam("thread_id"), ACTIVE)


def _note(row: Row[Any]) -> Change:
    kind = ChangeKind(row.kind)
    deleted = None
    if kind is ChangeKind.RUN_DELETED:
        deleted = DeletedRun(
            run_id=row.run_id,
            thread_id=row.thread_id,
            assistant_id=row.assistant_id,
            graph_id=row.graph_id,
            state=RunState(row.state),
            metadata=row.metadata,
        )
    key = ChangeKey(row.change, row.change_id)
    return Change(key, kind, deleted=deleted, data=row.data or b"")
