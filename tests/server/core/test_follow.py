"""Following a run: wherever a reader begins and wherever the run is in its life, it gets every
event once, in order, promptly, and the end last."""

import asyncio
import time
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.elsewhere import count_reads, elsewhere
from tests.support.engine import PATIENCE_SECONDS, Engine, decode, ids, kinds, open_engine, until
from tests.support.following import CUSTOM, NO_EVENTS, events_of, gate, read_one_by_one

from runwire.server.core import watch
from runwire.server.core.logs import HOT_SECONDS, TAIL_BYTES
from runwire.server.core.retention import steps, sweep
from runwire.server.model.errors import (
    Draining,
    EventsExpired,
    InvalidField,
    RunNotFound,
    RunRolledBack,
)
from runwire.server.model.events import EventId
from runwire.server.model.ids import new_id
from runwire.server.model.runs import CancelAction, Run, RunState
from runwire.server.storage import claims, retention
from runwire.v1 import core_pb2


async def collect(engine: Engine, run: Run, **how: Any) -> list[Any]:
    """Return a run's events in the batches in which a reader gets them."""
    after = how.pop("after", None)
    return [decode(batch) async for batch in engine.runs.follow(run.run_id, after=after, **how)]


# From wherever.


async def test_a_run_that_has_ended_is_told_from_its_beginning(engine: Engine) -> None:
    run = await engine.run("custom_events", {"count": 3}, **CUSTOM)
    for _ in range(2):
        events = await engine.events(run)
        assert ids(events) == events_of(3)
        assert kinds(events) == ["attempt_started", "custom", "custom", "custom", "run_ended"]
        assert all(event.run_id == run.run_id for event in events)


@pytest.mark.parametrize("after", ["0-1", "1-0", "1-1", "1-3", "1-4"])
async def test_a_reader_goes_on_after_the_event_it_names(engine: Engine, after: str) -> None:
    run = await engine.run("custom_events", {"count": 3}, **CUSTOM)
    index = int(after[2:]) if after[0] == "1" else 0
    assert ids(await engine.events(run, after)) == events_of(3)[index:]


async def test_after_the_end_there_is_nothing(engine: Engine) -> None:
    run = await engine.run("echo", **CUSTOM)
    assert await engine.events(run, "1-2") == []


@pytest.mark.parametrize("after", ["1-3", "1-100", "2-1", "99-1"])
async def test_an_event_that_a_finished_run_never_had_is_refused(
    engine: Engine, after: str
) -> None:
    run = await engine.run("echo", **CUSTOM)
    with pytest.raises(InvalidField, match="after_event_id"):
        await engine.events(run, after)


@pytest.mark.parametrize("after", ["1-900", "2-1"])
async def test_an_event_that_a_running_run_has_not_had_yet_is_refused(
    engine: Engine, tmp_path: Path, after: str
) -> None:
    run = await gate(engine, tmp_path)
    with pytest.raises(InvalidField, match="after_event_id"):
        await engine.events(run, after)


async def test_a_run_that_never_was_is_not_found(engine: Engine) -> None:
    for how in ({}, {"after": "1-1"}, {"live_only": True}):
        run = await engine.run("echo")
        object.__setattr__(run, "run_id", new_id())
        with pytest.raises(RunNotFound):
            await engine.events(run, **how)
    with pytest.raises(RunNotFound):
        await engine.runs.wait(new_id())


# Live.


@pytest.mark.usefixtures("no_polls")
async def test_a_reader_that_was_there_before_the_run_began_gets_everything(
    engine: Engine, tmp_path: Path
) -> None:
    thread_id = await engine.thread()
    first = await gate(engine, tmp_path, thread_id=thread_id)
    second = await engine.start("custom_events", {"count": 3}, thread_id=thread_id, **CUSTOM)
    readers = [asyncio.create_task(engine.events(second)) for _ in range(3)]
    waiter = asyncio.create_task(engine.runs.wait(second.run_id))
    live = asyncio.create_task(engine.events(second, live_only=True))
    await until(lambda: engine.readers_of(second) == 5)
    (tmp_path / "open").touch()
    for reader in [*readers, live]:
        assert ids(await reader) == events_of(3)
    assert (await waiter).state is RunState.SUCCEEDED
    await engine.ended(first)


@pytest.mark.usefixtures("no_polls")
async def test_events_come_as_they_are_made_and_not_at_the_end(
    engine: Engine, tmp_path: Path
) -> None:
    run = await engine.start("custom_events", {"count": 20, "one_by_one": str(tmp_path)}, **CUSTOM)
    assert await read_one_by_one(engine, run, tmp_path) == events_of(20)


@pytest.mark.usefixtures("no_polls")
async def test_a_burst_comes_in_few_batches(engine: Engine) -> None:
    run = await engine.start("custom_events", {"count": 500}, **CUSTOM)
    began = time.monotonic()
    batches = await collect(engine, run)
    wakes = (time.monotonic() - began) / HOT_SECONDS
    assert ids([event for batch in batches for event in batch]) == events_of(500)
    assert len(batches) < max(200, wakes)


@pytest.mark.usefixtures("no_polls")
async def test_a_live_reader_gets_what_comes_and_not_what_came(
    engine: Engine, tmp_path: Path
) -> None:
    run = await gate(engine, tmp_path)
    seen = engine.logs._logs[run.run_id][0].last.index
    reader = asyncio.create_task(engine.events(run, live_only=True))
    await until(lambda: engine.readers_of(run))
    (tmp_path / "open").touch()
    events = await reader
    assert not {f"1-{index}" for index in range(1, seen + 1)} & set(ids(events))
    assert kinds(events)[-1] == "run_ended"


async def test_a_live_reader_that_comes_too_late_is_told_how_the_run_ended(
    engine: Engine,
) -> None:
    run = await engine.run("custom_events", {"count": 3}, **CUSTOM)
    assert ids(await engine.events(run, live_only=True)) == ["1-5"]


@pytest.mark.usefixtures("no_polls")
@pytest.mark.parametrize("live_only", [False, True])
async def test_readers_of_a_waiting_run_are_told_of_its_cancel(
    engine: Engine, live_only: bool
) -> None:
    run = await engine.start("echo", start_delay=timedelta(days=1))
    reader = asyncio.create_task(engine.events(run, live_only=live_only))
    waiter = asyncio.create_task(engine.runs.wait(run.run_id))
    await until(lambda: engine.readers_of(run) == 2)
    await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    (event,) = await reader
    assert (event.id, event.run_ended.state) == ("0-1", core_pb2.RUN_STATE_CANCELLED)
    assert (await waiter).state is RunState.CANCELLED


@pytest.mark.usefixtures("no_polls")
async def test_who_follows_a_run_that_is_taken_back_sees_its_end_and_who_waits_is_told(
    engine: Engine, tmp_path: Path
) -> None:
    run = await gate(engine, tmp_path, thread_id=await engine.thread())
    reader = asyncio.create_task(engine.events(run))
    waiter = asyncio.create_task(engine.runs.wait(run.run_id))
    await until(lambda: engine.readers_of(run) == 2)
    await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)
    assert kinds(await reader)[-1] == "run_ended"
    with pytest.raises(RunRolledBack):
        await waiter
    assert kinds(await engine.events(run))[-1] == "run_ended", "as long as its events are kept"


# Slow.


async def test_a_slow_reader_falls_back_to_the_database_and_misses_nothing(
    engine: Engine,
) -> None:
    size, count = 20_000, 100
    assert size * count > 4 * TAIL_BYTES
    run = await engine.start("custom_events", {"count": count, "size": size}, **CUSTOM)
    async with aclosing(engine.runs.follow(run.run_id, after=None)) as batches:
        first = await anext(batches)
        log = engine.logs._logs[run.run_id][0]
        await engine.ended(run)
        assert log.base.index > first[-1].id.index, "memory no longer holds what comes next"
        rest = [entry async for batch in batches for entry in batch]
    entries = [*first, *rest]
    assert [str(entry.id) for entry in entries] == events_of(count)
    assert [entry.final for entry in entries] == [False] * (count + 1) + [True]


async def test_readers_of_all_speeds_get_the_same(engine: Engine) -> None:
    run = await engine.start("custom_events", {"count": 60, "size": 20_000}, **CUSTOM)

    async def read(pause: float) -> list[str]:
        found = []
        async for batch in engine.runs.follow(run.run_id, after=None):
            found += [str(entry.id) for entry in batch]
            await asyncio.sleep(pause)
        return found

    async with asyncio.timeout(PATIENCE_SECONDS):
        read_by = await asyncio.gather(*(read(pause) for pause in (0, 0, 0.002, 0.01, 0.03)))
    assert read_by == [events_of(60)] * 5


async def test_a_reader_that_leaves_lets_go_of_the_log(engine: Engine, tmp_path: Path) -> None:
    run = await gate(engine, tmp_path)
    users = engine.logs._logs[run.run_id][1]
    async with aclosing(engine.runs.follow(run.run_id, after=None)) as batches:
        await anext(batches)
        assert engine.logs._logs[run.run_id][1] == users + 1
    assert engine.logs._logs[run.run_id][1] == users
    (tmp_path / "open").touch()
    await engine.ended(run)
    await until(lambda: not engine.logs._logs)


# Attempts.


@pytest.mark.usefixtures("no_polls")
async def test_a_reader_sees_the_boundary_between_two_attempts(
    database_url: str, tmp_path: Path
) -> None:
    async with open_engine(database_url) as engine:
        graph_input = {"steps": 6, "seconds": 0.05, "directory": str(tmp_path)}
        run = await engine.start("steps", graph_input, thread_id=await engine.thread())
        await until((tmp_path / "started").exists)
        reader = asyncio.create_task(engine.events(run))
        await engine.runner.drain()
        engine.follower.drain()
        with pytest.raises(Draining):
            await reader
        before = await engine.row(run)
    assert (before.state, before.attempt) == (RunState.PENDING, 1)
    async with open_engine(database_url) as engine:
        events = await engine.events(run)
    started = [event for event in events if event.HasField("attempt_started")]
    assert [event.id for event in started] == ["1-1", "2-1"]
    assert [event.attempt_started.resumed_from_checkpoint for event in started] == [False, True]
    assert kinds(events)[-1] == "run_ended"
    parsed = [EventId.parse(event.id) for event in events]
    assert parsed == sorted(parsed), "in order"
    assert len(set(parsed)) == len(parsed), "nothing twice"


async def test_an_event_whose_attempt_was_lost_may_have_been_seen(engine: Engine) -> None:
    run = await engine.start("echo", start_delay=timedelta(days=1), **CUSTOM)
    await engine.execute(lambda c: claims.wake_runs(c, [run.run_id], run.due_time) and None)
    await engine.execute(
        lambda c: c.exec_driver_sql("UPDATE runs SET attempt = 1") and None  # it was lost
    )
    reader = asyncio.create_task(engine.events(run, "1-7"))
    await until(lambda: run.run_id in engine.logs._logs)
    await engine.execute(lambda c: claims.make_runnable(c, run.run_id))
    engine.runner.wake()
    assert ids(await reader) == ["2-1", "2-2"]


# No longer.


async def test_events_that_retention_has_taken_are_expired(engine: Engine) -> None:
    run = await engine.run("echo", thread_id=await engine.thread())
    last = (await engine.events(run))[-1].id
    await sweep(engine.database, NO_EVENTS)
    for how in ({}, {"after": "1-1"}, {"after": last}, {"live_only": True}):
        with pytest.raises(EventsExpired) as error:
            await engine.events(run, **how)
        assert error.value.variables["oldest_event_id"] == ""
    assert (await engine.runs.wait(run.run_id)).state is RunState.SUCCEEDED


async def test_events_that_are_taken_while_somebody_reads_end_the_reading_with_a_reason(
    engine: Engine,
) -> None:
    size = 70_000
    run = await engine.run(
        "custom_events", {"count": 9, "size": size}, thread_id=await engine.thread(), **CUSTOM
    )
    async with aclosing(engine.runs.follow(run.run_id, after=None)) as batches:
        await anext(batches)
        await sweep(engine.database, NO_EVENTS)
        with pytest.raises(EventsExpired):
            _ = [batch async for batch in batches]


async def test_of_a_log_that_is_only_being_taken_nothing_is_read_any_more(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SEGMENTS", 2)
    spec = {"thread_id": await engine.thread(), **CUSTOM}
    run = await engine.run("custom_events", {"count": 9, "size": 70_000}, **spec)
    async with aclosing(engine.runs.follow(run.run_id, after=None)) as batches:
        await anext(batches)
        step = steps(NO_EVENTS)[0]
        await engine.database.write(step)
        with pytest.raises(EventsExpired):
            _ = [batch async for batch in batches]
    with pytest.raises(EventsExpired):
        await engine.events(run)
    assert await engine.database.write(step) == 1, "there was something left to read"


async def test_a_run_that_is_deleted_while_somebody_reads_is_not_found(engine: Engine) -> None:
    run = await engine.run("custom_events", {"count": 9, "size": 70_000}, **CUSTOM)
    async with aclosing(engine.runs.follow(run.run_id, after=None)) as batches:
        await anext(batches)
        await engine.runs.delete(run.run_id)
        with pytest.raises(RunNotFound):
            _ = [batch async for batch in batches]


# Draining.


@pytest.mark.usefixtures("no_polls")
async def test_readers_are_ended_when_the_server_stops(engine: Engine, tmp_path: Path) -> None:
    run = await gate(engine, tmp_path)
    waiting = await engine.start("echo", start_delay=timedelta(days=1))
    readers = [asyncio.create_task(engine.events(one)) for one in (run, waiting)]
    readers += [asyncio.create_task(engine.runs.wait(one.run_id)) for one in (run, waiting)]
    await until(lambda: engine.readers_of(waiting) == 2)
    await until(lambda: engine.readers_of(run) == 2)
    engine.follower.drain()
    for reader in readers:
        with pytest.raises(Draining):
            await reader


async def test_who_comes_while_the_server_stops_is_still_told_what_it_knows(
    engine: Engine, tmp_path: Path
) -> None:
    ended = await engine.run("echo")
    run = await gate(engine, tmp_path)
    engine.follower.drain()
    assert (await engine.runs.wait(ended.run_id)).state is RunState.SUCCEEDED
    with pytest.raises(Draining):
        await engine.runs.wait(run.run_id)
    batches = engine.runs.follow(run.run_id, after=EventId(1, 0))
    assert kinds(decode(await anext(batches)))[:1] == ["attempt_started"]
    with pytest.raises(Draining):
        await anext(batches)


async def test_an_end_that_came_before_the_readers_are_ended_reaches_them(
    engine: Engine, tmp_path: Path
) -> None:
    run = await gate(engine, tmp_path)
    reader = asyncio.create_task(engine.events(run))
    log = engine.logs._logs[run.run_id][0]
    await until(lambda: log.waiting)
    log.on_wake = lambda log: None
    (tmp_path / "open").touch()
    await until(lambda: log.complete)
    engine.follower.drain()
    assert kinds(await reader)[-1] == "run_ended"


async def test_a_reader_is_told_up_to_where_it_came_when_the_server_stops(
    engine: Engine, tmp_path: Path
) -> None:
    run = await gate(engine, tmp_path)
    place = await engine.runs.place(run.run_id)
    live = asyncio.create_task(engine.events(run, live_only=True))
    waiter = asyncio.create_task(engine.runs.wait(run.run_id))
    await until(lambda: engine.readers_of(run) == 2)
    engine.follower.drain()
    with pytest.raises(Draining) as told:
        await live
    assert told.value.variables == {"run_id": run.run_id, "after_event_id": str(place)}
    with pytest.raises(Draining) as told:
        await waiter
    assert told.value.variables == {"run_id": run.run_id}


# Executed by another server.


@pytest.mark.usefixtures("no_polls")
async def test_what_another_server_stores_is_given_as_soon_as_that_is_told(engine: Engine) -> None:
    there = await elsewhere(engine)
    reader = asyncio.create_task(engine.events(there.run))
    waiter = asyncio.create_task(engine.runs.wait(there.run.run_id))
    await there.waited_for(2)
    await there.store(1, 3)
    there.tell()
    await until(lambda: not engine.follower._reads)
    await there.waited_for(2)
    await there.store(4, 5, final=True)
    there.tell()
    assert ids(await reader) == [f"1-{index}" for index in range(1, 6)]
    assert (await waiter).state is RunState.SUCCEEDED


async def test_what_another_server_stores_is_found_when_nobody_tells(engine: Engine) -> None:
    there = await elsewhere(engine)
    reader = asyncio.create_task(engine.events(there.run))
    waiter = asyncio.create_task(engine.runs.wait(there.run.run_id))
    await there.waited_for(2)
    await there.store(1, 5, final=True)
    assert ids(await reader) == [f"1-{index}" for index in range(1, 6)]
    assert (await waiter).state is RunState.SUCCEEDED


async def test_an_event_that_another_server_has_yet_to_store_may_have_been_seen(
    engine: Engine,
) -> None:
    there = await elsewhere(engine)
    await there.store(1, 3)
    reader = asyncio.create_task(engine.events(there.run, "1-5"))
    await there.waited_for()
    await there.store(4, 6)
    await there.store(7, 7, final=True)
    there.tell()
    assert ids(await reader) == ["1-6", "1-7"]


async def test_an_event_that_another_server_lost_with_its_attempt_may_have_been_seen(
    engine: Engine,
) -> None:
    there = await elsewhere(engine)
    await there.store(1, 3)
    reader = asyncio.create_task(engine.events(there.run, "1-5"))
    await there.waited_for()
    await there.store(1, 2, attempt=2, final=True)
    there.tell()
    assert ids(await reader) == ["2-1", "2-2"]


@pytest.mark.parametrize("after", ["2-1", "1-900"])
async def test_an_event_that_another_server_s_run_never_had_is_refused_at_the_latest_at_its_end(
    engine: Engine, after: str
) -> None:
    there = await elsewhere(engine)
    reader = asyncio.create_task(engine.events(there.run, after))
    await until(lambda: reader.done() or engine.readers_of(there.run))
    await there.store(1, 3, final=True)
    there.tell()
    with pytest.raises(InvalidField, match="after_event_id"):
        await reader


@pytest.mark.usefixtures("no_polls")
async def test_readers_at_one_place_read_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await elsewhere(engine)
    readers = [asyncio.create_task(engine.events(there.run)) for _ in range(100)]
    await there.waited_for(100)
    reads = count_reads(engine, monkeypatch)
    await there.store(1, 5, final=True)
    there.tell()
    assert [ids(await reader) for reader in readers] == [["1-1", "1-2", "1-3", "1-4", "1-5"]] * 100
    assert len(reads) == 1


# Polls.


async def test_a_reader_looks_by_itself_when_nobody_wakes_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(engine.logs, "ended", lambda run: None)
    run = await engine.start("echo", start_delay=timedelta(days=1))
    reader = asyncio.create_task(engine.events(run))
    waiter = asyncio.create_task(engine.runs.wait(run.run_id))
    await until(lambda: run.run_id in engine.logs._logs)
    await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    assert ids(await reader) == ["0-1"]
    assert (await waiter).state is RunState.CANCELLED
