"""What can be done with runs, on a server that executes them."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, kinds, open_engine, until

from runwire.server.core import runs as core_runs
from runwire.server.model.errors import (
    QueueFull,
    RequestIdReused,
    RunFinished,
    RunInFlight,
    RunNotFound,
    RunRolledBack,
    ThreadBusy,
    ThreadNotFound,
)
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import (
    CancelAction,
    CancelCause,
    Command,
    MultitaskStrategy,
    Run,
    RunCheckpoint,
    RunSpec,
    RunState,
)
from runwire.server.model.threads import StateSnapshot, Thread, ThreadState
from runwire.server.storage.database import Connection
from runwire.server.storage.runs import RunFilter
from runwire.server.storage.tables import runs as runs_table

INTERRUPT, ROLLBACK = CancelAction.INTERRUPT, CancelAction.ROLLBACK
KEY = RequestKey("CreateRun", "id", b"hash")


async def gate(engine: Engine, directory: Path, **spec: Any) -> Run:
    """Return a run that waits until `open` is there."""
    run = await engine.start("gate", {"directory": str(directory)}, **spec)
    await until((directory / "started").exists)
    return run


async def later(engine: Engine, **spec: Any) -> Run:
    """Return a run that waits for a day."""
    return await engine.start("echo", start_delay=timedelta(days=1), **spec)


# Creating.


async def test_a_run_that_finds_a_slot_is_running_when_it_is_answered(engine: Engine) -> None:
    run = await engine.start("echo", {"text": "hi"})
    assert (run.state, run.owner) == (RunState.RUNNING, engine.runner.server_id)
    ended = await engine.ended(run)
    assert (ended.state, ended.output) == (RunState.SUCCEEDED, '{"text":"hi","answer":"hi"}')


@pytest.mark.usefixtures("no_polls")
async def test_runs_of_a_thread_follow_each_other_without_anybody_polling(engine: Engine) -> None:
    thread_id = await engine.thread()
    created = [await engine.start("counter", thread_id=thread_id) for _ in range(5)]
    ended = [await engine.ended(run) for run in created]
    assert [run.output for run in ended] == [
        f'{{"count":{count},"log":{["?"] * count}}}'.replace("'", '"').replace(", ", ",")
        for count in range(1, 6)
    ]
    starts = [run.start_time for run in ended]
    assert starts == sorted(starts)


@pytest.mark.usefixtures("no_polls")
async def test_a_delayed_run_starts_when_it_is_due_without_anybody_polling(
    engine: Engine,
) -> None:
    run = await engine.start("echo", start_delay=timedelta(seconds=0.3))
    assert run.state is RunState.PENDING
    ended = await engine.ended(run)
    assert ended.start_time is not None
    assert ended.start_time >= run.due_time


async def test_a_request_that_is_repeated_at_once_by_many_makes_one_run(engine: Engine) -> None:
    spec = RunSpec(assistant_id="echo", input={"text": "x"})
    answers = await asyncio.gather(*(engine.runs.create([spec], KEY) for _ in range(30)))
    assert len({answer.runs[0].run_id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    everything = await engine.runs.list(RunFilter(), limit=99, cursor=None)
    assert len(everything.items) == 1
    with pytest.raises(RequestIdReused):
        await engine.runs.create([spec], RequestKey("CreateRun", "id", b"other"))


async def test_a_caller_that_hangs_up_while_its_run_is_created_leaves_one_that_executes(
    engine: Engine,
) -> None:
    spec = RunSpec(assistant_id="echo", input={"text": "x"})
    for number in range(20):
        creating = asyncio.create_task(engine.runs.create([spec], None))
        for _ in range(1 + number % 3):
            await asyncio.sleep(0)
        creating.cancel()
        await asyncio.wait([creating])

    async def created() -> list[Run]:
        return (await engine.runs.list(RunFilter(), limit=99, cursor=None)).items

    async def all_are_there() -> bool:
        return len(await created()) == 20

    await until(all_are_there)
    for run in await created():
        ended = await engine.ended(run)
        assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 1)
    await until(lambda: engine.runner._idle.is_set())


async def test_a_creation_that_fails_returns_its_slots(database_url: str) -> None:
    async with open_engine(database_url, max_concurrent_runs=2) as engine:
        for _ in range(5):
            with pytest.raises(ThreadNotFound):
                await engine.start("echo", thread_id=new_id())
        run = await engine.start("echo")
        assert run.state is RunState.RUNNING
        await engine.ended(run)


async def test_more_runs_than_may_wait_are_refused(database_url: str) -> None:
    async with open_engine(database_url, max_pending=2) as engine:
        for _ in range(2):
            await later(engine)
        with pytest.raises(QueueFull) as error:
            await later(engine)
        assert error.value.retry_after is not None


# Strategies.


async def everything_of(engine: Engine, thread_id: str) -> tuple[Thread, list[StateSnapshot]]:
    """Return all that a thread shows, but for when it changed."""
    thread = await engine.threads.get(thread_id)
    states = await engine.states.list(
        thread_id, checkpoint=None, before=None, metadata={}, limit=99, cursor=None
    )
    return thread, states.items


def same_but_for_times(one: Thread, other: Thread) -> bool:
    def shown(thread: Thread) -> tuple[object, ...]:
        return (thread.state, thread.values, thread.interrupts, thread.error, thread.metadata)

    return shown(one) == shown(other)


async def test_a_busy_thread_refuses_a_run_that_wants_it_idle(
    engine: Engine, tmp_path: Path
) -> None:
    thread_id = await engine.thread()
    await gate(engine, tmp_path, thread_id=thread_id)
    with pytest.raises(ThreadBusy):
        await engine.start("echo", thread_id=thread_id, multitask_strategy=MultitaskStrategy.REJECT)


@pytest.mark.usefixtures("no_polls")
async def test_an_interrupting_run_starts_from_what_the_other_left(engine: Engine) -> None:
    thread_id = await engine.thread()
    other = await engine.start("steps", {"steps": 50, "seconds": 0.02}, thread_id=thread_id)
    await until(lambda: engine.logs._logs[other.run_id][0].last.index > 4)
    run = await engine.run(
        "counter", thread_id=thread_id, multitask_strategy=MultitaskStrategy.INTERRUPT
    )
    assert run.state is RunState.SUCCEEDED
    cancelled = await engine.row(other)
    assert cancelled.state is RunState.CANCELLED
    assert cancelled.cancel is not None
    assert (cancelled.cancel.action, cancelled.cancel.cause) == (INTERRUPT, CancelCause.MULTITASK)
    thread, states = await everything_of(engine, thread_id)
    assert thread.state is ThreadState.IDLE
    assert any('"done_steps":[0,' in state.values for state in states)


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize(
    "before", ["nothing", "a run", "a question", "a failure", "an older checkpoint"]
)
async def test_a_rollback_leaves_the_thread_as_it_was(
    engine: Engine, tmp_path: Path, before: str
) -> None:
    thread_id = await engine.thread()
    if before in ("a run", "an older checkpoint"):
        for _ in range(2):
            await engine.run("counter", thread_id=thread_id)
    if before == "a question":
        await engine.run("asks_twice", {"question": "?"}, thread_id=thread_id)
    if before == "a failure":
        await engine.run("fails", {"kind": "value"}, thread_id=thread_id)
    thread, states = await everything_of(engine, thread_id)
    asked = {interrupt.interrupt_id: "yes" for interrupt in thread.interrupts[:1]}
    if asked:
        command = Command(resume_by_interrupt=asked)
        run = await engine.start("asks_twice", None, command=command, thread_id=thread_id)
        await engine.ended(run)
        thread, states = await everything_of(engine, thread_id)
    checkpoint = None
    if before == "an older checkpoint":
        assert states[-1].checkpoint is not None
        checkpoint = RunCheckpoint(checkpoint_id=states[-1].checkpoint.checkpoint_id)
    graph_input = {"steps": 1000, "seconds": 0.01, "directory": str(tmp_path)}
    run = await engine.start("steps", graph_input, thread_id=thread_id, checkpoint=checkpoint)
    await until((tmp_path / "started").exists)
    ended = await engine.runs.cancel(run.run_id, ROLLBACK, wait=True)
    assert (ended.state, ended.rolled_back) == (RunState.CANCELLED, True)
    after, states_after = await everything_of(engine, thread_id)
    assert same_but_for_times(after, thread)
    assert states_after == states
    with pytest.raises(RunRolledBack):
        await engine.runs.get(run.run_id)
    with pytest.raises(RunRolledBack):
        await engine.runs.delete(run.run_id)
    listed = await engine.runs.list(RunFilter(thread_id=thread_id), limit=99, cursor=None)
    assert run.run_id not in {one.run_id for one in listed.items}


async def test_a_run_that_rolls_back_starts_from_before_the_other(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    other = await engine.start("steps", {"steps": 50, "seconds": 0.02}, thread_id=thread_id)
    await until(lambda: engine.logs._logs[other.run_id][0].last.index > 4)
    run = await engine.run(
        "counter", thread_id=thread_id, multitask_strategy=MultitaskStrategy.ROLLBACK
    )
    assert run.output == '{"count":2,"log":["?","?"]}'
    _, states = await everything_of(engine, thread_id)
    assert not any("done_steps" in state.values for state in states)


# Cancelling.


async def test_a_cancel_answers_at_once_or_when_it_is_over(engine: Engine, tmp_path: Path) -> None:
    run = await engine.start("slow_sync", {"until_open": True, "directory": str(tmp_path)})
    await until((tmp_path / "started").exists)
    stored = await engine.runs.cancel(run.run_id, INTERRUPT, wait=False)
    assert (stored.state, stored.end_time) == (RunState.CANCELLING, None)
    (tmp_path / "open").touch()
    over = await engine.runs.cancel(run.run_id, INTERRUPT, wait=True)
    assert over.state is RunState.CANCELLED
    assert over.cancel == stored.cancel
    with pytest.raises(RunFinished):
        await engine.runs.cancel(run.run_id, INTERRUPT, wait=True)


async def test_a_run_is_stopped_however_long_it_has_executed(
    engine: Engine, tmp_path: Path
) -> None:
    run = await gate(engine, tmp_path)

    def age(connection: Connection) -> None:
        long_ago = run.create_time - timedelta(days=30)
        times = {"create_time": long_ago, "start_time": long_ago, "update_time": long_ago}
        connection.execute(
            runs_table.update().where(runs_table.c.run_id == run.run_id).values(**times)
        )

    await engine.execute(age)
    cancelled = await engine.runs.cancel(run.run_id, INTERRUPT, wait=True)
    assert cancelled.state is RunState.CANCELLED
    assert cancelled.start_time == run.create_time - timedelta(days=30)


async def test_what_is_not_there_cannot_be_cancelled(engine: Engine) -> None:
    with pytest.raises(RunNotFound):
        await engine.runs.cancel(new_id(), INTERRUPT, wait=True)
    run = await later(engine)
    await engine.runs.cancel(run.run_id, ROLLBACK, wait=True)
    with pytest.raises(RunRolledBack):
        await engine.runs.cancel(run.run_id, INTERRUPT, wait=False)


async def test_a_cancel_stands_though_its_caller_hangs_up(engine: Engine, tmp_path: Path) -> None:
    run = await gate(engine, tmp_path)
    cancelling = asyncio.create_task(engine.runs.cancel(run.run_id, INTERRUPT, wait=True))
    await asyncio.sleep(0)
    cancelling.cancel()
    assert (await engine.ended(run)).state is RunState.CANCELLED


async def test_a_run_whose_caller_went_away_is_cancelled_unless_it_has_ended(
    engine: Engine, tmp_path: Path
) -> None:
    run, ended = await gate(engine, tmp_path), await engine.run("echo")
    for one in (run, ended):
        await engine.runs.cancel_disconnected(one.run_id)
    await engine.runs.cancel_disconnected(new_id())
    cancelled = await engine.ended(run)
    assert cancelled.cancel is not None
    assert cancelled.cancel.cause is CancelCause.DISCONNECT
    assert (await engine.row(ended)).state is RunState.SUCCEEDED


async def test_many_runs_are_cancelled_together_and_each_is_answered_for(
    engine: Engine, tmp_path: Path
) -> None:
    running = await gate(engine, tmp_path)
    waiting = [await later(engine, metadata={"n": number}) for number in range(3)]
    ended = await engine.run("echo")
    named = [ended.run_id, *(run.run_id for run in waiting), running.run_id, new_id()]
    results = await engine.runs.cancel_many(RunFilter(run_ids=named), INTERRUPT, wait=True)
    assert [result.run_id for result in results] == named
    states = [result.run.state.value if result.run else None for result in results]
    assert states == [None, *["cancelled"] * 4, None]
    errors = [type(result.error) for result in results if result.error]
    assert errors == [RunFinished, RunNotFound]


async def test_more_runs_than_one_transaction_takes_are_all_cancelled(engine: Engine) -> None:
    specs = [RunSpec(assistant_id="echo", start_delay=timedelta(days=1)) for _ in range(100)]
    created = [run for _ in range(3) for run in await engine.create(*specs)]
    wanted = RunFilter(states=[RunState.PENDING])
    results = await engine.runs.cancel_many(wanted, INTERRUPT, wait=False)
    assert [result.run_id for result in results] == [run.run_id for run in created]
    assert {result.run.state for result in results if result.run} == {RunState.CANCELLED}
    assert await engine.runs.cancel_many(wanted, INTERRUPT, wait=True) == []


async def test_some_of_many_runs_are_cancelled_and_then_the_others(engine: Engine) -> None:
    spec = RunSpec(assistant_id="echo", start_delay=timedelta(days=1))
    created = [run.run_id for run in await engine.create(*[spec] * 5)]
    wanted, cursor, told = RunFilter(states=[RunState.PENDING]), None, []
    for count in (2, 2, 1):
        page = await engine.runs.cancel_some(wanted, INTERRUPT, wait=False, limit=2, cursor=cursor)
        assert len(page.items) == count
        assert (page.next is None) == (count == 1)
        told += [result.run_id for result in page.items]
        cursor = page.next
    assert told == created
    named = RunFilter(run_ids=created)
    page = await engine.runs.cancel_some(named, INTERRUPT, wait=False, limit=2, cursor=None)
    assert [type(result.error) for result in page.items] == [RunFinished] * 5, "all that are named"
    assert page.next is None


async def test_a_run_that_has_moved_on_when_it_is_its_turn_is_left_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, other = await later(engine), await later(engine, metadata={"m": 1})
    both = [waiting.run_id, other.run_id]
    monkeypatch.setattr(core_runs, "list_candidates", lambda connection, wanted: both)
    results = await engine.runs.cancel_many(RunFilter(metadata={"m": 1}), INTERRUPT, wait=False)
    assert [result.run_id for result in results] == [other.run_id]
    assert (await engine.row(waiting)).state is RunState.PENDING


async def test_a_run_that_is_deleted_while_its_cancel_is_awaited_is_told_as_gone(
    engine: Engine, tmp_path: Path
) -> None:
    run = await gate(engine, tmp_path)
    wait, deleted = engine.follower.wait, []

    async def wait_and_delete(run_id: str, **how: Any) -> Run:
        await wait(run_id, **how)
        await engine.runs.delete(run_id)
        deleted.append(run_id)
        return await wait(run_id, **how)

    engine.follower.wait = wait_and_delete  # type: ignore[method-assign]
    (result,) = await engine.runs.cancel_many(RunFilter(run_ids=[run.run_id]), INTERRUPT, wait=True)
    assert deleted == [run.run_id]
    assert isinstance(result.error, RunNotFound)


# Reading, listing, deleting.


async def test_a_run_is_deleted_with_its_events_and_its_thread_keeps_what_it_did(
    engine: Engine, tmp_path: Path
) -> None:
    thread_id = await engine.thread()
    run = await engine.run("counter", thread_id=thread_id)
    await engine.runs.delete(run.run_id)
    for call in (engine.runs.get, engine.runs.delete, engine.runs.wait):
        with pytest.raises(RunNotFound):
            await call(run.run_id)
    assert (await engine.threads.get(thread_id)).values == run.output
    busy = await gate(engine, tmp_path)
    for in_flight in (busy, await later(engine)):
        with pytest.raises(RunInFlight):
            await engine.runs.delete(in_flight.run_id)


async def test_runs_are_listed_in_pages_that_join(engine: Engine) -> None:
    created = [await later(engine) for _ in range(5)]
    first = await engine.runs.list(RunFilter(), limit=3, cursor=None)
    rest = await engine.runs.list(RunFilter(), limit=3, cursor=first.next)
    listed = [run.run_id for run in first.items + rest.items]
    assert listed == [run.run_id for run in created[::-1]]
    assert rest.next is None


async def test_waiting_gives_the_ended_run_to_any_number_of_callers(
    engine: Engine, tmp_path: Path
) -> None:
    run = await gate(engine, tmp_path)
    waiting = [asyncio.create_task(engine.runs.wait(run.run_id)) for _ in range(20)]
    await until(lambda: engine.readers_of(run) == 20)
    waiting[0].cancel()
    (tmp_path / "open").touch()
    ended = await asyncio.gather(*waiting[1:])
    assert ended == [await engine.row(run)] * 19
    assert kinds(await engine.events(run))[-1] == "run_ended"
