"""Queries on checkpoints: what runs and callers leave behind on their threads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import Connection, bindparam, delete, insert, literal, or_, select

from runwire.server.model.attempts import Attempt, StateUpdate
from runwire.server.model.errors import AttemptLost, CheckpointNotFound, ThreadInUse, ThreadNotFound
from runwire.server.model.faults import fault
from runwire.server.storage import checkpoint_writes, claims, ownership, threads
from runwire.server.storage.checkpoint_writes import Write
from runwire.server.storage.json_contains import contains
from runwire.server.storage.tables import checkpoint_writes as writes_table
from runwire.server.storage.tables import checkpoints, runs


class CheckpointOutOfOrder(Exception):
    """A checkpoint is not newer than what its namespace holds, so it would never be seen."""

    def __init__(self, checkpoint_id: str, newest: str) -> None:
        super().__init__(
            f"checkpoint {checkpoint_id} is not newer than {newest}, which something else wrote:"
            " this server's clock is behind, or two writers were at work at once"
        )


class CheckpointOutdated(Exception):
    """A checkpoint builds on one that is not its namespace's newest any more: what others have
    stored since would be hidden behind it."""

    def __init__(self, checkpoint_id: str, newest: str) -> None:
        super().__init__(f"checkpoint {checkpoint_id} does not build on the newest one, {newest}")


class Place(NamedTuple):
    """Where a checkpoint is."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str


class Head(NamedTuple):
    """The newest checkpoint of a namespace, and who wrote it (`run_id` is empty for a caller)."""

    checkpoint_id: str
    graph_id: str
    run_id: str


class NewCheckpoint(NamedTuple):
    """A checkpoint to be stored."""

    place: Place
    parent_checkpoint_id: str | None
    run_id: str
    graph_id: str
    type: str
    checkpoint: bytes
    metadata: dict[str, Any]
    configured_by: str = ""


@dataclass(slots=True)
class StoredCheckpoint:
    """A checkpoint with the pending writes that count, in the order in which they apply."""

    place: Place
    parent_checkpoint_id: str | None
    type: str
    checkpoint: bytes
    metadata: dict[str, Any]
    writes: list[Write] = field(default_factory=list)


def add_checkpoint(
    connection: Connection, new: NewCheckpoint, writer: Attempt | StateUpdate | None
) -> None:
    """Store a checkpoint; one that the same run stored under this id is replaced.

    Raises `AttemptLost` if an attempt does not own its run any more, and `CheckpointOutOfOrder`. Of
    a caller's update, `ThreadInUse` while a run of the thread is in flight, `ThreadNotFound` when
    it is deleted, `CheckpointNotFound` if the update has lost its parent, and `CheckpointOutdated`
    if it does not build on the newest checkpoint as it should. None of them when `writer` is None.
    """
    newest = _head_for(connection, writer, new.place)
    if isinstance(writer, StateUpdate):
        _require_newest(newest, new, writer)
        _require_parent(connection, new)
    if newest is not None and newest.checkpoint_id >= new.place.checkpoint_id:
        # Loops of one run that share a namespace store their checkpoints in any order.
        if writer is not None and not (newest.run_id and newest.run_id == new.run_id):
            raise CheckpointOutOfOrder(new.place.checkpoint_id, newest.checkpoint_id)
        connection.execute(_delete_one, new.place._asdict())
    values = {**new.place._asdict(), **new._asdict()}
    del values["place"]
    connection.execute(_insert, values)
    fault("put.before_commit")


def _head_for(
    connection: Connection, writer: Attempt | StateUpdate | None, place: Place
) -> Head | None:
    """Return the newest checkpoint of a place's namespace, if `writer` may add one."""
    _require_own_thread(writer, place.thread_id)
    if not isinstance(writer, Attempt):
        _require_free(connection, writer)
        return head(connection, place.thread_id, place.checkpoint_ns)
    # An attempt asks for both in one statement: it does so at every superstep.
    values = {**place._asdict(), **ownership.own_run(writer)}
    row = connection.execute(_owned_head, values).one_or_none()
    if row is None:
        raise AttemptLost(writer.run_id, writer.number)
    return None if row.checkpoint_id is None else Head._make(row)


def _require_newest(newest: Head | None, new: NewCheckpoint, writer: StateUpdate) -> None:
    """Raise `CheckpointOutdated` if an update is to build on the newest checkpoint and does not.

    What was the newest when the update began still is: nothing has come between. A copy's parent is
    that of its original, so that looking at the parent alone would not do.
    """
    found = newest.checkpoint_id if newest else ""
    if writer.newest is None or found in (writer.newest, new.parent_checkpoint_id or ""):
        return
    raise CheckpointOutdated(new.place.checkpoint_id, found)


def _require_parent(connection: Connection, new: NewCheckpoint) -> None:
    """Raise `CheckpointNotFound` if a checkpoint's parent has gone since a caller's update began:
    on top of it, it would not be what the caller saw. A run has none to fear: no history goes
    while it is in flight."""
    place = new.place
    parent = new.parent_checkpoint_id
    if parent and not exists(connection, place.thread_id, parent, place.checkpoint_ns):
        raise CheckpointNotFound(place.thread_id, parent)


def add_writes(
    connection: Connection,
    place: Place,
    run_id: str,
    new: Sequence[Write],
    writer: Attempt | StateUpdate | None,
) -> None:
    """Store writes of one task, pending on a checkpoint.

    Raises `AttemptLost` if an attempt does not own its run any more; of a caller's update
    `ThreadInUse` while a run of the thread is in flight, and `ThreadNotFound` when it is deleted.
    None of them when `writer` is None.
    """
    _require_own_thread(writer, place.thread_id)
    where = {**place._asdict(), "run_id": run_id, "task_id": new[0].task_id if new else ""}
    if isinstance(writer, Attempt):
        known = checkpoint_writes.positions_while_owned(connection, where, writer)
        if known is None:
            raise AttemptLost(writer.run_id, writer.number)
    else:
        _require_free(connection, writer)
        known = checkpoint_writes.positions(connection, where)
    checkpoint_writes.add_writes(connection, where, new, known)
    fault("put_writes.before_commit")


def _require_own_thread(writer: Attempt | StateUpdate | None, thread_id: str) -> None:
    if writer is not None and thread_id != writer.thread_id:
        raise RuntimeError(f"{writer} may not write to thread {thread_id}")


def _require_free(connection: Connection, update: StateUpdate | None) -> None:
    """Return if a caller may write to the thread, in the transaction that writes."""
    if update is None:
        return
    if not threads.lock_queue(connection, update.thread_id):
        raise ThreadNotFound(update.thread_id)
    if claims.has_in_flight(connection, thread_id=update.thread_id):
        raise ThreadInUse(update.thread_id)


def head(connection: Connection, thread_id: str, checkpoint_ns: str = "") -> Head | None:
    """Return the newest checkpoint of a namespace of the thread."""
    values = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    row = connection.execute(_head, values).one_or_none()
    return None if row is None else Head._make(row)


def newest_id(connection: Connection, thread_id: str) -> str | None:
    """Return the greatest checkpoint id of the thread, in whatever namespace."""
    return connection.scalars(_newest_id, {"thread_id": thread_id}).one_or_none()


def exists(
    connection: Connection, thread_id: str, checkpoint_id: str, checkpoint_ns: str = ""
) -> bool:
    """Return whether the thread has this checkpoint."""
    place = Place(thread_id, checkpoint_ns, checkpoint_id)
    return connection.execute(_one, place._asdict()).one_or_none() is not None


def has_run(connection: Connection, thread_id: str, run_id: str) -> bool:
    """Return whether the run has left anything on the thread to go on from: an attempt that finds
    something resumes from it, and must not send the run's input again.

    A pending write counts if the checkpoint is there that it is pending on: that one could not be
    stored may have been the reason for another attempt.
    """
    return bool(connection.scalar(_has_run, {"thread_id": thread_id, "run_id": run_id}))


def get_checkpoint(
    connection: Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None
) -> StoredCheckpoint | None:
    """Return a checkpoint, or with None as its id the newest of the namespace."""
    values = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
    if checkpoint_id is None:
        row = connection.execute(_select_newest, values).one_or_none()
    else:
        values["checkpoint_id"] = checkpoint_id
        row = connection.execute(_select_one, values).one_or_none()
    return None if row is None else _stored(connection, row)


def list_checkpoints(
    connection: Connection,
    *,
    thread_id: str | None = None,
    checkpoint_ns: str | None = None,
    checkpoint_id: str | None = None,
    before: str | None = None,
    metadata: str | None = None,
    limit: int | None = None,
) -> list[StoredCheckpoint]:
    """Return checkpoints, newest first. What is None does not narrow.

    `before` is a checkpoint id; `metadata` is the text of a JSON object that the checkpoint's
    must contain.
    """
    columns = checkpoints.c
    query = _select.order_by(columns.checkpoint_id.desc(), columns.checkpoint_ns)
    if thread_id is not None:
        query = query.where(columns.thread_id == thread_id)
    if checkpoint_ns is not None:
        query = query.where(columns.checkpoint_ns == checkpoint_ns)
    if checkpoint_id is not None:
        query = query.where(columns.checkpoint_id == checkpoint_id)
    if before is not None:
        query = query.where(columns.checkpoint_id < before)
    if metadata is not None:
        query = query.where(contains(columns.metadata, metadata))
    return [_stored(connection, row) for row in connection.execute(query.limit(limit)).all()]


def list_ancestors(connection: Connection, place: Place, *, limit: int) -> list[StoredCheckpoint]:
    """Return a checkpoint's parent, its parent's parent and so on.

    At most `limit` of them; fewer mean that the chain ends there.
    """
    found: list[StoredCheckpoint] = []
    parent = connection.scalars(_parent_of, place._asdict()).one_or_none()
    while parent is not None and len(found) < limit:
        stored = get_checkpoint(connection, place.thread_id, place.checkpoint_ns, parent)
        if stored is None:
            break
        found.append(stored)
        parent = stored.parent_checkpoint_id
    return found


def delete_run(connection: Connection, run_id: str) -> None:
    """Take back what a run did: its checkpoints and its pending writes, in every namespace."""
    assert run_id, "checkpoints of no run are what callers have written"
    checkpoint_writes.delete_writes_of_run(connection, run_id)
    connection.execute(_delete_of_run, {"run_id": run_id})


def delete_thread(connection: Connection, thread_id: str) -> None:
    """Delete all checkpoints and pending writes of a thread."""
    checkpoint_writes.delete_writes_of_thread(connection, thread_id)
    connection.execute(_delete_of_thread, {"thread_id": thread_id})


def copy_thread(connection: Connection, source: str, target: str) -> None:
    """Copy checkpoints and pending writes to a thread that has none: all but those of runs in
    flight.

    The copies belong to no run, so that taking back a run of the source leaves them alone.
    """
    connection.execute(_copy, {"source": source, "target": target})
    checkpoint_writes.copy_writes(connection, source, target)


def _stored(connection: Connection, row: Any) -> StoredCheckpoint:
    place = Place(row.thread_id, row.checkpoint_ns, row.checkpoint_id)
    return StoredCheckpoint(
        place,
        row.parent_checkpoint_id,
        row.type,
        row.checkpoint,
        row.metadata,
        checkpoint_writes.list_writes(connection, place._asdict()),
    )


_of_thread = checkpoints.c.thread_id == bindparam("thread_id")
_in_namespace = (_of_thread, checkpoints.c.checkpoint_ns == bindparam("checkpoint_ns"))
_here = (*_in_namespace, checkpoints.c.checkpoint_id == bindparam("checkpoint_id"))
_newest_first = checkpoints.c.checkpoint_id.desc()

_head = (
    select(checkpoints.c.checkpoint_id, checkpoints.c.graph_id, checkpoints.c.run_id)
    .where(*_in_namespace)
    .order_by(_newest_first)
    .limit(1)
)
_newest_one = _head.subquery("head")
_owned_head = ownership.while_owned(
    select(*_newest_one.c).select_from(runs.outerjoin(_newest_one, sqlalchemy.true()))
)
_newest_id = select(checkpoints.c.checkpoint_id).where(_of_thread).order_by(_newest_first).limit(1)
_one = select(checkpoints.c.checkpoint_id).where(*_here)
_parent_of = select(checkpoints.c.parent_checkpoint_id).where(*_here)
_has_run = select(
    or_(
        sqlalchemy.exists().where(checkpoints.c.run_id == bindparam("run_id"), _of_thread),
        sqlalchemy.exists().where(
            writes_table.c.run_id == bindparam("run_id"),
            writes_table.c.thread_id == bindparam("thread_id"),
            *(
                writes_table.c[name] == checkpoints.c[name]
                for name in ("thread_id", "checkpoint_ns", "checkpoint_id")
            ),
        ),
    )
)
_select = select(
    checkpoints.c.thread_id,
    checkpoints.c.checkpoint_ns,
    checkpoints.c.checkpoint_id,
    checkpoints.c.parent_checkpoint_id,
    checkpoints.c.type,
    checkpoints.c.checkpoint,
    checkpoints.c.metadata,
)
_select_one = _select.where(*_here)
_select_newest = _select.where(*_in_namespace).order_by(_newest_first).limit(1)

_insert = insert(checkpoints)
_delete_one = delete(checkpoints).where(*_here)
_delete_of_run = delete(checkpoints).where(checkpoints.c.run_id == bindparam("run_id"))
_delete_of_thread = delete(checkpoints).where(_of_thread)

_COPIED = [column for column in checkpoints.c if column.name not in ("thread_id", "run_id")]
_target = bindparam("target", type_=checkpoints.c.thread_id.type)
_copy = insert(checkpoints).from_select(
    ["thread_id", "run_id", *(column.name for column in _COPIED)],
    select(_target, literal(""), *_COPIED).where(
        checkpoints.c.thread_id == bindparam("source"),
        checkpoints.c.run_id.not_in(checkpoint_writes.IN_FLIGHT_OF_SOURCE),
    ),
)
