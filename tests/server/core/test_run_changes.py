"""Whoever watches runs is told what becomes of each, and never misses the last of it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.support.engine import PATIENCE_SECONDS, Engine, until
from tests.support.following import gate
from tests.support.replicas import no_notifications, open_replicas

from runwire.server.core import run_changes
from runwire.server.core.places import Places
from runwire.server.core.retention import Retention, sweep
from runwire.server.core.run_changes import RunChanges
from runwire.server.model.changes import ChangeKind, Horizon, Place
from runwire.server.model.errors import Draining, ResumeTokenExpired
from runwire.server.model.runs import CancelAction, Run, RunSpec, RunState
from runwire.server.storage import changes
from runwire.server.storage.database import Connection
from runwire.server.storage.runs import RunFilter, add_run
from runwire.server.storage.tables import changes as changes_table

ALL = RunFilter()
DELAY = {"start_delay": timedelta(days=1)}


class Watcher:
    """What one who watches runs has been told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        """Ids of runs, and their states or what else became of them."""
        self.place: Place | None = None
        self.caught_up = False

    async def watch(
        self, engine: Engine, wanted: RunFilter, place: Place | None, unfinished: bool
    ) -> None:
        async with aclosing(
            engine.run_changes.watch(wanted, place, unfinished=unfinished)
        ) as batches:
            async for batch in batches:
                for change in batch.changes:
                    self.told.append(_short(change))
                self.place, self.caught_up = batch.place, batch.caught_up

    def of(self, run: Run) -> list[str]:
        """Return what was told of a run."""
        return [what for run_id, what in self.told if run_id == run.run_id]


def _short(change: Any) -> tuple[str, str]:
    if change.kind is ChangeKind.RUN_DELETED:
        return change.deleted.run_id, f"deleted {change.deleted.state}"
    return change.run.run_id, "rolled back" if change.run.rolled_back else str(change.run.state)


@asynccontextmanager
async def watching(
    engine: Engine,
    wanted: RunFilter = ALL,
    place: Place | None = None,
    *,
    unfinished: bool = False,
) -> AsyncIterator[Watcher]:
    """Give a watcher who watches for the length of a block, and knows from where on."""
    watcher = Watcher()
    task = asyncio.create_task(watcher.watch(engine, wanted, place, unfinished))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await until(lambda: watcher.place or task.done())
            yield watcher
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_run_is_told_of_from_its_creation_to_its_end(
    engine: Engine, tmp_path: Path
) -> None:
    async with watching(engine) as watcher:
        run = await gate(engine, tmp_path)
        await until(lambda: watcher.of(run) == ["running"])
        (tmp_path / "open").touch()
        await until(lambda: watcher.of(run)[-1] == "succeeded")
        waiting = await engine.start("echo", **DELAY)
        await until(lambda: watcher.of(waiting) == ["pending"])
        await engine.runs.cancel(waiting.run_id, CancelAction.INTERRUPT, wait=True)
        await until(lambda: watcher.of(waiting) == ["pending", "cancelled"])
    assert watcher.of(run) == ["running", "succeeded"]


async def test_a_run_that_is_taken_back_or_deleted_is_told_of(
    engine: Engine, tmp_path: Path
) -> None:
    thread_id = await engine.thread()
    async with watching(engine, RunFilter(thread_id=thread_id)) as watcher:
        run = await gate(engine, tmp_path, thread_id=thread_id)
        await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)
        await until(lambda: watcher.of(run)[-1:] == ["rolled back"])
        one, two = [await engine.run("echo", thread_id=thread_id) for _ in range(2)]
        await until(lambda: watcher.of(two)[-1:] == ["succeeded"])
        await engine.runs.delete(one.run_id)
        await until(lambda: watcher.of(one)[-1] == "deleted succeeded")
        await engine.threads.delete(thread_id)
        await until(lambda: watcher.of(two)[-1] == "deleted succeeded")
    assert watcher.of(run)[-1] == "rolled back", "what is gone is not deleted again"


async def test_who_was_away_is_told_of_the_last_state_of_each_run(engine: Engine) -> None:
    async with watching(engine) as watcher:
        place = watcher.place
    runs = [await engine.run("echo", thread_id=await engine.thread()) for _ in range(3)]
    await engine.runs.delete(runs[1].run_id)
    async with watching(engine, place=place) as back:
        await until(lambda: back.caught_up)
    assert [back.of(run) for run in runs] == [["succeeded"], ["deleted succeeded"], ["succeeded"]]


async def test_only_wanted_runs_are_told_of(engine: Engine) -> None:
    thread_id = await engine.thread()
    metadata = {"tags": [{"a": 1}, 2], "b": True}
    run = await engine.run("echo", thread_id=thread_id, metadata=metadata)
    other = await engine.run("counter", thread_id=await engine.thread(), metadata={"b": False})
    begin = Place(time=run.create_time, seen=Horizon(1))
    wanted = {
        "thread": RunFilter(thread_id=thread_id),
        "assistant": RunFilter(assistant_id=run.assistant_id),
        "metadata": RunFilter(metadata={"tags": [{"a": 1}]}),
        "states": RunFilter(states=[RunState.SUCCEEDED], metadata={"b": True}),
    }
    for one in wanted.values():
        async with watching(engine, one, begin) as watcher:
            await until(lambda: watcher.caught_up)
        assert watcher.told == [(run.run_id, "succeeded")]
    async with watching(engine, RunFilter(states=[RunState.FAILED]), begin) as watcher:
        await until(lambda: watcher.caught_up)
        assert watcher.told == []
    await engine.threads.delete(thread_id)
    for one in wanted.values():
        async with watching(engine, one, begin) as watcher:
            await until(lambda: watcher.caught_up)
        assert watcher.told == [(run.run_id, "deleted succeeded")]
    assert other.run_id not in str(watcher.told)


async def test_unfinished_runs_come_first_and_then_what_changes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_changes, "PAGE", 2)
    ended = await engine.run("echo")
    waiting = [await engine.start("echo", **DELAY) for _ in range(5)]
    async with watching(engine, unfinished=True) as watcher:
        await until(lambda: watcher.caught_up)
        assert watcher.told == [(run.run_id, "pending") for run in waiting]
        await engine.runs.cancel(waiting[0].run_id, CancelAction.INTERRUPT, wait=True)
        await until(lambda: watcher.of(waiting[0])[-1] == "cancelled")
    assert watcher.of(ended) == []


async def test_every_place_is_one_to_go_on_from(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_changes, "PAGE", 2)
    waiting = [await engine.start("echo", **DELAY) for _ in range(5)]
    place, seen = None, []
    for number in range(30):
        async with aclosing(
            engine.run_changes.watch(ALL, place, unfinished=number == 0)
        ) as batches:
            await anext(batches)
            batch = await anext(batches)  # the connection breaks after each
        place = batch.place
        seen += [_short(change) for change in batch.changes]
        if number == 1:
            await engine.runs.cancel(waiting[4].run_id, CancelAction.INTERRUPT, wait=True)
        if batch.caught_up and number > 1:
            break
    assert sorted(seen) == sorted(
        [*((run.run_id, "pending") for run in waiting[:4]), (waiting[4].run_id, "cancelled")]
    )


async def test_a_change_that_commits_late_is_not_missed(postgres_url: str) -> None:
    """Its number is smaller than those of changes that were told before it could be seen."""
    async with open_replicas(postgres_url, 2, slots=(5, 5)) as (here, there):
        model = await here.start("echo", **DELAY)
        is_made, may_commit = threading.Event(), threading.Event()
        late = Run(**{name: getattr(model, name) for name in Run.__slots__} | {"run_id": LATE_ID})

        def hold_open(connection: Connection) -> None:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            add_run(connection, late, runnable=False, wake_time=late.due_time)
            is_made.set()
            may_commit.wait(PATIENCE_SECONDS)

        async with watching(there) as watcher:
            writing = asyncio.create_task(here.database.write(hold_open))
            await asyncio.to_thread(is_made.wait, PATIENCE_SECONDS)
            soon = await there.start("echo", **DELAY)
            await until(lambda: watcher.of(soon) == ["pending"])
            assert watcher.of(late) == []
            place = watcher.place
            may_commit.set()
            await writing
            await until(lambda: watcher.of(late) == ["pending"])
        assert place is not None
        assert place.seen.open, "the place knows what could not be seen"
        numbers = await there.database.read(
            lambda connection: {
                change.key.change_id: change.key.change
                for change in changes.list_changes(
                    connection,
                    ALL,
                    Place(time=place.time).heading(changes.horizon(connection), place.time),
                    limit=10,
                )
            }
        )
        assert numbers[LATE_ID] < numbers[soon.run_id]
        # A reader who went on from the place in between is told of it as well, and of it alone.
        async with watching(here, place=place) as back:
            await until(lambda: back.caught_up)
        assert back.told == [(LATE_ID, "pending")]


LATE_ID = "00000000-0000-7000-8000-000000000001"


async def test_a_place_is_good_at_every_server(postgres_url: str) -> None:
    async with open_replicas(postgres_url, 3, max_concurrent_runs=5) as engines:
        place, seen = None, {}
        for number in range(9):
            engine, other = engines[number % 3], engines[(number + 1) % 3]
            run = await other.run("echo")
            async with watching(engine, place=place) as watcher:
                again = await other.run("echo")
                if place is not None:
                    await until(lambda: watcher.of(run)[-1:] == ["succeeded"])  # noqa: B023
                await until(lambda: watcher.of(again)[-1:] == ["succeeded"])  # noqa: B023
            place = watcher.place
            seen[number] = len(watcher.told)
        assert max(seen.values()) <= 6, "only what is new is told"


async def test_what_others_change_is_found_when_every_notification_is_lost(
    postgres_url: str,
) -> None:
    async with open_replicas(postgres_url, 2, slots=(5, 0)) as (here, there), watching(there) as w:
        with no_notifications():
            run = await here.run("echo")
            await until(lambda: w.of(run)[-1:] == ["succeeded"])


@pytest.mark.usefixtures("no_polls")
async def test_what_others_change_is_told_at_once(postgres_url: str) -> None:
    async with open_replicas(postgres_url, 2, slots=(5, 0)) as (here, there), watching(there) as w:
        run = await here.run("echo")
        await until(lambda: w.of(run)[-1:] == ["succeeded"])


async def test_no_run_is_told_of_out_of_order_and_each_to_its_end(engine: Engine) -> None:
    order = [RunState.PENDING, RunState.RUNNING, RunState.SUCCEEDED]
    async with watching(engine) as watcher:
        created = [await engine.start("echo") for _ in range(60)]
        for run in created:
            await engine.ended(run)
        await until(lambda: all(watcher.of(run)[-1:] == ["succeeded"] for run in created))
    for run in created:
        told = [order.index(RunState(what)) for what in watcher.of(run)]
        assert told == sorted(set(told))


async def test_a_slow_watcher_skips_what_was_between_and_not_the_end(engine: Engine) -> None:
    async with aclosing(engine.run_changes.watch(ALL, None)) as batches:
        await anext(batches)
        created = [await engine.run("echo") for _ in range(5)]
        batch = await anext(batches)
    assert [_short(change) for change in batch.changes] == [
        (run.run_id, "succeeded") for run in created
    ]


async def test_a_place_that_is_too_old_is_refused(engine: Engine) -> None:
    short = RunChanges(engine.database, engine.news, Places(timedelta(seconds=-1)))
    async with watching(engine) as watcher:
        place = watcher.place
    with pytest.raises(ResumeTokenExpired):
        await anext(short.watch(ALL, place))


async def test_a_place_of_another_time_of_the_database_is_refused(postgres_url: str) -> None:
    async with open_replicas(postgres_url, 1) as (engine,):
        async with watching(engine) as watcher:
            place = watcher.place
        assert place is not None
        later = Place(time=place.time, seen=Horizon(place.seen.next + 1_000_000))
        with pytest.raises(ResumeTokenExpired):
            await anext(engine.run_changes.watch(ALL, later))


async def test_what_was_deleted_is_known_for_as_long_as_events_are(engine: Engine) -> None:
    run = await engine.run("echo", thread_id=await engine.thread())
    begin = Place(time=run.create_time, seen=Horizon(1))
    await engine.runs.delete(run.run_id)
    await sweep(engine.database, Retention(event_retention=timedelta(0)))
    async with watching(engine, place=begin) as watcher:
        await until(lambda: watcher.caught_up)
        assert watcher.of(run) == ["deleted succeeded"], "for ten minutes in any case"
    await engine.execute(_age)
    await sweep(engine.database, Retention(event_retention=timedelta(0)))
    async with watching(engine, place=begin) as watcher:
        await until(lambda: watcher.caught_up)
        assert watcher.told == []


def _age(connection: Connection) -> None:
    connection.execute(update(changes_table).values(create_time=datetime(2020, 1, 1, tzinfo=UTC)))


async def test_watchers_end_with_draining_when_their_server_stops(engine: Engine) -> None:
    batches = engine.run_changes.watch(ALL, None)
    await anext(batches)
    engine.news.drain()
    with pytest.raises(Draining):
        async for _ in batches:
            pass


async def test_a_batch_of_runs_is_told_in_pages(engine: Engine) -> None:
    async with watching(engine) as watcher:
        specs = [RunSpec(assistant_id="echo", **DELAY) for _ in range(120)]
        created = await engine.create(*specs)
        await until(lambda: len(watcher.told) >= 120)
    assert sorted(watcher.told) == sorted((run.run_id, "pending") for run in created)
