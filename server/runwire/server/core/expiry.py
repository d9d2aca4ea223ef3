"""Threads on which nothing has happened for longer than their TTL says.

A large thread goes in many small transactions. Each of them looks again whether the thread is still
one to take, and leaves a thread that can go on: one on which something happens meanwhile has lost
its history, and that it had lost anyway.
"""

import random
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from runwire.server.core.prunes import delete_rest
from runwire.server.model.threads import PruneStrategy
from runwire.server.storage import (
    claims,
    expiry,
    locks,
    pruning,
    threads,
)
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.pruning import Cursor

BATCH = 100
"""Threads that are looked up at once."""


class Write(Protocol):
    """Makes a transaction and returns what it returns."""

    def __call__(self, function: Callable[[Connection], Any]) -> Awaitable[Any]: ...


async def expire_threads(database: Database, write: Write) -> None:
    """Do with the threads whose TTL has passed what it says."""
    begin = await database.read(current_time)
    while True:
        due = await database.read(partial(expiry.list_due, now=begin, limit=BATCH))
        # Servers that sweep at the same time begin at different ends.
        random.shuffle(due)
        taken = [await _expire(write, thread_id, begin) for thread_id in due]
        if not any(taken):
            return


async def _expire(write: Write, thread_id: str, begin: datetime) -> bool:
    """Do with one thread that was due at `begin` what its TTL says; return whether it was this
    server that did."""
    cursor, taken = Cursor(), False
    while True:
        following = await write(partial(expire_some, thread_id=thread_id, due=begin, after=cursor))
        if following is None:
            return taken
        taken = True
        if following == _DONE:
            return taken
        cursor = following


_DONE = Cursor("\U0010ffff")


def expire_some(
    connection: Connection, thread_id: str, due: datetime, after: Cursor
) -> Cursor | None:
    """Take some of a thread whose TTL has passed, behind `after`; find out when it passes if it
    has not. Return where to go on, `_DONE` when there is nothing left to do, or None for a thread
    that is no longer to be looked at since `due`, or that somebody else is at work on."""
    now = current_time(connection)
    if not locks.try_threads(connection, [thread_id]):
        return None
    thread = threads.get_thread(connection, thread_id)
    if thread is None or thread.ttl is None or not expiry.is_due(connection, thread_id, due):
        return None
    # The end of a run counts as something that happens.
    in_flight = claims.has_in_flight(connection, thread_id=thread_id)
    expire_time = (now if in_flight else thread.update_time) + thread.ttl.duration
    if expire_time > now:
        expiry.look_again(connection, thread_id, expire_time)
        return _DONE
    following, more = pruning.prune_some(connection, thread_id, after)
    if more:
        return following
    if thread.ttl.strategy is PruneStrategy.KEEP_LATEST:
        expiry.look_again(connection, thread_id, None)
        return _DONE
    return following if delete_rest(connection, thread_id) else _DONE
