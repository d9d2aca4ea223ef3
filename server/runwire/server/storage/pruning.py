"""Deleting a thread's history, but not what its state is rebuilt from."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    delete,
    func,
    select,
    tuple_,
)

from runwire.server.storage.tables import checkpoint_writes as writes
from runwire.server.storage.tables import checkpoints

CHECKPOINTS = 200
"""Checkpoints that one call looks at, at most."""

CHECKPOINT_BYTES = 2 * 1024 * 1024
"""Bytes of checkpoints and of their writes after which one call looks no further."""

_STRIDE = 100
"""Ancestors that are read at once where a state is rebuilt from many."""


class Cursor(NamedTuple):
    """The last checkpoint that was looked at."""

    checkpoint_ns: str = ""
    checkpoint_id: str = ""


def prune_some(connection: Connection, thread_id: str, after: Cursor) -> tuple[Cursor, bool]:
    """Delete some of the checkpoints behind `after`, and what is pending on them, except each
    namespace's newest checkpoint and what that one is rebuilt from. Return where to go on, and
    whether there may be more."""
    rows, more = _page(connection, thread_id, after)
    if not rows:
        return after, False
    last = Cursor(rows[-1].checkpoint_ns, rows[-1].checkpoint_id)
    for namespace, group in groupby(rows, lambda row: row.checkpoint_ns):
        found = [row.checkpoint_id for row in group]
        whole = namespace != after.checkpoint_ns and (namespace != last.checkpoint_ns or not more)
        if len(found) == 1 and whole:
            continue  # as of a subgraph that was called once: its only one is its newest
        kept = _kept(connection, thread_id, namespace)
        superfluous = [checkpoint_id for checkpoint_id in found if checkpoint_id not in kept]
        if superfluous:
            _delete(connection, thread_id, namespace, superfluous)
    return last, more


def prune_thread(connection: Connection, thread_id: str) -> None:
    """Do as `prune_some` does, to its end."""
    cursor, more = Cursor(), True
    while more:
        cursor, more = prune_some(connection, thread_id, cursor)


def _page(connection: Connection, thread_id: str, after: Cursor) -> tuple[Sequence[Any], bool]:
    """Return the next checkpoints by namespace and id, as many as one transaction should delete,
    and whether there may be more."""
    values = {"thread_id": thread_id, **after._asdict(), "limit": CHECKPOINTS}
    rows = connection.execute(_next, values).all()
    count = size = 0
    while count < len(rows) and size <= CHECKPOINT_BYTES:
        size += rows[count].size
        count += 1
    return rows[:count], count < len(rows) or len(rows) == CHECKPOINTS


def _delete(
    connection: Connection, thread_id: str, namespace: str, checkpoint_ids: Sequence[str]
) -> None:
    values = {
        "thread_id": thread_id,
        "checkpoint_ns": namespace,
        "these_checkpoints": checkpoint_ids,
    }
    connection.execute(_delete_writes, values)
    connection.execute(_delete_checkpoints, values)


def _kept(connection: Connection, thread_id: str, namespace: str) -> set[str]:
    """Return which of a namespace's checkpoints must stay.

    A delta channel is stored whole only now and then and rebuilt from the writes since. While a
    checkpoint's metadata counts the steps since then for a channel, that channel needs the
    checkpoint's parent.
    """
    known: dict[str, Any] = {}
    row = _read(connection, thread_id, namespace, None, known)
    kept: set[str] = set()
    channels: set[str] | None = None
    while row is not None and row.checkpoint_id not in kept:
        kept.add(row.checkpoint_id)
        counted = set(row.metadata.get("counters_since_delta_snapshot") or ())
        channels = counted if channels is None else channels & counted
        needed = row.parent_checkpoint_id if channels else None
        row = _read(connection, thread_id, namespace, needed, known) if needed else None
    return kept


def _read(
    connection: Connection,
    thread_id: str,
    namespace: str,
    checkpoint_id: str | None,
    known: dict[str, Any],
) -> Any:
    """Return a checkpoint, the newest if it is not named, or None. What is read with it stays
    `known`: an ancestor is not far from its child."""
    if checkpoint_id is None or checkpoint_id not in known:
        values = {"thread_id": thread_id, "checkpoint_ns": namespace}
        if checkpoint_id is None:
            rows = connection.execute(_newest, values).all()
            return rows[0] if rows else None
        values["checkpoint_id"] = checkpoint_id
        known |= {row.checkpoint_id: row for row in connection.execute(_from, values)}
    return known.get(checkpoint_id)


_in_namespace = (
    checkpoints.c.thread_id == bindparam("thread_id"),
    checkpoints.c.checkpoint_ns == bindparam("checkpoint_ns"),
)
_link = select(
    checkpoints.c.checkpoint_id, checkpoints.c.parent_checkpoint_id, checkpoints.c.metadata
)
_newest = _link.where(*_in_namespace).order_by(checkpoints.c.checkpoint_id.desc()).limit(1)
_from = (
    _link.where(*_in_namespace, checkpoints.c.checkpoint_id <= bindparam("checkpoint_id"))
    .order_by(checkpoints.c.checkpoint_id.desc())
    .limit(_STRIDE)
)

_of_writes = (
    select(func.coalesce(func.sum(func.length(writes.c.value)), 0))
    .where(
        *(
            writes.c[name] == checkpoints.c[name]
            for name in ("thread_id", "checkpoint_ns", "checkpoint_id")
        )
    )
    .scalar_subquery()
)
_next = (
    select(
        checkpoints.c.checkpoint_ns,
        checkpoints.c.checkpoint_id,
        (func.length(checkpoints.c.checkpoint) + _of_writes).label("size"),
    )
    .where(
        checkpoints.c.thread_id == bindparam("thread_id"),
        tuple_(checkpoints.c.checkpoint_ns, checkpoints.c.checkpoint_id)
        > tuple_(bindparam("checkpoint_ns"), bindparam("checkpoint_id")),
    )
    .order_by(checkpoints.c.checkpoint_ns, checkpoints.c.checkpoint_id)
    .limit(bindparam("limit"))
)

_these: BindParameter[list[str]] = bindparam("these_checkpoints", expanding=True)
_delete_checkpoints = delete(checkpoints).where(
    *_in_namespace, checkpoints.c.checkpoint_id.in_(_these)
)
_delete_writes = delete(writes).where(
    writes.c.thread_id == bindparam("thread_id"),
    writes.c.checkpoint_ns == bindparam("checkpoint_ns"),
    writes.c.checkpoint_id.in_(_these),
)
