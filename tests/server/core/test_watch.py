"""Watching runs that are executed elsewhere: readers are woken for all news, and for news alone."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from tests.support.elsewhere import Elsewhere, count_reads, elsewhere, held_reads
from tests.support.engine import Engine, ids, until

from runwire.server.model.runs import RunState

pytestmark = pytest.mark.usefixtures("no_polls")

Look: TypeAlias = Callable[[], Awaitable[None]]


@pytest.fixture
async def look(engine: Engine) -> Look:
    """Looks for news; nobody does but the test."""
    watching = engine.follower._watching
    assert watching is not None
    watching.cancel()
    await asyncio.wait([watching])
    return engine.follower._watch._look


@pytest.fixture
async def there(engine: Engine) -> Elsewhere:
    """A run that another server executes."""
    return await elsewhere(engine)


def readers_of(there: Elsewhere) -> tuple["asyncio.Task[Any]", "asyncio.Task[Any]"]:
    """Return who reads a run's events, and who waits for its end."""
    run = there.run
    return (
        asyncio.create_task(there.engine.events(run)),
        asyncio.create_task(there.engine.ended(run)),
    )


async def test_who_reads_longer_than_it_is_until_the_next_look_is_not_new_again(
    engine: Engine, look: Look, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, waiter = readers_of(there)
    await there.waited_for(2)
    with held_reads(engine, monkeypatch, "Follower") as reads:
        await look()  # who is new is woken once, and reads
        await until(lambda: len(reads) == 2)
        await look()
    await there.waited_for(2)
    await look()
    assert engine.readers_of(there.run) == 2, "nobody is woken"
    await there.store(1, 3, final=True)
    await look()
    assert ids(await reader) == ["1-1", "1-2", "1-3"]
    assert (await waiter).state is RunState.SUCCEEDED


async def test_news_that_come_while_somebody_reads_are_found_once_it_waits(
    engine: Engine, look: Look, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, waiter = readers_of(there)
    for _ in range(2):
        await there.waited_for(2)
        await look()
    with held_reads(engine, monkeypatch, "Follower") as reads:
        there.tell()
        await until(lambda: len(reads) == 2)
        await there.store(1, 3, final=True)
        await look()
    await there.waited_for(2)
    await look()
    assert engine.readers_of(there.run) == 0, "all are woken"
    assert ids(await reader) == ["1-1", "1-2", "1-3"]
    assert (await waiter).state is RunState.SUCCEEDED


async def test_news_of_which_one_is_told_are_not_kept_from_who_reads_meanwhile(
    engine: Engine, look: Look, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, waiter = readers_of(there)
    for _ in range(2):
        await there.waited_for(2)
        await look()
    with held_reads(engine, monkeypatch, "Follower._stored") as reads:
        there.tell()
        await until(lambda: reads)
        await there.waited_for(1)
        await there.store(1, 3, final=True)
        await look()
        assert (await waiter).state is RunState.SUCCEEDED
    assert ids(await reader) == ["1-1", "1-2", "1-3"], "without another look"


async def test_what_is_found_out_for_readers_that_have_left_is_not_taken_for_told(
    engine: Engine, look: Look, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.create_task(engine.ended(there.run))
    await there.waited_for()
    with held_reads(engine, monkeypatch, "Watch", answered=False) as questions:
        looking = asyncio.ensure_future(look())
        await until(lambda: questions)
        left.cancel()
        await asyncio.wait([left])
        waiter = asyncio.create_task(engine.ended(there.run))
        await there.waited_for()
        await there.store(1, 3, final=True)
    await looking
    await look()
    assert engine.readers_of(there.run) == 0, "it is woken"
    assert (await waiter).state is RunState.SUCCEEDED


async def test_of_a_run_that_nobody_reads_any_more_nothing_is_kept(
    engine: Engine, look: Look, there: Elsewhere
) -> None:
    readers = readers_of(there)
    await there.waited_for(2)
    await look()
    assert len(engine.follower._watch._known) == 1
    await there.store(1, 3, final=True)
    there.tell()
    await asyncio.gather(*readers)
    gc.collect()
    assert not engine.follower._watch._known


async def test_a_thousand_who_wait_cost_the_database_one_question_each_time_it_is_asked(
    engine: Engine, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = [await elsewhere(engine) for _ in range(20)]
    waiters = [
        asyncio.create_task(engine.runs.wait(there.run.run_id))
        for there in theirs
        for _ in range(50)
    ]
    for _ in range(2):  # who is new is woken once, and reads
        for there in theirs:
            await there.waited_for(50)
        await look()
    reads = count_reads(engine, monkeypatch)
    for _ in range(10):
        await look()
        assert {engine.readers_of(there.run) for there in theirs} == {50}, "nobody is woken"
    assert len(reads) == 10
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
