"""The slots of a server: what starts, what waits, and how it drains."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.engine import PATIENCE_SECONDS, Engine, kinds, open_engine, until
from tests.support.meeting import Meeting

from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.model.runs import CancelAction, Durability, RunState
from runwire.server.runner import runner, sweeper
from runwire.server.storage.runs import RunFilter

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


async def running(engine: Engine) -> int:
    wanted = RunFilter(states=[RunState.RUNNING, RunState.CANCELLING])
    return len((await engine.runs.list(wanted, limit=500, cursor=None)).items)


# Slots.


@pytest.mark.usefixtures("no_polls")
async def test_no_more_runs_execute_than_there_are_slots_and_all_get_their_turn(
    database_url: str,
) -> None:
    async with open_engine(database_url, max_concurrent_runs=3) as engine:
        most = 0
        created = [await engine.start("slow_async", {"seconds": 0.02}) for _ in range(30)]
        ended = [asyncio.create_task(engine.ended(run)) for run in created]
        while not all(one.done() for one in ended):
            most = max(most, await running(engine), len(engine.runner._slots))
            await asyncio.sleep(0.002)
        assert most == 3
        runs = [one.result() for one in ended]
        assert {run.state for run in runs} == {RunState.SUCCEEDED}
        starts = [run.start_time for run in sorted(runs, key=lambda run: run.run_id)]
        assert starts == sorted(starts), "first come, first served"


@pytest.mark.usefixtures("no_polls")
async def test_a_busy_thread_does_not_keep_others_from_the_slots(
    database_url: str, meeting: Meeting
) -> None:
    async with open_engine(database_url, max_concurrent_runs=2) as engine:
        on = {"thread_id": await engine.thread()}
        busy = await meeting.start(engine, "gate", spec=on)
        queued = [await engine.start("echo", **on) for _ in range(20)]
        for _ in range(5):
            assert (await engine.run("echo")).state is RunState.SUCCEEDED
        meeting.open()
        for run in [busy, *queued]:
            assert (await engine.ended(run)).state is RunState.SUCCEEDED


async def test_of_what_waits_for_a_slot_a_higher_priority_begins_first(
    database_url: str, meeting: Meeting
) -> None:
    async with open_engine(database_url, max_concurrent_runs=1) as engine:
        busy = await meeting.start(engine, "gate")
        thread_id = await engine.thread()
        first_on_thread = await engine.start("echo", thread_id=thread_id)
        second_on_thread = await engine.start("echo", thread_id=thread_id, priority=100)
        low = await engine.start("echo", priority=-1)
        earlier, later = await engine.start("echo"), await engine.start("echo")
        high = await engine.start("echo", priority=50)
        meeting.open()
        order = [busy, high, first_on_thread, second_on_thread, earlier, later, low]
        ended = [await engine.ended(run) for run in order]
        begun = sorted(ended, key=lambda run: run.start_time or run.create_time)
        assert [run.run_id for run in begun] == [run.run_id for run in order]


async def test_slots_are_counted_through_all_that_happens(
    database_url: str, meeting: Meeting
) -> None:
    async with open_engine(database_url, max_concurrent_runs=5) as engine:
        assert (engine.runner.reserve(3), engine.runner.reserve(9)) == (3, 2)
        assert engine.runner.reserve(1) == 0
        engine.runner.give_back(5, denied=8)
        await engine.run("fails", {"kind": "value"})
        run = await meeting.start(engine, "slow_sync", until_open=True)
        await engine.runs.cancel_disconnected(run.run_id)
        await engine.ended(run)
        meeting.open()
        await until(lambda: engine.runner._idle.is_set())
        assert engine.runner._free == 5
        assert [loop.runs for loop in engine.runner._loops.loops] == [0]
        assert not engine.logs._logs


async def test_a_server_without_slots_leaves_runs_to_others_and_still_reads_threads(
    database_url: str,
) -> None:
    async with open_engine(database_url) as engine:
        on = {"thread_id": await engine.thread()}
        await engine.run("echo", {"text": "before"}, **on)
    grace = timedelta(minutes=10)
    async with open_engine(database_url, max_concurrent_runs=0, drain_grace=grace) as engine:
        runs = [await engine.start("echo", {"text": "after"}, **on) for _ in range(2)]
        left = await engine.start("echo")
        cancelled = await engine.runs.cancel(left.run_id, CancelAction.INTERRUPT, wait=True)
        # Both are user code, which has its loops here too.
        state = await engine.states.get(on["thread_id"], None, include_subgraphs=False)
        graph_id, schemas = await engine.assistants.schemas("echo")
        assert graph_id == "echo"
        assert schemas.input
        async with asyncio.timeout(PATIENCE_SECONDS):
            await engine.runner.drain()
        assert [(await engine.row(run)).state for run in runs] == [RunState.PENDING] * 2
    assert cancelled.state is RunState.CANCELLED
    assert state.values is not None
    assert "before" in state.values
    async with open_engine(database_url) as engine:
        assert [(await engine.ended(run)).state for run in runs] == [RunState.SUCCEEDED] * 2


async def test_full_slots_and_a_delay_that_is_over_do_not_make_the_server_spin(
    database_url: str, meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = runner.look

    def counted(*asked: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(*asked)

    monkeypatch.setattr(runner, "look", counted)
    async with open_engine(database_url, max_concurrent_runs=1) as engine:
        run = await meeting.start(engine, "gate")
        delayed = await engine.start("echo", start_delay=timedelta(seconds=0.05))
        await asyncio.sleep(0.1)
        looks, began = 0, time.monotonic()
        await asyncio.sleep(0.3)
        assert looks <= 2 + (time.monotonic() - began) / (0.8 * runner.POLL_SECONDS)
        meeting.open()
        for one in (run, delayed):
            assert (await engine.ended(one)).state is RunState.SUCCEEDED


@pytest.mark.usefixtures("no_polls")
async def test_delays_that_end_one_after_the_other_are_all_noticed(engine: Engine) -> None:
    delays = [timedelta(seconds=0.05 * number) for number in (4, 1, 3, 2)]
    created = [await engine.start("echo", start_delay=delay) for delay in delays]
    for run in created:
        ended = await engine.ended(run)
        assert ended.start_time is not None
        assert ended.start_time >= run.due_time


async def test_runs_are_spread_over_the_loops(database_url: str) -> None:
    async with open_engine(database_url, runner_loops=3) as engine:
        created = [await engine.start("slow_async", {"seconds": 60}) for _ in range(6)]
        assert [loop.runs for loop in engine.runner._loops.loops] == [2, 2, 2]
        assert len(created) == 6


async def test_claims_go_on_after_one_that_failed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    look, failures = runner.look, iter([LookupError("as intended")] * 3)

    def fail_at_first(*asked: Any) -> Any:
        if error := next(failures, None):
            raise error
        return look(*asked)

    monkeypatch.setattr(runner, "look", fail_at_first)
    run = await engine.run("echo", start_delay=timedelta(seconds=0.01))
    assert run.state is RunState.SUCCEEDED
    assert "runs could not be claimed" in caplog.text


async def test_claims_say_once_that_the_database_is_away_and_once_that_it_is_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "POLL_SECONDS", 0.01)
    look, failures = runner.look, iter([DatabaseUnavailable()] * 3)

    def fail_at_first(*arguments: Any) -> Any:
        if error := next(failures, None):
            raise error
        return look(*arguments)

    monkeypatch.setattr(runner, "look", fail_at_first)
    engine.runner.wake()
    await until(lambda: "again" in caplog.text)
    said = [record for record in caplog.records if record.name == runner.__name__]
    assert [record.getMessage() for record in said] == [
        "runs cannot be claimed: the database is away",
        "runs can be claimed again",
    ]
    assert not any(record.exc_info for record in said)


async def test_a_start_that_fails_leaves_no_thread_behind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    start = runner.RunnerLoops.start

    def note(loops: Any) -> None:
        start(loops)
        started.append(loops)

    async def fail(sweeper: Any) -> None:
        raise LookupError("as intended")

    monkeypatch.setattr(runner.RunnerLoops, "start", note)
    monkeypatch.setattr(sweeper.Sweeper, "recover", fail)
    with pytest.raises(LookupError):
        async with open_engine(database_url):
            pass
    await until(lambda: started[0].loops[0].loop.is_closed())


# Draining.


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize("durability", Durability)
async def test_a_drained_run_goes_on_elsewhere_with_nothing_executed_again(
    database_url: str, meeting: Meeting, durability: Durability
) -> None:
    async with open_engine(database_url) as engine:
        spec = {"thread_id": await engine.thread(), "durability": durability}
        run = await meeting.start(engine, "steps", steps=8, seconds=0.04, spec=spec)
        following = await engine.start("counter", thread_id=run.thread_id)
        await until(lambda: meeting.notes(run).count("step") >= 3)
        await engine.runner.drain()
        handed_back = await engine.row(run)
        assert (handed_back.state, handed_back.owner) == (RunState.PENDING, None)
        assert (handed_back.attempt, handed_back.attempts_used) == (1, 0)
        assert meeting.notes(run).count("step") < 8
        assert (await engine.row(following)).state is RunState.PENDING
    async with open_engine(database_url) as engine:
        ended = await engine.ended(run)
        assert (ended.state, ended.attempt, ended.attempts_used) == (RunState.SUCCEEDED, 2, 1)
        steps = [note["step"] for note in meeting.ledger() if note["what"] == "step"]
        assert steps == list(range(8)), "each once, and in order"
        assert (await engine.ended(following)).state is RunState.SUCCEEDED
        events = await engine.events(run)
        assert kinds(events).count("attempt_started") == 2


async def test_a_run_that_is_handed_back_is_a_line_in_the_log(
    database_url: str, meeting: Meeting, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine(database_url) as engine:
        spec = {"thread_id": await engine.thread()}
        run = await meeting.start(engine, "steps", steps=100, seconds=0.02, spec=spec)
        with caplog.at_level("INFO"):
            await engine.runner.drain()
    told = [record for record in caplog.records if record.message == "run pending"]
    assert [vars(record)["run_id"] for record in told] == [run.run_id]


async def test_a_run_that_leaves_no_checkpoints_may_end(
    database_url: str, meeting: Meeting
) -> None:
    async with open_engine(database_url, drain_grace=timedelta(seconds=20)) as engine:
        run = await meeting.start(engine, "steps", steps=5, seconds=0.02)
        await engine.runner.drain()
        assert (await engine.row(run)).state is RunState.SUCCEEDED


@pytest.mark.parametrize("stateless", [True, False])
@pytest.mark.parametrize("graph_id", ["gate", "turns_cancel_into_failure", "cleans_up_slowly"])
async def test_what_does_not_stop_in_time_is_stopped_where_it_is_and_handed_back(
    database_url: str, meeting: Meeting, graph_id: str, stateless: bool
) -> None:
    grace = timedelta(seconds=0.1)
    async with open_engine(database_url, graphs=GRAPHS, drain_grace=grace) as engine:
        spec = {} if stateless else {"thread_id": await engine.thread()}
        run = await meeting.start(engine, graph_id, seconds=0.05, spec=spec)
        async with asyncio.timeout(PATIENCE_SECONDS):  # less than what it waits for
            await engine.runner.drain()
        handed_back = await engine.row(run)
        assert (handed_back.state, handed_back.attempts_used) == (RunState.PENDING, 0)


async def test_a_drain_ends_though_code_does_not(
    database_url: str, meeting: Meeting, caplog: pytest.LogCaptureFixture
) -> None:
    grace = timedelta(seconds=0.05)
    async with open_engine(database_url, drain_grace=grace, cancel_grace=3 * grace) as engine:
        blocking = await meeting.start(engine, "blocks_loop", until_open=True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await engine.runner.drain()
        given_up = await engine.row(blocking)
        assert (given_up.state, given_up.attempts_used) == (RunState.PENDING, 0)
        assert "runs are left behind" in caplog.text
        assert engine.runner.left_behind
        assert "ended" not in meeting.notes()
        meeting.open()


async def test_a_cancel_is_carried_out_by_a_drain_though_the_code_does_not_stop(
    database_url: str, meeting: Meeting
) -> None:
    grace = timedelta(seconds=0.05)
    async with open_engine(database_url, drain_grace=grace) as engine:
        blocking = await meeting.start(engine, "blocks_loop", until_open=True)
        await engine.runs.cancel(blocking.run_id, CancelAction.INTERRUPT, wait=False)
        await engine.runner.drain()
        ended = await engine.ended(blocking)
        meeting.open()
        assert ended.cancel is not None
        assert (ended.state, ended.cancel.abandoned) == (RunState.CANCELLED, True)


async def test_a_draining_server_takes_no_new_runs(database_url: str, meeting: Meeting) -> None:
    async with open_engine(database_url, drain_grace=timedelta(seconds=20)) as engine:
        executing = await meeting.start(engine, "gate")
        draining = asyncio.create_task(engine.runner.drain())
        await until(lambda: engine.runner._draining)
        created = [await engine.start("echo") for _ in range(3)]
        engine.runner.wake()
        meeting.open()
        await draining
        assert (await engine.row(executing)).state is RunState.SUCCEEDED
        assert {(await engine.row(run)).state for run in created} == {RunState.PENDING}
    async with open_engine(database_url) as engine:
        for run in created:
            ended = await engine.ended(run)
            assert (ended.state, ended.attempt) == (RunState.SUCCEEDED, 1)


async def test_a_drain_waits_for_what_is_about_to_begin(engine: Engine) -> None:
    for _ in range(10):
        creating = [
            asyncio.create_task(engine.start("slow_async", {"seconds": 60})) for _ in range(5)
        ]
        await asyncio.sleep(0)
        engine.runner._draining = False
        draining = asyncio.create_task(engine.runner.drain())
        # Without checkpoints they may end: so that they do not take the grace, they are cancelled.
        for one in creating:
            await engine.runs.cancel_disconnected((await one).run_id)
        async with asyncio.timeout(60):
            await draining
        assert engine.runner._idle.is_set()
        assert await running(engine) == 0


async def test_a_run_that_begins_while_the_server_drains_is_handed_back(
    engine: Engine, meeting: Meeting
) -> None:
    run = await engine.start("echo", start_delay=timedelta(days=1))
    assert engine.runner.reserve(1) == 1
    statement = text(
        "UPDATE runs SET state = 'running', owner = :owner, attempt = 1, wake_time = NULL"
    )
    values = {"owner": engine.runner.server_id}
    await engine.execute(lambda c: c.execute(statement, values).rowcount)
    draining = asyncio.create_task(engine.runner.drain())
    await until(lambda: engine.runner._draining)
    assert not draining.done()
    engine.runner.start([await engine.row(run)])
    async with asyncio.timeout(60):
        await draining
    assert (await engine.row(run)).state in (RunState.PENDING, RunState.SUCCEEDED)


async def test_an_idle_server_drains_at_once(database_url: str) -> None:
    async with open_engine(database_url, drain_grace=timedelta(minutes=10)) as engine:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await engine.runner.drain()


@pytest.mark.usefixtures("no_polls")
async def test_servers_that_come_and_go_execute_every_step_once(
    database_url: str, meeting: Meeting
) -> None:
    async with open_engine(database_url) as engine:
        spec = {"thread_id": await engine.thread()}
        run = await meeting.start(engine, "steps", steps=20, seconds=0.02, spec=spec)
        await engine.runner.drain()
    for _ in range(5):
        done = meeting.notes(run).count("step")
        async with open_engine(database_url) as engine:
            await until(lambda done=done: done == 20 or meeting.notes(run).count("step") > done)
            await engine.runner.drain()
    async with open_engine(database_url) as engine:
        ended = await engine.ended(run)
        assert (ended.state, ended.attempts_used) == (RunState.SUCCEEDED, 1)
        steps = [note["step"] for note in meeting.ledger() if note["what"] == "step"]
        assert steps == list(range(20))
