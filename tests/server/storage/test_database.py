import asyncio
import gc
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.storage import database as database_module
from runwire.server.storage.database import MAX_WRITES, Database, DatabaseInUse
from runwire.server.storage.files import create_private_file
from runwire.server.storage.tables import store_items


def adding(key: str, size: int = 0) -> Callable[[Connection], str]:
    """Return a transaction that adds an item and returns its key."""

    def add(connection: Connection) -> str:
        now = func.now()
        values = {"namespace": "n", "key": key, "value": {"data": "x" * size}}
        connection.execute(insert(store_items).values(**values, create_time=now, update_time=now))
        return key

    return add


def all_keys(connection: Connection) -> list[str]:
    return list(connection.scalars(select(store_items.c.key).order_by(store_items.c.key)))


def add_and_fail(connection: Connection) -> None:
    adding("of the one that fails")(connection)
    raise LookupError("as intended")


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[None]:
    """Keep the writer busy during the block, so that writes queue up."""
    started, go_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        started.set()
        go_on.wait()

    holding = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(started.wait)
    try:
        yield
    finally:
        go_on.set()
        await holding


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SQLite is asked to do on writing connections that are opened from now on."""
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(address: str, **options: Any) -> sqlite3.Connection:
        connection = connect(address, **options)
        if "mode=rw" in address:
            connection.set_trace_callback(seen.append)
        return connection

    monkeypatch.setattr(database_module.sqlite3, "connect", traced)
    return seen


# Transactions.


async def test_a_write_is_seen_by_the_reads_that_follow(database: Database) -> None:
    assert await database.write(adding("a")) == "a"
    assert await database.read(all_keys) == ["a"]
    assert await asyncio.to_thread(database.write_blocking, adding("b")) == "b"
    assert await asyncio.to_thread(database.read_blocking, all_keys) == ["a", "b"]


async def test_writes_that_queue_up_share_transactions(
    statements: list[str], database: Database
) -> None:
    keys = [f"{number:03}" for number in range(MAX_WRITES + 6)]
    async with held(database):
        statements.clear()
        waiting = [asyncio.create_task(database.write(adding(key))) for key in keys]
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == keys
    assert statements.count("BEGIN IMMEDIATE") == 2
    assert statements.count("COMMIT") == 3, "of the one that held the writer, and of two batches"
    assert statements.count("SAVEPOINT one_write") == len(keys)
    assert await database.read(all_keys) == keys


async def test_a_write_that_fails_does_not_hurt_its_neighbours(
    statements: list[str], database: Database
) -> None:
    async with held(database):
        statements.clear()
        functions = [adding("a"), add_and_fail, adding("a"), adding("b")]
        waiting = [asyncio.create_task(database.write(function)) for function in functions]
        await asyncio.sleep(0)
    first, failed, doubled, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, LookupError)
    assert isinstance(doubled, IntegrityError)
    assert statements.count("BEGIN IMMEDIATE") == 1
    assert await database.read(all_keys) == ["a", "b"]


async def test_a_write_that_fails_alone_leaves_nothing(database: Database) -> None:
    with pytest.raises(LookupError):
        await database.write(add_and_fail)
    assert await database.read(all_keys) == []


async def test_an_error_that_no_future_takes_reaches_its_caller(database: Database) -> None:
    for call in (database.write, database.read):
        waiting = [call(lambda connection: next(iter(()))), call(all_keys)]
        failed, found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(failed, RuntimeError)
        assert found == []


async def test_a_full_disk_is_told_to_those_whom_it_hits(database: Database) -> None:
    pages = await database.write(lambda c: c.scalar(text("PRAGMA page_count")))
    await database.write(lambda c: c.scalar(text(f"PRAGMA max_page_count = {pages + 20}")))
    with pytest.raises(StorageFull) as alone:
        await database.write(adding("too large", 1_000_000))
    assert alone.value.__cause__ is not None
    async with held(database):
        functions = [adding("a"), adding("too large", 1_000_000), adding("b")]
        waiting = [asyncio.create_task(database.write(function)) for function in functions]
        await asyncio.sleep(0)
    first, failed, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, StorageFull)
    assert await database.read(all_keys) == ["a", "b"]
    await database.write(lambda c: c.scalar(text("PRAGMA max_page_count = 1000000")))
    await database.write(adding("too large", 1_000_000))
    assert await database.read(all_keys) == ["a", "b", "too large"]
    assert await database.read(lambda c: c.scalar(text("PRAGMA integrity_check"))) == "ok"


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


async def test_no_cursor_ends_on_another_thread_than_its_own(
    monkeypatch: pytest.MonkeyPatch, database_path: Path
) -> None:
    strays: list[str] = []

    class Cursor(sqlite3.Cursor):
        def __init__(self, connection: sqlite3.Connection) -> None:
            super().__init__(connection)
            self.thread = threading.get_ident()
            self.open = True

        def close(self) -> None:
            self.open = False
            super().close()

        def __del__(self) -> None:
            if self.open and threading.get_ident() != self.thread:
                strays.append(threading.current_thread().name)

    class Tracked(sqlite3.Connection):
        def cursor(self, factory: Any = None) -> Any:
            return super().cursor(Cursor)

    def fail_with_rows_left(connection: Connection) -> None:
        rows = connection.scalars(select(store_items.c.key))
        raise LookupError(rows.fetchmany(1))

    connect = sqlite3.connect
    monkeypatch.setattr(
        database_module.sqlite3, "connect", lambda *a, **kw: connect(*a, **kw, factory=Tracked)
    )
    kept: list[Any] = []
    async with Database(database_path) as database:
        for key in "abc":
            await database.write(adding(key))
        for function in (all_keys, fail_with_rows_left, adding("a")):
            for call in (database.write, database.read):
                for _ in range(3):
                    kept += await asyncio.gather(call(function), return_exceptions=True)
            for blocking in (database.write_blocking, database.read_blocking):
                try:
                    await asyncio.to_thread(blocking, function)
                except (LookupError, IntegrityError, DatabaseUnavailable) as error:
                    kept.append(error)
        assert sum(isinstance(result, Exception) for result in kept) == 16
        kept.clear()
        gc.collect()
    gc.collect()
    assert strays == []


# The file, and who may have it.


def modes(directory: Path) -> dict[str, int]:
    paths = [directory, *directory.iterdir()]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}


async def test_its_files_are_private_whatever_the_umask(database_path: Path) -> None:
    umask = os.umask(0)
    try:
        async with Database(database_path) as database:
            await database.write(adding("a"))
            found = modes(database_path.parent)
    finally:
        os.umask(umask)
    name = database_path.name
    files = (name, f"{name}-wal", f"{name}-shm", f"{name}.lock")
    assert found == {database_path.parent.name: 0o700, **dict.fromkeys(files, 0o600)}


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "database"
    path.touch(0o644)
    create_private_file(path)
    assert modes(tmp_path)[path.name] == 0o600


OPEN = """
import asyncio, os, sys
from pathlib import Path
from runwire.server.storage.database import Database

async def open_and_die():
    async with Database(Path(sys.argv[1])):
        print(os.getpid(), flush=True)
        sys.stdin.read()
        os._exit(1)

asyncio.run(open_and_die())
"""


async def test_a_second_server_on_the_file_is_refused_and_told_by_whom(
    database_path: Path,
) -> None:
    first = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OPEN, database_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert first.stdout is not None
    owner = (await first.stdout.readline()).decode().strip()
    for _ in range(2):
        with pytest.raises(DatabaseInUse, match=f"process {owner}"):
            async with Database(database_path):
                pass
    await first.communicate(b"")
    async with Database(database_path) as database:  # its death gave the file back
        await database.write(adding("a"))


async def test_a_second_database_in_the_same_process_is_refused(database_path: Path) -> None:
    async with Database(database_path) as first:
        with pytest.raises(DatabaseInUse, match=str(os.getpid())):
            async with Database(database_path):
                pass
        await first.write(adding("a"))
        with pytest.raises(DatabaseInUse):
            async with Database(database_path):
                pass
    async with Database(database_path) as second:
        assert await second.read(all_keys) == ["a"]


async def test_a_cancelled_opening_gives_the_file_back(database_path: Path) -> None:
    threads = threading.active_count()
    opening = asyncio.create_task(Database(database_path).__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with Database(database_path) as database:
        await database.write(adding("a"))
    assert threading.active_count() <= threads + 2  # what asyncio.to_thread keeps


async def test_what_was_queued_before_the_end_is_finished(database_path: Path) -> None:
    keys = [f"{number:03}" for number in range(200)]
    async with Database(database_path) as database:
        waiting = [asyncio.create_task(database.write(adding(key))) for key in keys]
        reading = asyncio.create_task(database.read(all_keys))
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == keys
    assert len(await reading) <= len(keys)
    async with Database(database_path) as database:
        assert await database.read(all_keys) == keys


async def test_a_closed_database_refuses_instead_of_waiting(database_path: Path) -> None:
    async with Database(database_path) as database:
        pass
    for call in (database.write, database.read):
        with pytest.raises(DatabaseUnavailable):
            await call(all_keys)
    for blocking in (database.write_blocking, database.read_blocking):
        with pytest.raises(DatabaseUnavailable):
            blocking(all_keys)


@pytest.mark.parametrize(("full_sync", "level"), [(False, 1), (True, 2)])
async def test_power_cuts_are_survived_on_demand(
    database_path: Path, full_sync: bool, level: int
) -> None:
    async with Database(database_path, full_sync=full_sync) as database:
        pragmas = ("synchronous", "foreign_keys", "busy_timeout")
        values = await database.write(
            lambda c: [c.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas]
        )
        assert values == [level, 1, 30_000]
        assert await database.read(lambda c: c.scalar(text("PRAGMA journal_mode"))) == "wal"


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
