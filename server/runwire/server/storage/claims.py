"""Queries on whose turn it is: the queues of threads, delays and claims. Every change of state is
one guarded statement: no row back means that somebody else moved first."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    bindparam,
    exists,
    func,
    literal,
    select,
    update,
)

from runwire.server.model.runs import (
    Run,
    RunState,
)
from runwire.server.storage.change_numbers import next_change
from runwire.server.storage.notifications import note_moves
from runwire.server.storage.runs import read_run
from runwire.server.storage.tables import ACTIVE, BEGUN, HAS_PRINCIPAL, IN_FLIGHT, runs

_pending = runs.c.state == RunState.PENDING.value
_on_thread = runs.c.thread_id == bindparam("thread_id")
_time = runs.c.due_time.type
_these: BindParameter[list[str]] = bindparam("these_runs", expanding=True)


def in_flight_of_thread(connection: Connection, thread_id: str) -> list[Run]:
    """Return the thread's runs in flight, first due first, also those that are delayed."""
    return [read_run(row) for row in connection.execute(_in_flight, {"thread_id": thread_id})]


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


def count_of_assistant(connection: Connection, assistant_id: str, *, up_to: int) -> int:
    """Return how many runs of an assistant are in flight, counting no further than `up_to`."""
    values = {"assistant_id": assistant_id, "up_to": up_to}
    return connection.scalar(_count_of_assistant, values) or 0


def count_of_principal(connection: Connection, principal: str, *, up_to: int) -> int:
    """Return how many runs that somebody has created are in flight, counting no further than
    `up_to`."""
    values = {"principal": principal, "up_to": up_to}
    return connection.scalar(_count_of_principal, values) or 0


def _count(*conditions: Any) -> Select[int]:
    few = select(literal(1)).select_from(runs).where(*conditions).limit(bindparam("up_to"))
    return select(func.count()).select_from(few.subquery())


_count_of_assistant = _count(runs.c.assistant_id == bindparam("assistant_id"), IN_FLIGHT)
_count_of_principal = _count(runs.c.principal == bindparam("principal"), HAS_PRINCIPAL, IN_FLIGHT)


def count_pending(connection: Connection, *, up_to: int) -> int:
    """Return how many runs are pending, counting no further than `up_to`."""
    return connection.scalar(_count_pending, {"up_to": up_to}) or 0


_count_pending = select(func.count()).select_from(
    select(runs.c.run_id).where(_pending, IN_FLIGHT).limit(bindparam("up_to")).subquery()
)


def claim_runs(
    connection: Connection, *, owner: str, graph_ids: Sequence[str], limit: int, now: datetime
) -> list[Run]:
    """Make `owner` execute up to `limit` claimable runs of graphs that it knows, those of the
    highest priority first, and of one priority those that are due first; return them."""
    values = {"new_owner": owner, "known_graphs": graph_ids, "limit": limit, "now": now}
    claimed = [read_run(row) for row in connection.execute(_claim, values)]
    if claimed:
        note_moves(connection, [run.thread_id for run in claimed])
    return sorted(claimed, key=_turn)


def _turn(run: Run) -> tuple[int, datetime, str]:
    return -run.spec.priority, run.due_time, run.run_id


_known_graphs: BindParameter[list[str]] = bindparam("known_graphs", expanding=True)
_is_claimable = (runs.c.runnable, runs.c.graph_id.in_(_known_graphs))
# The candidates come from a CTE: a planner may run a LIMIT subquery more than once.
_candidates = (
    select(runs.c.run_id)
    .where(*_is_claimable)
    .order_by(runs.c.rank, runs.c.due_time, runs.c.run_id)
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
        change=next_change(),
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
_first_claimable = select(func.min(runs.c.rank)).where(*_is_claimable).scalar_subquery()
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

    `active`: a run of the thread executes. `head` is the run that is next. One that has begun comes
    before all others, also while it is delayed: it goes on from its last checkpoint, which has to
    be the thread's newest. One that is delayed before its first attempt has no place yet.
    `runnable` is the one that servers may claim now. `in_flight`: there are runs that have not
    ended.
    """

    active: bool
    head: str | None
    runnable: str | None
    in_flight: bool


def queue_of_thread(connection: Connection, thread_id: str) -> Queue:
    """Return how the queue of a thread stands."""
    return Queue._make(connection.execute(_queue, {"thread_id": thread_id}).one())


_first = select(runs.c.run_id).order_by(runs.c.due_time, runs.c.run_id).limit(1)
# By the times alone, one that has begun could come later: whose creation has waited for the thread
# has an earlier time than who was quicker, and so has a delayed one whose time has just come.
_begun = _first.where(_on_thread, BEGUN)
_first_due_now = _first.where(_on_thread, IN_FLIGHT, _pending, runs.c.wake_time.is_(None))
_queue = select(
    exists().where(_on_thread, ACTIVE),
    func.coalesce(_begun.scalar_subquery(), _first_due_now.scalar_subquery()),
    select(runs.c.run_id).where(_on_thread, runs.c.runnable).scalar_subquery(),
    _first_due.is_not(None),
)


def last_retry(connection: Connection) -> datetime | None:
    """Return when the last of the runs begins that have begun before and wait for a time."""
    latest: datetime | None = connection.scalar(_last_retry)
    return latest


_last_retry = select(func.max(runs.c.wake_time)).where(
    runs.c.wake_time.is_not(None), runs.c.attempt > 0
)
