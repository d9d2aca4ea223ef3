"""What is to be told of a run is stored with its end, wherever it ends."""

from typing import Any

import orjson
import pytest
from sqlalchemy import event
from tests.support.records import at
from tests.support.transactions import MovableClock, Server, encode

from runwire.server.core.endings import leave_attempt
from runwire.server.core.outbox import LARGEST_VALUE
from runwire.server.model.runs import (
    CancelAction,
    Interrupt,
    MultitaskStrategy,
    Run,
    RunError,
    RunState,
)
from runwire.server.model.webhooks import Delivery, DeliveryFilter, DeliveryState
from runwire.server.storage.webhooks import list_deliveries

URL = "https://example.com/hook?token=1"


def told(server: Server) -> list[Delivery]:
    """What is to be sent, the first first."""
    page = list_deliveries(server.connection, DeliveryFilter(), limit=100, cursor=None)
    return page.items[::-1]


def the_content(server: Server) -> dict[str, Any]:
    (delivery,) = told(server)
    content: dict[str, Any] = orjson.loads(delivery.body)
    return content


def test_a_run_that_has_not_ended_has_nothing_to_tell(server: Server) -> None:
    server.create(webhook=URL)
    released = server.start(webhook=URL)
    server.release(released)
    server.cancel(server.start(webhook=URL))
    assert told(server) == []


def test_a_success_is_told_with_the_output(server: Server) -> None:
    run = server.start(server.thread(), webhook=URL, metadata={"order": 7})
    MovableClock.time = at(5)
    server.finish(run, values='{"a":1}')
    (delivery,) = told(server)
    assert (delivery.run_id, delivery.url, delivery.host) == (run.run_id, URL, "example.com")
    assert (delivery.state, delivery.attempts, delivery.due_time) == (
        DeliveryState.PENDING,
        0,
        at(5),
    )
    assert orjson.loads(delivery.body) == {
        "type": "run.succeeded",
        "timestamp": "2026-01-01T00:00:05Z",
        "data": {
            "run": {
                "run_id": run.run_id,
                "thread_id": run.thread_id,
                "assistant_id": run.assistant_id,
                "assistant_version": 1,
                "graph_id": "graph",
                "state": "succeeded",
                "metadata": {"order": 7},
                "attempt": 1,
                "error": None,
                "cancel": None,
                "create_time": "2026-01-01T00:00:00Z",
                "start_time": "2026-01-01T00:00:00Z",
                "end_time": "2026-01-01T00:00:05Z",
            },
            "output": {"a": 1},
            "output_omitted": False,
            "interrupts": [],
        },
    }


def test_a_stateless_run_s_output_is_told_too(server: Server) -> None:
    server.finish(server.start(webhook=URL), values="[1]")
    content = the_content(server)
    assert (content["data"]["output"], content["data"]["run"]["thread_id"]) == ([1], None)


def test_a_failure_is_told_with_its_error(server: Server) -> None:
    error = RunError(type="ValueError", message="no", node="n", attempt=1, error_id="e")
    server.finish(server.start(webhook=URL), RunState.FAILED, error=error)
    content = the_content(server)
    assert content["type"] == "run.failed"
    assert content["data"]["run"]["error"] == {
        "type": "ValueError",
        "message": "no",
        "node": "n",
        "attempt": 1,
        "error_id": "e",
    }
    assert content["data"]["output"] is None


def test_a_pause_is_told_with_its_questions(server: Server) -> None:
    questions = (Interrupt(interrupt_id="i", value='"go on?"'),)
    run = server.start(server.thread(), webhook=URL)
    server.finish(run, RunState.INTERRUPTED, values="1", interrupts=questions)
    content = the_content(server)
    assert content["type"] == "run.interrupted"
    assert content["data"]["interrupts"] == [
        {"interrupt_id": "i", "value": "go on?", "value_omitted": False}
    ]


def test_a_timeout_is_told(server: Server) -> None:
    error = RunError(type="RunTimeout", message="late")
    server.finish(server.start(webhook=URL), RunState.TIMED_OUT, error=error)
    assert the_content(server)["type"] == "run.timed_out"


def cancel_pending(server: Server) -> Run:
    run = server.create(webhook=URL)
    server.cancel(run)
    return run


def cancel_running(server: Server) -> Run:
    run = server.start(webhook=URL)
    server.cancel(run)
    server.finish(run, RunState.SUCCEEDED, values="1")
    return run


def replace_on_the_thread(server: Server) -> Run:
    run = server.create(server.thread(), webhook=URL)
    server.create(run.thread_id, multitask_strategy=MultitaskStrategy.INTERRUPT)
    return run


def lose_the_server_of_a_cancelled_run(server: Server) -> Run:
    run = server.start(webhook=URL)
    server.cancel(run)
    server.connection.exec_driver_sql("DELETE FROM servers")
    server.crash()
    return run


def leave_a_cancelled_run(server: Server) -> Run:
    run = server.start(webhook=URL)
    server.cancel(run)
    leave_attempt(server.connection, server.attempt(run), server.log(run), encode)
    return run


@pytest.mark.parametrize(
    "cancel",
    [
        cancel_pending,
        cancel_running,
        replace_on_the_thread,
        lose_the_server_of_a_cancelled_run,
        leave_a_cancelled_run,
    ],
)
def test_a_cancel_is_told_wherever_it_comes_to_its_end(server: Server, cancel: Any) -> None:
    run = cancel(server)
    content = the_content(server)
    assert content["type"] == "run.cancelled"
    assert content["data"]["run"]["run_id"] == run.run_id
    assert content["data"]["run"]["cancel"]["action"] == "interrupt"
    assert content["data"]["output"] is None


@pytest.mark.parametrize("starts", [True, False])
def test_a_run_that_is_taken_back_is_told_as_that(server: Server, starts: bool) -> None:
    thread_id = server.thread()
    run = (server.start if starts else server.create)(thread_id, webhook=URL)
    server.cancel(run, action=CancelAction.ROLLBACK)
    if starts:
        server.finish(run)
    content = the_content(server)
    assert content["type"] == "run.cancelled"
    assert content["data"]["run"]["cancel"]["action"] == "rollback"


def test_attempts_that_are_used_up_are_told_once(server: Server) -> None:
    run = server.start(webhook=URL)
    server.connection.exec_driver_sql("DELETE FROM servers")
    server.crash(max_attempts=1)
    server.crash(max_attempts=1)
    content = the_content(server)
    assert (content["type"], content["data"]["run"]["run_id"]) == ("run.failed", run.run_id)
    assert content["data"]["run"]["error"]["type"] == "AttemptsExhausted"


def test_what_is_too_large_is_left_out_and_said_to_be(server: Server) -> None:
    large = orjson.dumps("x" * LARGEST_VALUE).decode()
    questions = (Interrupt(interrupt_id="i", value=large), Interrupt(interrupt_id="j", value="1"))
    run = server.start(server.thread(), webhook=URL)
    server.finish(run, RunState.INTERRUPTED, values=large, interrupts=questions)
    data = the_content(server)["data"]
    assert (data["output"], data["output_omitted"]) == (None, True)
    assert data["interrupts"] == [
        {"interrupt_id": "i", "value": None, "value_omitted": True},
        {"interrupt_id": "j", "value": None, "value_omitted": True},
    ]


def test_a_run_without_a_webhook_costs_no_statement(server: Server) -> None:
    said: list[str] = []

    def note(*what: Any) -> None:
        said.append(what[2])

    plain, hooked = server.start(), server.start(webhook=URL)
    event.listen(server.connection, "before_cursor_execute", note)
    server.finish(plain)
    server.cancel(server.create())
    without = [text for text in said if "webhook" in text]
    server.finish(hooked)
    assert without == []
    assert len([text for text in said if "webhook" in text]) == 1
