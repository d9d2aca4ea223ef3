"""Deleting an assistant together with what it runs, and with its threads.

That takes many short transactions, of which the one that deletes the assistant comes last: what
ends before, because the caller goes away or the server stops, is done in part and can be done
again. The assistant's threads are those on which all runs are its own.
"""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from runwire.server.core.prunes import delete_rest
from runwire.server.model.assistants import Assistant
from runwire.server.model.errors import AssistantInUse
from runwire.server.model.runs import CancelAction
from runwire.server.storage import assistant_threads as own
from runwire.server.storage import assistants, claims, crons, locks, pruning, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.pruning import Cursor
from runwire.server.storage.runs import RunFilter

ROUNDS = 10
"""How often the assistant is looked at whose callers start ever more runs."""

RUNS = 200
"""Runs that are looked at together."""

OVERLAP = timedelta(minutes=10)
"""Longer than any transaction lasts. A run's time is that at which the transaction began that
created it, so that one may come to light among older ones."""


class Canceller(Protocol):
    """Cancels runs; see `Runs`."""

    def cancel_many(
        self, wanted: RunFilter, action: CancelAction, *, wait: bool
    ) -> Awaitable[Any]: ...


async def delete_with_runs(
    database: Database, runs: Canceller, assistant_id: str, *, delete_threads: bool
) -> None:
    """Delete an assistant when its runs are cancelled and have ended, and its threads with all that
    is on them. Raises `AssistantInUse` when others start runs of it all the time."""
    since = None
    for _ in range(ROUNDS):
        these = RunFilter(assistant_id=assistant_id)
        await runs.cancel_many(these, CancelAction.INTERRUPT, wait=True)
        if delete_threads:
            since = await _delete_threads(database, assistant_id, since) - OVERLAP
        if await database.write(partial(_delete_if_unused, assistant_id=assistant_id, since=since)):
            return
    raise AssistantInUse(assistant_id)


def delete_unused(connection: Connection, assistant: Assistant) -> None:
    """Delete an assistant. Raises `AssistantInUse` while it has a run in flight."""
    if not _delete_if_unused(connection, assistant.assistant_id, None):
        raise AssistantInUse(assistant.assistant_id)


def _delete_if_unused(connection: Connection, assistant_id: str, since: datetime | None) -> bool:
    """Delete an assistant unless it has a run in flight, or, if `since` is set, a thread of its own
    on which a run was created after that. Return whether it is gone."""
    locks.hold_name(connection, "assistant", assistant_id)
    crons.hold_crons_of(connection, assistant_id)  # they go with it
    # Who creates a run of it keeps it until then: what has been created is there to be seen.
    if not assistants.lock_assistant(connection, assistant_id):
        return True
    if claims.has_in_flight(connection, assistant_id=assistant_id):
        return False
    if since is not None and own.has_thread(connection, assistant_id, since):
        return False
    assistants.delete_assistant(connection, assistant_id)
    return True


async def _delete_threads(
    database: Database, assistant_id: str, since: datetime | None
) -> datetime:
    """Delete the assistant's threads, of runs that were created after `since`. Return when this
    began."""
    begin = await database.read(current_time)
    after = own.Place(since or datetime.min.replace(tzinfo=begin.tzinfo), "")
    while True:
        page = await database.read(
            partial(own.list_runs, assistant_id=assistant_id, after=after, limit=RUNS)
        )
        for thread_id in dict.fromkeys(item.thread_id for item in page):
            await _delete_thread(database, assistant_id, thread_id)
        if len(page) < RUNS:
            return begin
        after = page[-1].place


async def _delete_thread(database: Database, assistant_id: str, thread_id: str) -> None:
    """Delete a thread, unless it is not the assistant's alone, or no longer. One that was begun
    with and then is not has lost some of its history, and can go on."""
    cursor: Cursor | None = Cursor()
    while cursor is not None:
        cursor = await database.write(
            partial(_delete_some, assistant_id=assistant_id, thread_id=thread_id, after=cursor)
        )


def _delete_some(
    connection: Connection, assistant_id: str, thread_id: str, after: Cursor
) -> Cursor | None:
    """Delete some of a thread, behind `after`; return where to go on, None if there is nothing left
    to do."""
    if not threads.lock_queue(connection, thread_id):
        return None
    is_own = own.is_of_one(connection, thread_id, assistant_id)
    if not is_own or claims.has_in_flight(connection, thread_id=thread_id):
        return None
    following, more = pruning.prune_some(connection, thread_id, after)
    if more or delete_rest(connection, thread_id):
        return following
    return None
