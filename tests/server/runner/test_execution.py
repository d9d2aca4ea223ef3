"""Carrying one attempt of a run to its end, whatever its code does."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.support.engine import Engine, ids, kinds, open_engine, until
from tests.support.meeting import Meeting
from tests.support.records import a_server, get_run

from runwire.server.core import flushing
from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.model.runs import (
    CancelAction,
    Durability,
    Run,
    RunCheckpoint,
    RunState,
    StreamMode,
)
from runwire.server.model.threads import ThreadState
from runwire.server.runner import execution, runner
from runwire.server.storage import checkpoints, claims, runs, servers
from runwire.server.storage.tables import runs as runs_table
from runwire.v1 import core_pb2

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"

CUSTOM = {"stream_modes": (StreamMode.CUSTOM,)}


@pytest.fixture
async def troubled(database_url: str) -> AsyncIterator[Engine]:
    """An engine with graphs that get in the way."""
    async with open_engine(database_url, graphs=GRAPHS) as engine:
        yield engine


async def cancel(engine: Engine, run: Run, action: CancelAction = CancelAction.INTERRUPT) -> Run:
    async with asyncio.timeout(60):
        return await engine.runs.cancel(run.run_id, action, wait=True)


async def check_end(engine: Engine, run: Run) -> None:
    """Check that a run has ended once and that its events agree with its row."""
    ended = await engine.row(run)
    events = await engine.events(run)
    assert ended.state.is_final
    assert kinds(events).count("run_ended") == 1
    last = events[-1].run_ended
    assert last.state == core_pb2.RunState.Value(f"RUN_STATE_{ended.state.name}")
    assert last.error.message == (ended.error.message if ended.error else "")
    assert last.cancel.abandoned == (ended.cancel.abandoned if ended.cancel else False)
    assert kinds(events)[0] == "attempt_started"


# Cancels: code that can be stopped.


@pytest.fixture
async def patient(database_url: str) -> AsyncIterator[Engine]:
    """An engine that leaves no code behind while a test waits for it."""
    async with open_engine(database_url, cancel_grace=timedelta(minutes=10)) as engine:
        yield engine


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize("graph_id", ["slow_async", "slow_nested", "gate", "cleans_up"])
async def test_code_that_awaits_is_stopped_where_it_is(
    patient: Engine, meeting: Meeting, graph_id: str
) -> None:
    engine = patient
    thread_id = await engine.thread()
    run = await meeting.start(engine, graph_id, seconds=600, spec={"thread_id": thread_id})
    ended = await cancel(engine, run)
    assert ended.state is RunState.CANCELLED
    assert ended.cancel is not None
    assert not ended.cancel.abandoned
    assert "ended" not in meeting.notes(run)
    assert (await engine.threads.get(thread_id)).state is ThreadState.IDLE
    await check_end(engine, run)


async def test_code_may_clean_up_for_as_long_as_the_grace_and_is_not_disturbed(
    database_url: str, meeting: Meeting
) -> None:
    grace = timedelta(seconds=20)
    async with open_engine(database_url, graphs=GRAPHS, cancel_grace=grace) as engine:
        run = await meeting.start(engine, "cleans_up_slowly", seconds=0.3)
        cancelling = asyncio.create_task(cancel(engine, run))
        for _ in range(20):
            await asyncio.sleep(0.01)
            engine.runner.stop(run.run_id)
        ended = await cancelling
        assert (meeting.directory / "cleaned").exists()
        assert ended.cancel is not None
        assert not ended.cancel.abandoned


async def test_code_that_swallows_its_cancel_is_stopped_at_the_next_superstep(
    troubled: Engine, meeting: Meeting
) -> None:
    run = await meeting.start(troubled, "swallows_one")
    ended = await cancel(troubled, run)
    assert ended.state is RunState.CANCELLED
    assert (meeting.directory / "swallowed").exists()
    assert not (meeting.directory / "after").exists()


async def test_a_cancel_is_no_failure_though_code_makes_one_of_it(
    troubled: Engine, meeting: Meeting
) -> None:
    run = await meeting.start(troubled, "turns_cancel_into_failure")
    ended = await cancel(troubled, run)
    assert (ended.state, ended.error) == (RunState.CANCELLED, None)


@pytest.mark.usefixtures("no_polls")
async def test_a_run_that_is_cancelled_before_its_code_begins_has_an_attempt_all_the_same(
    patient: Engine, meeting: Meeting
) -> None:
    engine = patient
    blocking = await meeting.start(engine, "blocks_loop", until_open=True)
    run = await engine.start("echo", **CUSTOM)
    assert run.state is RunState.RUNNING
    await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    meeting.open()
    ended = await engine.ended(run)
    assert (ended.state, ended.attempt) == (RunState.CANCELLED, 1)
    assert ids(await engine.events(run)) == ["1-1", "1-2"]
    await check_end(engine, run)
    await engine.ended(blocking)


# Cancels: code that cannot be stopped.


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize("graph_id", ["slow_sync", "locked"])
async def test_the_thread_stays_taken_until_code_that_cannot_be_stopped_has_ended(
    patient: Engine, meeting: Meeting, graph_id: str
) -> None:
    engine = patient
    on = {"spec": {"thread_id": await engine.thread()}}
    run = await meeting.start(engine, graph_id, until_open=True, **on)
    following = await engine.start("slow_async", meeting.input(seconds=0), **on["spec"])
    stored = await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    assert stored.state is RunState.CANCELLING
    await until(lambda: slot_is_stopping(engine, run))
    assert (await engine.row(following)).state is RunState.PENDING
    meeting.open()
    assert (await engine.ended(following)).state is RunState.SUCCEEDED
    cancelled = await engine.row(run)
    assert cancelled.cancel is not None
    assert not cancelled.cancel.abandoned
    done = [(note["run_id"], note["what"]) for note in meeting.ledger()]
    assert done == [
        (run.run_id, "started"),
        (run.run_id, "ended"),
        (following.run_id, "started"),
        (following.run_id, "ended"),
    ]
    output = json.loads((await engine.row(following)).output or "")
    assert output["done"] == ["sleep"], "what the cancelled node returned did not land"


@pytest.mark.parametrize("graph_id", ["slow_sync", "locked", "stubborn", "blocks_loop"])
async def test_code_that_does_not_stop_within_the_grace_is_left_behind_and_changes_nothing(
    database_url: str, meeting: Meeting, graph_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "BLOCKED_MARGIN_SECONDS", 0.1)
    grace = timedelta(seconds=0.2)
    async with open_engine(database_url, cancel_grace=grace, runner_loops=2) as engine:
        on = {"spec": {"thread_id": await engine.thread()}}
        run = await meeting.start(engine, graph_id, until_open=True, **on)
        began = time.monotonic()
        ended = await cancel(engine, run)
        assert time.monotonic() - began > 0.15
        assert ended.cancel is not None
        assert (ended.state, ended.cancel.abandoned) == (RunState.CANCELLED, True)
        events = await engine.events(run)
        if graph_id == "blocks_loop":  # the next run may be given that loop
            meeting.open()
        following = await engine.run("slow_async", {"seconds": 0}, **on["spec"])
        assert following.state is RunState.SUCCEEDED
        states = await engine.states.list(
            run.thread_id, checkpoint=None, before=None, metadata={}, limit=99, cursor=None
        )
        meeting.open()
        await until(lambda: "ended" in meeting.notes(run))
        await until(lambda: not engine.runner._loops.loops[0].tasks)
        await until(lambda: not engine.runner._loops.loops[1].tasks)
        assert await engine.row(run) == ended
        assert await engine.events(run) == events
        after = await engine.states.list(
            run.thread_id, checkpoint=None, before=None, metadata={}, limit=99, cursor=None
        )
        assert after == states
        await check_end(engine, run)


async def test_a_sibling_that_can_be_stopped_does_not_free_the_thread(
    database_url: str, meeting: Meeting
) -> None:
    grace = timedelta(minutes=10)
    async with open_engine(database_url, graphs=GRAPHS, cancel_grace=grace) as engine:
        run = await meeting.start(engine, "mixed", seconds=600)
        cancelling = asyncio.create_task(cancel(engine, run))
        await until(lambda: slot_is_stopping(engine, run))
        assert not cancelling.done()
        meeting.open()
        ended = await cancelling
        assert (meeting.directory / "ended").exists()
        assert ended.cancel is not None
        assert not ended.cancel.abandoned


async def test_a_rollback_of_code_that_was_left_behind_takes_everything_back(
    database_url: str, meeting: Meeting
) -> None:
    async with open_engine(database_url, cancel_grace=timedelta(seconds=0.1)) as engine:
        thread_id = await engine.thread()
        await engine.run("counter", thread_id=thread_id)
        before = await engine.states.get(thread_id, None, include_subgraphs=True)
        on = {"spec": {"thread_id": thread_id}}
        run = await meeting.start(engine, "slow_sync", until_open=True, **on)
        ended = await cancel(engine, run, CancelAction.ROLLBACK)
        assert ended.rolled_back
        meeting.open()
        await until(lambda: "ended" in meeting.notes(run))
        assert await engine.states.get(thread_id, None, include_subgraphs=True) == before
        found = await engine.database.read(lambda c: checkpoints.has_run(c, thread_id, run.run_id))
        assert not found


async def test_code_that_blocks_its_loop_holds_up_nobody_on_another_loop(
    database_url: str, meeting: Meeting
) -> None:
    grace = timedelta(minutes=10)
    async with open_engine(database_url, runner_loops=2, cancel_grace=grace) as engine:
        blocking = await meeting.start(engine, "blocks_loop", until_open=True)
        others = [await engine.start("slow_async", {"seconds": 600}) for _ in range(4)]
        free = [run for run in others if loop_of(engine, run) != loop_of(engine, blocking)]
        assert free
        for run in free:
            assert (await cancel(engine, run)).cancel.abandoned is False  # type: ignore[union-attr]
        assert "ended" not in meeting.notes(blocking)
        meeting.open()
        await engine.runs.cancel_many(
            runs.RunFilter(run_ids=[run.run_id for run in [blocking, *others]]),
            CancelAction.INTERRUPT,
            wait=True,
        )


def loop_of(engine: Engine, run: Run) -> Any:
    return engine.runner._slots[run.run_id].loop


# Timeouts.


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize(("graph_id", "abandoned"), [("slow_async", False), ("slow_sync", True)])
async def test_a_run_whose_time_is_up_ends_as_timed_out(
    database_url: str, meeting: Meeting, graph_id: str, abandoned: bool
) -> None:
    grace = timedelta(seconds=0.3) if abandoned else timedelta(minutes=10)
    async with open_engine(database_url, cancel_grace=grace) as engine:
        thread_id = await engine.thread()
        run = await timing_out(engine, meeting, graph_id, thread_id=thread_id)
        ended = await engine.ended(run)
        assert ended.state is RunState.TIMED_OUT
        assert ended.error is not None
        assert ended.error.type == "RunTimeout"
        assert run.spec.timeout is not None
        seconds = run.spec.timeout.total_seconds()
        assert ended.error.message.startswith(f"the run did not end within {seconds:g} seconds")
        assert ("had not stopped" in ended.error.message) == abandoned
        assert ended.start_time is not None
        assert ended.end_time is not None
        assert ended.end_time - ended.start_time >= run.spec.timeout
        assert "ended" not in meeting.notes(run)
        thread = await engine.threads.get(thread_id)
        assert (thread.state, thread.error) == (ThreadState.FAILED, ended.error)
        await check_end(engine, run)
        meeting.open()


async def timing_out(engine: Engine, meeting: Meeting, graph_id: str, **spec: Any) -> Run:
    """Return a run whose time is up while its code is at work: on a slow machine it gets more."""
    for seconds in (0.2, 1, 5):
        timeout = timedelta(seconds=seconds)
        asked = meeting.input(seconds=600, until_open=True)
        run = await engine.start(graph_id, asked, timeout=timeout, **spec)
        begun = await engine.row(run)
        while begun.state is RunState.PENDING:
            begun = await engine.row(run)
        await until(lambda run=run: slot_is_stopping(engine, run) or not slot(engine, run))
        if "started" in meeting.notes(run):
            break
    return run


async def test_a_run_that_ends_in_time_is_left_alone(engine: Engine) -> None:
    run = await engine.run("slow_async", {"seconds": 0.01}, timeout=timedelta(seconds=30))
    assert run.state is RunState.SUCCEEDED


async def test_time_counts_from_the_first_attempt(database_url: str, meeting: Meeting) -> None:
    timeout = timedelta(minutes=10)
    async with open_engine(database_url) as engine:
        spec = {"thread_id": await engine.thread(), "timeout": timeout}
        run = await meeting.start(engine, "steps", steps=9999, seconds=0.05, spec=spec)
        await engine.runner.drain()
        handed_back = await engine.row(run)
        assert (handed_back.state, handed_back.attempt) == (RunState.PENDING, 1)
        assert handed_back.start_time is not None
        earlier = {"start_time": handed_back.start_time - timeout}
        these = runs_table.update().where(runs_table.c.run_id == run.run_id)
        await engine.execute(lambda c: c.execute(these.values(**earlier)).rowcount)
    async with open_engine(database_url) as engine:
        ended = await engine.ended(run)
        assert (ended.state, ended.attempt) == (RunState.TIMED_OUT, 2)
        told = kinds(await engine.events(run))
        assert (told.count("attempt_started"), told[-1]) == (2, "run_ended")


async def test_a_cancel_beats_a_timeout_that_is_under_way(
    patient: Engine, meeting: Meeting
) -> None:
    run = await timing_out(patient, meeting, "slow_sync")
    assert slot_is_stopping(patient, run)
    await patient.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    meeting.open()
    ended = await patient.ended(run)
    assert (ended.state, ended.error) == (RunState.CANCELLED, None)


def slot(engine: Engine, run: Run) -> Any:
    return engine.runner._slots.get(run.run_id)


def slot_is_stopping(engine: Engine, run: Run) -> bool:
    of_run = slot(engine, run)
    return of_run is not None and of_run.execution.stopping is not None


# Failures.


@pytest.mark.parametrize(
    "graph_id", ["raises_cancelled", "raises_cancelled_sync", "cancels_itself"]
)
async def test_a_node_that_cancels_itself_has_failed(troubled: Engine, graph_id: str) -> None:
    run = await troubled.run(graph_id)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert (run.error.type, run.error.attempt) in {("CancelledError", 1), ("NodeCancelledError", 1)}
    await check_end(troubled, run)


@pytest.mark.parametrize("graph_id", ["exits", "exits_sync"])
async def test_a_node_that_would_end_the_process_ends_its_run_alone(
    troubled: Engine, meeting: Meeting, graph_id: str
) -> None:
    other = await meeting.start(troubled, "gate")
    run = await troubled.run(graph_id)
    assert run.state is RunState.FAILED
    assert run.error is not None
    assert "SystemExit" in run.error.message
    meeting.open()
    assert (await troubled.ended(other)).state is RunState.SUCCEEDED
    assert (await troubled.run("echo")).state is RunState.SUCCEEDED


async def test_a_failure_whose_words_are_not_for_callers_is_logged_under_its_id(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    run = await engine.run("fails", {"kind": "own", "message": "sk-SECRET"})
    assert run.error is not None
    assert (run.error.type, run.error.node) == ("OwnError", "fail")
    assert "SECRET" not in run.error.message
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [vars(record)["error_id"] for record in logged] == [run.error.error_id]
    assert "sk-SECRET" in caplog.text


async def test_a_failure_that_callers_are_told_is_logged_with_its_place_too(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    await engine.run("fails", {"kind": "value", "message": "no such colour"})
    (logged,) = [record for record in caplog.records if record.message == "a run failed"]
    assert logged.levelno == logging.WARNING
    assert "Traceback" in caplog.text
    assert "ValueError: no such colour" in caplog.text


async def test_runs_whose_graph_is_no_longer_served_wait_until_it_is_back(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine(database_url) as engine:
        delay = timedelta(days=1)
        first, second = [await engine.start("echo", start_delay=delay) for _ in range(2)]
        await engine.execute(rename("echo", "gone"))
        await make_due(engine, first)
        await make_due(engine, second)
        assert (await engine.run("echo")).state is RunState.SUCCEEDED, "others pass them by"
        assert (await engine.row(first)).state is RunState.PENDING
    caplog.clear()
    async with open_engine(database_url) as engine:
        (warning,) = [record for record in caplog.records if "does not have" in record.message]
        assert (vars(warning)["graph_id"], vars(warning)["runs"]) == ("gone", 2)
        cancelled = await engine.runs.cancel(first.run_id, CancelAction.INTERRUPT, wait=True)
        assert cancelled.state is RunState.CANCELLED
        await engine.runs.delete(first.run_id)
        await engine.execute(rename("gone", "echo"))
        engine.runner.wake()
        ended = await engine.ended(second)
        assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 1)


def rename(before: str, after: str) -> Callable[[Connection], None]:
    """Let the runs of a graph that have not ended be those of another one."""

    def update(connection: Connection) -> None:
        connection.exec_driver_sql(
            f"UPDATE runs SET graph_id = '{after}' WHERE graph_id = '{before}' AND end_time IS NULL"
        )

    return update


async def make_due(engine: Engine, run: Run) -> None:
    await engine.execute(lambda c: claims.wake_runs(c, [run.run_id], run.due_time) and None)
    await engine.execute(lambda c: claims.make_runnable(c, run.run_id))
    engine.runner.wake()


async def test_a_run_whose_checkpoint_was_taken_back_meanwhile_fails_and_says_so(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    other = await engine.run("counter", thread_id=thread_id)
    head = await engine.states.get(thread_id, None, include_subgraphs=False)
    assert head.checkpoint is not None
    run = await engine.start(
        "counter",
        thread_id=thread_id,
        checkpoint=RunCheckpoint(checkpoint_id=head.checkpoint.checkpoint_id),
        start_delay=timedelta(days=1),
    )
    await engine.execute(lambda c: checkpoints.delete_run(c, other.run_id))
    await make_due(engine, run)
    ended = await engine.ended(run)
    assert ended.error is not None
    assert (ended.state, ended.error.type) == (RunState.FAILED, "CheckpointNotFound")


# Lost attempts.


def take_away(connection: Connection, run: Run) -> Run:
    """Give a run to another server, whose lease never ends; return it as it is then."""
    other = a_server(server_id="another", lease_until=None)
    servers.add_server(connection, other)
    statement = "UPDATE runs SET owner = 'another', attempt = attempt + 1 WHERE run_id = :run_id"
    connection.execute(text(statement), {"run_id": run.run_id})
    return get_run(connection, run)


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize("graph_id", ["chatters_until_told", "steps"])
async def test_an_attempt_that_has_lost_its_run_stops_and_writes_nothing(
    troubled: Engine, meeting: Meeting, graph_id: str
) -> None:
    spec = {"thread_id": await troubled.thread(), **CUSTOM}
    run = await meeting.start(troubled, graph_id, steps=10_000, seconds=0.01, spec=spec)

    lost, before = await troubled.execute(lambda c: (take_away(c, run), snapshot(c, run)))
    await until(lambda: run.run_id not in troubled.runner._slots)
    assert await troubled.row(run) == lost
    assert await troubled.database.read(lambda c: snapshot(c, run)) == before
    assert not (meeting.directory / "open").exists(), "it stopped by itself"
    await until(lambda: troubled.runner._idle.is_set())


def snapshot(connection: Any, run: Run) -> Any:
    """Return all that a run has written."""
    queries = ["checkpoints", "checkpoint_writes", "run_events"]
    return [
        connection.execute(
            text(f"SELECT * FROM {table} WHERE run_id = :run_id"), {"run_id": run.run_id}
        ).all()
        for table in queries
    ]


async def test_an_attempt_that_lost_its_run_and_ends_leaves_the_end_to_others(
    engine: Engine, meeting: Meeting
) -> None:
    run = await meeting.start(engine, "gate")
    taken = await engine.execute(lambda c: take_away(c, run))
    assert (taken.state, taken.owner, taken.attempt) == (RunState.RUNNING, "another", 2)
    meeting.open()
    await until(lambda: run.run_id not in engine.runner._slots)
    assert await engine.row(run) == taken


async def test_the_next_attempt_can_begin_while_a_lost_one_still_stops(
    database_url: str, meeting: Meeting
) -> None:
    async with open_engine(database_url, cancel_grace=timedelta(minutes=10)) as engine:
        run = await meeting.start(engine, "gate_sync")
        reader = asyncio.create_task(engine.events(run))
        statement = text("UPDATE runs SET attempt = 2 WHERE run_id = :run_id")
        await engine.execute(lambda c: c.execute(statement, {"run_id": run.run_id}).rowcount)
        again = await engine.row(run)
        assert engine.runner.reserve(1) == 1
        engine.runner.start([again])
        meeting.open()
        ended = await engine.ended(run)
        assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 2)
        events = await reader
        assert kinds(events)[-1] == "run_ended"
        assert events[-1].id.startswith("2-")
        await until(lambda: engine.runner._idle.is_set())
        assert [loop.runs for loop in engine.runner._loops.loops] == [0]


# A database that fails.


class Failing:
    """Makes a function of the storage floor fail so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.left = 0
        self.failed = 0
        self._function: Callable[..., Any] = getattr(module, name)
        self.error: type[Exception] = StorageFull
        monkeypatch.setattr(module, name, self.call)

    def call(self, *arguments: Any, **more: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            self.failed += 1
            raise self.error()
        return self._function(*arguments, **more)


@pytest.fixture
def checkpoint_failures(monkeypatch: pytest.MonkeyPatch) -> Failing:
    monkeypatch.setattr(execution, "STORAGE_WAIT", timedelta(seconds=0.05))
    return Failing(monkeypatch, checkpoints, "add_checkpoint")


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize("error", [StorageFull, DatabaseUnavailable])
async def test_a_run_whose_checkpoint_could_not_be_stored_gets_another_attempt(
    engine: Engine, checkpoint_failures: Failing, error: type[Exception]
) -> None:
    checkpoint_failures.error, checkpoint_failures.left = error, 2
    thread_id = await engine.thread()
    run = await engine.start("counter", thread_id=thread_id)
    following = await engine.start("counter", thread_id=thread_id)
    ended = await engine.ended(run)
    assert (ended.state, ended.attempt, ended.attempts_used) == (RunState.SUCCEEDED, 3, 3)
    assert (await engine.ended(following)).output == '{"count":2,"log":["?","?"]}'
    events = await engine.events(run)
    assert [event.id for event in events if event.HasField("attempt_started")] == [
        *("1-1", "2-1", "3-1")
    ]


async def test_an_attempt_whose_first_checkpoint_was_not_stored_gets_the_input_again(
    engine: Engine, checkpoint_failures: Failing
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", {"count": 10}, thread_id=thread_id)
    checkpoint_failures.left = 1
    run = await engine.run("counter", {"count": 100}, thread_id=thread_id)
    assert run.attempt == 2
    assert json.loads(run.output or "")["count"] == 112, "10 + 1 + 100 + 1"


async def test_a_run_whose_database_fails_in_each_attempt_fails_and_says_so(
    engine: Engine, checkpoint_failures: Failing
) -> None:
    checkpoint_failures.left = 3
    run = await engine.run("counter", thread_id=await engine.thread())
    assert run.error is not None
    assert (run.state, run.attempt, run.error.type) == (RunState.FAILED, 3, "AttemptsExhausted")
    assert run.error.message == (
        "the database failed in each of the run's 3 attempts: the database has no room left"
    )


@pytest.mark.parametrize("error", [StorageFull, DatabaseUnavailable])
async def test_an_end_that_cannot_be_stored_is_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", (0.01,))
    failing = Failing(monkeypatch, execution, "finish_attempt")
    failing.error, failing.left = error, 5
    run = await engine.run("custom_events", {"count": 20}, **CUSTOM)
    assert failing.failed == 5
    assert (run.state, run.attempt) == (RunState.SUCCEEDED, 1)
    assert ids(await engine.events(run)) == [f"1-{index}" for index in range(1, 23)]


async def test_a_cancel_reaches_a_run_whose_end_cannot_be_stored_yet(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "RETRY_SECONDS", (0.01,))
    failing = Failing(monkeypatch, execution, "finish_attempt")
    failing.left = 10**9
    run = await engine.start("echo")
    await until(lambda: failing.failed > 2)
    await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    failing.left = 0
    ended = await engine.ended(run)
    assert ended.state is RunState.CANCELLED
    await check_end(engine, run)


async def test_a_run_that_talks_faster_than_it_is_stored_has_to_wait(
    troubled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 50_000
    monkeypatch.setattr(execution, "MAX_UNSTORED_BYTES", limit)
    monkeypatch.setattr(flushing, "FLUSH_SECONDS", 1000.0)
    most = 0

    async def make_room(*arguments: Any) -> None:
        nonlocal most
        most = max(most, arguments[2].unstored_bytes)
        await flushing.make_room(*arguments)

    monkeypatch.setattr(execution, "make_room", make_room)
    run = await troubled.run("chatters", {"count": 400}, **CUSTOM)
    assert run.state is RunState.SUCCEEDED
    assert limit < most < 2 * limit
    assert len(await troubled.events(run)) == 402


# What code sees.


async def test_contextvars_reach_sync_code(troubled: Engine) -> None:
    run = await troubled.run("sees_context")
    assert json.loads(run.output or "") == {"done": ["green", run.run_id]}
    told = await troubled.run("tells_writer")
    assert json.loads(told.output or "") == {"done": [True, 1]}


@pytest.mark.parametrize("durability", Durability)
async def test_every_durability_leaves_the_same_state(
    engine: Engine, durability: Durability
) -> None:
    thread_id = await engine.thread()
    for _ in range(2):
        await engine.run("counter", thread_id=thread_id, durability=durability)
    snapshot = await engine.states.get(thread_id, None, include_subgraphs=False)
    assert json.loads(snapshot.values) == {"count": 2, "log": ["?", "?"]}


async def test_events_are_made_in_their_order(engine: Engine) -> None:
    run = await engine.start("custom_events", {"count": 50}, **CUSTOM)
    events = await engine.events(run)
    told = [json.loads(event.custom.data.json) for event in events if event.HasField("custom")]
    assert [one["index"] for one in told] == list(range(50))
