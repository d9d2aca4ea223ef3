"""Looking at a database without serving it: nothing is migrated, and no lock is taken."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from runwire.server.storage.addresses import is_postgresql, path_of, shown, without_password
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import DatabaseUnusable

T = TypeVar("T")

CLOCK_TRIES = 5
"""How often the database is asked for its time: the quickest answer tells the most."""


class Clock(NamedTuple):
    """How far the database's clock is ahead of this machine's, and how long an answer takes: the
    difference is known no better than half of that."""

    ahead: timedelta
    round_trip: timedelta


class Inspection:
    """A database that is looked at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, function: Callable[[Connection], T]) -> T:
        """Run `function` in a reading transaction and return what it returns."""
        with self._engine.connect() as connection, connection.begin():
            return function(connection)

    def product(self) -> str:
        """Return which database it is, and its version."""
        if self._engine.dialect.name == "sqlite":
            return f"SQLite {sqlite3.sqlite_version}"
        version = self.read(lambda connection: connection.scalar(text("SHOW server_version")))
        return f"PostgreSQL {version}"

    def clock(self) -> Clock:
        """Compare the database's clock with this machine's."""
        return min((self._compare() for _ in range(CLOCK_TRIES)), key=lambda clock: clock[1])

    def _compare(self) -> Clock:
        here, began = datetime.now(UTC), time.monotonic()
        there = self.read(current_time)
        round_trip = timedelta(seconds=time.monotonic() - began)
        return Clock(there - here - round_trip / 2, round_trip)


@contextmanager
def inspecting(url: str) -> Iterator[Inspection]:
    """Give a database to look at. Raises `DatabaseUnusable`, also for what fails meanwhile."""
    engine = _engine(url)
    try:
        yield Inspection(engine)
    except DBAPIError as error:
        why = str(error.orig)
        why = without_password(why, url) if is_postgresql(url) else why
        raise DatabaseUnusable(f"{shown(url)} cannot be used: {why}") from error
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    if is_postgresql(url):
        from runwire.server.storage.beginning import READING
        from runwire.server.storage.connecting import check_server, engine_on

        check_server(url)
        return engine_on(url, connections=1).execution_options(begin=READING)
    address = f"{path_of(url).resolve().as_uri()}?mode=ro"
    return sqlalchemy.create_engine(
        "sqlite+pysqlite://",
        creator=lambda: sqlite3.connect(address, uri=True),
        hide_parameters=True,
    )


def holder_of(path: Path) -> int | None:
    """Return the process that has a SQLite file, by what it wrote down when it took the file's
    lock: asking the lock itself might keep it from a server that starts just then."""
    try:
        process = int(path.with_name(path.name + ".lock").read_text())
    except (OSError, ValueError):
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it is somebody else's
    return process
