"""How the queue stands, counted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import a_run, a_server, add_run, at

from runwire.server.model.ids import new_id
from runwire.server.model.queues import GraphQueue
from runwire.server.model.runs import Cancel, CancelAction, CancelCause, Run, RunState
from runwire.server.storage import endings, queues, servers
from runwire.server.storage.endings import Ending

CANCEL = Cancel(action=CancelAction.INTERRUPT, cause=CancelCause.CLIENT, request_time=at(0))


def running(owner: str = "server", **changes: Any) -> Run:
    return a_run(state=RunState.RUNNING, attempt=1, owner=owner, **changes)


def test_an_empty_queue_has_no_graphs_and_no_age(connection: Connection) -> None:
    assert queues.count_in_flight(connection, up_to=10) == ([], 0, None)
    assert queues.oldest_claimable(connection) is None


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
    assert claimable == 1
    assert queues.oldest_claimable(connection) == at(7)


def test_no_more_are_counted_than_were_asked_for(connection: Connection) -> None:
    for _ in range(5):
        add_run(connection, a_run(), runnable=True)

    counted = queues.count_in_flight(connection, up_to=3)
    assert sum(graph.in_flight for graph in counted.graphs) == 3
    assert counted.claimable == 3


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
    assert [step for step in sqlite_plans(memory, query) if " runs " in step] == expected


@pytest.mark.parametrize("query", [query for query, _ in ASKED.values()], ids=ASKED)
def test_postgresql_counts_runs_by_an_index_too(
    filled: Connection, query: Callable[[Connection], Any]
) -> None:
    steps = [step for step in postgres_plans(filled, query) if " on runs" in step]

    assert steps
    assert [step for step in steps if "Seq Scan" in step] == []
