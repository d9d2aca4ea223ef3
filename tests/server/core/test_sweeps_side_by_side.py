"""Several servers sweep one database: they share the work, and wait for nobody."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, func, select, text
from tests.support.leftovers import add_old_runs, add_old_thread
from tests.support.records import a_run, add_run

from runwire.server.core import retention as sweeping
from runwire.server.core.retention import Retention, sweep
from runwire.server.model.threads import PruneStrategy
from runwire.server.storage import pruning, retention, threads
from runwire.server.storage.connecting import engine_on
from runwire.server.storage.database import Database
from runwire.server.storage.opening import database_at
from runwire.server.storage.tables import checkpoints, run_events, runs

T = TypeVar("T")


@pytest.fixture
async def databases(postgres_url: str) -> AsyncIterator[list[Database]]:
    """The same database, as several servers have it open."""
    async with (
        database_at(postgres_url) as first,
        database_at(postgres_url) as second,
        database_at(postgres_url) as third,
    ):
        yield [first, second, third]


def counts(connection: Connection) -> list[int]:
    """Return how many runs, segments and checkpoints there are."""
    tables = (runs, run_events, checkpoints)
    return [connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


@contextmanager
def locked(url: str, statement: str) -> Iterator[None]:
    """Hold locks as another server does in the middle of a transaction."""
    engine = engine_on(url, connections=1)
    try:
        with engine.connect() as connection, connection.begin():
            assert connection.execute(text(statement)).all()
            yield
    finally:
        engine.dispose()


async def test_servers_that_sweep_together_share_the_work(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RUNS", 5)
    monkeypatch.setattr(pruning, "CHECKPOINTS", 20)
    first = databases[0]
    await first.write(lambda c: add_old_runs(c, count=100, segments=2, size=100))
    for strategy in [*PruneStrategy] * 5:
        await first.write(lambda c, kind=strategy: add_old_thread(c, kind, 30, 100))
    found: list[int] = []
    delete_leftovers = sweeping.delete_leftovers

    def counted(*args: object, **how: object) -> int:
        found.append(delete_leftovers(*args, **how))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(sweeping, "delete_leftovers", counted)
    await asyncio.gather(*(sweep(database, Retention()) for database in databases))

    assert sum(found) == 100, "each run was taken by one of them"
    assert await first.read(counts) == [0, 0, 5]


async def test_what_somebody_is_at_work_on_is_passed_over(
    databases: list[Database], postgres_url: str
) -> None:
    database = databases[0]
    await database.write(lambda c: add_old_runs(c, count=10, segments=1, size=10))
    kept = await database.write(lambda c: add_old_thread(c, PruneStrategy.DELETE, 3, 10))
    await database.write(lambda c: add_old_thread(c, PruneStrategy.DELETE, 3, 10))

    with (
        locked(postgres_url, "SELECT 1 FROM runs ORDER BY run_id LIMIT 4 FOR UPDATE"),
        locked(postgres_url, f"SELECT 1 FROM threads WHERE thread_id = '{kept}' FOR UPDATE"),
    ):
        async with asyncio.timeout(60):
            await sweep(database, Retention())
        assert await database.read(counts) == [4, 4, 3]
        assert await database.read(lambda c: threads.get_thread(c, kept))
    await sweep(database, Retention())
    assert await database.read(counts) == [0, 0, 0]


async def test_a_sweep_holds_up_no_other_server(
    databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper, *others = databases
    for _ in range(4):
        await sweeper.write(lambda c: add_old_runs(c, count=50, segments=4, size=20_000))
        await sweeper.write(lambda c: add_old_thread(c, PruneStrategy.DELETE, 200, 20_000))
    landed = [0 for _ in others]
    held: list[Any] = []
    write = sweeper.write

    async def write_for_ever(number: int) -> None:
        while True:
            await others[number].write(lambda c: add_run(c, a_run()))
            landed[number] += 1
            await asyncio.sleep(0.002)

    def held_open(function: Callable[[Connection], T]) -> Callable[[Connection], T]:
        """Let a transaction keep its locks until each of the others has written two times more: the
        first of those may have begun before it."""

        def step(connection: Connection) -> T:
            found = function(connection)
            enough = [number + 2 for number in landed]
            deadline = time.monotonic() + 15  # less than a transaction may take
            while any(number < least for number, least in zip(landed, enough, strict=True)):
                assert time.monotonic() < deadline, "a write waits for a sweep"
                connection.execute(text("SELECT pg_sleep(0.002)"))  # or it would be taken for idle
            held.append(found)
            return found

        return step

    monkeypatch.setattr(sweeper, "write", lambda function: write(held_open(function)))
    writing = [asyncio.create_task(write_for_ever(number)) for number in range(len(others))]
    await sweep(sweeper, Retention(stateless_run_retention=timedelta(days=1)))
    for task in writing:
        task.cancel()
    await asyncio.wait(writing)

    assert all(task.cancelled() for task in writing)
    assert (await sweeper.read(counts))[1:] == [0, 0]
    assert len([found for found in held if found]) > 10, "it went by many small transactions"
