"""What must be looked after although nobody asks: transactions on an open connection."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from runwire.server.core.endings import queue_again, recover_run
from runwire.server.core.logs import Encode
from runwire.server.model.faults import fault
from runwire.server.model.runs import Run
from runwire.server.storage import claims, locks, ownership, queues, runs, servers
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection
from runwire.server.storage.ownership import Owned

BATCH = 200
"""Rows that one sweep touches, so that other writers get their turn."""

COUNTED = 20_000
"""Runs that are counted at most."""

TRIAL = timedelta(seconds=1)
"""How far apart runs begin of which one may take the server down."""


def look(connection: Connection, graph_ids: Sequence[str]) -> tuple[bool, timedelta | None]:
    """Return whether a server that knows these graphs has anything to claim now, and in how long
    the next delay will have passed: by the database's clock, which need not be this machine's."""
    now = current_time(connection)
    next_wake = claims.next_wake(connection)
    is_any = claims.is_any_due(connection, graph_ids, now)
    return is_any, None if next_wake is None else next_wake - now


def claim(connection: Connection, *, owner: str, graph_ids: Sequence[str], limit: int) -> list[Run]:
    """Claim up to `limit` runs of graphs that `owner` knows, after letting those in whose delay has
    passed. Nothing if it holds no lease: others would take the runs at once."""
    now = current_time(connection)
    if not servers.may_act(connection, owner, now):
        return []
    _wake(connection, now)
    claimed = claims.claim_runs(connection, owner=owner, graph_ids=graph_ids, limit=limit, now=now)
    fault("claim.before_commit")
    return claimed


def count_unknown(connection: Connection, graph_ids: Collection[str]) -> dict[str, int]:
    """Return how many runs wait for each graph that is none of these, counting no further than is
    soon done."""
    return {
        queue.graph_id: queue.pending + queue.delayed
        for queue in queues.count_in_flight(connection, up_to=COUNTED).graphs
        if queue.graph_id not in graph_ids and queue.pending + queue.delayed
    }


def _wake(connection: Connection, now: datetime) -> None:
    due = claims.list_due(connection, now, limit=BATCH)
    if not due:
        return
    held = locks.try_threads(connection, [run.thread_id for run in due])
    # What is not held now, somebody else is at work on, or the next claim will see to it.
    free = [run.run_id for run in due if run.thread_id is None or run.thread_id in held]
    for run in claims.wake_runs(connection, free, now) if free else ():
        queue_again(connection, run.run_id, run.thread_id, now)


class Recovery(NamedTuple):
    """What became of runs that were taken from a server: how many could be, and those of them that
    this ended."""

    taken: int
    ended: list[Run]


def list_lost(connection: Connection) -> list[str]:
    """Return the servers that own runs and hold no lease: nobody executes those runs, or nobody
    whose word still counts."""
    return ownership.list_lost_owners(connection, current_time(connection))


def list_owned(connection: Connection, owner: str) -> list[Owned]:
    """Return the runs that `owner` executes by the database's account, in the order in which they
    began."""
    return ownership.owned_by(connection, owner)


def recover_orphans(
    connection: Connection,
    owner: str,
    run_ids: Collection[str],
    *,
    encode: Encode,
    max_attempts: int,
) -> Recovery:
    """Take runs from a server that holds no lease. What somebody else is at work on is left for
    another time, and everything if the server has come back.

    Runs that may have taken their server down begin their last attempt one after the other, so that
    the one that did shows: of several of a server that have no attempt left, only the one that
    began last fails, and the others get another one. It is left, too, until all of those can be
    taken. A server that was told to stop was not taken down: then no attempt counts.
    """
    now = current_time(connection)
    stopped = False
    if servers.get_server(connection, owner) is not None:
        # Locked, so that two sweepers never choose at once which of its runs fails.
        dead = servers.lock_dead(connection, owner, now)
        if dead is None:
            return Recovery(0, [])
        stopped = dead.draining
    used_up = [
        run.run_id
        for run in ownership.owned_by(connection, owner)
        if run.attempts_used >= max_attempts and not run.is_cancelled
    ]
    spared_ids = set(used_up[:-1]) if max_attempts > 1 else set()
    trials = _Trials(connection, now)
    orphans = _lock_orphans(connection, owner, run_ids)
    if not stopped and spared_ids.difference(run.run_id for run in orphans):
        # Whoever is left behind would look like the one that began last.
        orphans = [run for run in orphans if run.run_id != used_up[-1]]
    ended = []
    for run in orphans:
        spared = stopped or run.run_id in spared_ids
        is_last = not stopped and run.attempts_used - spared == max_attempts - 1
        recovered = recover_run(
            connection,
            run,
            encode,
            max_attempts=max_attempts,
            spared=spared,
            wake_time=trials.take() if is_last and run.cancel is None else None,
        )
        ended += [recovered] if recovered else []
    fault("sweep.before_commit")
    return Recovery(len(orphans), ended)


def list_cancelling(connection: Connection, *, owner: str) -> list[str]:
    """Return the runs that `owner` executes and has to stop."""
    return ownership.cancelling_of(connection, owner)


class _Trials:
    """The moments at which runs may begin of which one may take the server down."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        last = claims.last_retry(connection)
        self._next = now if last is None else max(now, last + TRIAL)

    def take(self) -> datetime:
        """Return the next of them."""
        moment = self._next
        self._next += TRIAL
        return moment


def _lock_orphans(connection: Connection, owner: str, run_ids: Collection[str]) -> list[Run]:
    wanted = [run for run in ownership.owned_by(connection, owner) if run.run_id in run_ids]
    held = locks.try_threads(connection, [run.thread_id for run in wanted])
    free = [run.run_id for run in wanted if run.thread_id is None or run.thread_id in held]
    return ownership.lock_owned(connection, free, owner) if free else []


def recover_lost(
    connection: Connection,
    lost: Owned,
    *,
    owner: str,
    encode: Encode,
    max_attempts: int,
    give_back: bool,
) -> Run | None:
    """Take back a run of this very server that it does not execute; return it if that ended it.
    `give_back`: the attempt does not count.

    Nothing happens when the run has moved since it was read.
    """
    locks.hold_threads(connection, [lost.thread_id])
    current = runs.lock_run(connection, lost.run_id)
    if current is None or (current.owner, current.attempt) != (owner, lost.attempt):
        return None
    recovered = recover_run(
        connection, current, encode, max_attempts=max_attempts, spared=give_back
    )
    fault("sweep.before_commit")
    return recovered
