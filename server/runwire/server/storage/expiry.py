"""Queries on threads whose TTL may have passed.

What happens on a thread need not write down when its TTL passes next: `ttl_check_time` is only
when to look, and whoever looks finds out whether it has passed or when to look again.
"""

from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

from runwire.server.storage.tables import threads


def list_due(connection: Connection, now: datetime, *, limit: int) -> list[str]:
    """Return the ids of up to `limit` threads that are to be looked at, first due first."""
    return list(connection.scalars(_due, {"now": now, "limit": limit}))


_time = threads.c.ttl_check_time.type
_due = (
    select(threads.c.thread_id)
    .where(threads.c.ttl_check_time <= bindparam("now", type_=_time))
    .order_by(threads.c.ttl_check_time)
    .limit(bindparam("limit"))
)


def is_due(connection: Connection, thread_id: str, now: datetime) -> bool:
    """Return whether a thread is there, and still to be looked at."""
    return connection.scalar(_is_due, {"this_thread": thread_id, "now": now}) is not None


_this = threads.c.thread_id == bindparam("this_thread")
_is_due = select(threads.c.thread_id).where(
    _this, threads.c.ttl_check_time <= bindparam("now", type_=_time)
)


def look_again(connection: Connection, thread_id: str, time: datetime | None) -> None:
    """Have a thread looked at no sooner than at `time`; None: not before something happens on
    it, which is only for one that keeps its latest checkpoints."""
    connection.execute(_look_again, {"this_thread": thread_id, "new_time": time})


_look_again = update(threads).where(_this).values(ttl_check_time=bindparam("new_time", type_=_time))
