"""Queries on the threads of assistants: those on which all runs are of one assistant. A run that
was taken back counts for nobody."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, exists, select, tuple_

from runwire.server.storage.tables import runs


class Place(NamedTuple):
    """A place in the list of an assistant's runs."""

    create_time: datetime
    run_id: str


class ThreadRun(NamedTuple):
    """A run of an assistant on a thread, and its place."""

    thread_id: str
    place: Place


_time = runs.c.create_time.type
_of_assistant = (
    runs.c.assistant_id == bindparam("assistant_id"),
    runs.c.thread_id.is_not(None),
    ~runs.c.rolled_back,
)


def list_runs(
    connection: Connection, assistant_id: str, after: Place, *, limit: int
) -> list[ThreadRun]:
    """Return up to `limit` runs of an assistant on threads, in the order of creation."""
    values = {"assistant_id": assistant_id, **after._asdict(), "limit": limit}
    rows = connection.execute(_list_runs, values)
    return [ThreadRun(row.thread_id, Place(row.create_time, row.run_id)) for row in rows]


_list_runs = (
    select(runs.c.thread_id, runs.c.create_time, runs.c.run_id)
    .where(
        *_of_assistant,
        tuple_(runs.c.create_time, runs.c.run_id)
        > tuple_(bindparam("create_time", type_=_time), bindparam("run_id")),
    )
    .order_by(runs.c.create_time, runs.c.run_id)
    .limit(bindparam("limit"))
)


def is_of_one(connection: Connection, thread_id: str, assistant_id: str) -> bool:
    """Return whether no run on a thread is of another assistant."""
    values = {"this_thread": thread_id, "assistant_id": assistant_id}
    return bool(connection.scalar(_is_of_one, values))


_others = runs.alias("others")
_is_of_one = select(
    ~exists().where(
        _others.c.thread_id == bindparam("this_thread"),
        _others.c.assistant_id != bindparam("assistant_id"),
        ~_others.c.rolled_back,
    )
)


def has_thread(connection: Connection, assistant_id: str, since: datetime) -> bool:
    """Return whether an assistant has a thread on which it was given a run after `since`."""
    return bool(connection.scalar(_has_thread, {"assistant_id": assistant_id, "since": since}))


_has_thread = select(
    exists().where(
        *_of_assistant,
        runs.c.create_time > bindparam("since", type_=_time),
        ~exists().where(
            _others.c.thread_id == runs.c.thread_id,
            _others.c.assistant_id != runs.c.assistant_id,
            ~_others.c.rolled_back,
        ),
    )
)
