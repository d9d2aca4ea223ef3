"""The database: who may write when, and on which thread.

A transaction is a plain function that takes a `Connection`. `Database.write` and `Database.read`
run it on database threads and can be awaited from any event loop; a caller that is cancelled
while it waits never interrupts a transaction half way. SQLite has one writer, so one thread
writes: what has queued up while it was busy shares one transaction, each function in a savepoint
of its own, so that one caller's error is nobody else's. Reads that have queued up share a
snapshot in the same way.

Nothing else touches SQLite, because its cursors must end on the thread that opened them: a
function returns plain values, never a result with rows still to fetch.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import orjson
import sqlalchemy
from sqlalchemy import Connection, Engine, QueuePool, event
from sqlalchemy.exc import DBAPIError

from runwire.server.storage.calls import Call, CallQueue, hand_back
from runwire.server.storage.errors import told
from runwire.server.storage.files import (
    DatabaseInUse,
    DatabaseUnusable,
    create_private_file,
    lock_file,
)
from runwire.server.storage.json_compare import json_compare
from runwire.server.storage.json_contains import json_contains
from runwire.server.storage.migrate import migrate

__all__ = ["Connection", "Database", "DatabaseInUse", "DatabaseUnusable"]

T = TypeVar("T")

MAX_WRITES = 64
"""Writes that may share one transaction; more would make the first of them wait too long."""

MAX_READS = 8
"""Reads that may share one snapshot: few, so that a long one delays few others."""

READERS = 2
"""Threads that read. Reads are short, and the machine's cores belong to the graphs."""

_WRITER_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA busy_timeout = 30000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",
)
_READER_PRAGMAS = (
    "PRAGMA busy_timeout = 30000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA query_only = ON",
)


class Database:
    """One SQLite file, opened by this process alone.

    `async with` it: entering takes the file's lock, migrates the schema and starts the threads;
    leaving finishes what was queued. Raises `DatabaseInUse` when another server has the file,
    `SchemaTooNew` when a newer version of Runwire has migrated it, `DatabaseUnusable` when SQLite
    cannot read it, and OSError when it cannot be had at all.
    """

    def __init__(self, path: Path, *, full_sync: bool = False) -> None:
        """`full_sync`: survive a power cut without losing the last commits (slower)."""
        self.path = path
        self._synchronous = "FULL" if full_sync else "NORMAL"
        self._writes = CallQueue()
        self._reads = CallQueue()
        self._threads: list[threading.Thread] = []
        self._lock_file: IO[str] | None = None
        self._engines: list[Engine] = []

    async def __aenter__(self) -> Self:
        opening = asyncio.create_task(asyncio.to_thread(self._open), name="open database")
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and what it opens must not outlive this call.
            await asyncio.wait([opening])
            if not opening.exception():
                await asyncio.to_thread(self._close)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._close)

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a writing transaction and return what it returns.

        It is committed when this returns, and not at all when this raises. Runs to its end even
        if the caller is cancelled meanwhile. When the transaction that it shares fails, it is run
        again in one of its own, so it must change nothing but the database. Raises `StorageFull`
        and `DatabaseUnavailable`, and whatever `function` raises.
        """
        return await self._writes.call(function)

    def write_blocking(self, function: Callable[[Connection], T]) -> T:
        """Do as `write` does, for callers that are threads."""
        self._refuse_own_threads()
        return self._writes.call_blocking(function)

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a reading transaction: one consistent snapshot of what is committed.

        Raises `DatabaseUnavailable`, and whatever `function` raises.
        """
        return await self._reads.call(function)

    def read_blocking(self, function: Callable[[Connection], T]) -> T:
        """Do as `read` does, for callers that are threads."""
        self._refuse_own_threads()
        return self._reads.call_blocking(function)

    def _refuse_own_threads(self) -> None:
        if threading.current_thread() in self._threads:
            raise RuntimeError("a transaction cannot wait for another one")

    def _open(self) -> None:
        self._lock_file = lock_file(self.path)
        try:
            create_private_file(self.path)
            writing = self._engine("rw", _WRITER_PRAGMAS, "BEGIN IMMEDIATE")
            migrate(writing)
            reading = self._engine("ro", _READER_PRAGMAS, "BEGIN")
        except DBAPIError as error:
            self._release()
            raise DatabaseUnusable(f"{self.path} cannot be used: {error.orig}") from error
        except BaseException:
            self._release()
            raise
        self._start("database-writer", writing, self._writes, MAX_WRITES, _write_batch)
        for number in range(READERS):
            self._start(f"database-reader-{number}", reading, self._reads, MAX_READS, _read_batch)

    def _start(
        self,
        name: str,
        engine: Engine,
        calls: CallQueue,
        limit: int,
        run_batch: Callable[[Connection, list[Call]], None],
    ) -> None:
        def serve() -> None:
            with engine.connect() as connection:
                while batch := calls.take(limit):
                    run_batch(connection, batch)
                    hand_back(batch)
                    del batch  # an idle thread keeps nothing alive

        thread = threading.Thread(target=serve, name=name)
        thread.start()
        self._threads.append(thread)

    def _engine(self, mode: str, pragmas: tuple[str, ...], begin: str) -> Engine:
        address = f"{self.path.resolve().as_uri()}?mode={mode}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address, uri=True, isolation_level=None, check_same_thread=False
            )
            connection.create_function("json_contains", 2, json_contains, deterministic=True)
            connection.create_function("json_compare", 4, json_compare, deterministic=True)
            for pragma in (*pragmas, f"PRAGMA synchronous = {self._synchronous}"):
                connection.execute(pragma)
            return connection

        engine = sqlalchemy.create_engine(
            "sqlite+pysqlite://",
            creator=connect,
            poolclass=QueuePool,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        # The driver would begin a transaction only at the first writing statement, and a read
        # snapshot that turns into a write cannot wait for a lock: the transaction's kind is
        # said up front.
        event.listen(engine, "begin", lambda connection: _driver(connection).execute(begin))
        self._engines.append(engine)
        return engine

    def _close(self) -> None:
        self._writes.close()
        self._reads.close()
        for thread in self._threads:
            thread.join()
        self._release()

    def _release(self) -> None:
        for engine in self._engines:
            engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()


def _read_batch(connection: Connection, batch: list[Call]) -> None:
    try:
        with connection.begin():
            for call in batch:
                try:
                    call.result = call.function(connection)
                except BaseException as error:  # noqa: BLE001 - it goes to whom it belongs
                    call.error = told(error)
    except Exception as error:  # noqa: BLE001 - the same
        for call in batch:
            call.error = call.error or told(error)


def _write_batch(connection: Connection, batch: list[Call]) -> None:
    if len(batch) == 1 or not _write_together(connection, batch):
        for call in batch:
            _write_alone(connection, call)


def _write_together(connection: Connection, batch: list[Call]) -> bool:
    """Run all of a batch in one transaction; False when nothing of it could be committed."""
    try:
        with connection.begin():
            driver = _driver(connection)
            for call in batch:
                _write_in_savepoint(connection, driver, call)
    except Exception:  # noqa: BLE001 - what was wrong shows again when each runs alone
        return False
    return True


def _write_in_savepoint(connection: Connection, driver: sqlite3.Connection, call: Call) -> None:
    driver.execute("SAVEPOINT one_write")
    try:
        call.result = call.function(connection)
    except BaseException as error:  # noqa: BLE001 - it goes to whom it belongs
        call.error = told(error)
        # When the disk is full SQLite may end the whole transaction by itself. Then there is no
        # savepoint to return to, this raises, and the batch is run one by one.
        driver.execute("ROLLBACK TO one_write")
    driver.execute("RELEASE one_write")


def _write_alone(connection: Connection, call: Call) -> None:
    call.result = call.error = None
    try:
        with connection.begin():
            call.result = call.function(connection)
    except BaseException as error:  # noqa: BLE001 - it goes to whom it belongs
        call.error = told(error)


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
