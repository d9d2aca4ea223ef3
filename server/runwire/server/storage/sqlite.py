"""A database in a SQLite file, which belongs to this process alone.

SQLite has one writer. When a function of a shared transaction fails after it has changed something,
all of it is rolled back and each function runs alone, so that one caller's error is nobody else's.
Nothing but the threads here touches SQLite, because its cursors must end on the thread that opened
them.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TypeAlias

import orjson
import sqlalchemy
from sqlalchemy import Connection, Engine, QueuePool, event
from sqlalchemy.exc import DBAPIError

from runwire.server.storage.calls import Call, hand_back
from runwire.server.storage.database import Database, DatabaseUnusable, RunBatch
from runwire.server.storage.errors import told
from runwire.server.storage.files import create_private_file, lock_file
from runwire.server.storage.json_compare import json_compare
from runwire.server.storage.json_contains import json_contains
from runwire.server.storage.migrate import migrate
from runwire.server.storage.notifications import Notices, take_noted
from runwire.server.storage.sharing import note_changes, run_beside_others
from runwire.server.storage.vector_distance import add_distance

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


class SqliteDatabase(Database):
    """One SQLite file, opened by this process alone.

    Entering takes the file's lock too. Raises `DatabaseInUse` when another server has the file,
    `SchemaTooNew` when a newer version of Runwire has migrated it, `DatabaseUnusable` when SQLite
    cannot read it, and OSError when it cannot be had at all.
    """

    def __init__(self, path: Path, *, full_sync: bool = False) -> None:
        """`full_sync`: survive a power cut without losing the last commits (slower)."""
        super().__init__()
        self.path = path
        self._synchronous = "FULL" if full_sync else "NORMAL"
        self._lock_file: IO[str] | None = None
        self._engines: list[Engine] = []

    @property
    def shared(self) -> bool:
        """Never: the file's lock sees to that."""
        return False

    def _open(self) -> None:
        self._lock_file = lock_file(self.path)
        try:
            create_private_file(self.path)
            writing = self._engine("rw", _WRITER_PRAGMAS, "BEGIN IMMEDIATE")
            note_changes(writing)
            migrate(writing)
            reading = self._engine("ro", _READER_PRAGMAS, "BEGIN")
        except DBAPIError as error:
            self._release()
            raise DatabaseUnusable(f"{self.path} cannot be used: {error.orig}") from error
        except BaseException:
            self._release()
            raise
        write_batch = partial(_write_batch, self._committed)
        writer = partial(_running, writing, write_batch)
        self._start("database-writer", self._writes, MAX_WRITES, writer)
        reader = partial(_running, reading, _read_batch)
        for number in range(READERS):
            self._start(f"database-reader-{number}", self._reads, MAX_READS, reader)

    def _engine(self, mode: str, pragmas: tuple[str, ...], begin: str) -> Engine:
        address = f"{self.path.resolve().as_uri()}?mode={mode}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address, uri=True, isolation_level=None, check_same_thread=False
            )
            connection.create_function("json_contains", 2, json_contains, deterministic=True)
            connection.create_function("json_compare", -1, json_compare, deterministic=True)
            add_distance(connection)
            for pragma in (*pragmas, f"PRAGMA synchronous = {self._synchronous}"):
                connection.execute(pragma)
            return connection

        engine = sqlalchemy.create_engine(
            "sqlite+pysqlite://",
            creator=connect,
            poolclass=QueuePool,
            hide_parameters=True,  # they are users' data, which no log is to have
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )
        # The driver would begin a transaction only at the first writing statement, and a read
        # snapshot that turns into a write cannot wait for a lock: the transaction's kind is
        # said up front.
        event.listen(engine, "begin", lambda connection: _driver(connection).execute(begin))
        self._engines.append(engine)
        return engine

    def _release(self) -> None:
        for engine in self._engines:
            engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()


@contextmanager
def _running(
    engine: Engine, run_batch: Callable[[Connection, list[Call]], None]
) -> Iterator[RunBatch]:
    with engine.connect() as connection:
        yield partial(run_batch, connection)


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
    hand_back(batch)


_Tell: TypeAlias = Callable[[Notices], None]


def _write_batch(committed: _Tell, connection: Connection, batch: list[Call]) -> None:
    if len(batch) > 1 and _write_together(connection, batch):
        committed(take_noted(connection))
        hand_back(batch)
        return
    take_noted(connection)  # by a transaction that came to nothing
    for call in batch:
        _write_alone(connection, call)
        committed(take_noted(connection))
        hand_back([call])


def _write_together(connection: Connection, batch: list[Call]) -> bool:
    """Run all of a batch in one transaction; False when nothing of it could be committed."""
    try:
        with connection.begin():
            for call in batch:
                run_beside_others(connection, call, _is_whole)
    except BaseException:  # noqa: BLE001 - what was wrong shows again when each runs alone
        return False
    return True


def _is_whole(connection: Connection) -> bool:
    # When the disk is full SQLite may end the whole transaction by itself.
    return _driver(connection).in_transaction


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
