"""How attempts and runs end, and what their threads do next: transactions on an open connection.

Every end goes through here, so that in one transaction the run's state, its last event, its
thread and the thread's queue move together.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from runwire.server.core.logs import Encode, RunLog
from runwire.server.model.attempts import Attempt
from runwire.server.model.errors import AttemptLost
from runwire.server.model.events import Event, EventId, LogEntry, RunEnded, segment_of
from runwire.server.model.runs import (
    ACTIVE_STATES,
    Cancel,
    CancelAction,
    Interrupt,
    JsonText,
    Run,
    RunError,
    RunState,
)
from runwire.server.model.threads import ThreadState
from runwire.server.storage import checkpoints, events, runs, threads
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection

ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
"""The error type of a run that took its server down, or lost it, too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attempt came to, as its executor saw it. A committed cancel overrules it.

    `values` is the state it left behind, also when it did not succeed. `abandoned`: the user's
    code was still running when its grace passed.
    """

    state: RunState
    values: JsonText | None = None
    interrupts: tuple[Interrupt, ...] = ()
    error: RunError | None = None
    abandoned: bool = False


class Finished(NamedTuple):
    """A run that ended, its last event, and whether another run became claimable by that."""

    run: Run
    entry: LogEntry
    promoted: bool


def finish_attempt(
    connection: Connection,
    attempt: Attempt,
    outcome: Outcome,
    log: RunLog,
    encode: Encode,
) -> Finished:
    """End the run that `attempt` executes, with what of its `log` is not stored yet. Raises
    `AttemptLost` when the attempt no longer owns its run."""
    run = runs.lock_run(connection, attempt.run_id)
    if run is None or not _owns(run, attempt):
        raise AttemptLost(attempt.run_id, attempt.number)
    ending = _ending(run, outcome)
    now = current_time(connection)
    ended = runs.end_run(connection, run.run_id, ending, now, was=ACTIVE_STATES)
    assert ended is not None
    entry = _last_entry(ended, log.seal(), encode)
    store(connection, log)
    events.add_segment(connection, segment_of(run.run_id, [entry]))
    if ended.rolled_back:
        checkpoints.delete_run(connection, run.run_id)
    elif ended.thread_id is not None:
        threads.leave(connection, ended.thread_id, _remains(ended, outcome), now)
    promoted = settle_thread(connection, ended.thread_id, now)
    return Finished(ended, entry, promoted)


def _owns(run: Run, attempt: Attempt) -> bool:
    key = (run.owner, run.attempt, run.state in ACTIVE_STATES)
    return key == (attempt.owner, attempt.number, True)


def _ending(run: Run, outcome: Outcome) -> runs.Ending:
    """A committed cancel beats a later success; one that comes later finds the run ended."""
    if run.cancel is None:
        succeeded = outcome.state in (RunState.SUCCEEDED, RunState.INTERRUPTED)
        return runs.Ending(
            state=outcome.state,
            error=outcome.error,
            output=outcome.values if succeeded else None,
            interrupts=outcome.interrupts,
        )
    return runs.Ending(
        state=RunState.CANCELLED,
        cancel=replace(run.cancel, abandoned=outcome.abandoned),
        rolled_back=run.cancel.action is CancelAction.ROLLBACK,
    )


def _remains(run: Run, outcome: Outcome) -> threads.Remains:
    states = {RunState.INTERRUPTED: ThreadState.INTERRUPTED, RunState.FAILED: ThreadState.FAILED}
    states[RunState.TIMED_OUT] = ThreadState.FAILED
    return threads.Remains(
        rest_state=states.get(run.state, ThreadState.IDLE),
        values=outcome.values,
        interrupts=run.interrupts,
        error=run.error,
    )


def _last_entry(run: Run, event_id: EventId, encode: Encode) -> LogEntry:
    assert run.end_time is not None
    body = RunEnded(run.state, run.end_time, run.error, run.cancel)
    return LogEntry(event_id, encode(run.run_id, event_id, run.end_time, Event(body)), final=True)


def end_unclaimed(
    connection: Connection, run: Run, ending: runs.Ending, encode: Encode, now: datetime
) -> Run | None:
    """End a run that nobody executes; return it, or None when it is no longer in the state in
    which `run` shows it. Its thread is settled apart."""
    ended = runs.end_run(connection, run.run_id, ending, now, was=frozenset({run.state}))
    if ended is None:
        return None
    # Not under the number of an attempt that took place: readers may have seen more of its events
    # than were stored, and would take this one for one of those.
    event_id = EventId(run.attempt + 1 if run.attempt else 0, 1)
    entry = _last_entry(ended, event_id, encode)
    events.add_segment(connection, segment_of(run.run_id, [entry]))
    if ended.rolled_back:
        checkpoints.delete_run(connection, run.run_id)
    return ended


def cancel_pending(
    connection: Connection, run: Run, cancel: Cancel, encode: Encode, now: datetime
) -> Run | None:
    """PENDING → CANCELLED. Its thread is settled apart."""
    ending = runs.Ending(
        state=RunState.CANCELLED,
        cancel=cancel,
        rolled_back=cancel.action is CancelAction.ROLLBACK,
    )
    return end_unclaimed(connection, run, ending, encode, now)


def release_attempt(
    connection: Connection, attempt: Attempt, log: RunLog, *, give_back: bool
) -> bool:
    """Give up an attempt, so that another can follow: RUNNING → PENDING. Return whether it did:
    not when the attempt was lost or its run is being cancelled.

    `give_back`: the attempt does not count, because its server chose to stop.
    """
    now = current_time(connection)
    if not runs.owns_run(connection, attempt):
        return False
    if not runs.release_run(connection, attempt.run_id, attempt.number, now, give_back=give_back):
        return False
    store(connection, log)
    queue_again(connection, attempt.run_id, attempt.thread_id, now)
    return True


def store(connection: Connection, log: RunLog) -> EventId:
    """Store what of a log is not stored yet, for an attempt that owns its run; return how far it
    is stored then.

    The log is asked here, on the thread of the database's one writer, so that of two transactions
    that store parts of one log the earlier part is always the one that commits first.
    """
    if log.taken.index > 0:
        # An earlier transaction may have taken entries and then failed: the database knows.
        log.rewind(events.last_event(connection, log.run_id))
    segment = log.take()
    if segment is not None:
        events.add_segment(connection, segment)
    return log.taken


def queue_again(connection: Connection, run_id: str, thread_id: str | None, now: datetime) -> None:
    """Make a run that is PENDING again claimable, at its old place in its thread's queue."""
    if thread_id is None:
        runs.make_runnable(connection, run_id)
    else:
        settle_thread(connection, thread_id, now)


def settle_thread(connection: Connection, thread_id: str | None, now: datetime) -> bool:
    """Let the next run of a thread's queue be claimed, and set the thread's state. Return whether
    there is such a run.

    To be called in every transaction that ends, adds or releases a run of the thread.
    """
    if thread_id is None:
        return False
    in_flight, active, following = runs.queue_of_thread(connection, thread_id)
    promoted = following is not None and not active
    if following is not None and promoted:
        runs.make_runnable(connection, following)
    threads.set_state(connection, thread_id, busy=in_flight, now=now)
    return promoted


def recover_run(
    connection: Connection,
    run: Run,
    encode: Encode,
    *,
    max_attempts: int,
    spared: bool = False,
    wake_time: datetime | None = None,
) -> Run | None:
    """Take a run from a server that is gone. Return it when that ended it.

    A cancel that was committed is carried out; a run with attempts left goes back to its queue,
    not to begin before `wake_time`; the others fail, so that a run that takes its server down is
    not retried for ever. `spared`: it was not this run, so the attempt does not count.
    """
    now = current_time(connection)
    ended = None
    if run.cancel is not None:
        ending = runs.Ending(
            state=RunState.CANCELLED,
            cancel=run.cancel,
            rolled_back=run.cancel.action is CancelAction.ROLLBACK,
        )
        ended = end_unclaimed(connection, run, ending, encode, now)
    elif run.attempts_used >= max_attempts and not spared:
        message = f"the run's server was lost in each of its {run.attempts_used} attempts"
        error = RunError(type=ATTEMPTS_EXHAUSTED, message=message, attempt=run.attempt)
        ending = runs.Ending(state=RunState.FAILED, error=error)
        ended = end_unclaimed(connection, run, ending, encode, now)
        if run.thread_id is not None:
            remains = threads.Remains(rest_state=ThreadState.FAILED, error=error)
            threads.leave(connection, run.thread_id, remains, now)
    else:
        runs.release_run(
            connection, run.run_id, run.attempt, now, give_back=spared, wake_time=wake_time
        )
        if run.thread_id is None:
            runs.make_runnable(connection, run.run_id)
    settle_thread(connection, run.thread_id, now)
    return ended
