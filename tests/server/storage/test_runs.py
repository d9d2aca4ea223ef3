"""Queries on runs: what they find and change, and that they find it by an index."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import CANCEL, a_run, add_run, at, end, get_run, running

from runwire.server.model.attempts import Attempt
from runwire.server.model.events import EventId, Segment
from runwire.server.model.ids import new_id
from runwire.server.model.requests import NEWEST_FIRST, Order, SortKey, TimeRange
from runwire.server.model.runs import (
    ACTIVE_STATES,
    FINAL_STATES,
    IN_FLIGHT_STATES,
    CancelAction,
    Interrupt,
    Run,
    RunError,
    RunState,
)
from runwire.server.storage import claims, endings, events, ownership, runs
from runwire.server.storage.endings import Ending
from runwire.server.storage.runs import RunFilter
from runwire.server.storage.tables import run_events
from runwire.server.storage.tables import runs as runs_table


def ids(found: list[Run]) -> list[str]:
    return [run.run_id for run in found]


def listed(
    connection: Connection, order: Order = NEWEST_FIRST, limit: int = 9, **wanted: Any
) -> list[str]:
    page = runs.list_runs(connection, RunFilter(**wanted), order, limit=limit, cursor=None)
    return ids(page.items)


# Rows.


def test_a_run_is_read_as_it_was_stored(connection: Connection) -> None:
    run = running(
        config=replace(a_run().config, tags=("a", "b"), recursion_limit=7, configurable={"k": 1}),
        context={"deep": [{"x": None}]},
        metadata={"ü": [1, 2.5, True, None]},
        start_time=at(1.000001),
        due_time=at(-1),
        attempts_given_back=1,
    )
    add_run(connection, run)
    assert runs.get_run(connection, run.run_id) == run
    assert runs.lock_run(connection, run.run_id) == run


def test_a_run_that_is_not_there_is_none(connection: Connection) -> None:
    assert runs.get_run(connection, new_id()) is None
    assert runs.lock_run(connection, new_id()) is None


def test_an_ended_run_is_read_as_it_ended(connection: Connection) -> None:
    run = add_run(connection, running())
    error = RunError(type="E", message="m", node="n", attempt=1, error_id="i")
    interrupts = (Interrupt(interrupt_id="i", value='{"a":1}'),)
    ended = end(
        connection,
        run,
        state=RunState.FAILED,
        error=error,
        output='{"a":1}',
        interrupts=interrupts,
    )
    wanted = replace(
        run,
        state=RunState.FAILED,
        owner=None,
        error=error,
        output='{"a":1}',
        interrupts=interrupts,
        end_time=at(9),
        update_time=at(9),
    )
    assert ended == wanted == get_run(connection, run)


def test_a_cancelled_run_keeps_its_cancel(connection: Connection) -> None:
    run = add_run(connection, running())
    cancel = replace(CANCEL, action=CancelAction.ROLLBACK, abandoned=True)
    end(connection, run, state=RunState.CANCELLED, cancel=cancel, rolled_back=True)
    assert (get_run(connection, run).cancel, get_run(connection, run).rolled_back) == (cancel, True)


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a state that is none": {"state": "sleeping"},
    "an end without its time": {"state": "succeeded"},
    "an end's time before the end": {"end_time": at(1)},
    "running without an owner": {"state": "running"},
    "an owner that executes nothing": {"owner": "server"},
    "claimable though it executes": {"state": "running", "owner": "server", "runnable": True},
    "claimable and delayed": {"runnable": True, "wake_time": at(1)},
    "delayed though it executes": {"state": "running", "owner": "server", "wake_time": at(1)},
    "cancelling without a cancel": {"state": "cancelling", "owner": "server"},
    "cancelled without a cancel": {"state": "cancelled", "end_time": at(1)},
    "taken back though it succeeded": {
        "state": "succeeded",
        "end_time": at(1),
        "rolled_back": True,
    },
    "events that outlive a run that has not ended": {"events_kept": True},
    "more attempts given back than made": {"attempts_given_back": 1},
}


@pytest.mark.parametrize("columns", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_row_that_cannot_be_is_refused(connection: Connection, columns: dict[str, Any]) -> None:
    run = add_run(connection, a_run())
    change = update(runs_table).where(runs_table.c.run_id == run.run_id).values(**columns)
    with pytest.raises(IntegrityError, match=r"(?i)check"):
        connection.execute(change)


@pytest.mark.parametrize("state", sorted(ACTIVE_STATES))
def test_a_second_run_cannot_execute_on_a_thread(connection: Connection, state: RunState) -> None:
    thread_id = new_id()
    add_run(connection, running(thread_id=thread_id))
    second = add_run(connection, a_run(thread_id=thread_id))
    columns = {"state": state.value, "owner": "server", "cancel": {"x": 1}}
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        connection.execute(
            update(runs_table).where(runs_table.c.run_id == second.run_id).values(**columns)
        )


def test_a_second_run_of_a_thread_cannot_be_claimable(connection: Connection) -> None:
    thread_id = new_id()
    add_run(connection, a_run(thread_id=thread_id), runnable=True)
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        add_run(connection, a_run(thread_id=thread_id), runnable=True)


def test_any_number_of_runs_without_a_thread_execute(connection: Connection) -> None:
    for _ in range(3):
        add_run(connection, running())
        add_run(connection, a_run(), runnable=True)


def test_a_run_s_thread_must_be_there(connection: Connection) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        runs.add_run(connection, a_run(thread_id=new_id()), runnable=False, wake_time=None)


# Lists.


def test_runs_are_listed_newest_first_in_pages_that_join(connection: Connection) -> None:
    made = [add_run(connection, a_run(seconds)) for seconds in (0, 1, 1, 1, 2)]
    listed, cursor, pages = [], None, 0
    while True:
        page = runs.list_runs(connection, RunFilter(), NEWEST_FIRST, limit=2, cursor=cursor)
        listed += ids(page.items)
        pages, cursor = pages + 1, page.next
        if cursor is None:
            break
    assert listed == ids(made)[::-1]
    assert pages == 3


def test_a_page_that_holds_everything_is_the_last(connection: Connection) -> None:
    add_run(connection, a_run())
    assert runs.list_runs(connection, RunFilter(), NEWEST_FIRST, limit=1, cursor=None).next is None
    assert (
        runs.list_runs(
            connection, RunFilter(thread_id="x"), NEWEST_FIRST, limit=1, cursor=None
        ).items
        == []
    )


def test_what_is_created_while_pages_are_read_disturbs_none(connection: Connection) -> None:
    made = [add_run(connection, a_run(seconds)) for seconds in range(4)]
    first = runs.list_runs(connection, RunFilter(), NEWEST_FIRST, limit=2, cursor=None)
    add_run(connection, a_run(9))
    second = runs.list_runs(connection, RunFilter(), NEWEST_FIRST, limit=2, cursor=first.next)
    assert ids(first.items + second.items) == ids(made)[::-1]
    assert second.next is None


def test_every_filter_narrows(connection: Connection) -> None:
    thread_id, assistant_id = new_id(), new_id()
    wanted = add_run(
        connection,
        running(
            thread_id=thread_id,
            assistant_id=assistant_id,
            graph_id="wanted",
            principal="ada",
            metadata={"a": {"b": 1, "c": 2}},
        ),
    )
    other = add_run(connection, a_run(metadata={"a": {"b": True}}))
    filters = [
        RunFilter(run_ids=[wanted.run_id]),
        RunFilter(thread_id=thread_id),
        RunFilter(assistant_id=assistant_id),
        RunFilter(graph_id="wanted"),
        RunFilter(principal="ada"),
        RunFilter(assistant_id=assistant_id, states=[RunState.RUNNING]),
        RunFilter(states=[RunState.RUNNING, RunState.CANCELLING]),
        RunFilter(metadata={"a": {"b": 1}}),
        RunFilter(thread_id=thread_id, states=[RunState.RUNNING], metadata={"a": {"c": 2}}),
    ]
    for wish in filters:
        page = runs.list_runs(connection, wish, NEWEST_FIRST, limit=9, cursor=None)
        assert ids(page.items) == [wanted.run_id], wish
        assert runs.list_run_ids(connection, wish, limit=9) == [wanted.run_id]
    impossible = RunFilter(thread_id=thread_id, states=[RunState.PENDING])
    assert runs.list_run_ids(connection, impossible, limit=9) == []
    assert runs.list_run_ids(connection, RunFilter(), limit=1) == [wanted.run_id]
    assert runs.list_run_ids(connection, RunFilter(), limit=9) == [wanted.run_id, other.run_id]


def test_spans_of_time_hold_their_first_moment_and_not_their_last(connection: Connection) -> None:
    made = [add_run(connection, running(number, start_time=at(number + 10))) for number in range(4)]
    for number, run in enumerate(made[:3]):
        end(connection, run, number + 20)
    second = [made[1].run_id]
    assert listed(connection, created=TimeRange(at(1), at(2))) == second
    assert listed(connection, started=TimeRange(at(11), at(12))) == second
    assert listed(connection, ended=TimeRange(at(21), at(22))) == second
    assert listed(connection, created=TimeRange(at(2))) == [made[3].run_id, made[2].run_id]
    assert listed(connection, started=TimeRange(None, at(11))) == [made[0].run_id]
    assert listed(connection, ended=TimeRange(None, at(99))) == ids(made[2::-1])
    assert runs.count_runs(connection, RunFilter(ended=TimeRange(at(21))), NEWEST_FIRST) == 2


def test_runs_are_sorted_by_any_of_their_times(connection: Connection) -> None:
    first, second, third, waiting = (
        add_run(connection, running(0, due_time=at(0))),
        add_run(connection, running(1)),
        add_run(connection, running(2)),
        add_run(connection, a_run(3, update_time=at(7))),
    )
    for run, seconds in ((third, 5), (first, 6), (second, 8)):
        end(connection, run, seconds)
    orders = {
        SortKey.CREATE_TIME: [first, second, third, waiting],
        SortKey.UPDATE_TIME: [third, first, waiting, second],
        SortKey.END_TIME: [third, first, second],
    }
    for by, expected in orders.items():
        assert listed(connection, Order(by, descending=False)) == ids(expected), by
        assert listed(connection, Order(by)) == ids(expected[::-1]), by
        found: list[Run] = []
        cursor = None
        while len(found) < len(expected):
            page = runs.list_runs(connection, RunFilter(), Order(by), limit=1, cursor=cursor)
            found, cursor = [*found, *page.items], page.next
        assert ids(found) == ids(expected[::-1]), by
        assert cursor is None
        assert runs.count_runs(connection, RunFilter(), Order(by)) == len(expected)


@pytest.mark.parametrize("state", sorted(ACTIVE_STATES | FINAL_STATES | {RunState.PENDING}))
def test_each_state_is_found_whichever_index_holds_it(
    connection: Connection, state: RunState
) -> None:
    for each in RunState:
        owner = "server" if each in ACTIVE_STATES else None
        cancelled = each in (RunState.CANCELLING, RunState.CANCELLED)
        made = a_run(state=each, owner=owner, cancel=CANCEL if cancelled else None)
        values = {"end_time": at(0)} if each.is_final else {}
        add_run(connection, replace(made, state=RunState.PENDING, owner=None))
        connection.execute(
            update(runs_table)
            .where(runs_table.c.run_id == made.run_id)
            .values(state=each.value, owner=owner, cancel={} if cancelled else None, **values)
        )
    query = select(runs_table.c.run_id).where(runs_table.c.state == state.value)
    assert runs.list_run_ids(connection, RunFilter(states=[state]), limit=9) == list(
        connection.scalars(query)
    )


def test_a_run_that_was_taken_back_is_not_listed(connection: Connection) -> None:
    run = add_run(connection, running())
    end(connection, run, state=RunState.CANCELLED, cancel=CANCEL, rolled_back=True)
    assert runs.list_runs(connection, RunFilter(), NEWEST_FIRST, limit=9, cursor=None).items == []
    assert runs.list_run_ids(connection, RunFilter(run_ids=[run.run_id]), limit=9) == []


# Deleting.


def with_events(connection: Connection, run: Run) -> Run:
    add_run(connection, run)
    events.add_segments(connection, [Segment(run.run_id, 1, 1, (1,), b"x")])
    return run


def count_events(connection: Connection, run: Run) -> int:
    query = select(func.count()).select_from(run_events)
    return connection.scalar(query.where(run_events.c.run_id == run.run_id)) or 0


def test_a_run_is_deleted_with_its_events_once_it_has_ended(connection: Connection) -> None:
    run = with_events(connection, running())
    assert not runs.delete_run(connection, run.run_id)
    assert count_events(connection, run) == 1
    end(connection, run)
    assert runs.delete_run(connection, run.run_id)
    assert not runs.delete_run(connection, run.run_id)
    assert count_events(connection, run) == 0


def test_all_runs_of_a_thread_are_deleted_together(connection: Connection) -> None:
    thread_id = new_id()
    gone = with_events(connection, running(thread_id=thread_id))
    other = with_events(connection, running(thread_id=new_id()))
    runs.delete_runs_of_thread(connection, thread_id)
    assert runs.get_run(connection, gone.run_id) is None
    assert count_events(connection, gone) == 0
    assert get_run(connection, other) == other


# Indexes: what loops, and every creation, ask again and again.

ATTEMPT = Attempt("run", "thread", "graph", 1, "server")
ENDING = Ending(state=RunState.SUCCEEDED)

BY_INDEX: dict[str, tuple[Callable[[Connection], Any], list[str]]] = {
    "claim": (
        lambda c: claims.claim_runs(c, owner="server", graph_ids=["graph"], limit=5, now=at(0)),
        ["sqlite_autoindex_runs_1", "COVERING INDEX ix_runs_claimable"],
    ),
    "list_due": (lambda c: claims.list_due(c, at(0), limit=10), ["ix_runs_waking"]),
    "wake": (lambda c: claims.wake_runs(c, ["run"], at(0)), ["sqlite_autoindex_runs_1"] * 2),
    "owned_of": (lambda c: ownership.owned_of(c, [ATTEMPT] * 2), ["sqlite_autoindex_runs_1"] * 2),
    "next_wake": (claims.next_wake, ["ix_runs_waking"]),
    "is_any_due": (
        lambda c: claims.is_any_due(c, ["graph"], at(0)),
        ["COVERING INDEX ix_runs_claimable", "ix_runs_waking"],
    ),
    "end_running": (
        lambda c: endings.end_running(c, running(), ATTEMPT, ENDING, at(0)),
        ["sqlite_autoindex_runs_1"],
    ),
    "queue_of_thread": (
        lambda c: claims.queue_of_thread(c, "thread"),
        [
            "uq_runs_active_on_thread",
            "COVERING INDEX ix_runs_begun_on_thread",
            "COVERING INDEX ix_runs_queue_of_thread",
            "uq_runs_runnable_on_thread",
            "COVERING INDEX ix_runs_queue_of_thread",
        ],
    ),
    "in_flight_of_thread": (
        lambda c: claims.in_flight_of_thread(c, "thread"),
        ["ix_runs_queue_of_thread"],
    ),
    "has_in_flight": (
        lambda c: claims.has_in_flight(c, thread_id="thread"),
        ["COVERING INDEX ix_runs_queue_of_thread"],
    ),
    "count_pending": (
        lambda c: claims.count_pending(c, up_to=100),
        ["COVERING INDEX ix_runs_queue_of_thread"],
    ),
    "owned_by": (lambda c: ownership.owned_by(c, "server"), ["ix_runs_owned"]),
    "cancelling_of": (lambda c: ownership.cancelling_of(c, "server"), ["ix_runs_owned"]),
    "list_lost_owners": (
        lambda c: ownership.list_lost_owners(c, at(0)),
        ["COVERING INDEX ix_runs_owned", "sqlite_autoindex_servers_1"],
    ),
    "last_retry": (claims.last_retry, ["ix_runs_waking"]),
    "owns_run": (lambda c: ownership.owns_run(c, ATTEMPT), ["sqlite_autoindex_runs_1"]),
    "end_run": (
        lambda c: endings.end_run(c, "run", ENDING, at(0), was=ACTIVE_STATES),
        ["sqlite_autoindex_runs_1"],
    ),
    "release_run": (
        lambda c: endings.release_run(c, "run", 1, at(0), give_back=True),
        ["sqlite_autoindex_runs_1"],
    ),
    "list_runs": (
        lambda c: runs.list_runs(c, RunFilter(), NEWEST_FIRST, limit=9, cursor=None),
        ["ix_runs_create_time"],
    ),
    "list_runs of a thread": (
        lambda c: runs.list_runs(
            c, RunFilter(thread_id="thread"), NEWEST_FIRST, limit=9, cursor=None
        ),
        ["ix_runs_thread_id"],
    ),
    "list_runs of an assistant": (
        lambda c: runs.list_runs(
            c, RunFilter(assistant_id="x"), NEWEST_FIRST, limit=9, cursor=None
        ),
        ["ix_runs_assistant_id"],
    ),
    "list_runs of a graph": (lambda c: listed(c, graph_id="x"), ["ix_runs_graph_id"]),
    "list_runs of a principal": (lambda c: listed(c, principal="x"), ["ix_runs_principal"]),
    "list_runs that failed": (
        lambda c: listed(c, states=[RunState.FAILED]),
        ["ix_runs_ended_oddly"],
    ),
    "list_runs created then": (
        lambda c: listed(c, created=TimeRange(at(0), at(1))),
        ["ix_runs_create_time"],
    ),
    "list_runs by update": (lambda c: listed(c, Order(SortKey.UPDATE_TIME)), ["ix_runs_update"]),
    "list_runs by end": (lambda c: listed(c, Order(SortKey.END_TIME)), ["ix_runs_update_time"]),
    "list_runs ended then by end": (
        lambda c: listed(c, Order(SortKey.END_TIME), ended=TimeRange(at(0), at(1))),
        [r"ix_runs_update_time \(update_time>\? AND update_time<"],
    ),
    "list_run_ids in flight": (
        lambda c: runs.list_run_ids(c, RunFilter(states=sorted(IN_FLIGHT_STATES)), limit=9),
        [r"sqlite_autoindex_runs_1 \(run_id=\?\)"],
    ),
    "last_event": (lambda c: events.last_event(c, "run"), ["PRIMARY KEY"]),
    "has_end": (lambda c: events.has_end(c, "run"), ["PRIMARY KEY"]),
    "read_segments": (
        lambda c: events.read_segments(c, "run", EventId(1, 5)),
        [
            r"PRIMARY KEY \(run_id=\? AND \(attempt,first_index\)>",
            r"PRIMARY KEY \(run_id=\? AND attempt=\? AND first_index<",
        ],
    ),
}


@pytest.mark.parametrize(("query", "indexes"), BY_INDEX.values(), ids=BY_INDEX)
def test_what_is_asked_often_is_found_by_its_index(
    memory: Connection, query: Callable[[Connection], Any], indexes: list[str]
) -> None:
    found = sqlite_plans(memory, query)
    steps = [step for step in found if step.startswith(("SEARCH", "SCAN runs"))]
    # What moves a run gives it the number that follows the greatest.
    steps = [
        step for step in steps if not re.search(r"COVERING INDEX ix_(runs|changes)_change$", step)
    ]
    assert len(steps) == len(indexes), found
    for step, index in zip(steps, indexes, strict=True):
        assert re.search(index, step), found
    assert not any("TEMP B-TREE" in step for step in found), "sorted by the index itself"


SORTED: dict[str, tuple[Callable[[Connection], Any], list[str]]] = {
    "in flight": (
        lambda c: listed(c, states=[RunState.PENDING]),
        [r"autoindex_runs_1 \(run_id=\?\)", "in_flight USING COVERING INDEX ix_runs_queue_of"],
    ),
    "ended then": (
        lambda c: listed(c, ended=TimeRange(at(0), at(1))),
        ["ix_runs_update_time"],
    ),
    "by their ids": (lambda c: listed(c, run_ids=["a", "b"]), ["sqlite_autoindex_runs_1"]),
}


@pytest.mark.parametrize(("query", "indexes"), SORTED.values(), ids=SORTED)
def test_few_runs_are_found_and_then_sorted(
    memory: Connection, query: Callable[[Connection], Any], indexes: list[str]
) -> None:
    found = sqlite_plans(memory, query)
    steps = [step for step in found if step.startswith(("SEARCH", "SCAN"))]
    assert len(steps) == len(indexes), found
    for step, index in zip(steps, indexes, strict=True):
        assert re.search(index, step), found


OFTEN = BY_INDEX | SORTED


@pytest.mark.parametrize("query", [query for query, _ in OFTEN.values()], ids=OFTEN)
def test_postgresql_finds_by_an_index_what_is_asked_often(
    filled: Connection, query: Callable[[Connection], Any]
) -> None:
    found = postgres_plans(filled, query)
    # Servers are few, and soon read.
    assert [line for line in found if "Seq Scan" in line and " on servers" not in line] == [], found
