"""Deleting threads, or their histories, when a caller says so. What a TTL does is in `expiry`."""

from dataclasses import dataclass
from functools import partial

from runwire.server.model.errors import RunwireError, ThreadInUse, ThreadNotFound
from runwire.server.model.threads import PruneStrategy
from runwire.server.storage import checkpoints, claims, pruning, retention, runs, threads
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.pruning import Cursor


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What became of one thread: pruned, or why it was not."""

    thread_id: str
    error: RunwireError | None = None


def delete_thread(connection: Connection, thread_id: str) -> None:
    """Delete a thread with all that belongs to it. Raises `ThreadNotFound`, and `ThreadInUse` while
    it has a run in flight."""
    _hold_unused(connection, thread_id)
    runs.delete_runs_of_thread(connection, thread_id)
    checkpoints.delete_thread(connection, thread_id)
    threads.delete_thread(connection, thread_id)


def delete_rest(connection: Connection, thread_id: str) -> bool:
    """Delete what is left of a thread whose history is gone, or some of that. Return whether there
    is more."""
    if retention.delete_some_of_thread(connection, thread_id):
        return True
    checkpoints.delete_thread(connection, thread_id)
    threads.delete_thread(connection, thread_id)
    return False


async def prune_thread(database: Database, thread_id: str, strategy: PruneStrategy) -> PruneResult:
    """Do with one thread what `strategy` says."""
    try:
        if strategy is PruneStrategy.DELETE:
            await database.write(lambda connection: delete_thread(connection, thread_id))
        else:
            await _delete_history(database, thread_id)
    except (ThreadNotFound, ThreadInUse) as error:
        return PruneResult(thread_id, error)
    return PruneResult(thread_id)


async def _delete_history(database: Database, thread_id: str) -> None:
    """Delete a thread's history in small transactions. Whatever comes between two of them finds a
    whole thread, which has lost some of its history."""
    cursor, more = Cursor(), True
    while more:
        cursor, more = await database.write(partial(_prune_some, thread_id=thread_id, after=cursor))


def _prune_some(connection: Connection, thread_id: str, after: Cursor) -> tuple[Cursor, bool]:
    _hold_unused(connection, thread_id)
    return pruning.prune_some(connection, thread_id, after)


def _hold_unused(connection: Connection, thread_id: str) -> None:
    """Keep a thread's queue, which must be empty, from being changed before this transaction
    ends."""
    if not threads.lock_queue(connection, thread_id):
        raise ThreadNotFound(thread_id)
    if claims.has_in_flight(connection, thread_id=thread_id):
        raise ThreadInUse(thread_id)
