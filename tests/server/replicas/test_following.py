"""Whoever executes a run, any server tells its output: all of it, in order, at once, to its end."""

import asyncio
import random
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from tests.support.engine import Engine, ids, kinds, until
from tests.support.following import CUSTOM, NO_EVENTS, events_of, gate, read_one_by_one
from tests.support.replicas import no_notifications, open_replicas

from runwire.server.core.logs import RunLog
from runwire.server.core.retention import sweep
from runwire.server.model.errors import Draining, EventsExpired, InvalidField, RunRolledBack
from runwire.server.model.events import Data, Event, EventId
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import CancelAction, Run, RunSpec, RunState, StreamMode


@pytest.mark.usefixtures("no_polls")
async def test_another_server_s_run_is_told_from_its_beginning_to_its_end(
    two: list[Engine], tmp_path: Path
) -> None:
    here, there = two
    run = await gate(here, tmp_path)
    readers = [asyncio.create_task(there.events(run)) for _ in range(3)]
    live = asyncio.create_task(there.events(run, live_only=True))
    waiter = asyncio.create_task(there.runs.wait(run.run_id))
    await until(lambda: there.readers_of(run) == 5)
    (tmp_path / "open").touch()
    told = await here.events(run)
    assert kinds(told)[0] == "attempt_started"
    for reader in readers:
        assert await reader == told
    assert kinds(await live)[-1] == "run_ended"
    assert await waiter == await here.row(run)


@pytest.mark.usefixtures("no_polls")
async def test_events_come_while_they_are_made(two: list[Engine], tmp_path: Path) -> None:
    here, there = two
    run = await here.start("custom_events", {"count": 20, "one_by_one": str(tmp_path)}, **CUSTOM)
    assert await read_one_by_one(there, run, tmp_path) == events_of(20)


@pytest.mark.usefixtures("no_polls")
async def test_the_first_event_is_told_of_runs_that_are_followed_before_they_begin(
    two: list[Engine],
) -> None:
    there = two[1]
    for _ in range(20):
        run = await there.start("custom_events", {"count": 2}, **CUSTOM)
        assert run.state is RunState.PENDING
        assert ids(await there.events(run)) == events_of(2)


@pytest.mark.parametrize("after", ["0-1", "1-0", "1-1", "1-3", "1-4"])
async def test_a_reader_goes_on_at_another_server_after_the_event_it_names(
    two: list[Engine], after: str
) -> None:
    here, there = two
    run = await here.run("custom_events", {"count": 3}, **CUSTOM)
    assert await there.events(run, after) == await here.events(run, after)


async def test_an_event_that_only_its_server_has_can_be_named_to_another(
    two: list[Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two
    run = await gate(here, tmp_path)
    log = here.logs._logs[run.run_id][0]
    log.on_wake = lambda log: None  # nothing is stored any more, until the run ends
    seen = str(EventId(1, log.last.index + 1))
    log.append(1, Event(Data(StreamMode.CUSTOM, '"only here"')))
    reader = asyncio.create_task(there.events(run, seen))
    await until(lambda: reader.done() or there.readers_of(run))
    (tmp_path / "open").touch()
    told = await here.events(run)
    assert seen in ids(told)
    assert await reader == told[ids(told).index(seen) + 1 :]


async def test_a_repeated_request_is_streamed_by_any_server(two: list[Engine]) -> None:
    here, there = two
    request = RequestKey("RunStream", "one", b"body")
    spec = RunSpec(assistant_id="custom_events", input={"count": 5, "delay": 0.02}, **CUSTOM)
    first = await here.runs.create([spec], request)
    again = await there.runs.create([spec], request)
    assert (again.replayed, again.runs[0].run_id) == (True, first.runs[0].run_id)
    assert await there.events(again.runs[0]) == await here.events(first.runs[0])


async def test_news_are_found_when_every_notification_is_lost(
    two: list[Engine], tmp_path: Path
) -> None:
    here, there = two
    with no_notifications():
        run = await gate(here, tmp_path)
        reader = asyncio.create_task(there.events(run))
        waiter = asyncio.create_task(there.runs.wait(run.run_id))
        await until(lambda: there.readers_of(run) == 2)
        (tmp_path / "open").touch()
        await here.ended(run)
        assert kinds(await reader)[-1] == "run_ended"
        assert (await waiter).state is RunState.SUCCEEDED


@pytest.mark.usefixtures("no_polls")
async def test_readers_elsewhere_are_told_that_a_waiting_run_is_cancelled(
    two: list[Engine],
) -> None:
    here, there = two
    run = await here.start("echo", start_delay=timedelta(days=1))
    reader = asyncio.create_task(there.events(run))
    waiter = asyncio.create_task(there.runs.wait(run.run_id))
    await until(lambda: there.readers_of(run) == 2)
    await here.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=False)
    assert ids(await reader) == ["0-1"]
    assert (await waiter).state is RunState.CANCELLED


@pytest.mark.usefixtures("no_polls")
async def test_readers_elsewhere_see_the_end_of_a_run_that_is_taken_back(
    two: list[Engine], tmp_path: Path
) -> None:
    here, there = two
    run = await gate(here, tmp_path, thread_id=await here.thread())
    reader = asyncio.create_task(there.events(run))
    waiter = asyncio.create_task(there.runs.wait(run.run_id))
    await until(lambda: there.readers_of(run) == 2)
    await here.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)
    assert kinds(await reader)[-1] == "run_ended"
    with pytest.raises(RunRolledBack):
        await waiter


async def test_events_that_retention_has_taken_are_expired_everywhere(two: list[Engine]) -> None:
    here, there = two
    run = await here.run("echo", thread_id=await here.thread())
    await sweep(here.database, NO_EVENTS)
    for how in ({}, {"after": "1-1"}, {"live_only": True}):
        with pytest.raises(EventsExpired):
            await there.events(run, **how)


@pytest.mark.parametrize("after", ["1-900", "2-1"])
async def test_an_event_that_a_run_never_had_is_refused_everywhere(
    two: list[Engine], after: str
) -> None:
    here, there = two
    run = await here.run("custom_events", {"count": 3}, **CUSTOM)
    with pytest.raises(InvalidField, match="after_event_id"):
        await there.events(run, after)


@pytest.mark.usefixtures("no_polls")
async def test_what_was_not_heard_is_looked_for_at_once_and_by_one_question(
    two: list[Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two
    run = await gate(here, tmp_path)
    idle = [await here.start("echo", start_delay=timedelta(days=1)) for _ in range(5)]
    waiters = [asyncio.create_task(there.runs.wait(one.run_id)) for one in (run, *idle)]
    for one in (run, *idle):
        await until(partial(there.readers_of, one))
    await there.follower._watch._look()  # what it finds is compared with the next time
    assert len(there.follower._watch._known) == len(waiters)
    for one in (run, *idle):
        await until(partial(there.readers_of, one))
    with no_notifications():
        (tmp_path / "open").touch()
        await here.ended(run)
    woken: list[str] = []
    wake = RunLog.wake

    def note(log: RunLog) -> None:
        woken.append(log.run_id)
        wake(log)

    monkeypatch.setattr(RunLog, "wake", note)
    there.follower.told(None)
    assert (await waiters[0]).state is RunState.SUCCEEDED
    assert run.run_id in woken
    assert len(woken) < len(waiters), "only who has news is woken"
    for waiter in waiters[1:]:
        waiter.cancel()
    await asyncio.wait(waiters)


# From server to server.


async def test_a_run_that_is_handed_over_goes_on_and_its_readers_see_the_boundary(
    postgres_url: str, tmp_path: Path
) -> None:
    async with open_replicas(postgres_url, 3, slots=(5, 0, 5)) as (leaving, watching, staying):
        graph_input = {"steps": 6, "seconds": 0.1, "directory": str(tmp_path)}
        staying.runner._draining = True  # not yet
        run = await leaving.start("steps", graph_input, thread_id=await leaving.thread())
        await until((tmp_path / "started").exists)
        reader = asyncio.create_task(watching.events(run))
        own = asyncio.create_task(leaving.events(run))
        staying.runner._draining = False
        await leaving.runner.drain()
        leaving.follower.drain()
        with pytest.raises(Draining) as left:
            await own
        events = await reader
        assert await staying.events(run) == events
        after = left.value.variables["after_event_id"]
        rest = await staying.events(run, after)
        assert rest == events[len(events) - len(rest) :]
    started = [event for event in events if event.HasField("attempt_started")]
    assert [event.id for event in started] == ["1-1", "2-1"]
    assert [event.attempt_started.resumed_from_checkpoint for event in started] == [False, True]
    assert kinds(events)[-1] == "run_ended"


async def test_a_run_whose_server_is_lost_goes_on_and_its_readers_see_the_boundary(
    postgres_url: str, tmp_path: Path
) -> None:
    graph_input = {"steps": 4, "seconds": 0.3, "directory": str(tmp_path)}
    async with open_replicas(postgres_url, 1, max_concurrent_runs=0) as (watching,):
        async with open_replicas(postgres_url, 1) as (dying,):
            run = await dying.start("steps", graph_input, thread_id=await dying.thread())
            reader = asyncio.create_task(watching.events(run))
            await until((tmp_path / "started").exists)
            log = dying.logs._logs[run.run_id][0]
            await until(lambda: log.last.index > 1 and log.last == log._stored)
            log.on_wake = lambda log: None  # nothing is stored any more
            index = log.last.index + 1
            log.append(1, Event(Data(StreamMode.CUSTOM, '"lost"')))
            await until(lambda: watching.readers_of(run))
        async with open_replicas(postgres_url, 1) as (next_one,):
            events = await reader
            assert await next_one.events(run) == events
            # Who has seen what was never stored goes on with the next attempt.
            after = await watching.events(run, f"1-{index}")
    assert f"1-{index}" not in ids(events)
    assert kinds(after)[0] == "attempt_started"
    assert after == [event for event in events if event.id.startswith("2-")]
    assert kinds(after)[-1] == "run_ended"


async def test_readers_that_go_from_server_to_server_miss_nothing_and_get_nothing_twice(
    three: list[Engine],
) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")  # noqa: T201 - shown if this fails
    chance = random.Random(seed)
    many = {"count": 150, "delay": 0.002}

    async def hop(run: Run) -> list[str]:
        seen: list[str] = []
        ended = False
        while not ended:
            engine = chance.choice(three)
            after = EventId.parse(seen[-1]) if seen else None
            wanted = chance.randint(1, 40)
            async with aclosing(engine.runs.follow(run.run_id, after=after)) as batches:
                async for batch in batches:
                    # A connection may break anywhere in what is on its way.
                    some = batch[: max(1, wanted)]
                    seen += [str(entry.id) for entry in some]
                    ended = some[-1].final
                    wanted -= len(some)
                    if wanted <= 0:
                        break
        return seen

    started = [await chance.choice(three).start("custom_events", many, **CUSTOM) for _ in range(10)]
    async with asyncio.timeout(50):
        seen = await asyncio.gather(*(hop(run) for run in started))
    assert seen == [events_of(150)] * 10
    for run, one in zip(started, seen, strict=True):
        assert one == ids(await chance.choice(three).events(run))
