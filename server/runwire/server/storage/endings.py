"""Queries on how runs leave their attempts. Every change of state is one guarded statement: no
row back means that somebody else moved first."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, update

from runwire.server.model.attempts import Attempt
from runwire.server.model.runs import Cancel, Interrupt, JsonText, Run, RunError, RunState
from runwire.server.storage.change_numbers import next_change
from runwire.server.storage.notifications import note_moves
from runwire.server.storage.runs import read_run
from runwire.server.storage.tables import ACTIVE, runs
from runwire.server.storage.values import cancel_to_data, error_to_data, interrupts_to_data

_time = runs.c.due_time.type


def request_cancel(connection: Connection, run_id: str, cancel: Cancel, now: datetime) -> bool:
    """Commit a cancel of an executing run: RUNNING → CANCELLING, or a new action for one that is
    CANCELLING. Return whether it was executing."""
    values = {"this_run": run_id, "new_cancel": cancel_to_data(cancel), "now": now}
    return _has_moved(connection, _request_cancel, values)


_request_cancel = (
    update(runs)
    .where(runs.c.run_id == bindparam("this_run"), ACTIVE)
    .values(
        state=RunState.CANCELLING.value,
        cancel=bindparam("new_cancel", type_=runs.c.cancel.type),
        update_time=bindparam("now", type_=_time),
        change=next_change(),
    )
    .returning(runs.c.thread_id)
)


def _has_moved(connection: Connection, statement: Any, values: dict[str, Any]) -> bool:
    row = connection.execute(statement, values).one_or_none()
    if row is not None:
        note_moves(connection, [row.thread_id])
    return row is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ends."""

    state: RunState
    error: RunError | None = None
    cancel: Cancel | None = None
    output: JsonText | None = None
    interrupts: tuple[Interrupt, ...] = ()
    rolled_back: bool = False


def end_run(
    connection: Connection, run_id: str, ending: Ending, now: datetime, *, was: frozenset[RunState]
) -> Run | None:
    """Move a run that is in one of `was` to its final state; return it, or None if it is not."""
    values = {
        "this_run": run_id,
        "was": sorted(was),
        "new_state": ending.state.value,
        "new_error": error_to_data(ending.error),
        "new_cancel": cancel_to_data(ending.cancel),
        "new_output": ending.output,
        "new_interrupts": interrupts_to_data(ending.interrupts),
        "taken_back": ending.rolled_back,
        "now": now,
    }
    row = connection.execute(_end, values).one_or_none()
    if row is None:
        return None
    note_moves(connection, [row.thread_id])
    return read_run(row)


_end = (
    update(runs)
    .where(
        runs.c.run_id == bindparam("this_run"), runs.c.state.in_(bindparam("was", expanding=True))
    )
    .values(
        state=bindparam("new_state"),
        owner=None,
        runnable=False,
        wake_time=None,
        error=bindparam("new_error", type_=runs.c.error.type),
        cancel=bindparam("new_cancel", type_=runs.c.cancel.type),
        output=bindparam("new_output"),
        interrupts=bindparam("new_interrupts", type_=runs.c.interrupts.type),
        rolled_back=bindparam("taken_back"),
        events_kept=True,
        end_time=bindparam("now", type_=_time),
        update_time=bindparam("now", type_=_time),
        change=next_change(),
    )
    .returning(*runs.c)
)


def end_running(
    connection: Connection, run: Run, attempt: Attempt, ending: Ending, now: datetime
) -> Run | None:
    """End a run that nobody has cancelled and that `attempt` owns: RUNNING → final. Return it;
    None when it is not so."""
    values = {
        "this_run": run.run_id,
        "this_owner": attempt.owner,
        "this_attempt": attempt.number,
        "new_state": ending.state.value,
        "new_error": error_to_data(ending.error),
        "new_output": ending.output,
        "new_interrupts": interrupts_to_data(ending.interrupts),
        "now": now,
    }
    if connection.execute(_end_running, values).rowcount != 1:
        return None
    note_moves(connection, [run.thread_id])
    return replace(
        run,
        state=ending.state,
        owner=None,
        error=ending.error,
        output=ending.output,
        interrupts=ending.interrupts,
        end_time=now,
        update_time=now,
    )


_end_running = (
    update(runs)
    .where(
        runs.c.run_id == bindparam("this_run"),
        runs.c.owner == bindparam("this_owner"),
        runs.c.attempt == bindparam("this_attempt"),
        runs.c.state == RunState.RUNNING.value,
    )
    .values(
        state=bindparam("new_state"),
        owner=None,
        error=bindparam("new_error", type_=runs.c.error.type),
        output=bindparam("new_output"),
        interrupts=bindparam("new_interrupts", type_=runs.c.interrupts.type),
        events_kept=True,
        end_time=bindparam("now", type_=runs.c.due_time.type),
        update_time=bindparam("now", type_=runs.c.due_time.type),
        change=next_change(),
    )
)


def release_run(
    connection: Connection,
    run_id: str,
    attempt: int,
    now: datetime,
    *,
    give_back: bool,
    wake_time: datetime | None = None,
) -> bool:
    """Give up an attempt: RUNNING → PENDING. `give_back`: it does not count against the limit; its
    number stays taken all the same, because its events and its right to write are known by it. The
    run is not runnable yet, and not before `wake_time`. Return whether it was running under that
    attempt."""
    values = {
        "this_run": run_id,
        "this_attempt": attempt,
        "back": int(give_back),
        "new_wake_time": wake_time,
        "now": now,
    }
    return _has_moved(connection, _release, values)


_release = (
    update(runs)
    .where(
        runs.c.run_id == bindparam("this_run"),
        runs.c.attempt == bindparam("this_attempt"),
        runs.c.state == RunState.RUNNING.value,
    )
    .values(
        state=RunState.PENDING.value,
        owner=None,
        attempts_given_back=runs.c.attempts_given_back + bindparam("back"),
        wake_time=bindparam("new_wake_time", type_=_time),
        update_time=bindparam("now", type_=_time),
        change=next_change(),
    )
    .returning(runs.c.thread_id)
)
