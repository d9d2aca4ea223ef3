"""The database's clock: every moment that servers compare comes from here."""

from datetime import UTC, datetime

from sqlalchemy import Connection

BEGIN_TIME = "begin_time"
"""Where a connection's `info` has the time at which its transaction began, where the database is a
server."""


def current_time(connection: Connection) -> datetime:
    """Return the database's time: in PostgreSQL that at which the transaction began, the same
    wherever in it one asks. SQLite has no server, so its clock is this machine's."""
    return _ask(connection)


def _ask(connection: Connection) -> datetime:
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    time: datetime = connection.info[BEGIN_TIME]
    return time
