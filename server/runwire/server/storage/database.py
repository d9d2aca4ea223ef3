"""The database: who may write when, and on which thread.

A transaction is a plain function that takes a `Connection`. `Database.write` and `Database.read`
run it on database threads and can be awaited from any event loop; a caller that is cancelled
while it waits never interrupts a transaction half way. SQLite has one writer, so one thread
writes: what has queued up while it was busy shares one transaction, each function in a savepoint
of its own, so that one caller's error is nobody else's.

A function returns plain values, never a result with rows still to fetch: SQLite's cursors must
end on the thread that opened them.
"""

import asyncio
import os
import queue
import sqlite3
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import orjson
import sqlalchemy
from sqlalchemy import Connection, Engine, QueuePool, event
from sqlalchemy.exc import DBAPIError

from runwire.server.model.errors import DatabaseUnavailable, StorageFull
from runwire.server.storage.files import DatabaseInUse, create_private_file, lock_file
from runwire.server.storage.json_contains import json_contains

__all__ = ["Connection", "Database", "DatabaseInUse"]

T = TypeVar("T")

MAX_BATCH = 64
"""Writes that may share one transaction; more would make the first of them wait too long."""

READERS = 2
"""Threads that read. Reads are short, and the machine's cores belong to the graphs."""

BLOCKING_READERS = 16
"""Connections, beyond those of the readers, for threads that read by `read_blocking`."""

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


@dataclass(slots=True)
class _Write:
    """A function that waits for the writer, and how to hand its result back."""

    function: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop | None
    future: Any
    result: Any = None
    error: BaseException | None = None


class Database:
    """One SQLite file, opened by this process alone.

    `async with` it: entering takes the file's lock, migrates the schema and starts the threads;
    leaving finishes what was queued. Raises `DatabaseInUse` when another server has the file and
    `SchemaTooNew` when a newer version of Runwire has migrated it.
    """

    def __init__(self, path: Path, *, full_sync: bool = False) -> None:
        """`full_sync`: survive a power cut without losing the last commits (slower)."""
        self.path = path
        self._synchronous = "FULL" if full_sync else "NORMAL"
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        # Held while something is queued, so that nothing follows the None that ends the writer.
        self._queueing = threading.Lock()
        self._accepting = False
        self._writer = threading.Thread(target=self._write_loop, name="database-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._lock_file: IO[str] | None = None
        self._write_engine: Engine | None = None
        self._read_engine: Engine | None = None

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
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._submit(_Write(function, loop, future))
        return await future

    def write_blocking(self, function: Callable[[Connection], T]) -> T:
        """Do as `write` does, for callers that are threads."""
        future: Future[T] = Future()
        self._submit(_Write(function, None, future))
        return future.result()

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a reading transaction: one consistent snapshot of what is committed.

        Raises `DatabaseUnavailable`, and whatever `function` raises.
        """
        if not self._accepting:
            raise DatabaseUnavailable
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, self.read_blocking, function
        )

    def read_blocking(self, function: Callable[[Connection], T]) -> T:
        """Do as `read` does, on the calling thread."""
        if self._read_engine is None or not self._accepting:
            raise DatabaseUnavailable
        try:
            with self._read_engine.begin() as connection:
                return function(connection)
        except BaseException as error:
            told = _told(error)
            raise told from told.__cause__

    def _submit(self, write: _Write) -> None:
        if threading.current_thread() is self._writer:
            raise RuntimeError("a writing transaction cannot wait for another one")
        with self._queueing:
            if not self._accepting:
                raise DatabaseUnavailable
            self._queue.put(write)

    def _open(self) -> None:
        from runwire.server.storage.migrate import migrate

        self._lock_file = lock_file(self.path)
        try:
            create_private_file(self.path)
            self._write_engine = self._engine("rw", _WRITER_PRAGMAS, "BEGIN IMMEDIATE")
            migrate(self._write_engine)
            self._read_engine = self._engine("ro", _READER_PRAGMAS, "BEGIN")
        except BaseException:
            self._release()
            raise
        self._accepting = True
        self._writer.start()

    def _engine(self, mode: str, pragmas: tuple[str, ...], begin: str) -> Engine:
        address = f"{self.path.resolve().as_uri()}?mode={mode}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address, uri=True, isolation_level=None, check_same_thread=False
            )
            connection.create_function("json_contains", 2, json_contains, deterministic=True)
            for pragma in (*pragmas, f"PRAGMA synchronous = {self._synchronous}"):
                connection.execute(pragma)
            return connection

        engine = sqlalchemy.create_engine(
            "sqlite+pysqlite://",
            creator=connect,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=BLOCKING_READERS,
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        # The driver would begin a transaction only at the first writing statement, and a read
        # snapshot that turns into a write cannot wait for a lock: the transaction's kind is
        # said up front.
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _close(self) -> None:
        with self._queueing:
            self._accepting = False
            self._queue.put(None)
        self._writer.join()
        self._readers.shutdown(wait=True)
        self._release()

    def _release(self) -> None:
        for engine in (self._read_engine, self._write_engine):
            if engine is not None:
                engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()

    def _write_loop(self) -> None:
        assert self._write_engine is not None
        with self._write_engine.connect() as connection:
            last = False
            while not last and (first := self._queue.get()) is not None:
                batch, last = self._take_batch(first)
                _run_batch(connection, batch)
                _hand_back(batch)
                del first, batch  # an idle writer keeps nothing alive

    def _take_batch(self, first: _Write) -> tuple[list[_Write], bool]:
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return batch, True
            batch.append(following)
        return batch, False


def _run_batch(connection: Connection, batch: list[_Write]) -> None:
    if len(batch) == 1 or not _run_together(connection, batch):
        for write in batch:
            _run_alone(connection, write)


def _run_together(connection: Connection, batch: list[_Write]) -> bool:
    """Run all of a batch in one transaction; False when nothing of it could be committed."""
    try:
        with connection.begin():
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            for write in batch:
                _run_in_savepoint(connection, driver, write)
    except Exception:  # noqa: BLE001 - what was wrong shows again when each runs alone
        return False
    return True


def _run_in_savepoint(connection: Connection, driver: sqlite3.Connection, write: _Write) -> None:
    driver.execute("SAVEPOINT one_write")
    try:
        write.result = write.function(connection)
    except BaseException as error:  # noqa: BLE001 - it goes to whom it belongs
        write.error = _told(error)
        # When the disk is full SQLite may end the whole transaction by itself. Then there is no
        # savepoint to return to, this raises, and the batch is run one by one.
        driver.execute("ROLLBACK TO one_write")
    driver.execute("RELEASE one_write")


def _run_alone(connection: Connection, write: _Write) -> None:
    write.result = write.error = None
    try:
        with connection.begin():
            write.result = write.function(connection)
    except BaseException as error:  # noqa: BLE001 - it goes to whom it belongs
        write.error = _told(error)


def _hand_back(batch: list[_Write]) -> None:
    """Give each caller its result: one wake of each waiting loop, not one per caller."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
    for write in batch:
        if write.loop is None:
            _resolve(write)
        else:
            by_loop.setdefault(write.loop, []).append(write)
    for loop, writes in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve_all, writes)
        except RuntimeError:
            pass  # the loop has closed: nobody is left to tell


def _resolve_all(writes: list[_Write]) -> None:
    for write in writes:
        _resolve(write)


def _resolve(write: _Write) -> None:
    if write.future.done():
        return  # the caller was cancelled; the transaction stands
    if write.error is not None:
        write.future.set_exception(write.error)
    else:
        write.future.set_result(write.result)


def _told(error: BaseException) -> BaseException:
    """Return what the caller is told: a driver's error as a model error, others as they are."""
    _clear_frames(error)
    original = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(original, "sqlite_errorname", "")
    told: BaseException = error
    if name.startswith("SQLITE_FULL"):
        told = StorageFull()
    elif name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_BUSY", "SQLITE_READONLY")):
        told = DatabaseUnavailable()
    if told is not error:
        told.__cause__ = error
    return told


def _clear_frames(error: BaseException | None) -> None:
    """Let go of what a failed function's frames hold: a cursor must end on this thread."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
