"""Which runs are claimed, and in which order."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import a_run, add_run, at

from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.runs import Run, RunSpec, RunState
from runwire.server.storage import claims
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
