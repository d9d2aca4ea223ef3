"""What is SQLite's own: shared transactions, cursors, and the file."""

import asyncio
import gc
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError
from tests.support.writes import add_and_fail, adding, all_keys, held

from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.storage import sqlite as sqlite_module
from runwire.server.storage.database import Database
from runwire.server.storage.files import DatabaseInUse, create_private_file
from runwire.server.storage.sqlite import MAX_WRITES, SqliteDatabase
from runwire.server.storage.tables import store_items


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[Database]:
    async with SqliteDatabase(database_path) as database:
        yield database


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

    monkeypatch.setattr(sqlite_module.sqlite3, "connect", traced)
    return seen


# Transactions.


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
    assert await database.read(all_keys) == keys


async def test_a_write_that_fails_before_it_changes_anything_leaves_the_others_together(
    statements: list[str], database: Database
) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(select(store_items)).all()
        raise LookupError("as intended")

    async with held(database):
        statements.clear()
        functions = [adding("a"), fail, adding("b")]
        waiting = [asyncio.create_task(database.write(function)) for function in functions]
        await asyncio.sleep(0)
    first, failed, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, LookupError)
    assert statements.count("BEGIN IMMEDIATE") == 1
    assert await database.read(all_keys) == ["a", "b"]


async def test_a_write_that_fails_after_a_change_is_taken_back_and_the_others_are_not(
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
    assert statements.count("ROLLBACK") == 3, "of all together, and of the two that fail alone"
    assert await database.read(all_keys) == ["a", "b"]


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
        sqlite_module.sqlite3, "connect", lambda *a, **kw: connect(*a, **kw, factory=Tracked)
    )
    kept: list[Any] = []
    async with SqliteDatabase(database_path) as database:
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
        async with SqliteDatabase(database_path) as database:
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
from runwire.server.storage.sqlite import SqliteDatabase

async def open_and_die():
    async with SqliteDatabase(Path(sys.argv[1])):
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
            async with SqliteDatabase(database_path):
                pass
    await first.communicate(b"")
    async with SqliteDatabase(database_path) as database:  # its death gave the file back
        await database.write(adding("a"))


async def test_a_second_database_in_the_same_process_is_refused(database_path: Path) -> None:
    async with SqliteDatabase(database_path) as first:
        with pytest.raises(DatabaseInUse, match=str(os.getpid())):
            async with SqliteDatabase(database_path):
                pass
        await first.write(adding("a"))
        with pytest.raises(DatabaseInUse):
            async with SqliteDatabase(database_path):
                pass
    async with SqliteDatabase(database_path) as second:
        assert await second.read(all_keys) == ["a"]


async def test_a_cancelled_opening_gives_the_file_back(database_path: Path) -> None:
    threads = threading.active_count()
    opening = asyncio.create_task(SqliteDatabase(database_path).__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with SqliteDatabase(database_path) as database:
        await database.write(adding("a"))
    assert threading.active_count() <= threads + 2  # what asyncio.to_thread keeps


@pytest.mark.parametrize(("full_sync", "level"), [(False, 1), (True, 2)])
async def test_power_cuts_are_survived_on_demand(
    database_path: Path, full_sync: bool, level: int
) -> None:
    async with SqliteDatabase(database_path, full_sync=full_sync) as database:
        pragmas = ("synchronous", "foreign_keys", "busy_timeout")
        values = await database.write(
            lambda c: [c.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas]
        )
        assert values == [level, 1, 30_000]
        assert await database.read(lambda c: c.scalar(text("PRAGMA journal_mode"))) == "wal"
