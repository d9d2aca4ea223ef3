"""What must be looked after although nobody asks: transactions on an open connection."""

from datetime import datetime, timedelta
from itertools import count

from runwire.server.core.endings import queue_again, recover_run
from runwire.server.core.logs import Encode
from runwire.server.model.faults import fault
from runwire.server.model.runs import Run
from runwire.server.storage import locks, runs
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection

BATCH = 200
"""Rows that one sweep touches, so that other writers get their turn."""

TRIAL = timedelta(seconds=1)
"""How far apart runs begin of which one may take the server down."""


def look(connection: Connection) -> tuple[bool, datetime | None]:
    """Return whether there is anything to claim now, and when the next delay will have passed."""
    return runs.is_any_due(connection, current_time(connection)), runs.next_wake(connection)


def claim(connection: Connection, *, owner: str, limit: int) -> list[Run]:
    """Claim up to `limit` runs for `owner`, after letting those in whose delay has passed."""
    now = current_time(connection)
    _wake(connection, now)
    claimed = runs.claim_runs(connection, owner=owner, limit=limit, now=now)
    fault("claim.before_commit")
    return claimed


def _wake(connection: Connection, now: datetime) -> None:
    due = runs.list_due(connection, now, limit=BATCH)
    if not due:
        return
    held = locks.try_threads(connection, [run.thread_id for run in due])
    # What is not held now, somebody else is at work on, or the next claim will see to it.
    free = [run.run_id for run in due if run.thread_id is None or run.thread_id in held]
    for run in runs.wake_runs(connection, free, now) if free else ():
        queue_again(connection, run.run_id, run.thread_id, now)


def recover_orphans(
    connection: Connection, *, owner: str, encode: Encode, max_attempts: int
) -> list[Run]:
    """Take back the runs whose server is gone; return those that this ended.

    On SQLite the file belongs to one server, so whatever another server owned is an orphan. Runs
    that may have taken their server down begin their last attempt one after the other, so that the
    one that did shows: of several that have no attempt left, only the one that began last fails,
    and the others get another one.
    """
    now = current_time(connection)
    orphans = runs.owned_by_others(connection, owner)
    used_up = [run for run in orphans if run.attempts_used >= max_attempts and not run.cancel]
    spared_ids = {run.run_id for run in used_up[:-1]} if max_attempts > 1 else set()
    trials = count()
    ended = []
    for run in orphans:
        spared = run.run_id in spared_ids
        is_last = run.attempts_used - spared == max_attempts - 1
        recovered = recover_run(
            connection,
            run,
            encode,
            max_attempts=max_attempts,
            spared=spared,
            wake_time=now + next(trials) * TRIAL if is_last else None,
        )
        ended += [recovered] if recovered else []
    fault("sweep.before_commit")
    return ended


def list_cancelling(connection: Connection, *, owner: str) -> list[str]:
    """Return the runs that `owner` executes and has to stop."""
    return runs.cancelling_of(connection, owner)


def owned(connection: Connection, *, owner: str) -> list[Run]:
    """Return the runs that `owner` executes by the database's account."""
    return runs.owned_by(connection, owner)


def recover_lost(
    connection: Connection, run: Run, *, encode: Encode, max_attempts: int
) -> Run | None:
    """Take back a run of this very server that it does not execute; return it if that ended it.

    Nothing happens when the run has moved since it was read.
    """
    locks.hold_threads(connection, [run.thread_id])
    current = runs.lock_run(connection, run.run_id)
    if current is None or (current.owner, current.attempt) != (run.owner, run.attempt):
        return None
    ended = recover_run(connection, current, encode, max_attempts=max_attempts)
    fault("sweep.before_commit")
    return ended
