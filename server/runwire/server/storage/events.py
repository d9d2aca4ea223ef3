"""Queries on the event log: a row per segment, a segment per flush."""

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, Row, bindparam, func, insert, select, tuple_

from runwire.server.model.events import SEGMENT_BYTES, EventId, Segment
from runwire.server.storage.tables import run_events, runs


def add_segments(connection: Connection, segments: Sequence[Segment]) -> None:
    """Store segments. Two attempts, or two writers of one attempt, can never share a place: the
    primary key refuses the second."""
    if segments:
        connection.execute(_insert, [_row(segment) for segment in segments])


def _row(segment: Segment) -> dict[str, Any]:
    return {
        "run_id": segment.run_id,
        "attempt": segment.attempt,
        "first_index": segment.first_index,
        "last_index": segment.last_index,
        "final": segment.final,
        "lengths": array("I", segment.lengths).tobytes(),
        "data": segment.data,
    }


_insert = insert(run_events)


_beginning = run_events.alias("beginning")


def read_segments(connection: Connection, run_id: str, after: EventId) -> list[Segment]:
    """Return the segments that hold the next events after `after`, in order: about as much as one
    large one holds, so that many slow readers can each hold what they have read."""
    values = {"run_id": run_id, "attempt": after.attempt, "index": after.index}
    found: list[Segment] = []
    size = 0
    with connection.execute(_read, values) as rows:
        for row in rows:
            found.append(_segment(run_id, row))
            size += len(row.data)
            if size >= SEGMENT_BYTES:
                break
    return found


def _segment(run_id: str, row: Row[Any]) -> Segment:
    lengths = tuple(array("I", row.lengths))
    return Segment(run_id, row.attempt, row.first_index, lengths, row.data, row.final)


# The primary key has where segments begin: the one that may hold the next event is the last one
# that begins at it or before. Without that, a reader would pass over all that it has read.
_nearest = (
    select(func.max(_beginning.c.first_index))
    .where(
        _beginning.c.run_id == bindparam("run_id"),
        _beginning.c.attempt == bindparam("attempt"),
        _beginning.c.first_index <= bindparam("index") + 1,
    )
    .scalar_subquery()
)
_read = (
    select(run_events)
    .where(
        run_events.c.run_id == bindparam("run_id"),
        tuple_(run_events.c.attempt, run_events.c.first_index)
        >= tuple_(bindparam("attempt"), func.coalesce(_nearest, 0)),
        tuple_(run_events.c.attempt, run_events.c.last_index)
        > tuple_(bindparam("attempt"), bindparam("index")),
    )
    .order_by(run_events.c.attempt, run_events.c.first_index)
)


def last_event(connection: Connection, run_id: str) -> EventId | None:
    """Return the id of the run's last stored event."""
    row = connection.execute(_last_event, {"run_id": run_id}).one_or_none()
    return None if row is None else EventId(row.attempt, row.last_index)


_last_event = (
    select(run_events.c.attempt, run_events.c.last_index)
    .where(run_events.c.run_id == bindparam("run_id"))
    .order_by(run_events.c.attempt.desc(), run_events.c.first_index.desc())
    .limit(1)
)


class Progress(NamedTuple):
    """How far a run has come: its last stored event, None before the first or when retention has
    taken them, and whether it has ended."""

    last: EventId | None
    ended: bool


def progress(connection: Connection, run_ids: Sequence[str]) -> dict[str, Progress]:
    """Return how far each of `run_ids` has come; those that are not there are left out."""
    rows = connection.execute(_progress, {"these_runs": run_ids})
    return {row.run_id: _progress_of(row) for row in rows}


def _progress_of(row: Row[Any]) -> Progress:
    last = None if row.last_attempt is None else EventId(row.last_attempt, row.last_index)
    return Progress(last, row.ended)


_newest = (
    select(run_events.c.run_id)
    .where(run_events.c.run_id == runs.c.run_id)
    .order_by(run_events.c.attempt.desc(), run_events.c.first_index.desc())
    .limit(1)
    .correlate(runs)
)
_these: BindParameter[list[str]] = bindparam("these_runs", expanding=True)
_progress = select(
    runs.c.run_id,
    runs.c.end_time.is_not(None).label("ended"),
    _newest.with_only_columns(run_events.c.attempt).scalar_subquery().label("last_attempt"),
    _newest.with_only_columns(run_events.c.last_index).scalar_subquery().label("last_index"),
).where(runs.c.run_id.in_(_these))


def has_end(connection: Connection, run_id: str) -> bool:
    """Return whether the log holds the run's last event: it does from the run's end on, until
    retention takes the events, that one first."""
    return bool(connection.scalar(_has_end, {"run_id": run_id}))


_has_end = (
    select(run_events.c.final)
    .where(run_events.c.run_id == bindparam("run_id"))
    .order_by(run_events.c.attempt.desc(), run_events.c.first_index.desc())
    .limit(1)
)
