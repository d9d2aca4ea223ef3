"""A database on a PostgreSQL server, which other servers of ours may share.

What has queued up shares one transaction, without savepoints, which would cost as much as
transactions do. When any of it fails that has changed something, the transaction is rolled back and
each function runs in one of its own. In a shared transaction nobody waits long for a lock, so that
neither a lock somewhere holds up everybody, nor functions that only share a transaction by chance
make a deadlock.

A connection that is lost before COMMIT was sent took its transaction with it, which is run again.
One that is lost during COMMIT leaves everybody in the dark: whoever asked is told that the database
cannot be reached, and nothing is run twice.
"""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from runwire.server.model.errors import DatabaseUnavailable
from runwire.server.storage.addresses import shown, without_password
from runwire.server.storage.beginning import ALONE, MIGRATING, READING, TOGETHER
from runwire.server.storage.calls import Call, hand_back
from runwire.server.storage.connecting import SILENCE, check_server, connect, engine_on
from runwire.server.storage.database import Database, DatabaseUnusable
from runwire.server.storage.errors import may_succeed_again, told
from runwire.server.storage.listener import Listener
from runwire.server.storage.migrate import migrate
from runwire.server.storage.notifications import Hear, for_others, take_noted
from runwire.server.storage.outage import Outage
from runwire.server.storage.sharing import run_beside_others

T = TypeVar("T")

MAX_WRITES = 16
"""Writes that may share one transaction: more gain little, and lose more when one of them fails."""

MAX_READS = 8
"""Reads that may share one snapshot: few, so that a long one delays few others."""

READERS = 4
"""Threads that read. Most of what they do is wait for the server."""

SPARE_CONNECTIONS = 3
"""Connections beside those of the threads, for `write_apart`."""

TRIES = 4
"""How often a transaction is begun that others, or lost connections, keep from its end."""

PAUSE_SECONDS = 0.05
"""How long to wait before the next attempt to connect."""


_FAILURES = "failures"
"""Of a connection, what `PostgresDatabase` had counted when it was opened."""


class ConnectionLost(Exception):
    """The connection was lost before COMMIT was sent: nothing of the transaction is left."""


class CommitUnknown(DatabaseUnavailable):
    """The connection was lost while COMMIT was on its way."""


class PostgresDatabase(Database):
    """A database on a PostgreSQL server.

    Raises `DatabaseUnusable` on entering when it cannot be connected to, is too old, or refuses
    what Runwire needs, and `SchemaTooNew` when a newer version of Runwire has migrated it.
    """

    def __init__(self, url: str, *, silence: timedelta = SILENCE) -> None:
        """`url` is what PostgreSQL's client library takes, beginning with postgresql://. `silence`
        is how long a connection may be dead until that is noticed."""
        super().__init__()
        self._url = url
        self._silence = silence
        self._listener = Listener(self.connect)
        self._engine = engine_on(url, connections=1 + READERS + SPARE_CONNECTIONS, silence=silence)
        self._failures = 0
        self._outage = Outage(url)
        self._closing = False

    @property
    def shared(self) -> bool:
        """Always: whoever has the URL may be at work on it."""
        return True

    def connect(self, purpose: str) -> psycopg.Connection[Any]:
        """Return a connection of the caller's own, on which each statement is a transaction.

        `purpose` is what an operator sees in `pg_stat_activity`. Raises `psycopg.Error`.
        """
        return connect(self._url, purpose, silence=self._silence)

    def hearing(self, hear: Hear) -> AbstractAsyncContextManager[None]:
        """Have `hear` called on this event loop, for the length of a block, with what other servers
        say, and tell them what this one commits meanwhile."""
        return self._listener.hearing(hear)

    def write_apart(self, function: Callable[[Connection], T]) -> T:
        """Do as `write_blocking` does, on the calling thread and behind no other write."""
        self._refuse_own_threads()
        future: Future[T] = Future()
        self._write([Call(function, None, future)])
        if self._closing:
            self._release()  # perhaps it has closed meanwhile, and nobody else would
        return future.result()

    def _open(self) -> None:
        check_server(self._url)
        try:
            migrate(self._engine.execution_options(begin=MIGRATING))
        except DBAPIError as error:
            self._release()
            why = without_password(str(error.orig), self._url)
            raise DatabaseUnusable(f"{shown(self._url)} cannot be used: {why}") from error
        except BaseException:
            self._release()
            raise
        self._start("database-writer", self._writes, MAX_WRITES, lambda: nullcontext(self._write))
        for number in range(READERS):
            name = f"database-reader-{number}"
            self._start(name, self._reads, MAX_READS, lambda: nullcontext(self._read))

    def _close(self) -> None:
        self._closing = True
        super()._close()

    def _release(self) -> None:
        # Not the engine's `dispose`: who writes apart may have a connection of this pool still.
        self._engine.pool.dispose()

    # Writing.

    def _write(self, batch: list[Call]) -> None:
        waiting = deque(batch)
        try:
            if len(batch) > 1 and self._write_together(batch):
                hand_back(batch)
                return
            while waiting:
                self._write_alone(waiting[0])
                hand_back([waiting.popleft()])
        except Exception as error:  # noqa: BLE001 - it goes to whom it belongs
            # There is no connection, and for the others there would be none either.
            for call in waiting:
                call.error = told(error)
            hand_back(waiting)

    def _write_together(self, batch: list[Call]) -> bool:
        """Run all of a batch in one transaction; False when each has to run in its own. Raises
        what keeps a transaction from its beginning."""

        def run_all(connection: Connection) -> None:
            for call in batch:
                run_beside_others(connection, call, _is_whole)

        connection = self._begin(TOGETHER)
        try:
            self._transact(connection, run_all)
        except CommitUnknown as error:
            for call in batch:
                call.error = error
        except BaseException:  # noqa: BLE001 - what was wrong shows again when each runs alone
            return False
        return True

    def _write_alone(self, call: Call) -> None:
        """Run a call in a transaction of its own. Raises what keeps that from its beginning."""
        for tries_left in reversed(range(TRIES)):
            call.result = call.error = None
            connection = self._begin(ALONE)
            try:
                call.result = self._transact(connection, call.function)
            except BaseException as error:  # noqa: BLE001 - it goes to whom it belongs
                call.error = told(error)
                if tries_left and (isinstance(error, ConnectionLost) or may_succeed_again(error)):
                    continue
            return

    def _transact(self, connection: Connection, function: Callable[[Connection], T]) -> T:
        """Run `function` in the transaction that has begun on a connection, and give that back.
        Raises `ConnectionLost` and `CommitUnknown`."""
        try:
            result = function(connection)
            if _status(connection) is TransactionStatus.INERROR:
                # COMMIT would roll it back, and say nothing.
                raise RuntimeError("a transaction went on after the database had refused something")
        except BaseException as error:
            is_lost = _status(connection) is TransactionStatus.UNKNOWN
            _leave(connection)
            if is_lost:
                raise ConnectionLost from error
            raise
        noted = take_noted(connection)
        try:
            connection.commit()
        except DBAPIError as error:
            if _status(connection) is TransactionStatus.UNKNOWN:
                raise CommitUnknown from error
            raise
        finally:
            _leave(connection)
        self._listener.tell(for_others(noted))
        self._committed(noted)
        return result

    # Reading.

    def _read(self, batch: list[Call]) -> None:
        self._read_all(batch)
        hand_back(batch)

    def _read_all(self, batch: list[Call]) -> None:
        waiting = deque(batch)
        tries_left = TRIES
        while waiting:
            try:
                if not tries_left:
                    raise DatabaseUnavailable
                connection = self._begin(READING)
            except Exception as error:  # noqa: BLE001 - it goes to whom it belongs
                for call in waiting:
                    call.error = told(error)
                return
            tries_left -= _read_some(connection, waiting) is TransactionStatus.UNKNOWN
            _leave(connection)

    # Connections.

    def _begin(self, begin: str) -> Connection:
        """Return a connection on which a transaction has begun: that shows that it is alive."""
        while True:
            try:
                return self._try_to_begin(begin)
            except (DBAPIError, psycopg.Error) as error:
                # What else is in the pool is no better.
                self._failures += 1
                if self._closing or not self._outage.may_pass(error):
                    raise
                time.sleep(PAUSE_SECONDS)

    def _try_to_begin(self, begin: str) -> Connection:
        connection = self._connect()
        try:
            connection.execution_options(begin=begin).begin()
        except BaseException:
            _end(connection)
            raise
        self._outage.is_over()
        return connection

    def _connect(self) -> Connection:
        """Return a connection that is not older than the last failure; older ones are ended, each
        when its turn comes. A new pool after a failure would end those that are idle, and leave
        behind those in use: they would come back to a pool that nobody has any more.
        """
        while True:
            failures = self._failures
            connection = self._engine.connect()
            if connection.info.setdefault(_FAILURES, failures) >= failures:
                return connection
            _end(connection)


def _read_some(connection: Connection, waiting: deque[Call]) -> TransactionStatus:
    """Run reads as long as the transaction holds; those that have run wait no more. Return what
    has become of it."""
    status = TransactionStatus.INTRANS
    while waiting and status is TransactionStatus.INTRANS:
        call = waiting[0]
        try:
            call.result = call.function(connection)
        except BaseException as error:  # noqa: BLE001 - it goes to whom it belongs
            status = _status(connection)
            if status is TransactionStatus.UNKNOWN:
                return status
            call.error = told(error)
        waiting.popleft()
    return status


def _status(connection: Connection) -> TransactionStatus:
    """Return what has become of a transaction; UNKNOWN when its connection is lost."""
    if connection.invalidated:
        return TransactionStatus.UNKNOWN
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver.info.transaction_status


def _is_whole(connection: Connection) -> bool:
    return _status(connection) is TransactionStatus.INTRANS


def _end(connection: Connection) -> None:
    connection.invalidate()
    connection.close()


def _leave(connection: Connection) -> None:
    """Give a connection back, and roll back what is open on it."""
    with suppress(DBAPIError, psycopg.Error):
        connection.close()
