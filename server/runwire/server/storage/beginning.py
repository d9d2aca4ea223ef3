"""How a transaction begins in PostgreSQL: with its kind, its patience, and the database's time."""

from datetime import UTC, datetime, timedelta

import psycopg
from sqlalchemy import Connection

from runwire.server.storage.clock import BEGIN_TIME
from runwire.server.storage.notifications import take_noted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = "SELECT (extract(epoch FROM now()) * 1000000)::bigint"

# Said, because a role may have other defaults. Who waits for a lock and then looks must see what
# was committed meanwhile.
_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"

# All of it in one round trip.
TOGETHER = f"{_WRITING}; SET LOCAL lock_timeout = '50ms'; {_TIME}"
ALONE = f"{_WRITING}; SET LOCAL lock_timeout = '5s'; {_TIME}"
READING = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_TIME}"
# A migration may have to wait for one that another server of ours is at, and what it runs takes a
# while to import: no limit of time is for it, where there is one.
_NO_LIMIT = (
    "SELECT set_config('transaction_timeout', '0', true)"
    " WHERE current_setting('transaction_timeout', true) IS NOT NULL"
)
MIGRATING = (
    f"{_WRITING}; SET LOCAL lock_timeout = '10min';"
    f" SET LOCAL idle_in_transaction_session_timeout = 0; {_NO_LIMIT}; {_TIME}"
)


def begin(connection: Connection) -> None:
    """Begin a transaction as the connection's execution option `begin` says, or alone."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    statement = connection.get_execution_options().get("begin", ALONE)
    # The driver would prepare what it sees often, which several statements at once cannot be.
    with psycopg.Cursor(driver) as cursor:
        cursor.execute(statement, prepare=False)
        while cursor.nextset():
            pass
        (microseconds,) = cursor.fetchone() or (0,)
    connection.info[BEGIN_TIME] = _EPOCH + timedelta(microseconds=microseconds)
    take_noted(connection)  # by a transaction that came to nothing
