"""Rows for tests of the storage floor, complete with what a test does not care about."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from runwire.server.model.assistants import Assistant
from runwire.server.model.ids import default_assistant_id, new_id
from runwire.server.model.runs import (
    Cancel,
    CancelAction,
    CancelCause,
    Run,
    RunConfig,
    RunSpec,
    RunState,
)
from runwire.server.model.servers import Server
from runwire.server.model.webhooks import Delivery
from runwire.server.storage import assistants, endings, runs, threads

START_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a moment, as seconds after `START_TIME`."""
    return START_TIME + timedelta(seconds=seconds)


def a_run(seconds: float = 0, **changes: Any) -> Run:
    """Return a run that is PENDING and was created `seconds` after `START_TIME`."""
    spec = RunSpec(assistant_id="graph", thread_id=changes.get("thread_id"))
    run = Run(
        run_id=new_id(),
        thread_id=None,
        assistant_id=default_assistant_id("graph"),
        assistant_version=1,
        graph_id="graph",
        state=RunState.PENDING,
        spec=spec,
        config=RunConfig(),
        context=None,
        metadata={},
        attempt=0,
        owner=None,
        create_time=at(seconds),
        due_time=at(seconds),
        update_time=at(seconds),
    )
    return replace(run, **changes)


def running(seconds: float = 0, owner: str = "server", **changes: Any) -> Run:
    """Return a run that executes in its first attempt."""
    return a_run(seconds, state=RunState.RUNNING, attempt=1, owner=owner, **changes)


CANCEL = Cancel(
    action=CancelAction.INTERRUPT, cause=CancelCause.CLIENT, request_time=at(3), abandoned=False
)


def end(connection: Connection, run: Run, seconds: float = 9, **ending: Any) -> Run | None:
    """End a run, whatever it does; return it as it ended."""
    how = endings.Ending(**{"state": RunState.SUCCEEDED, **ending})
    return endings.end_run(connection, run.run_id, how, at(seconds), was=frozenset(RunState))


def add_run(
    connection: Connection,
    run: Run,
    *,
    runnable: bool = False,
    wake_time: datetime | None = None,
) -> Run:
    """Store a run, and its thread if that is not there; return the run."""
    if run.thread_id is not None and threads.get_thread(connection, run.thread_id) is None:
        threads.add_thread(connection, run.thread_id, {}, run.create_time)
    runs.add_run(connection, run, runnable=runnable, wake_time=wake_time)
    return run


def get_run(connection: Connection, run: Run) -> Run:
    """Return a run as it is stored now."""
    found = runs.get_run(connection, run.run_id)
    assert found is not None
    return found


def an_assistant(seconds: float = 0, **changes: Any) -> Assistant:
    """Return an assistant at its first version."""
    assistant = Assistant(
        assistant_id=new_id(),
        graph_id="graph",
        name="graph",
        description="",
        config=RunConfig(),
        context=None,
        metadata={},
        version=1,
        create_time=at(seconds),
        update_time=at(seconds),
    )
    return replace(assistant, **changes)


def a_server(seconds: float = 0, **changes: Any) -> Server:
    """Return a server that has just started, with a lease of ten seconds."""
    server = Server(
        server_id=new_id(),
        name="machine",
        version="1.0",
        max_concurrent_runs=8,
        start_time=at(seconds),
        update_time=at(seconds),
        lease_until=at(seconds + 10),
    )
    return replace(server, **changes)


def a_delivery(seconds: float = 0, **changes: Any) -> Delivery:
    """Return a delivery of a run that ended `seconds` after `START_TIME`."""
    delivery = Delivery(
        delivery_id=new_id(),
        run_id=new_id(),
        url="https://example.com/hook",
        host="example.com",
        event_type="run.succeeded",
        body="{}",
        create_time=at(seconds),
    )
    return replace(delivery, **changes)


def add_default_assistant(connection: Connection, graph_id: str = "graph") -> Assistant:
    """Store the default assistant of a graph and return it."""
    assistant = an_assistant(
        assistant_id=default_assistant_id(graph_id), graph_id=graph_id, name=graph_id
    )
    assistants.add_assistant(connection, assistant)
    return assistant
