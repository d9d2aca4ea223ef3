"""Queries on the rows of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    TextClause,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from runwire.server.model.requests import ANY_TIME, Order, Page, SortKey, TimeRange
from runwire.server.model.runs import (
    FINAL_STATES,
    IN_FLIGHT_STATES,
    ODD_ENDS,
    Run,
    RunState,
)
from runwire.server.storage import gone
from runwire.server.storage.json_contains import contains
from runwire.server.storage.notifications import note_moves
from runwire.server.storage.pages import read_page
from runwire.server.storage.tables import ENDED_ODDLY, HAS_GRAPH, HAS_PRINCIPAL, IN_FLIGHT, runs
from runwire.server.storage.time_ranges import within
from runwire.server.storage.values import (
    cancel_from_data,
    config_from_data,
    config_to_data,
    error_from_data,
    interrupts_from_data,
    spec_from_data,
    spec_to_data,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs; what is empty does not narrow."""

    run_ids: Sequence[str] = ()
    thread_id: str = ""
    assistant_id: str = ""
    graph_id: str = ""
    principal: str = ""
    cron_id: str = ""
    states: Sequence[RunState] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    created: TimeRange = ANY_TIME
    started: TimeRange = ANY_TIME
    ended: TimeRange = ANY_TIME


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
        "principal": run.principal,
        "rank": -run.spec.priority,
        "cron_id": run.cron_id,
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
    note_moves(connection, [run.thread_id])


_insert = insert(runs)


def get_run(connection: Connection, run_id: str) -> Run | None:
    """Return a run, also one that was rolled back, or None."""
    row = connection.execute(_get, {"run_id": run_id}).one_or_none()
    return None if row is None else read_run(row)


_get = select(runs).where(runs.c.run_id == bindparam("run_id"))


def lock_run(connection: Connection, run_id: str) -> Run | None:
    """Return a run that nobody else can change before this transaction ends, or None."""
    row = connection.execute(_lock, {"run_id": run_id}).one_or_none()
    return None if row is None else read_run(row)


_lock = _get.with_for_update()


def get_runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, Run]:
    """Return those of the runs that are there, also what was rolled back, by their ids."""
    rows = connection.execute(_get_all, {"these_runs": run_ids}) if run_ids else ()
    return {row.run_id: read_run(row) for row in rows}


_these: BindParameter[list[str]] = bindparam("these_runs", expanding=True)
_get_all = select(runs).where(runs.c.run_id.in_(_these))


def list_runs(
    connection: Connection, wanted: RunFilter, order: Order, *, limit: int, cursor: str | None
) -> Page[Run]:
    """Return up to `limit` runs from `cursor` on. By their ends, those alone that have ended."""
    query, column = _filtered(wanted), _SORTED_BY[order.by]
    if order.by is SortKey.END_TIME:
        query = query.where(_has_ended)
    rows, following = read_page(connection, query, (column, runs.c.run_id), order, limit, cursor)
    return Page([read_run(row) for row in rows], following)


# A run that has ended changes no more: its end was its last update.
_SORTED_BY = {
    SortKey.CREATE_TIME: runs.c.create_time,
    SortKey.UPDATE_TIME: runs.c.update_time,
    SortKey.END_TIME: runs.c.update_time,
}
_has_ended = runs.c.end_time.is_not(None)


def count_runs(connection: Connection, wanted: RunFilter, order: Order) -> int:
    """Return how many runs `list_runs` finds."""
    query = _filtered(wanted).with_only_columns(runs.c.run_id)
    if order.by is SortKey.END_TIME:
        query = query.where(_has_ended)
    return connection.scalar(select(func.count()).select_from(query.subquery())) or 0


def list_run_ids(
    connection: Connection, wanted: RunFilter, *, after: str = "", limit: int | None
) -> list[str]:
    """Return the ids of up to `limit` runs, oldest first: of those created after the run `after`,
    if there is one."""
    query = _filtered(wanted).with_only_columns(runs.c.run_id)
    if after:
        query = query.where(runs.c.run_id > after)
    return list(connection.scalars(query.order_by(runs.c.run_id).limit(limit)))


def _filtered(wanted: RunFilter) -> Select[Any]:
    return passing(select(runs).where(~runs.c.rolled_back, *_in_states(wanted)), wanted)


def passing(query: Select[Any], wanted: RunFilter) -> Select[Any]:
    """Return a query on runs, narrowed to those that are wanted, in whatever state."""
    if wanted.run_ids:
        query = query.where(runs.c.run_id.in_(wanted.run_ids))
    if wanted.thread_id:
        query = query.where(runs.c.thread_id == wanted.thread_id)
    if wanted.assistant_id:
        query = query.where(runs.c.assistant_id == wanted.assistant_id)
    if wanted.graph_id:
        query = query.where(runs.c.graph_id == wanted.graph_id, HAS_GRAPH)
    if wanted.principal:
        query = query.where(runs.c.principal == wanted.principal, HAS_PRINCIPAL)
    if wanted.cron_id:
        query = query.where(runs.c.cron_id == wanted.cron_id)
    if wanted.metadata:
        text = orjson.dumps(wanted.metadata).decode()
        query = query.where(contains(runs.c.metadata, text))
    return query.where(
        *within(runs.c.create_time, wanted.created),
        *within(runs.c.start_time, wanted.started),
        *_ended_within(wanted.ended),
    )


def _in_states(wanted: RunFilter) -> list[ColumnElement[bool] | TextClause]:
    """Return the condition of some states. Where few runs can be in them it says so in the words of
    the index that holds those alone."""
    if not wanted.states:
        return []
    is_wanted = runs.c.state.in_(sorted(wanted.states))
    if ODD_ENDS.issuperset(wanted.states):
        return [is_wanted, ENDED_ODDLY]
    if IN_FLIGHT_STATES.issuperset(wanted.states) and not wanted.thread_id:
        # As a list of ids: SQLite would read all runs, because they are in order.
        in_flight = runs.alias("in_flight")
        few = select(in_flight.c.run_id).where(
            in_flight.c.state.in_(sorted(wanted.states)), IN_FLIGHT
        )
        return [is_wanted, runs.c.run_id.in_(few)]
    return [is_wanted]


def _ended_within(span: TimeRange) -> list[ColumnElement[bool]]:
    conditions = within(runs.c.update_time, span)
    return [*conditions, _has_ended] if conditions else []


def delete_run(connection: Connection, run_id: str) -> bool:
    """Delete a run that has ended, with its events. Return whether there was one."""
    gone.note_deleted_runs(connection, _is_deletable, {"this_run": run_id})
    return connection.execute(_delete, {"this_run": run_id}).rowcount == 1


_is_deletable = (runs.c.run_id == bindparam("this_run")) & runs.c.state.in_(sorted(FINAL_STATES))
_delete = delete(runs).where(_is_deletable)


def delete_runs_of_thread(connection: Connection, thread_id: str) -> None:
    """Delete every run of a thread, with its events."""
    values = {"this_thread": thread_id}
    gone.note_deleted_runs(connection, _is_of_thread, values)
    connection.execute(_delete_of_thread, values)


_is_of_thread = runs.c.thread_id == bindparam("this_thread")
_delete_of_thread = delete(runs).where(_is_of_thread)


def read_run(row: Row[Any]) -> Run:
    """Return the run that a row of the table holds."""
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
        principal=row.principal,
        cron_id=row.cron_id,
    )
