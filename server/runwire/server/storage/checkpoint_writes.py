"""Queries on pending writes: what a run's tasks wrote before the checkpoint that holds it.

A pending write is kept once per run that made it. Whoever reads puts the layers together, in
`_merged`: of a special channel (its position is negative) the newest write counts, of any other
the first. So taking a run back is deleting its rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    case,
    delete,
    exists,
    insert,
    literal,
    select,
    tuple_,
)

from runwire.server.model.attempts import Attempt
from runwire.server.storage import ownership
from runwire.server.storage.tables import IN_FLIGHT, checkpoints, runs
from runwire.server.storage.tables import checkpoint_writes as writes


class Write(NamedTuple):
    """One pending write of a task, at a position among the task's writes."""

    task_id: str
    task_path: str
    position: int
    channel: str
    type: str
    value: bytes


def positions(connection: Connection, where: Mapping[str, str]) -> set[int]:
    """Return the positions that are taken. `where` names the checkpoint on which the writes are
    pending (`thread_id`, `checkpoint_ns`, `checkpoint_id`), their `task_id`, and the `run_id` of
    the run that makes them."""
    return set(connection.scalars(_positions, where))


def positions_while_owned(
    connection: Connection, where: Mapping[str, str], attempt: Attempt
) -> set[int] | None:
    """Do as `positions` does; None when the attempt no longer has the right to write for its run,
    which otherwise it keeps until the transaction ends."""
    values = {**where, **ownership.own_run(attempt)}
    found = connection.scalars(_positions_while_owned, values).all()
    return {position for position in found if position is not None} if found else None


def add_writes(
    connection: Connection, where: Mapping[str, str], new: Sequence[Write], known: set[int]
) -> None:
    """Store writes of one task; `where` as for `positions`, which has given `known`.

    Where the run has written before, a special channel's write is replaced and any other stays.
    """
    # A list may hold a special channel twice: then the later one counts.
    wanted = {
        write.position: write for write in new if write.position < 0 or write.position not in known
    }
    if replaced := known & wanted.keys():
        connection.execute(
            _delete_of_task, [{**where, "position": position} for position in replaced]
        )
    if wanted:
        rows = [{**where, **write._asdict()} for write in wanted.values()]
        connection.execute(_insert, rows)


def list_writes(connection: Connection, place: Mapping[str, str]) -> list[Write]:
    """Return the pending writes of a checkpoint that count, in the order in which they apply."""
    return _merged(connection.execute(_select, place))


def _merged(rows: Iterable[Any]) -> list[Write]:
    """Return the writes that count, of rows in the order in which they were stored."""
    counting: dict[tuple[str, int], Write] = {}
    for row in rows:
        write = Write._make(row)
        if write.position < 0:
            counting[write.task_id, write.position] = write
        else:
            counting.setdefault((write.task_id, write.position), write)
    return sorted(
        counting.values(), key=lambda write: (write.task_path, write.task_id, write.position)
    )


def delete_writes_of_run(connection: Connection, run_id: str) -> None:
    """Delete the pending writes that a run made, and all that are pending on its checkpoints."""
    connection.execute(_delete_of_run, {"run_id": run_id})
    connection.execute(_delete_on_run, {"run_id": run_id})


def delete_writes_of_thread(connection: Connection, thread_id: str) -> None:
    """Delete all pending writes of a thread."""
    connection.execute(_delete_of_thread, {"thread_id": thread_id})


def copy_writes(connection: Connection, source: str, target: str) -> None:
    """Copy the pending writes that count, as nobody's in particular, to a thread that has the
    checkpoints they are pending on and none itself: all but those of runs in flight."""
    connection.execute(_copy, {"source": source, "target": target})


_of_thread = writes.c.thread_id == bindparam("thread_id")
_on_checkpoint = (
    _of_thread,
    writes.c.checkpoint_ns == bindparam("checkpoint_ns"),
    writes.c.checkpoint_id == bindparam("checkpoint_id"),
)
_of_run = writes.c.run_id == bindparam("run_id")
_of_task = (*_on_checkpoint, writes.c.task_id == bindparam("task_id"), _of_run)

_positions = select(writes.c.index).where(*_of_task)
_positions_while_owned = ownership.while_owned(
    select(writes.c.index).select_from(runs.outerjoin(writes, and_(*_of_task)))
)
_select = (
    select(
        writes.c.task_id,
        writes.c.task_path,
        writes.c.index,
        writes.c.channel,
        writes.c.type,
        writes.c.value,
    )
    .where(*_on_checkpoint)
    .order_by(writes.c.sequence)
)
_insert = insert(writes).values(
    thread_id=bindparam("thread_id"),
    checkpoint_ns=bindparam("checkpoint_ns"),
    checkpoint_id=bindparam("checkpoint_id"),
    task_id=bindparam("task_id"),
    index=bindparam("position"),
    run_id=bindparam("run_id"),
    channel=bindparam("channel"),
    type=bindparam("type"),
    value=bindparam("value"),
    task_path=bindparam("task_path"),
)

_delete_of_task = delete(writes).where(*_of_task, writes.c.index == bindparam("position"))
_delete_of_run = delete(writes).where(_of_run)
_delete_on_run = delete(writes).where(
    tuple_(writes.c.thread_id, writes.c.checkpoint_ns, writes.c.checkpoint_id).in_(
        select(
            checkpoints.c.thread_id, checkpoints.c.checkpoint_ns, checkpoints.c.checkpoint_id
        ).where(checkpoints.c.run_id == bindparam("run_id"))
    )
)
_delete_of_thread = delete(writes).where(_of_thread)

IN_FLIGHT_OF_SOURCE = select(runs.c.run_id).where(
    runs.c.thread_id == bindparam("source"), IN_FLIGHT
)
"""The runs whose writes are not copied, of the thread that a statement calls `source`."""

_other = writes.alias("other")
_overruled = exists().where(
    *(
        _other.c[name] == writes.c[name]
        for name in ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "index")
    ),
    case(
        (writes.c.index < 0, _other.c.sequence > writes.c.sequence),
        else_=_other.c.sequence < writes.c.sequence,
    ),
    _other.c.run_id.not_in(IN_FLIGHT_OF_SOURCE),
)
_COPIED = [column for column in writes.c if column.name not in ("sequence", "thread_id", "run_id")]
_target = bindparam("target", type_=writes.c.thread_id.type)
_on_copied = exists().where(
    checkpoints.c.thread_id == _target,
    checkpoints.c.checkpoint_ns == writes.c.checkpoint_ns,
    checkpoints.c.checkpoint_id == writes.c.checkpoint_id,
)
_copy = insert(writes).from_select(
    ["thread_id", "run_id", *(column.name for column in _COPIED)],
    select(_target, literal(""), *_COPIED).where(
        writes.c.thread_id == bindparam("source"),
        writes.c.run_id.not_in(IN_FLIGHT_OF_SOURCE),
        _on_copied,
        ~_overruled,
    ),
)
