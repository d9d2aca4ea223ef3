"""Looking after what nobody asks about: unheard cancels, forgotten runs, orphans."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, open_engine, until
from tests.support.meeting import Meeting
from tests.support.writes import held

from runwire.server.core.sweeping import claim, recover_lost
from runwire.server.model.runs import (
    Cancel,
    CancelAction,
    CancelCause,
    Run,
    RunState,
)
from runwire.server.runner import sweeper
from runwire.server.storage import claims, endings
from runwire.server.storage.database import Connection
from runwire.server.storage.ownership import Owned

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"
CANCEL = Cancel(
    action=CancelAction.INTERRUPT,
    cause=CancelCause.CLIENT,
    request_time=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def fast_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "pause_of", lambda interval: 0.02)


async def test_a_committed_cancel_that_nobody_told_of_is_heard_all_the_same(
    engine: Engine, meeting: Meeting
) -> None:
    run = await meeting.start(engine, "gate")
    await engine.execute(lambda c: endings.request_cancel(c, run.run_id, CANCEL, datetime.now(UTC)))
    ended = await engine.ended(run)
    assert (ended.state, ended.cancel) == (RunState.CANCELLED, CANCEL)


@pytest.mark.usefixtures("fast_sweeps")
async def test_sweeps_do_not_disturb_what_cleans_up(database_url: str, meeting: Meeting) -> None:
    grace = timedelta(seconds=20)
    async with open_engine(database_url, graphs=GRAPHS, cancel_grace=grace) as engine:
        run = await meeting.start(engine, "cleans_up_slowly", seconds=0.3)
        await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=True)
        assert (meeting.directory / "cleaned").exists()


@pytest.fixture
async def swept(
    database_url: str, no_polls: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Engine]:
    """An engine whose first sweep is over, and that makes no other by itself."""
    over = asyncio.Event()

    def pause_of(interval: timedelta) -> float:
        over.set()
        return 1000.0

    monkeypatch.setattr(sweeper, "pause_of", pause_of)
    async with open_engine(database_url) as engine:
        await over.wait()
        yield engine


async def test_a_run_may_be_about_to_begin_when_it_is_first_missed(swept: Engine) -> None:
    engine = swept
    run = await engine.start("echo", start_delay=timedelta(days=1))
    await engine.execute(lambda c: forget(c, engine, run))
    await engine.runner._sweeper._check_own()
    assert (await engine.row(run)).state is RunState.RUNNING
    await engine.runner._sweeper._check_own()
    assert (await engine.ended(run)).attempt == 2


def forget(connection: Connection, engine: Engine, run: Run) -> None:
    """Claim a run for a server that does not hear of it."""
    claims.wake_runs(connection, [run.run_id], run.due_time)
    claims.make_runnable(connection, run.run_id)
    owner, graph_ids = engine.runner.server_id, [run.graph_id]
    assert claim(connection, owner=owner, graph_ids=graph_ids, limit=1)


@pytest.mark.usefixtures("fast_sweeps")
async def test_a_run_that_this_server_owns_and_does_not_execute_is_taken_back(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    run = await engine.start("echo", start_delay=timedelta(days=1))
    await engine.execute(lambda c: forget(c, engine, run))
    ended = await engine.ended(run)
    assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 2)
    assert ended.attempts_used == 1, "it had not begun"
    assert "a run was taken back" in caplog.text


@pytest.mark.usefixtures("fast_sweeps")
async def test_what_began_and_ended_without_a_trace_counts(
    engine: Engine, meeting: Meeting
) -> None:
    run = await meeting.start(engine, "gate")
    engine.runner._close(engine.runner._slots[run.run_id], None)
    await until(lambda: run.run_id in engine.runner._slots)
    meeting.open()
    ended = await engine.ended(run)
    assert (ended.attempt, ended.attempts_used) == (2, 2)
    await until(lambda: not engine.runner.let_go)


@pytest.mark.usefixtures("fast_sweeps")
async def test_a_run_that_another_server_has_by_now_is_stopped(
    engine: Engine, meeting: Meeting
) -> None:
    run = await meeting.start(engine, "gate")
    slot = engine.runner._slots[run.run_id]
    taken = "UPDATE runs SET owner = 'another' WHERE owner IS NOT NULL"
    await engine.execute(lambda c: c.exec_driver_sql(taken) and None)
    await until(slot.done.is_set)
    meeting.open()
    assert (await engine.ended(run)).attempt == 2


@pytest.mark.usefixtures("fast_sweeps")
async def test_a_run_that_is_executed_is_never_taken_back(engine: Engine, meeting: Meeting) -> None:
    run = await meeting.start(engine, "gate")
    sweeps = 0
    check = engine.runner._sweeper._check_own

    async def counted() -> None:
        nonlocal sweeps
        await check()
        sweeps += 1

    engine.runner._sweeper._check_own = counted  # type: ignore[method-assign]
    await until(lambda: sweeps > 5)
    meeting.open()
    assert (await engine.ended(run)).attempt == 1


async def test_a_run_whose_start_is_still_to_be_answered_is_not_taken_back(
    swept: Engine, meeting: Meeting
) -> None:
    engine = swept
    run = await engine.start("gate", meeting.input(), start_delay=timedelta(days=1))
    await engine.execute(lambda c: forget(c, engine, run))
    await engine.runner._sweeper._check_own()

    async def answer_and_start() -> None:
        assert engine.runner.reserve(1)
        claimed = await engine.row(run)
        await engine.database.write(lambda connection: None)
        engine.runner.start([claimed])

    async with held(engine.database):
        starting = asyncio.create_task(answer_and_start())
        await until(lambda: engine.database._writes._calls.qsize() == 1)
        checking = asyncio.create_task(engine.runner._sweeper._check_own())
        await until(lambda: engine.database._writes._calls.qsize() == 2)
    await asyncio.gather(starting, checking)
    meeting.open()
    assert (await engine.ended(run)).attempt == 1


@pytest.mark.usefixtures("fast_sweeps")
async def test_a_run_that_cannot_be_taken_back_keeps_no_other_from_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck: list[str] = []

    def recover(connection: Connection, run: Owned, **options: Any) -> Run | None:
        if run.run_id in (stuck or [run.run_id]):
            stuck.append(run.run_id)
            raise LookupError("as intended")
        return recover_lost(connection, run, **options)

    monkeypatch.setattr(sweeper, "recover_lost", recover)
    forgotten = [await engine.start("echo", start_delay=timedelta(days=1)) for _ in range(2)]
    for run in forgotten:
        await engine.execute(lambda c, run=run: forget(c, engine, run))
    await until(lambda: stuck)
    (other,) = [run for run in forgotten if run.run_id not in stuck]
    assert (await engine.ended(other)).attempt == 2
    assert "a run cannot be taken back" in caplog.text


@pytest.mark.usefixtures("fast_sweeps")
async def test_sweeps_go_on_after_one_that_failed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def fail(connection: object, owner: str) -> None:
        seen.append(owner)
        raise LookupError("as intended")

    monkeypatch.setattr(sweeper, "list_owned", fail)
    await until(lambda: len(seen) > 2)
    assert "a sweep failed" in caplog.text


# Orphans.


async def test_a_new_server_takes_back_what_the_former_one_had(
    sqlite_url: str, meeting: Meeting
) -> None:
    database_url = sqlite_url  # nobody else can have it: there is no lease to wait for the end of
    async with open_engine(database_url) as engine:
        thread_id = await engine.thread()
        run = await meeting.start(engine, "gate", spec={"thread_id": thread_id})
        cancelled = await meeting.start(engine, "gate_sync")
        await engine.execute(
            lambda c: endings.request_cancel(c, cancelled.run_id, CANCEL, datetime.now(UTC))
        )
        waiting = await engine.start("echo", thread_id=thread_id)
        meeting_is_over = engine.runner.server_id
    meeting.open()
    async with open_engine(database_url) as engine:
        assert engine.runner.server_id != meeting_is_over
        assert (await engine.row(cancelled)).state is RunState.CANCELLED
        ended = await engine.ended(run)
        assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 2)
        following = await engine.ended(waiting)
        assert (following.state, following.attempt) == (RunState.SUCCEEDED, 1)
