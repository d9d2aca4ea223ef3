"""How the queue stands, counted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import a_run, a_server, add_run, at

from runwire.server.model.ids import new_id
from runwire.server.model.queues import GraphQueue
from runwire.server.model.runs import Cancel, CancelAction, CancelCause, Run, RunSpec, RunState
from runwire.server.storage import endings, queues, servers
from runwire.server.storage.endings import Ending
from runwire.server.storage.tables import runs as runs_table

CANCEL = Cancel(action=CancelAction.INTERRUPT, cause=CancelCause.CLIENT, request_time=at(0))


def running(owner: str = "server", **changes: Any) -> Run:
    return a_run(state=RunState.RUNNING, attempt=1, owner=owner, **changes)


def test_an_empty_queue_has_no_graphs_and_no_age(connection: Connection) -> None:
    assert queues.count_in_flight(connection, up_to=10) == ([], {}, None)
    assert queues.oldest_claimable(connection, ["a"]) is None


def test_each_run_in_flight_is_counted_once_and_for_its_graph(connection: Connection) -> None:
    thread_id = new_id()
    add_run(connection, running(graph_id="a", thread_id=thread_id))
    add_run(connection, a_run(5, graph_id="a", thread_id=thread_id), runnable=False)
    add_run(connection, a_run(7, graph_id="a"), runnable=True)
    add_run(connection, a_run(1, graph_id="b"), runnable=False, wake_time=at(99))
    cancelled = add_run(connection, running(graph_id="b"))
    assert endings.request_cancel(connection, cancelled.run_id, CANCEL, at(1))
    ended = add_run(connection, running(graph_id="c"))
    ending = Ending(state=RunState.SUCCEEDED)
    endings.end_run(connection, ended.run_id, ending, at(9), was=frozenset(RunState))

    graphs, claimable, oldest = queues.count_in_flight(connection, up_to=100)
    assert graphs == [
        GraphQueue(graph_id="a", pending=2, delayed=0, running=1, cancelling=0),
        GraphQueue(graph_id="b", pending=0, delayed=1, running=0, cancelling=1),
    ]
    assert oldest == at(5), "a delay is no waiting"
    assert claimable == {"a": 1}
    assert queues.oldest_claimable(connection, ["a"]) == at(7)
    assert queues.oldest_claimable(connection, ["b"]) is None
    assert queues.oldest_claimable(connection, []) is None


def test_the_oldest_claimable_run_may_be_of_any_priority(connection: Connection) -> None:
    for seconds, priority, graph_id in ((5, 9, "a"), (3, 0, "a"), (1, 0, "b"), (4, -9, "a")):
        spec = RunSpec(assistant_id=graph_id, priority=priority)
        add_run(connection, a_run(seconds, graph_id=graph_id, spec=spec), runnable=True)
    assert queues.oldest_claimable(connection, ["a"]) == at(3)
    assert queues.oldest_claimable(connection, ["a", "b"]) == at(1)
    assert queues.oldest_claimable(connection, ["c"]) is None


def test_what_comes_before_a_run_is_counted_on_its_thread_and_in_the_order_of_claims(
    connection: Connection,
) -> None:
    thread_id = new_id()

    def add(seconds: float, priority: int = 0, **changes: Any) -> Run:
        spec = RunSpec(assistant_id="graph", priority=priority)
        run = a_run(seconds, spec=spec, **changes)
        return add_run(connection, run, runnable=run.thread_id is None)

    def before(run: Run, up_to: int = 9) -> tuple[int, int, bool]:
        return queues.count_before(connection, run, ["graph"], up_to=up_to)

    first = add(3, thread_id=thread_id)
    second = add(4, thread_id=thread_id)
    assert (before(first), before(second)) == ((0, 0, False), (1, 0, False))
    add_run(connection, running(thread_id=thread_id, due_time=at(9)))
    assert (before(first), before(second)) == ((1, 0, False), (2, 0, False))
    for seconds, priority in ((0, 0), (3.5, 0), (9, 0), (99, 1), (0, -1)):
        add(seconds, priority)
    add_run(connection, a_run(0, graph_id="unknown"), runnable=True)
    add_run(connection, a_run(0), wake_time=at(9))
    assert before(first) == (1, 2, False), "the one before it in time, and the one of priority 1"
    assert before(second) == (2, 3, False)
    assert before(second, up_to=2)[2], "there may be more"


def test_one_that_has_begun_comes_before_all_others_of_its_thread(connection: Connection) -> None:
    thread_id = new_id()
    waiting = add_run(connection, a_run(3, thread_id=thread_id))
    begun = add_run(connection, a_run(9, thread_id=thread_id, attempt=1))
    before = [queues.count_before(connection, run, ["graph"], up_to=9) for run in (waiting, begun)]
    assert [count.on_thread for count in before] == [1, 0]


def test_what_comes_before_a_run_costs_no_more_than_is_counted(memory: Connection) -> None:
    head = add_run(memory, a_run(-1), runnable=True)
    row = dict(memory.execute(select(runs_table)).mappings().one())
    many = [{**row, "run_id": new_id(), "due_time": at(n)} for n in range(5000)]
    memory.execute(insert(runs_table), many)
    last = replace(head, run_id=new_id(), due_time=at(9999))
    driver: Any = memory.connection.driver_connection
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    driver.set_progress_handler(count, 100)
    assert queues.count_before(memory, last, ["graph"], up_to=50) == (0, 50, True)
    assert queues.count_before(memory, head, ["graph"], up_to=50) == (0, 0, False)
    driver.set_progress_handler(None, 0)
    assert steps < 50, "thousands of instructions, not hundreds of thousands"


def test_no_more_are_counted_than_were_asked_for(connection: Connection) -> None:
    for _ in range(5):
        add_run(connection, a_run(), runnable=True)

    counted = queues.count_in_flight(connection, up_to=3)
    assert sum(graph.in_flight for graph in counted.graphs) == 3
    assert counted.claimable == {"graph": 3}


def test_runs_without_a_live_server_are_orphans(connection: Connection) -> None:
    for lease in (at(5), at(15), None):
        server = replace(a_server(), lease_until=lease)
        servers.add_server(connection, server)
        add_run(connection, running(owner=server.server_id))
    add_run(connection, running(owner="nobody"))
    add_run(connection, a_run(), runnable=True)

    assert queues.count_active(connection, up_to=10) == 4
    assert queues.count_orphans(connection, at(10), up_to=10) == 2
    assert queues.count_orphans(connection, at(10), up_to=1) == 1


ASKED: dict[str, tuple[Callable[[Connection], Any], list[str]]] = {
    "count_in_flight": (
        lambda c: queues.count_in_flight(c, up_to=10),
        ["SCAN runs USING COVERING INDEX ix_runs_queue_of_thread"],
    ),
    "oldest_claimable": (
        lambda c: queues.oldest_claimable(c, ["graph"]),
        ["SEARCH runs USING COVERING INDEX ix_runs_claimable"] * 3,
    ),
    "count_before": (
        lambda c: queues.count_before(c, a_run(thread_id="thread"), ["graph"], up_to=9),
        [
            "SEARCH runs USING COVERING INDEX ix_runs_queue_of_thread",
            "SEARCH runs USING INDEX uq_runs_active_on_thread",
            "SEARCH runs USING COVERING INDEX ix_runs_begun_on_thread",
            "SEARCH runs USING COVERING INDEX ix_runs_claimable",
        ],
    ),
    "count_active": (
        lambda c: queues.count_active(c, up_to=10),
        ["SEARCH runs USING COVERING INDEX ix_runs_owned (owner>?)"],
    ),
    "count_orphans": (
        lambda c: queues.count_orphans(c, at(0), up_to=10),
        ["SEARCH runs USING COVERING INDEX ix_runs_owned (owner>?)"],
    ),
}


@pytest.mark.parametrize(("query", "expected"), ASKED.values(), ids=ASKED)
def test_runs_are_counted_by_an_index_and_not_by_their_rows(
    memory: Connection, query: Callable[[Connection], Any], expected: list[str]
) -> None:
    steps = [step.partition(" (")[0] for step in sqlite_plans(memory, query) if " runs " in step]
    assert steps == [step.partition(" (")[0] for step in expected]


@pytest.mark.parametrize("query", [query for query, _ in ASKED.values()], ids=ASKED)
def test_postgresql_counts_runs_by_an_index_too(
    filled: Connection, query: Callable[[Connection], Any]
) -> None:
    steps = [step for step in postgres_plans(filled, query) if " on runs" in step]

    assert steps
    assert [step for step in steps if "Seq Scan" in step] == []
