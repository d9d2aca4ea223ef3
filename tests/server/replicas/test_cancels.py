"""A cancel is committed by any server, and carried out by the one that executes the run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, kinds
from tests.support.meeting import Meeting
from tests.support.replicas import no_notifications, settled

from runwire.server.model.errors import RunFinished, RunNotFound, RunRolledBack, ThreadNotFound
from runwire.server.model.runs import (
    CancelAction,
    CancelCause,
    MultitaskStrategy,
    Run,
    RunState,
    StreamMode,
)
from runwire.server.model.threads import ThreadState
from runwire.server.storage.runs import RunFilter
from runwire.v1 import core_pb2

STATES = {
    RunState.CANCELLED: core_pb2.RUN_STATE_CANCELLED,
    RunState.SUCCEEDED: core_pb2.RUN_STATE_SUCCEEDED,
}
INTERRUPT, ROLLBACK = CancelAction.INTERRUPT, CancelAction.ROLLBACK


async def gate(engine: Engine, directory: Path, **spec: Any) -> Run:
    """Return a run that executes until it is stopped."""
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    return await Meeting(directory).start(engine, "gate", spec=spec)


async def cancel(engine: Engine, run: Run, action: CancelAction = INTERRUPT) -> Run:
    """Cancel a run and return it when it has stopped."""
    async with asyncio.timeout(60):
        return await engine.runs.cancel(run.run_id, action, wait=True)


@pytest.mark.usefixtures("no_polls")
async def test_a_run_is_cancelled_from_another_server_at_once(
    two: list[Engine], tmp_path: Path
) -> None:
    here, there = two
    run = await gate(here, tmp_path)
    ended = await cancel(there, run)
    assert ended == await here.row(run)
    assert (ended.state, ended.owner) == (RunState.CANCELLED, None)
    assert ended.cancel is not None
    assert (ended.cancel.cause, ended.cancel.abandoned) == (CancelCause.CLIENT, False)
    with pytest.raises(RunFinished):
        await cancel(here, run)


@pytest.mark.usefixtures("no_polls")
async def test_a_thread_is_deleted_with_the_runs_that_another_server_executes(
    two: list[Engine], tmp_path: Path
) -> None:
    here, there = two
    thread_id = await there.thread()
    run = await gate(here, tmp_path, thread_id=thread_id)
    async with asyncio.timeout(60):
        await there.threads.delete(thread_id, cancel_runs=True)
    with pytest.raises(RunNotFound):
        await here.row(run)
    with pytest.raises(ThreadNotFound):
        await here.threads.get(thread_id)
    await settled(two)


async def test_a_cancel_that_its_owner_is_not_told_of_is_found_all_the_same(
    two: list[Engine], tmp_path: Path
) -> None:
    here, there = two
    with no_notifications():
        run = await gate(here, tmp_path)
        await there.runs.cancel(run.run_id, INTERRUPT, wait=False)
        assert (await here.ended(run)).state is RunState.CANCELLED


@pytest.mark.usefixtures("no_polls")
async def test_what_a_run_did_is_taken_back_from_another_server(
    two: list[Engine], tmp_path: Path
) -> None:
    here, there = two
    thread_id = await here.thread()
    await here.run("echo", {"messages": ["kept"]}, thread_id=thread_id)
    before = await there.states.get(thread_id, None, include_subgraphs=False)
    run = await gate(here, tmp_path, thread_id=thread_id)
    await cancel(there, run, ROLLBACK)
    for engine in two:
        with pytest.raises(RunRolledBack):
            await engine.row(run)
        after = await engine.states.get(thread_id, None, include_subgraphs=False)
        assert after == before
        assert (await engine.threads.get(thread_id)).state is ThreadState.IDLE
        assert kinds(await engine.events(run))[-1] == "run_ended"


@pytest.mark.usefixtures("no_polls")
async def test_a_run_that_waits_behind_another_is_cancelled_from_anywhere(
    three: list[Engine], tmp_path: Path
) -> None:
    first, second, third = three
    thread_id = await first.thread()
    executing = await gate(first, tmp_path, thread_id=thread_id)
    waiting = [await second.start("echo", thread_id=thread_id) for _ in range(2)]
    assert (await cancel(third, waiting[0])).state is RunState.CANCELLED
    (tmp_path / "open").touch()
    assert (await third.ended(executing)).state is RunState.SUCCEEDED
    assert (await first.ended(waiting[1])).state is RunState.SUCCEEDED


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize(
    ("strategy", "left"),
    [(MultitaskStrategy.INTERRUPT, RunState.CANCELLED), (MultitaskStrategy.ROLLBACK, None)],
)
async def test_a_run_that_takes_another_s_place_stops_it_wherever_it_executes(
    two: list[Engine], tmp_path: Path, strategy: MultitaskStrategy, left: RunState | None
) -> None:
    here, there = two
    thread_id = await here.thread()
    stopped = await gate(here, tmp_path, thread_id=thread_id)
    run = await there.start("echo", thread_id=thread_id, multitask_strategy=strategy)
    assert (await there.ended(run)).state is RunState.SUCCEEDED
    if left is None:
        with pytest.raises(RunRolledBack):
            await there.row(stopped)
    else:
        assert (await there.row(stopped)).state is left


@pytest.mark.usefixtures("no_polls")
async def test_runs_of_several_servers_are_cancelled_by_one_call(
    three: list[Engine], tmp_path: Path
) -> None:
    running = [
        await gate(engine, tmp_path / str(number), metadata={"of": "mine"})
        for number, engine in enumerate(three)
    ]
    async with asyncio.timeout(60):
        results = await three[0].runs.cancel_many(
            RunFilter(metadata={"of": "mine"}), INTERRUPT, wait=True
        )
    assert {result.run_id for result in results} == {run.run_id for run in running}
    assert {result.run.state for result in results if result.run} == {RunState.CANCELLED}


async def test_a_cancel_counts_or_finds_the_run_ended_whoever_is_first(
    three: list[Engine],
) -> None:
    async def race(number: int) -> None:
        here, there = three[number % 3], three[(number + 1) % 3]
        run = await here.start(
            "custom_events", {"count": 3, "delay": 0.01}, stream_modes=(StreamMode.CUSTOM,)
        )
        await asyncio.sleep(0.001 * (number % 40))
        try:
            told = (await cancel(there, run)).state
        except RunFinished:
            told = RunState.SUCCEEDED
        assert (await there.row(run)).state is told
        (last,) = (await three[(number + 2) % 3].events(run))[-1:]
        assert last.run_ended.state == STATES[told]

    async with asyncio.timeout(50):
        for start in range(0, 120, 20):
            await asyncio.gather(*(race(number) for number in range(start, start + 20)))


async def test_a_run_that_is_not_there_is_not_found_anywhere(three: list[Engine]) -> None:
    run = await three[0].run("echo")
    await three[1].runs.delete(run.run_id)
    for engine in three:
        with pytest.raises(RunNotFound):
            await cancel(engine, run)
