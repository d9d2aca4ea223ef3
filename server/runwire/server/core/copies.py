"""Copying threads: one transaction, so that a copy is a thread as it was at one moment."""

from datetime import timedelta

from runwire.server.core.requests import remember, replay
from runwire.server.model.errors import ThreadExists, ThreadNotFound
from runwire.server.model.faults import fault
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.threads import Thread
from runwire.server.storage import checkpoints, locks, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection


def copy_thread(
    connection: Connection,
    thread_id: str,
    new_thread_id: str | None,
    request: RequestKey | None,
    *,
    request_retention: timedelta,
) -> Thread:
    """Store a thread that is as another one is, and return it; the one that was stored before if
    the request is repeated.

    What runs that have not ended have done so far is not copied, and what a thread shows is what
    the last run that ended has left: the two belong together.

    Raises `ThreadNotFound`, `ThreadExists`, `RequestIdReused`.
    """
    now = current_time(connection)
    if request is not None:
        known = replay(connection, request, since=now - request_retention)
        if known is not None:
            return _found(known[0], threads.get_thread(connection, known[0]))
    if new_thread_id is not None:
        locks.hold_name(connection, "thread", new_thread_id)
    # While it is held, no run on it begins or ends.
    source = _found(thread_id, threads.lock_thread(connection, thread_id))
    if new_thread_id is not None and threads.get_thread(connection, new_thread_id) is not None:
        raise ThreadExists(new_thread_id)
    target = new_thread_id or new_id()
    threads.copy_thread(connection, source, target, now)
    checkpoints.copy_thread(connection, thread_id, target)
    if request is not None:
        remember(connection, request, [target], now)
    fault("copy.before_commit")
    return _found(target, threads.get_thread(connection, target))


def _found(thread_id: str, thread: Thread | None) -> Thread:
    if thread is None:
        raise ThreadNotFound(thread_id)
    return thread
