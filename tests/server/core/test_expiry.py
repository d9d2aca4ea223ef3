"""Threads on which nothing has happened for longer than their TTL says."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.support.engine import Engine
from tests.support.records import at
from tests.support.transactions import MovableClock, Server

from runwire.server.core import expiry as expiring
from runwire.server.core.expiry import _DONE, expire_some
from runwire.server.core.retention import Retention, sweep
from runwire.server.model.errors import RunNotFound, ThreadNotFound
from runwire.server.model.runs import IfThreadMissing, OnCompletion, RunState
from runwire.server.model.threads import PruneStrategy, ThreadState, ThreadTtl
from runwire.server.storage import expiry, pruning, retention, threads
from runwire.server.storage.database import Connection
from runwire.server.storage.pruning import Cursor
from runwire.server.storage.tables import checkpoints

TTL = timedelta(seconds=10)
DELETE, KEEP = ThreadTtl(TTL), ThreadTtl(TTL, PruneStrategy.KEEP_LATEST)
AT_ONCE = timedelta(microseconds=1)


def expire(server: Server, thread_id: str) -> Cursor | None:
    """Let a sweep begin, and do what it does with one thread."""
    return expire_some(server.connection, thread_id, MovableClock.time, Cursor())


def is_there(server: Server, thread_id: str) -> bool:
    return threads.get_thread(server.connection, thread_id) is not None


def next_look(server: Server) -> list[float]:
    """Return in how many seconds after the start each thread will be looked at, as they come."""
    times = range(100)
    return [
        seconds
        for seconds, before in zip(times[1:], times, strict=False)
        if expiry.list_due(server.connection, at(seconds), limit=9)
        != expiry.list_due(server.connection, at(before), limit=9)
    ]


def test_a_thread_is_deleted_when_its_time_has_passed(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread(DELETE)
    moving_clock.time = at(9)
    assert expire(server, thread_id) is None, "it is not its turn"
    assert is_there(server, thread_id)
    moving_clock.time = at(10)
    assert expire(server, thread_id) == _DONE
    assert not is_there(server, thread_id)
    assert expire(server, thread_id) is None


@pytest.mark.parametrize("ttl", [DELETE, KEEP])
def test_its_time_counts_from_the_last_thing_that_happened(
    server: Server, moving_clock: type[MovableClock], ttl: ThreadTtl
) -> None:
    thread_id = server.thread(ttl)
    moving_clock.time = at(5)
    run = server.start(thread_id)
    moving_clock.time = at(7)
    server.finish(run)
    moving_clock.time = at(12)
    assert expire(server, thread_id) == _DONE
    assert is_there(server, thread_id)
    assert next_look(server) == [17], "then its time will have passed"
    moving_clock.time = at(17)
    assert expire(server, thread_id) == _DONE
    assert is_there(server, thread_id) is (ttl is KEEP)
    assert next_look(server) == []


@pytest.mark.parametrize("ttl", [DELETE, KEEP])
def test_a_thread_with_runs_in_flight_is_never_too_old(
    server: Server, moving_clock: type[MovableClock], ttl: ThreadTtl
) -> None:
    executing, waiting, delayed = (server.thread(ttl) for _ in range(3))
    run = server.start(executing)
    server.create(waiting)
    server.create(delayed, start_delay=timedelta(days=1))
    moving_clock.time = at(50)
    for thread_id in (executing, waiting, delayed):
        assert expire(server, thread_id) == _DONE
        assert server.get_thread(thread_id).state is ThreadState.BUSY
    assert next_look(server) == [60], "no end of a run that comes can be longer ago then"
    moving_clock.time = at(55)
    server.finish(run)
    moving_clock.time = at(60)
    assert expire(server, executing) == _DONE
    assert server.states(run) == ["succeeded"]
    assert is_there(server, executing)


def test_runs_and_their_events_go_with_the_thread(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id, other = server.thread(DELETE), server.thread()
    gone = [server.start(thread_id)]
    server.speak(gone[0], 3)
    server.finish(gone[0])
    gone.append(server.start(thread_id))
    server.finish(gone[1], RunState.FAILED)
    kept = server.start(other)
    server.finish(kept)
    moving_clock.time = at(10)
    assert expire(server, thread_id) == _DONE
    assert [server.events(run) for run in gone] == [[], []]
    with pytest.raises(AssertionError):
        server.row(gone[0])
    assert server.states(kept) == ["succeeded"]


def test_another_ttl_counts_from_when_it_was_given(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread(DELETE)
    moving_clock.time = at(9)
    threads.set_ttl(server.connection, thread_id, ThreadTtl(timedelta(seconds=20)), at(9))
    moving_clock.time = at(28)
    assert expire(server, thread_id) is None
    moving_clock.time = at(29)
    assert expire(server, thread_id) == _DONE
    assert not is_there(server, thread_id)


def test_a_thread_that_is_to_be_kept_after_all_stays(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    thread_id = server.thread(DELETE)
    threads.set_ttl(server.connection, thread_id, ThreadTtl(timedelta(0)), at(9))
    moving_clock.time = at(10**6)
    assert expire(server, thread_id) is None
    assert is_there(server, thread_id)


def test_threads_that_are_made_with_a_run_have_the_default(server: Server) -> None:
    missing = "0199c000-0000-7000-8000-000000000000"
    made = [
        server.create_all([server.spec(**spec)], thread_ttl=KEEP).runs[0].thread_id
        for spec in (
            {"thread_id": missing, "if_thread_missing": IfThreadMissing.CREATE},
            {"on_completion": OnCompletion.KEEP},
        )
    ]
    assert [server.get_thread(thread_id).ttl for thread_id in made] == [KEEP, KEEP]
    there = server.thread()
    server.create_all([server.spec(thread_id=there)], thread_ttl=KEEP)
    assert server.get_thread(there).ttl is None


# On a database of its own.


async def count_checkpoints(engine: Engine, thread_id: str) -> int:
    query = select(func.count()).where(checkpoints.c.thread_id == thread_id)
    return int(await engine.database.read(lambda c: c.scalar(query)))


async def grown(engine: Engine, strategy: PruneStrategy, runs: int = 3) -> str:
    """Return a thread with some history whose time has passed."""
    thread, _ = await engine.threads.create(
        None, {}, return_existing=False, request=None, ttl=ThreadTtl(AT_ONCE, strategy)
    )
    for number in range(runs):
        await engine.run("counter", {"count": number}, thread_id=thread.thread_id)
    return thread.thread_id


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of a few checkpoints is a large one."""
    monkeypatch.setattr(pruning, "CHECKPOINTS", 2)
    monkeypatch.setattr(retention, "RUNS", 1)


@pytest.mark.usefixtures("small_steps")
async def test_a_large_thread_is_deleted_a_little_at_a_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await grown(engine, PruneStrategy.DELETE)
    counts = [await count_checkpoints(engine, thread_id)]
    transactions = 0

    def counted(connection: Connection, **how: Any) -> Any:
        nonlocal transactions
        transactions += 1
        query = select(func.count()).where(checkpoints.c.thread_id == thread_id)
        result = expire_some(connection, **how)
        counts.append(connection.scalar(query) or 0)
        return result

    monkeypatch.setattr(expiring, "expire_some", counted)
    await sweep(engine.database, Retention())

    assert transactions > 5
    assert all(before - after <= 2 for before, after in itertools.pairwise(counts))
    assert counts[-1] == 0
    with pytest.raises(ThreadNotFound):
        await engine.threads.get(thread_id)


@pytest.mark.usefixtures("small_steps")
async def test_a_run_that_comes_half_way_finds_its_thread(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await grown(engine, PruneStrategy.DELETE)
    steps = 0

    async def write(function: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 4:
            run = await engine.run("counter", {"count": 10}, thread_id=thread_id)
            assert run.state is RunState.SUCCEEDED
            assert run.output == '{"count":17,"log":["?","?","?","?"]}'
            await keep(engine, thread_id)
        return await engine.database.write(function)

    await expiring.expire_threads(engine.database, write)

    assert steps == 4
    assert (await engine.threads.get(thread_id)).values == '{"count":17,"log":["?","?","?","?"]}'


async def keep(engine: Engine, thread_id: str) -> None:
    await engine.threads.update(thread_id, {}, ThreadTtl(timedelta(hours=1)))


async def test_servers_that_sweep_at_the_same_time_share_the_work(engine: Engine) -> None:
    made = [await grown(engine, PruneStrategy.DELETE, runs=1) for _ in range(8)]
    kept = [await grown(engine, PruneStrategy.KEEP_LATEST, runs=2) for _ in range(4)]

    await asyncio.gather(*(sweep(engine.database, Retention()) for _ in range(3)))

    for thread_id in made:
        with pytest.raises(ThreadNotFound):
            await engine.threads.get(thread_id)
    assert [await count_checkpoints(engine, thread_id) for thread_id in kept] == [1] * 4


async def test_a_sweep_ends_though_a_thread_is_due_again_at_once(engine: Engine) -> None:
    thread_id = await grown(engine, PruneStrategy.KEEP_LATEST, runs=0)
    run = await engine.start("slow_async", {"seconds": 0.5}, thread_id=thread_id)

    await sweep(engine.database, Retention())

    assert (await engine.row(run)).state is RunState.RUNNING
    assert (await engine.ended(run)).state is RunState.SUCCEEDED


async def test_runs_of_a_deleted_thread_are_not_found(engine: Engine) -> None:
    thread_id = await grown(engine, PruneStrategy.DELETE, runs=0)
    run = await engine.run("echo", thread_id=thread_id)

    await sweep(engine.database, Retention())

    with pytest.raises(RunNotFound):
        await engine.row(run)
    with pytest.raises(RunNotFound):
        await engine.events(run)
