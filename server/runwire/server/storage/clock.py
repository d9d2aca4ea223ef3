"""The database's clock: every moment that servers compare comes from here."""

from datetime import UTC, datetime

from sqlalchemy import Connection


def current_time(connection: Connection) -> datetime:
    """Return the database's time. SQLite has no server, so its clock is this machine's."""
    assert connection.dialect.name == "sqlite"
    return datetime.now(UTC)
