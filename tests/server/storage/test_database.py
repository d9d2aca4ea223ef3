"""How transactions are run, whatever the database."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError
from tests.support.writes import add_and_fail, adding, all_keys, held

from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.storage.database import Database
from runwire.server.storage.opening import database_at
from runwire.server.storage.tables import store_items


async def test_a_write_is_seen_by_the_reads_that_follow(database: Database) -> None:
    assert await database.write(adding("a")) == "a"
    assert await database.read(all_keys) == ["a"]
    assert await asyncio.to_thread(database.write_blocking, adding("b")) == "b"
    assert await asyncio.to_thread(database.read_blocking, all_keys) == ["a", "b"]


async def test_a_write_that_fails_alone_leaves_nothing(database: Database) -> None:
    with pytest.raises(LookupError):
        await database.write(add_and_fail)
    assert await database.read(all_keys) == []


async def test_an_error_of_the_database_does_not_quote_what_was_to_be_stored(
    database: Database,
) -> None:
    await database.write(adding("a"))
    with pytest.raises(IntegrityError) as caught:
        await database.write(adding("a", size=50))
    assert "INSERT" in str(caught.value)
    assert "x" * 50 not in str(caught.value)


async def test_an_error_that_no_future_takes_reaches_its_caller(database: Database) -> None:
    for call in (database.write, database.read):
        waiting = [call(lambda connection: next(iter(()))), call(all_keys)]
        failed, found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(failed, RuntimeError)
        assert found == []


async def test_what_a_write_changed_that_failed_half_way_through_its_rows_is_taken_back(
    database: Database,
) -> None:
    def change_and_fail(connection: Connection) -> None:
        change = update(store_items).values(namespace="changed").returning(store_items.c.key)
        changed = connection.execute(change)
        for _ in changed:
            raise LookupError("as intended")

    def namespaces(connection: Connection) -> list[str]:
        return list(connection.scalars(select(store_items.c.namespace)))

    for key in ("a", "b", "c"):
        await database.write(adding(key))
    async with held(database):
        functions = [change_and_fail, adding("d")]
        waiting = [asyncio.create_task(database.write(function)) for function in functions]
        await asyncio.sleep(0)
    failed, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(failed, LookupError)
    assert last == "d"
    assert await database.read(namespaces) == ["n"] * 4


async def test_a_write_that_has_to_run_alone_is_answered_before_the_next_one_runs(
    database: Database,
) -> None:
    answered = threading.Event()

    def wait_for_the_answer(connection: Connection) -> bool:
        return answered.wait(10)

    async with held(database):
        functions = [adding("a"), add_and_fail, wait_for_the_answer]
        waiting = [asyncio.create_task(database.write(function)) for function in functions]
        waiting[0].add_done_callback(lambda _: answered.set())
        await asyncio.sleep(0)
    first, _, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, last) == ("a", True)


async def test_a_cancelled_callers_transaction_still_commits(database: Database) -> None:
    started, go_on = threading.Event(), threading.Event()

    def add_slowly(connection: Connection) -> None:
        adding("running")(connection)
        started.set()
        go_on.wait()

    running = asyncio.create_task(database.write(add_slowly))
    await asyncio.to_thread(started.wait)
    queued = asyncio.create_task(database.write(adding("queued")))
    await asyncio.sleep(0)
    for task in (running, queued):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    go_on.set()
    await database.write(adding("after"))
    assert await database.read(all_keys) == ["after", "queued", "running"]


async def test_a_read_sees_one_snapshot(database: Database) -> None:
    first_done, go_on = threading.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[list[str], list[str]]:
        first = all_keys(connection)
        first_done.set()
        go_on.wait()
        return first, all_keys(connection)

    await database.write(adding("a"))
    reading = asyncio.create_task(database.read(read_twice))
    await asyncio.to_thread(first_done.wait)
    await database.write(adding("b"))
    assert await database.read(all_keys) == ["a", "b"], "a long read does not stop the others"
    go_on.set()
    assert await reading == (["a"], ["a"])


async def test_a_read_that_fails_does_not_hurt_its_neighbours(database: Database) -> None:
    def refuse(connection: Connection) -> None:
        raise LookupError

    reads = [database.read(refuse if number % 3 else all_keys) for number in range(30)]
    results = await asyncio.gather(*reads, return_exceptions=True)
    for number, result in enumerate(results):
        assert isinstance(result, LookupError) if number % 3 else result == []


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await database.read(adding("a"))
    assert await database.read(all_keys) == []


async def test_a_transaction_that_waits_for_another_is_refused(database: Database) -> None:
    for outer in (database.write, database.read):
        for inner in (database.write_blocking, database.read_blocking):
            with pytest.raises(RuntimeError, match="cannot wait"):
                await outer(lambda connection, inner=inner: inner(all_keys))  # type: ignore[misc]


async def test_four_loops_in_four_threads_share_it(database: Database) -> None:
    async def add_some(name: str) -> list[str]:
        keys = [f"{name}{number:02}" for number in range(50)]
        return await asyncio.gather(*(database.write(adding(key)) for key in keys))

    with ThreadPoolExecutor(4) as pool:
        loop = asyncio.get_running_loop()
        added = await asyncio.gather(
            *(loop.run_in_executor(pool, asyncio.run, add_some(name)) for name in "abcd")
        )
    assert await database.read(all_keys) == sorted(key for keys in added for key in keys)


async def test_a_loop_that_closes_leaves_its_writes_and_its_neighbours_in_peace(
    database: Database,
) -> None:
    async def ask_and_leave() -> None:
        asyncio.create_task(database.write(adding("left behind")))  # noqa: RUF006 - the point
        await asyncio.sleep(0)

    async with held(database):
        await asyncio.to_thread(asyncio.run, ask_and_leave())
        staying = asyncio.create_task(database.write(adding("staying")))
        await asyncio.sleep(0)
    assert await staying == "staying"
    assert await database.read(all_keys) == ["left behind", "staying"]


async def test_what_was_queued_before_the_end_is_finished(database_url: str) -> None:
    keys = [f"{number:03}" for number in range(200)]
    async with database_at(database_url) as database:
        waiting = [asyncio.create_task(database.write(adding(key))) for key in keys]
        reading = asyncio.create_task(database.read(all_keys))
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == keys
    assert len(await reading) <= len(keys)
    async with database_at(database_url) as database:
        assert await database.read(all_keys) == keys


async def test_a_closed_database_refuses_instead_of_waiting(database_url: str) -> None:
    async with database_at(database_url) as database:
        pass
    for call in (database.write, database.read):
        with pytest.raises(DatabaseUnavailable):
            await call(all_keys)
    for blocking in (database.write_blocking, database.read_blocking):
        with pytest.raises(DatabaseUnavailable):
            blocking(all_keys)


async def test_an_error_that_is_raised_again_harms_nobody_who_met_it_before(
    database: Database,
) -> None:
    error = LookupError("always the same")

    def fail(connection: Connection) -> None:
        raise error

    async def meet() -> str:
        try:
            await database.write(fail)
        except LookupError:
            await asyncio.sleep(0.05)
        return "went on"

    assert await asyncio.gather(*(meet() for _ in range(3))) == ["went on"] * 3
