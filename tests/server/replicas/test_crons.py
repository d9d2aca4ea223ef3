"""Servers of one database fire each cron once for each of its times."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.support.engine import Engine, until
from tests.support.outside import ask
from tests.support.replicas import open_replicas
from tests.support.stepped_clock import SteppedClock, stepped_clock

from runwire.server.core.crons import CronChange, CronDraft
from runwire.server.model.crons import Cron
from runwire.server.model.faults import armed, parse_faults
from runwire.server.model.runs import IfThreadMissing, Run, RunSpec
from runwire.server.runner import crons as loop
from runwire.server.runner.crons import CronLoop
from runwire.server.storage import crons, runs
from runwire.server.storage.runs import RunFilter

MINUTE = timedelta(minutes=1)
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
FAILURES = "create.before_commit:raise:0.2,create.after_commit:raise:0.2"


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[SteppedClock]:
    """The time, which goes on where a test lets it, and loops that look often what it is."""
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.03)
    monkeypatch.setattr(loop, "BUSY_SECONDS", 0.03)
    monkeypatch.setattr(loop, "RETRY_SECONDS", 0.03)
    with stepped_clock() as clock:
        yield clock


@asynccontextmanager
async def firing(url: str, count: int, **options: Any) -> AsyncIterator[list[Engine]]:
    """Give servers that fire crons, and execute nothing unless said otherwise."""
    given = {"max_concurrent_runs": 0, "max_pending": 100_000, "lease": timedelta(days=60)}
    async with open_replicas(url, count, **{**given, **options}) as engines, AsyncExitStack() as on:
        for engine in engines:
            await on.enter_async_context(CronLoop(engine.crons))
        yield engines


async def add(engine: Engine, schedule: str = "* * * * *", **spec: Any) -> Cron:
    draft = CronDraft(
        spec=RunSpec(**{"assistant_id": "echo", **spec}), schedule=schedule, time_zone="UTC"
    )
    return await engine.crons.create(draft, None)


async def runs_of(engine: Engine, cron: Cron) -> list[Run]:
    wanted = RunFilter(cron_id=cron.cron_id)

    def read(connection: Any) -> list[Run]:
        ids = runs.list_run_ids(connection, wanted, limit=100_000)
        return [run for run_id in ids if (run := runs.get_run(connection, run_id))]

    return await engine.database.read(read)


async def check_once(engine: Engine, added: list[Cron]) -> int:
    """See that each of the crons' times was fired for once or counted as missed; return how many
    runs there are."""
    total = 0
    for cron in added:
        found, now = await runs_of(engine, cron), await engine.crons.get(cron.cron_id)
        minutes = Counter(run.create_time.replace(second=0, microsecond=0) for run in found)
        assert set(minutes.values()) <= {1}, "two runs for one time"
        assert cron.next_fire_time is not None
        assert now.next_fire_time is not None
        passed = (now.next_fire_time - cron.next_fire_time) / MINUTE
        assert len(found) + now.missed_fires == passed
        assert now.last_error is None
        total += len(found)
    return total


async def nothing_is_due(engine: Engine) -> bool:
    return not (await engine.crons.look()).due


async def count_pending(engine: Engine) -> int:
    def count(connection: Any) -> int:
        return len(runs.list_run_ids(connection, RunFilter(), limit=100_000))

    return await engine.database.read(count)


@pytest.mark.parametrize("faults", ["", FAILURES])
async def test_three_servers_fire_many_crons_once_for_each_time(
    postgres_url: str, time: SteppedClock, faults: str
) -> None:
    async with firing(postgres_url, 3) as engines:
        spread = [engines[number % 3] for number in range(30)]
        added = [await add(engine) for engine in spread]
        with armed(parse_faults(faults)):
            for minutes in (1, 1, 2, 1, 1, 3, 1, 1, 2, 1):
                # Who looked before, and is late, meets crons that are due again.
                time.pass_by(minutes * MINUTE)
                await until(lambda: nothing_is_due(engines[0]))
    async with open_replicas(postgres_url, 1, max_concurrent_runs=0) as (later,):
        total = await check_once(later, added)
    assert total == 300


async def test_crons_of_few_threads_fire_while_those_are_made_and_deleted(
    postgres_url: str, time: SteppedClock
) -> None:
    """What locks threads before crons, and crons before threads, would end in a deadlock, after
    which either of them is tried again."""
    async with firing(postgres_url, 3) as engines:
        stays = [await add(engines[0], thread_id=await engines[0].thread()) for _ in range(4)]
        for number in range(12):
            engine = engines[number % 3]
            thread_id = await engine.thread()
            on_thread = {"thread_id": thread_id, "if_thread_missing": IfThreadMissing.CREATE}
            await asyncio.gather(*(add(other, **on_thread) for other in engines))
            before = await count_pending(engine)
            time.pass_by(MINUTE)
            # The thread goes before any of its three crons has fired, or while some do.
            wanted = before + number % 4
            await until(lambda engine=engine, wanted=wanted: has_pending(engine, wanted))
            await engine.threads.delete(thread_id, cancel_runs=True)
        await until(lambda: nothing_is_due(engines[0]))
    async with open_replicas(postgres_url, 1, max_concurrent_runs=0) as (later,):
        assert await check_once(later, stays) >= 4
    assert ask(postgres_url, DEADLOCKS) == [(0,)]


async def has_pending(engine: Engine, count: int) -> bool:
    return await count_pending(engine) >= count


async def test_a_run_that_a_cron_makes_starts_where_there_is_room(
    postgres_url: str, time: SteppedClock
) -> None:
    async with firing(postgres_url, 2, max_concurrent_runs=10) as engines:
        cron = await add(engines[0])
        time.pass_by(MINUTE)
        await until(lambda: ended(engines[0], cron))
        assert {run.cron_id for run in await runs_of(engines[0], cron)} == {cron.cron_id}


async def ended(engine: Engine, cron: Cron) -> bool:
    return any(run.end_time is not None for run in await runs_of(engine, cron))


async def test_another_server_hears_of_a_new_cron_at_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "POLL_SECONDS", 3600.0)
    async with (
        open_replicas(postgres_url, 2, max_concurrent_runs=0) as (here, there),
        CronLoop(there.crons),
    ):
        await until(lambda: not there.crons.woken.is_set())
        cron = await add(here, "0 0 1 1 *")
        past = replace(cron, next_fire_time=cron.create_time - MINUTE)
        await here.execute(lambda connection: crons.set_cron(connection, past))
        await here.crons.update(cron.cron_id, CronChange(metadata={"changed": True}))
        await until(lambda: has_run(here, cron))


async def has_run(engine: Engine, cron: Cron) -> bool:
    return bool(await runs_of(engine, cron))
