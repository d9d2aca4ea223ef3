"""How a transaction begins in PostgreSQL: with its kind, its patience, and the database's time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection, ExecutionContext

from runwire.server.storage.clock import BEGIN_TIME

CHANGES = "changes"
"""Where a connection's `info` counts the statements of its transaction that may change rows."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = "SELECT (extract(epoch FROM now()) * 1000000)::bigint"

# All of it in one round trip.
TOGETHER = f"BEGIN; SET LOCAL lock_timeout = '50ms'; {_TIME}"
ALONE = f"BEGIN; SET LOCAL lock_timeout = '5s'; {_TIME}"
READING = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_TIME}"
# A migration may have to wait for one that another server of ours is at.
MIGRATING = f"BEGIN; SET LOCAL lock_timeout = '10min'; {_TIME}"


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
    connection.info[CHANGES] = 0
    connection.info[BEGIN_TIME] = _EPOCH + timedelta(microseconds=microseconds)


def note_change(
    connection: Connection,
    cursor: Any,
    statement: str,
    parameters: Any,
    context: ExecutionContext | None,
    many: bool,
) -> None:
    """Count a statement that may have changed rows: every one that is not a SELECT."""
    if not statement.startswith("SELECT"):
        connection.info[CHANGES] += 1
