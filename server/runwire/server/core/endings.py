"""How attempts and runs end, and what their threads do next: transactions on an open connection.

Every end goes through here, so that in one transaction the run's state, its last event, its
thread and the thread's queue move together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from runwire.server.core.logs import Encode, RunLog
from runwire.server.core.outbox import note_end
from runwire.server.model.attempts import Attempt
from runwire.server.model.errors import AttemptLost
from runwire.server.model.events import (
    AttemptStarted,
    Event,
    EventBody,
    EventId,
    LogEntry,
    RunEnded,
    segments_of,
)
from runwire.server.model.faults import fault
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
from runwire.server.storage import (
    checkpoints,
    claims,
    endings,
    events,
    locks,
    ownership,
    runs,
    threads,
)
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection
from runwire.server.storage.notifications import Kind, notify

ATTEMPTS_EXHAUSTED = "AttemptsExhausted"
"""The error type of a run that took its server down, or lost it, too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attempt came to, as its executor saw it. A committed cancel overrules it.

    `values` is the state it left behind, also when it did not succeed, and `interrupts` are the
    questions that are open in it; None: they are as the run found them. `abandoned`: the user's
    code was still running when its grace passed.
    """

    state: RunState
    values: JsonText | None = None
    interrupts: tuple[Interrupt, ...] | None = ()
    error: RunError | None = None
    abandoned: bool = False


class Finished(NamedTuple):
    """A run that ended, its last events, and whether another run became claimable by that."""

    run: Run
    entries: list[LogEntry]
    promoted: bool


def finish_attempt(
    connection: Connection,
    attempt: Attempt,
    outcome: Outcome,
    log: RunLog,
    encode: Encode,
    *,
    known: Run | None = None,
) -> Finished:
    """End the run that `attempt` executes, with what of its `log` is not stored yet. `known` is
    the run as its executor knows it, which saves reading it. Raises `AttemptLost` when the attempt
    no longer owns its run."""
    now = current_time(connection)
    locks.hold_threads(connection, [attempt.thread_id])
    ended = None
    if known is not None and outcome.state is not RunState.CANCELLED:
        ended = endings.end_running(connection, known, attempt, _ending(known, outcome), now)
    if ended is None:
        ended = _end_as_stored(connection, attempt, outcome, now)
    log.seal()
    entries = _last_entries(ended, log.last, encode)
    store(connection, log, entries)
    note_end(connection, ended)
    remains = None
    if ended.rolled_back:
        checkpoints.delete_run(connection, ended.run_id)
    elif ended.thread_id is not None:
        remains = _remains(connection, ended, outcome.values, outcome.interrupts)
    promoted = settle_thread(connection, ended.thread_id, now, remains)
    fault("finish.before_commit")
    return Finished(ended, entries, promoted)


def _end_as_stored(
    connection: Connection, attempt: Attempt, outcome: Outcome, now: datetime
) -> Run:
    """End a run of which more is to be known than its executor does: it may be cancelled."""
    run = runs.lock_run(connection, attempt.run_id)
    if run is None or not _owns(run, attempt):
        raise AttemptLost(attempt.run_id, attempt.number)
    ended = endings.end_run(connection, run.run_id, _ending(run, outcome), now, was=ACTIVE_STATES)
    assert ended is not None
    return ended


def _owns(run: Run, attempt: Attempt) -> bool:
    key = (run.owner, run.attempt, run.state in ACTIVE_STATES)
    return key == (attempt.owner, attempt.number, True)


def _ending(run: Run, outcome: Outcome) -> endings.Ending:
    """A committed cancel beats a later success; one that comes later finds the run ended."""
    if run.cancel is None:
        succeeded = outcome.state in (RunState.SUCCEEDED, RunState.INTERRUPTED)
        return endings.Ending(
            state=outcome.state,
            error=outcome.error,
            output=outcome.values if succeeded else None,
            interrupts=(outcome.interrupts or ()) if succeeded else (),
        )
    return _cancelled(replace(run.cancel, abandoned=outcome.abandoned))


def _remains(
    connection: Connection,
    run: Run,
    values: JsonText | None,
    interrupts: tuple[Interrupt, ...] | None,
) -> threads.Remains:
    if interrupts is None:
        thread = threads.get_thread(connection, run.thread_id or "")
        interrupts = thread.interrupts if thread is not None else ()
    return threads.Remains(
        rest_state=_rest_state(run, interrupts),
        values=values,
        interrupts=interrupts,
        error=run.error,
    )


def _rest_state(run: Run, interrupts: tuple[Interrupt, ...]) -> ThreadState:
    if run.error is not None:
        return ThreadState.FAILED
    # A run that was cancelled may have left the question open that it was to answer.
    paused = run.state is RunState.INTERRUPTED or bool(interrupts)
    return ThreadState.INTERRUPTED if paused else ThreadState.IDLE


def _last_entries(run: Run, last: EventId, encode: Encode) -> list[LogEntry]:
    """Return a run's last events. They come after `last`, which may be all of its attempt's: the
    attempt was then stopped before it had begun to speak."""
    bodies: list[EventBody] = [_run_ended(run)]
    if last.index == 0:
        bodies.insert(0, AttemptStarted(run.attempt, resumed=False))
    return [
        _entry(run, EventId(run.attempt, last.index + number), body, encode)
        for number, body in enumerate(bodies, start=1)
    ]


def _run_ended(run: Run) -> RunEnded:
    assert run.end_time is not None
    return RunEnded(run.state, run.end_time, run.error, run.cancel)


def _entry(run: Run, event_id: EventId, body: EventBody, encode: Encode) -> LogEntry:
    assert run.end_time is not None
    data = encode(run.run_id, event_id, run.end_time, Event(body))
    return LogEntry(event_id, data, final=isinstance(body, RunEnded))


def end_unclaimed(
    connection: Connection, run: Run, ending: endings.Ending, encode: Encode, now: datetime
) -> Run | None:
    """End a run that nobody executes; return it, or None when it is no longer in the state in
    which `run` shows it. Its thread's queue is settled apart."""
    ended = endings.end_run(connection, run.run_id, ending, now, was=frozenset({run.state}))
    if ended is None:
        return None
    # After all attempts, and not in the last one: of that one, readers may have seen events which
    # were lost with its server, so that nobody knows how far it came.
    event_id = EventId(run.attempt + 1, 1) if run.attempt else EventId(0, 1)
    entry = _entry(ended, event_id, _run_ended(ended), encode)
    events.add_segments(connection, segments_of(run.run_id, [entry]))
    notify(connection, Kind.RUNS, [run.run_id])
    note_end(connection, ended)
    if ended.rolled_back:
        checkpoints.delete_run(connection, run.run_id)
    elif ended.thread_id is not None and run.attempt > 0:
        head = checkpoints.head(connection, ended.thread_id)
        changed = head is not None and head.run_id == ended.run_id
        remains = _remains(connection, ended, None, () if changed else None)
        threads.leave(connection, ended.thread_id, remains, now, busy=True)
    return ended


def cancel_pending(
    connection: Connection, run: Run, cancel: Cancel, encode: Encode, now: datetime
) -> Run | None:
    """PENDING → CANCELLED. Its thread's queue is settled apart."""
    return end_unclaimed(connection, run, _cancelled(cancel), encode, now)


def cancel_active(connection: Connection, run: Run, cancel: Cancel, now: datetime) -> None:
    """RUNNING → CANCELLING. A run that is CANCELLING stays as it is, unless it is to be taken back
    from now on."""
    old = run.cancel
    rolls_back = cancel.action is CancelAction.ROLLBACK
    if old is None or (rolls_back and old.action is not CancelAction.ROLLBACK):
        endings.request_cancel(connection, run.run_id, cancel, now)
        notify(connection, Kind.CANCELS, [run.run_id])


def release_attempt(
    connection: Connection,
    attempt: Attempt,
    log: RunLog,
    *,
    give_back: bool,
    wait: timedelta = timedelta(0),
) -> bool:
    """Give up an attempt, so that another can follow: RUNNING → PENDING. Return whether it did:
    not when the attempt was lost or its run is being cancelled.

    `give_back`: it does not count against the limit of attempts, because its server chose to stop.
    `wait`: how long the next one has to wait.
    """
    now = current_time(connection)
    locks.hold_threads(connection, [attempt.thread_id])
    if not ownership.owns_run(connection, attempt):
        return False
    if not endings.release_run(
        connection,
        attempt.run_id,
        attempt.number,
        now,
        give_back=give_back,
        wake_time=now + wait if wait else None,
    ):
        return False
    store(connection, log)
    queue_again(connection, attempt.run_id, attempt.thread_id, now)
    fault("release.before_commit")
    return True


def leave_attempt(
    connection: Connection, attempt: Attempt, log: RunLog, encode: Encode
) -> Run | None:
    """Give up an attempt although its code is still at work, because its server cannot wait any
    longer: nothing of what that code writes from now on can land. Return its run when that ended
    it: it was being cancelled. The attempt does not count."""
    log.seal()
    if release_attempt(connection, attempt, log, give_back=True):
        return None
    run = runs.lock_run(connection, attempt.run_id)
    if run is None or not _owns(run, attempt) or run.cancel is None:
        return None
    cancel = replace(run.cancel, abandoned=True)
    now = current_time(connection)
    ended = end_unclaimed(connection, replace(run, cancel=cancel), _cancelled(cancel), encode, now)
    settle_thread(connection, run.thread_id, now)
    return ended


def store(connection: Connection, log: RunLog, last: Sequence[LogEntry] = ()) -> EventId:
    """Store what of a log is not stored yet, for an attempt that owns its run, and behind it the
    run's `last` entries; return how far the log is stored then.

    The log is asked here, on the thread of the database's one writer, so that of two transactions
    that store parts of one log the earlier part is always the one that commits first.
    """
    if not log.is_taken_stored:
        # An earlier transaction may have taken entries and then failed: the database knows.
        log.rewind(events.last_event(connection, log.run_id))
    segments = segments_of(log.run_id, [*log.take(), *last])
    if segments:
        events.add_segments(connection, segments)
        notify(connection, Kind.RUNS, [log.run_id])
    return log.taken


def queue_again(connection: Connection, run_id: str, thread_id: str | None, now: datetime) -> None:
    """Make a run that is PENDING again claimable, at its old place in its thread's queue."""
    if thread_id is not None:
        settle_thread(connection, thread_id, now)
    elif claims.make_runnable(connection, run_id):
        notify(connection, Kind.WORK)


def settle_thread(
    connection: Connection,
    thread_id: str | None,
    now: datetime,
    remains: threads.Remains | None = None,
) -> bool:
    """Let the next run of a thread's queue be claimed, and set the thread's state. Return whether
    there is such a run. `remains` is what a run that has just ended leaves on the thread.

    To be called in every transaction that ends, adds or releases a run of the thread, and only
    while it holds the thread.
    """
    if thread_id is None:
        return False
    queue = claims.queue_of_thread(connection, thread_id)
    active = queue.active
    if queue.runnable is not None and (active or queue.runnable != queue.head):
        # Who was first no longer is when a run comes back, or its delay has passed. Two of a
        # thread that could be claimed at once would let no claim succeed. A claim does not hold
        # the thread: it may have been quicker, and then nobody else can be claimed.
        active = not claims.make_wait(connection, queue.runnable) or active
    if remains is None:
        threads.set_state(connection, thread_id, busy=queue.in_flight, now=now)
    else:
        threads.leave(connection, thread_id, remains, now, busy=queue.in_flight)
    if queue.head is None or active:
        return False
    if queue.head != queue.runnable and not claims.make_runnable(connection, queue.head):
        return False
    notify(connection, Kind.WORK)
    return True


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
    ending = None
    if run.cancel is not None:
        ending = _cancelled(run.cancel)
    elif run.attempts_used >= max_attempts and not spared:
        message = f"the run's server was lost in each of its {run.attempts_used} attempts"
        error = RunError(type=ATTEMPTS_EXHAUSTED, message=message, attempt=run.attempt)
        ending = endings.Ending(state=RunState.FAILED, error=error)
    if ending is not None:
        ended = end_unclaimed(connection, run, ending, encode, now)
        settle_thread(connection, run.thread_id, now)
        return ended
    if endings.release_run(
        connection, run.run_id, run.attempt, now, give_back=spared, wake_time=wake_time
    ):
        queue_again(connection, run.run_id, run.thread_id, now)
    return None


def _cancelled(cancel: Cancel) -> endings.Ending:
    return endings.Ending(
        state=RunState.CANCELLED,
        cancel=cancel,
        rolled_back=cancel.action is CancelAction.ROLLBACK,
    )
