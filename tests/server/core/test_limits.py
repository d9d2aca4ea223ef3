"""How many runs there may be: what is counted, for whom, and what is refused."""

from datetime import timedelta

import pytest
from tests.support.records import add_default_assistant
from tests.support.transactions import Server

from runwire.server.core.limits import RunLimits
from runwire.server.model.errors import RunLimitReached, ThreadBusy
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import MultitaskStrategy, RunSpec, RunState

OF_ASSISTANT = RunLimits(per_assistant=2)
OF_PRINCIPAL = RunLimits(per_principal=2)


def test_an_assistant_may_have_so_many_runs_that_have_not_ended(server: Server) -> None:
    executing = server.start()
    server.create(start_delay=timedelta(hours=1))
    with pytest.raises(RunLimitReached) as caught:
        server.create_all([server.spec()], slots=1, limits=OF_ASSISTANT)
    assert caught.value.variables == {
        "limit": "max_runs_per_assistant",
        "maximum": "2",
        "assistant_id": executing.assistant_id,
    }
    server.finish(executing)
    assert server.create_all([server.spec()], limits=OF_ASSISTANT).runs


def test_who_is_refused_is_told_when_to_come_back_and_not_all_at_once() -> None:
    waits = {RunLimitReached("limit", 1, principal="ada").retry_after for _ in range(20)}
    assert len(waits) > 1
    assert all(timedelta(seconds=1) <= wait <= timedelta(seconds=2) for wait in waits if wait)


def test_another_assistant_is_not_held_up(server: Server) -> None:
    add_default_assistant(server.connection, "other")
    server.create_all([server.spec()] * 2, limits=OF_ASSISTANT)
    rules = {"limits": OF_ASSISTANT, "graph_ids": ["graph", "other"]}
    assert server.create_all([RunSpec(assistant_id="other")], **rules).runs


def test_a_principal_may_have_so_many_runs_that_have_not_ended(server: Server) -> None:
    mine = server.create_all([server.spec()] * 2, principal="ada", limits=OF_PRINCIPAL).runs
    assert {run.principal for run in mine} == {"ada"}
    with pytest.raises(RunLimitReached) as caught:
        server.create_all([server.spec()], principal="ada", limits=OF_PRINCIPAL)
    assert caught.value.variables == {
        "limit": "max_runs_per_principal",
        "maximum": "2",
        "principal": "ada",
    }
    assert server.create_all([server.spec()], principal="bob", limits=OF_PRINCIPAL).runs
    server.cancel(mine[0])
    assert server.create_all([server.spec()], principal="ada", limits=OF_PRINCIPAL).runs


def test_runs_of_nobody_count_for_no_principal(server: Server) -> None:
    assert len(server.create_all([server.spec()] * 5, limits=OF_PRINCIPAL).runs) == 5


def test_a_batch_that_is_too_many_is_refused_as_a_whole(server: Server) -> None:
    with pytest.raises(RunLimitReached):
        server.create_all([server.spec()] * 3, slots=9, limits=OF_ASSISTANT)
    assert server.claim() == []
    assert len(server.create_all([server.spec()] * 2, limits=OF_ASSISTANT).runs) == 2


def test_a_run_that_takes_the_place_of_a_waiting_one_is_not_one_more(server: Server) -> None:
    thread_id = server.thread()
    server.start(thread_id)
    waiting = server.create(thread_id)
    spec = server.spec(thread_id=thread_id, multitask_strategy=MultitaskStrategy.INTERRUPT)
    made = server.create_all([spec], limits=OF_ASSISTANT).runs[0]
    assert server.states(waiting, made) == ["cancelled", "pending"]
    assert server.row(waiting).state is RunState.CANCELLED
    rejecting = server.spec(thread_id=thread_id, multitask_strategy=MultitaskStrategy.REJECT)
    with pytest.raises(ThreadBusy):
        server.create_all([rejecting], limits=OF_ASSISTANT)


def test_a_repeated_request_is_answered_at_the_limit_too(server: Server) -> None:
    limits = RunLimits(per_assistant=1)
    key = RequestKey("CreateRun", "id", b"body")
    first = server.create_all([server.spec()], request=key, limits=limits)
    again = server.create_all([server.spec()], request=key, limits=limits)
    assert (again.replayed, again.runs) == (True, first.runs)


def test_a_request_id_is_one_principal_s(server: Server) -> None:
    ada = RequestKey("CreateRun", "id", b"body", "ada")
    bob = RequestKey("CreateRun", "id", b"another body", "bob")
    first = server.create_all([server.spec()], request=ada, principal="ada").runs
    other = server.create_all([server.spec()], request=bob, principal="bob")
    assert not other.replayed
    assert other.runs[0].run_id != first[0].run_id
    assert server.create_all([server.spec()], request=ada, principal="ada").runs == first
