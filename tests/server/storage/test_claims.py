"""Whose turn it is: queues of threads, delays, and which runs are claimed in which order."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import a_run, add_run, at, end, get_run, running

from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.runs import (
    Run,
    RunSpec,
    RunState,
)
from runwire.server.storage import claims
from runwire.server.storage.claims import Queue
from runwire.server.storage.tables import runs as runs_table

BACKLOG = 10_000


def waiting(seconds: float, priority: int = 0, **changes: Any) -> Run:
    return a_run(seconds, spec=RunSpec(assistant_id="graph", priority=priority), **changes)


def claim(connection: Connection, limit: int) -> list[str]:
    claimed = claims.claim_runs(
        connection, owner="server", graph_ids=["graph"], limit=limit, now=at(99)
    )
    return [run.run_id for run in claimed]


def test_what_has_a_higher_priority_is_claimed_first_and_then_what_is_due_first(
    connection: Connection,
) -> None:
    low = add_run(connection, waiting(0, -1), runnable=True)
    later = add_run(connection, waiting(2), runnable=True)
    sooner = add_run(connection, waiting(1), runnable=True)
    high = add_run(connection, waiting(3, 100), runnable=True)
    assert claim(connection, 3) == [high.run_id, sooner.run_id, later.run_id]
    assert claims.is_any_due(connection, ["graph"], at(99))
    assert claim(connection, 3) == [low.run_id]
    assert not claims.is_any_due(connection, ["graph"], at(99))


def test_a_priority_moves_no_run_of_a_thread_ahead_of_those_before_it(
    connection: Connection,
) -> None:
    thread_id = new_id()
    first = add_run(connection, waiting(0, thread_id=thread_id))
    add_run(connection, waiting(1, 100, thread_id=thread_id))
    assert claims.queue_of_thread(connection, thread_id).head == first.run_id


def test_runs_in_flight_are_counted_by_assistant_and_by_principal(connection: Connection) -> None:
    add_run(connection, a_run(principal="ada"))
    add_run(connection, a_run(state=RunState.RUNNING, owner="server", principal="ada"))
    add_run(connection, a_run(assistant_id=new_id(), principal="bob"))
    ended = a_run(state=RunState.RUNNING, owner="server", principal="ada")
    add_run(connection, ended)
    connection.execute(
        runs_table.update()
        .where(runs_table.c.run_id == ended.run_id)
        .values(state="succeeded", owner=None, end_time=at(9), update_time=at(9))
    )
    own = default_assistant_id("graph")
    assert claims.count_of_assistant(connection, own, up_to=9) == 2
    assert claims.count_of_assistant(connection, own, up_to=1) == 1
    assert claims.count_of_principal(connection, "ada", up_to=9) == 2
    assert claims.count_of_principal(connection, "bob", up_to=9) == 1
    assert claims.count_of_principal(connection, "cleo", up_to=9) == 0


QUERIES = {
    "count_of_assistant": lambda c: claims.count_of_assistant(c, "assistant", up_to=9),
    "count_of_principal": lambda c: claims.count_of_principal(c, "somebody7", up_to=9),
}
INDEXES = {
    "count_of_assistant": "COVERING INDEX ix_runs_assistant_in_flight",
    "count_of_principal": "COVERING INDEX ix_runs_principal_in_flight",
}


@pytest.mark.parametrize("name", QUERIES)
def test_limits_are_counted_by_their_own_indexes(
    memory: Connection, filled: Connection, name: str
) -> None:
    steps = sqlite_plans(memory, QUERIES[name])
    assert any(INDEXES[name] in step for step in steps), steps
    lines = postgres_plans(filled, QUERIES[name])
    assert any(INDEXES[name].split()[-1] in line for line in lines), lines


def fill(connection: Connection, priorities: int) -> None:
    """Let many runs wait for a slot, of so many priorities."""
    template = add_run(connection, waiting(0), runnable=True)
    row = dict(connection.execute(select(runs_table)).mappings().one())
    connection.execute(
        insert(runs_table),
        [
            {
                **row,
                "run_id": new_id(),
                "rank": number % priorities,
                "due_time": template.due_time + timedelta(milliseconds=number),
            }
            for number in range(1, BACKLOG)
        ],
    )


@pytest.mark.parametrize("priorities", [1, 201])
def test_a_claim_costs_the_same_however_many_runs_wait(memory: Connection, priorities: int) -> None:
    fill(memory, priorities)
    driver: Any = memory.connection.driver_connection
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    driver.set_progress_handler(count, 100)
    assert claims.is_any_due(memory, ["graph"], at(99))
    assert len(claim(memory, 5)) == 5
    driver.set_progress_handler(None, 0)
    assert steps < 100, "thousands of instructions, not hundreds of thousands"


def test_postgresql_claims_in_the_order_of_the_index(filled: Connection) -> None:
    found = postgres_plans(filled, lambda c: claim(c, 5))
    assert any("Index Scan using ix_runs_claimable" in line for line in found), found
    assert not any("Sort" in line for line in found), found


# Queues of threads, and delays.


def ids(found: list[Run]) -> list[str]:
    return [run.run_id for run in found]


def test_an_empty_thread_has_an_empty_queue(connection: Connection) -> None:
    assert claims.queue_of_thread(connection, new_id()) == Queue(False, None, None, False)


def test_a_queue_tells_who_executes_who_is_first_and_who_can_be_claimed(
    connection: Connection,
) -> None:
    thread_id = new_id()
    delayed = a_run(0, thread_id=thread_id, due_time=at(5))
    add_run(connection, delayed, wake_time=at(5))
    assert claims.queue_of_thread(connection, thread_id) == Queue(False, None, None, True)
    second = add_run(connection, a_run(2, thread_id=thread_id))
    first = add_run(connection, a_run(1, thread_id=thread_id), runnable=True)
    queue = claims.queue_of_thread(connection, thread_id)
    assert queue == Queue(False, first.run_id, first.run_id, True)
    (claimed,) = claims.claim_runs(
        connection, owner="server", graph_ids=["graph"], limit=5, now=at(3)
    )
    assert claimed.run_id == first.run_id
    assert claims.queue_of_thread(connection, thread_id) == Queue(True, second.run_id, None, True)
    found = claims.in_flight_of_thread(connection, thread_id)
    assert ids(found) == [first.run_id, second.run_id, delayed.run_id]


def test_of_runs_created_at_once_the_first_made_is_first(connection: Connection) -> None:
    thread_id = new_id()
    made = [add_run(connection, a_run(thread_id=thread_id)) for _ in range(5)]
    assert claims.queue_of_thread(connection, thread_id).head == made[0].run_id


def test_a_run_that_is_delayed_before_a_later_attempt_keeps_its_place(
    connection: Connection,
) -> None:
    thread_id = new_id()
    retried = a_run(0, thread_id=thread_id, attempt=1)
    add_run(connection, retried, wake_time=at(5))
    add_run(connection, a_run(1, thread_id=thread_id))
    assert claims.queue_of_thread(connection, thread_id).head == retried.run_id
    assert not claims.make_runnable(connection, retried.run_id)


def test_ended_runs_are_in_no_queue(connection: Connection) -> None:
    thread_id = new_id()
    run = add_run(connection, running(thread_id=thread_id))
    assert claims.has_in_flight(connection, thread_id=thread_id)
    assert claims.has_in_flight(connection, assistant_id=run.assistant_id)
    end(connection, run)
    assert not claims.has_in_flight(connection, thread_id=thread_id)
    assert not claims.has_in_flight(connection, assistant_id=run.assistant_id)
    assert claims.queue_of_thread(connection, thread_id) == Queue(False, None, None, False)


def test_pending_runs_are_counted_up_to_a_limit(connection: Connection) -> None:
    add_run(connection, running())
    for _ in range(3):
        add_run(connection, a_run())
    assert claims.count_pending(connection, up_to=9) == 3
    assert claims.count_pending(connection, up_to=2) == 2


def test_what_is_made_to_wait_is_not_claimed(connection: Connection) -> None:
    run = add_run(connection, a_run(), runnable=True)
    claims.make_wait(connection, run.run_id)
    assert (
        claims.claim_runs(connection, owner="server", graph_ids=["graph"], limit=1, now=at(1)) == []
    )
    assert claims.make_runnable(connection, run.run_id)
    assert (
        len(claims.claim_runs(connection, owner="server", graph_ids=["graph"], limit=1, now=at(1)))
        == 1
    )
    assert not claims.make_runnable(connection, run.run_id), "it is pending no longer"


def test_a_claim_takes_what_is_due_first_and_no_more_than_it_may(connection: Connection) -> None:
    late = add_run(connection, a_run(0, due_time=at(8)), runnable=True)
    early = add_run(connection, a_run(3), runnable=True)
    add_run(connection, a_run(1))
    first = claims.claim_runs(connection, owner="one", graph_ids=["graph"], limit=1, now=at(9))
    second = claims.claim_runs(connection, owner="two", graph_ids=["graph"], limit=5, now=at(10))
    assert (ids(first), ids(second)) == ([early.run_id], [late.run_id])
    wanted = replace(
        early,
        state=RunState.RUNNING,
        owner="one",
        attempt=1,
        start_time=at(9),
        update_time=at(9),
    )
    assert first == [wanted] == [get_run(connection, early)]


def test_a_claim_leaves_runs_alone_whose_graph_its_server_does_not_know(
    connection: Connection,
) -> None:
    unknown = add_run(connection, a_run(0, graph_id="other"), runnable=True)
    known = add_run(connection, a_run(1), runnable=True)

    def claim(*graph_ids: str) -> list[str]:
        found = claims.is_any_due(connection, graph_ids, at(2))
        claimed = ids(
            claims.claim_runs(connection, owner="one", graph_ids=graph_ids, limit=1, now=at(2))
        )
        assert found == bool(claimed)
        return claimed

    assert claim() == []
    assert claim("graph", "third") == [known.run_id]
    assert claim("graph", "third") == []
    assert get_run(connection, unknown) == unknown
    assert claim("graph", "other") == [unknown.run_id]


def test_the_start_is_that_of_the_first_attempt(connection: Connection) -> None:
    add_run(connection, a_run(attempt=1, start_time=at(1)), runnable=True)
    (claimed,) = claims.claim_runs(
        connection, owner="server", graph_ids=["graph"], limit=1, now=at(9)
    )
    assert (claimed.attempt, claimed.start_time) == (2, at(1))


def wake(connection: Connection, seconds: float) -> list[str]:
    due = [run.run_id for run in claims.list_due(connection, at(seconds), limit=9)]
    return [run.run_id for run in claims.wake_runs(connection, due, at(seconds))]


def test_delays_end_when_their_time_has_come(connection: Connection) -> None:
    assert claims.next_wake(connection) is None
    later = add_run(connection, a_run(0, due_time=at(6)), wake_time=at(6))
    sooner = add_run(connection, a_run(1, due_time=at(5)), wake_time=at(5))
    last = add_run(connection, a_run(2, due_time=at(7)), wake_time=at(7))
    assert claims.next_wake(connection) == at(5)
    assert wake(connection, 4.999999) == []
    assert wake(connection, 6) == [sooner.run_id, later.run_id]
    assert claims.next_wake(connection) == at(7)
    assert wake(connection, 8) == [last.run_id]
    assert claims.next_wake(connection) is None


def test_a_claim_costs_the_same_however_many_runs_have_ended(memory: Connection) -> None:
    connection = memory
    template = add_run(connection, running())
    end(connection, template)
    row = dict(connection.execute(select(runs_table)).mappings().one())
    connection.execute(insert(runs_table), [{**row, "run_id": new_id()} for _ in range(2000)])
    add_run(connection, a_run(), runnable=True)
    driver: Any = connection.connection.driver_connection
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    driver.set_progress_handler(count, 100)
    assert (
        len(claims.claim_runs(connection, owner="server", graph_ids=["graph"], limit=5, now=at(1)))
        == 1
    )
    assert claims.count_pending(connection, up_to=10) == 0
    driver.set_progress_handler(None, 0)
    assert steps < 20, "hundreds of instructions, not tens of thousands"
