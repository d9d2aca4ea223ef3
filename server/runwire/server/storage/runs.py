"""Queries on runs. Every change of state is one guarded statement: no row back means that
somebody else moved first."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from runwire.server.model.attempts import Attempt
from runwire.server.model.requests import Order, Page
from runwire.server.model.runs import (
    FINAL_STATES,
    Cancel,
    Interrupt,
    JsonText,
    Run,
    RunError,
    RunState,
)
from runwire.server.storage.json_contains import contains
from runwire.server.storage.pages import read_page
from runwire.server.storage.servers import LIVE
from runwire.server.storage.tables import ACTIVE, IN_FLIGHT, runs, servers
from runwire.server.storage.values import (
    cancel_from_data,
    cancel_to_data,
    config_from_data,
    config_to_data,
    error_from_data,
    error_to_data,
    interrupts_from_data,
    interrupts_to_data,
    spec_from_data,
    spec_to_data,
)

_pending = runs.c.state == RunState.PENDING.value
_on_thread = runs.c.thread_id == bindparam("thread_id")
_time = runs.c.due_time.type


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs; what is empty does not narrow."""

    run_ids: Sequence[str] = ()
    thread_id: str = ""
    assistant_id: str = ""
    states: Sequence[RunState] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


def add_run(
    connection: Connection, run: Run, *, runnable: bool, wake_time: datetime | None
) -> None:
    """Store a new run. `runnable`: a server may claim it now."""
    row: dict[str, Any] = {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": run.assistant_id,
        "assistant_version": run.assistant_version,
        "graph_id": run.graph_id,
        "state": run.state.value,
        "spec": spec_to_data(run.spec),
        "config": config_to_data(run.config),
        "context": run.context,
        "metadata": run.metadata,
        "attempt": run.attempt,
        "attempts_given_back": run.attempts_given_back,
        "owner": run.owner,
        "runnable": runnable,
        "wake_time": wake_time,
        "due_time": run.due_time,
        "create_time": run.create_time,
        "update_time": run.update_time,
        "start_time": run.start_time,
        "end_time": None,
        "error": None,
        "cancel": None,
        "output": None,
        "interrupts": [],
        "rolled_back": False,
        "events_kept": False,
    }
    connection.execute(_insert, row)


_insert = insert(runs)


def get_run(connection: Connection, run_id: str) -> Run | None:
    """Return a run, also one that was rolled back, or None."""
    row = connection.execute(_get, {"run_id": run_id}).one_or_none()
    return None if row is None else _run(row)


_get = select(runs).where(runs.c.run_id == bindparam("run_id"))


def lock_run(connection: Connection, run_id: str) -> Run | None:
    """Return a run that nobody else can change before this transaction ends, or None."""
    row = connection.execute(_lock, {"run_id": run_id}).one_or_none()
    return None if row is None else _run(row)


_lock = _get.with_for_update()


def list_runs(
    connection: Connection, wanted: RunFilter, *, limit: int, cursor: str | None
) -> Page[Run]:
    """Return up to `limit` runs, newest first, from `cursor` on."""
    key = (runs.c.create_time, runs.c.run_id)
    rows, following = read_page(connection, _filtered(wanted), key, Order(), limit, cursor)
    return Page([_run(row) for row in rows], following)


def list_run_ids(connection: Connection, wanted: RunFilter, *, limit: int) -> list[str]:
    """Return the ids of up to `limit` runs, oldest first."""
    query = _filtered(wanted).with_only_columns(runs.c.run_id)
    return list(connection.scalars(query.order_by(runs.c.run_id).limit(limit)))


def _filtered(wanted: RunFilter) -> Any:
    query = select(runs).where(~runs.c.rolled_back)
    if wanted.run_ids:
        query = query.where(runs.c.run_id.in_(wanted.run_ids))
    if wanted.thread_id:
        query = query.where(runs.c.thread_id == wanted.thread_id)
    if wanted.assistant_id:
        query = query.where(runs.c.assistant_id == wanted.assistant_id)
    if wanted.states:
        query = query.where(runs.c.state.in_(sorted(wanted.states)))
    if wanted.metadata:
        text = orjson.dumps(wanted.metadata).decode()
        query = query.where(contains(runs.c.metadata, text))
    return query


def in_flight_of_thread(connection: Connection, thread_id: str) -> list[Run]:
    """Return the thread's runs in flight, first due first, also those that are delayed."""
    return [_run(row) for row in connection.execute(_in_flight, {"thread_id": thread_id})]


_in_flight = (
    select(runs)
    .where(_on_thread, IN_FLIGHT)
    .order_by(runs.c.due_time, runs.c.run_id)
    .with_for_update()
)


def has_in_flight(connection: Connection, *, thread_id: str = "", assistant_id: str = "") -> bool:
    """Return whether any run of the thread, or of the assistant, is in flight."""
    if thread_id:
        found = connection.scalar(_thread_in_flight, {"thread_id": thread_id})
    else:
        found = connection.scalar(_assistant_in_flight, {"assistant_id": assistant_id})
    return bool(found)


# As the least of what the index of queues is sorted by: for a mere "exists" SQLite takes the index
# of all the runs that the thread ever had.
_first_due = select(func.min(runs.c.due_time)).where(_on_thread, IN_FLIGHT).scalar_subquery()
_thread_in_flight = select(_first_due.is_not(None))
_assistant_in_flight = select(
    exists().where(runs.c.assistant_id == bindparam("assistant_id"), IN_FLIGHT)
)


def count_pending(connection: Connection, *, up_to: int) -> int:
    """Return how many runs are pending, counting no further than `up_to`."""
    return connection.scalar(_count_pending, {"up_to": up_to}) or 0


_count_pending = select(func.count()).select_from(
    select(runs.c.run_id).where(_pending, IN_FLIGHT).limit(bindparam("up_to")).subquery()
)


def claim_runs(
    connection: Connection, *, owner: str, graph_ids: Sequence[str], limit: int, now: datetime
) -> list[Run]:
    """Make `owner` execute up to `limit` claimable runs of graphs that it knows, first due first;
    return them."""
    values = {"new_owner": owner, "known_graphs": graph_ids, "limit": limit, "now": now}
    rows = connection.execute(_claim, values)
    return sorted((_run(row) for row in rows), key=lambda run: (run.due_time, run.run_id))


_known_graphs: BindParameter[list[str]] = bindparam("known_graphs", expanding=True)
_is_claimable = (runs.c.runnable, runs.c.graph_id.in_(_known_graphs))
# The candidates come from a CTE: a planner may run a LIMIT subquery more than once.
_candidates = (
    select(runs.c.run_id)
    .where(*_is_claimable)
    .order_by(runs.c.due_time, runs.c.run_id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
    .cte("candidates")
)
_claim = (
    update(runs)
    .where(runs.c.run_id.in_(select(_candidates.c.run_id)), runs.c.runnable)
    .values(
        state=RunState.RUNNING.value,
        owner=bindparam("new_owner"),
        attempt=runs.c.attempt + 1,
        runnable=False,
        start_time=func.coalesce(runs.c.start_time, bindparam("now", type_=_time)),
        update_time=bindparam("now", type_=_time),
    )
    .returning(*runs.c)
)


class RunKey(NamedTuple):
    """A run, and the thread to be locked before it."""

    run_id: str
    thread_id: str | None


def list_due(connection: Connection, now: datetime, *, limit: int) -> list[RunKey]:
    """Return up to `limit` runs whose delay has passed."""
    rows = connection.execute(_due, {"now": now, "limit": limit})
    return [RunKey._make(row) for row in rows]


_is_due = runs.c.wake_time <= bindparam("now", type_=_time)
_due = (
    select(runs.c.run_id, runs.c.thread_id)
    .where(_is_due)
    .order_by(runs.c.wake_time)
    .limit(bindparam("limit"))
)


def wake_runs(connection: Connection, run_ids: Sequence[str], now: datetime) -> list[RunKey]:
    """End the delay of those of the runs whose time has come, and that nobody else has locked;
    return them, first due first."""
    rows = connection.execute(_wake, {"these_runs": run_ids, "now": now}).all()
    rows = sorted(rows, key=lambda row: (row.due_time, row.run_id))
    return [RunKey(row.run_id, row.thread_id) for row in rows]


_these: BindParameter[list[str]] = bindparam("these_runs", expanding=True)
_waking = (
    select(runs.c.run_id)
    .where(runs.c.run_id.in_(_these), _is_due)
    .with_for_update(skip_locked=True)
    .cte("waking")
)
_wake = (
    update(runs)
    .where(runs.c.run_id.in_(select(_waking.c.run_id)), _is_due)
    .values(wake_time=None)
    .returning(runs.c.run_id, runs.c.thread_id, runs.c.due_time)
)


def is_any_due(connection: Connection, graph_ids: Sequence[str], now: datetime) -> bool:
    """Return whether a claim would find anything: a claimable run of one of the graphs, or a run
    whose delay is over."""
    return bool(connection.scalar(_any_due, {"known_graphs": graph_ids, "now": now}))


# As the least of what the index is sorted by: for a mere "exists" SQLite may take another one,
# which does not hold the graph.
_first_claimable = select(func.min(runs.c.due_time)).where(*_is_claimable).scalar_subquery()
_any_due = select(
    _first_claimable.is_not(None)
    | exists().where(runs.c.wake_time <= bindparam("now", type_=runs.c.due_time.type))
)


def next_wake(connection: Connection) -> datetime | None:
    """Return when the next delayed run is due."""
    due: datetime | None = connection.scalar(_next_wake)
    return due


_next_wake = select(func.min(runs.c.wake_time)).where(runs.c.wake_time.is_not(None))


def make_runnable(connection: Connection, run_id: str) -> bool:
    """Let servers claim a pending run, unless it must wait for its time. Return whether they
    may."""
    values = {"this_run": run_id, "claimable": True}
    return connection.execute(_set_runnable, values).rowcount == 1


def make_wait(connection: Connection, run_id: str) -> bool:
    """Let no server claim a pending run. Return whether it is pending."""
    values = {"this_run": run_id, "claimable": False}
    return connection.execute(_set_runnable, values).rowcount == 1


_set_runnable = (
    update(runs)
    .where(runs.c.run_id == bindparam("this_run"), _pending, runs.c.wake_time.is_(None))
    .values(runnable=bindparam("claimable"))
)


class Queue(NamedTuple):
    """How the queue of a thread stands.

    `active`: a run of the thread executes. `head` is the run that is next: one that is delayed
    before its first attempt has no place yet, one that is delayed before a later attempt keeps
    its place. `runnable` is the one that servers may claim now. `in_flight`: there are runs that
    have not ended.
    """

    active: bool
    head: str | None
    runnable: str | None
    in_flight: bool


def queue_of_thread(connection: Connection, thread_id: str) -> Queue:
    """Return how the queue of a thread stands."""
    return Queue._make(connection.execute(_queue, {"thread_id": thread_id}).one())


_queue = select(
    exists().where(_on_thread, ACTIVE),
    select(runs.c.run_id)
    .where(_on_thread, IN_FLIGHT, _pending, runs.c.wake_time.is_(None) | (runs.c.attempt > 0))
    .order_by(runs.c.due_time, runs.c.run_id)
    .limit(1)
    .scalar_subquery(),
    select(runs.c.run_id).where(_on_thread, runs.c.runnable).scalar_subquery(),
    _first_due.is_not(None),
)


def request_cancel(connection: Connection, run_id: str, cancel: Cancel, now: datetime) -> bool:
    """Commit a cancel of an executing run: RUNNING → CANCELLING, or a new action for one that is
    CANCELLING. Return whether it was executing."""
    values = {"this_run": run_id, "new_cancel": cancel_to_data(cancel), "now": now}
    return connection.execute(_request_cancel, values).rowcount == 1


_request_cancel = (
    update(runs)
    .where(runs.c.run_id == bindparam("this_run"), ACTIVE)
    .values(
        state=RunState.CANCELLING.value,
        cancel=bindparam("new_cancel", type_=runs.c.cancel.type),
        update_time=bindparam("now", type_=_time),
    )
)


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
    return None if row is None else _run(row)


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
    return connection.execute(_release, values).rowcount == 1


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
    )
)


def owns_run(connection: Connection, attempt: Attempt) -> bool:
    """Return whether the attempt still has the right to write for its run."""
    values = {"run_id": attempt.run_id, "owner": attempt.owner, "attempt": attempt.number}
    return connection.execute(_owns, values).one_or_none() is not None


_owns = (
    select(literal(1))
    .where(
        runs.c.run_id == bindparam("run_id"),
        # Says as well that the run is active: no other has an owner.
        runs.c.owner == bindparam("owner"),
        runs.c.attempt == bindparam("attempt"),
    )
    # Not FOR KEY SHARE: whoever takes the run away changes no key, and would not have to wait for
    # the end of a transaction that was still let in.
    .with_for_update(read=True)
)


def owned_of(connection: Connection, attempts: Sequence[Attempt]) -> list[bool | None]:
    """Return of each attempt whether it still has the right to write for its run; None: somebody
    else has locked that, ask again."""
    values = {"these_runs": [attempt.run_id for attempt in attempts]}
    found = {row.run_id: (row.owner, row.attempt) for row in connection.execute(_owners, values)}
    answers = [found.get(attempt.run_id) == (attempt.owner, attempt.number) for attempt in attempts]
    if len(found) == len(attempts):
        return list(answers)
    unlocked = {row.run_id for row in connection.execute(_runs_there, values)} - found.keys()
    return [
        None if attempt.run_id in unlocked else answer
        for attempt, answer in zip(attempts, answers, strict=True)
    ]


_runs_there = select(runs.c.run_id).where(runs.c.run_id.in_(_these))
_owners = (
    select(runs.c.run_id, runs.c.owner, runs.c.attempt)
    .where(runs.c.run_id.in_(_these))
    .with_for_update(read=True, skip_locked=True)
)


class Owned(NamedTuple):
    """What there is to know of a run that executes, without its spec and other user data."""

    run_id: str
    thread_id: str | None
    attempt: int
    attempts_used: int
    is_cancelled: bool


def owned_by(connection: Connection, owner: str) -> list[Owned]:
    """Return the runs that a server executes, by its own account, in the order in which their
    attempts began."""
    rows = connection.execute(_owned_by, {"owner": owner}).all()
    return [Owned._make(row[1:]) for row in sorted(rows)]


_is_owned = (runs.c.owner.is_not(None), runs.c.owner == bindparam("owner"))
_owned_by = select(
    runs.c.update_time,
    runs.c.run_id,
    runs.c.thread_id,
    runs.c.attempt,
    runs.c.attempt - runs.c.attempts_given_back,
    runs.c.cancel.is_not(None),
).where(*_is_owned)


def cancelling_of(connection: Connection, owner: str) -> list[str]:
    """Return the runs of a server that are being cancelled."""
    return list(connection.scalars(_cancelling_of, {"owner": owner}))


_cancelling_of = select(runs.c.run_id).where(*_is_owned, runs.c.state == RunState.CANCELLING.value)


def list_lost_owners(connection: Connection, now: datetime) -> list[str]:
    """Return the servers that own runs and hold no lease at `now`."""
    return list(connection.scalars(_lost_owners, {"now": now}))


_lost_owners = (
    select(runs.c.owner)
    .distinct()
    .where(
        runs.c.owner.is_not(None),
        ~exists().where(servers.c.server_id == runs.c.owner, LIVE),
    )
)


def lock_owned(connection: Connection, run_ids: Sequence[str], owner: str) -> list[Run]:
    """Return those of the runs that `owner` executes and that nobody else has locked, in the order
    in which their attempts began; nobody else changes them before this transaction ends."""
    values = {"these_runs": run_ids, "owner": owner}
    return [_run(row) for row in connection.execute(_lock_owned, values)]


_lock_owned = (
    select(runs)
    .where(runs.c.run_id.in_(_these), *_is_owned)
    .order_by(runs.c.update_time, runs.c.run_id)
    .with_for_update(skip_locked=True)
)


def last_retry(connection: Connection) -> datetime | None:
    """Return when the last of the runs begins that have begun before and wait for a time."""
    latest: datetime | None = connection.scalar(_last_retry)
    return latest


_last_retry = select(func.max(runs.c.wake_time)).where(
    runs.c.wake_time.is_not(None), runs.c.attempt > 0
)


def delete_run(connection: Connection, run_id: str) -> bool:
    """Delete a run that has ended, with its events. Return whether there was one."""
    return connection.execute(_delete, {"this_run": run_id}).rowcount == 1


_delete = delete(runs).where(
    runs.c.run_id == bindparam("this_run"), runs.c.state.in_(sorted(FINAL_STATES))
)


def delete_runs_of_thread(connection: Connection, thread_id: str) -> None:
    """Delete every run of a thread, with its events."""
    connection.execute(_delete_of_thread, {"this_thread": thread_id})


_delete_of_thread = delete(runs).where(runs.c.thread_id == bindparam("this_thread"))


def _run(row: Row[Any]) -> Run:
    return Run(
        run_id=row.run_id,
        thread_id=row.thread_id,
        assistant_id=row.assistant_id,
        assistant_version=row.assistant_version,
        graph_id=row.graph_id,
        state=RunState(row.state),
        spec=spec_from_data(row.spec),
        config=config_from_data(row.config),
        context=row.context,
        metadata=row.metadata,
        attempt=row.attempt,
        attempts_given_back=row.attempts_given_back,
        owner=row.owner,
        create_time=row.create_time,
        due_time=row.due_time,
        update_time=row.update_time,
        start_time=row.start_time,
        end_time=row.end_time,
        error=error_from_data(row.error),
        cancel=cancel_from_data(row.cancel),
        output=row.output,
        interrupts=interrupts_from_data(row.interrupts),
        rolled_back=row.rolled_back,
    )
