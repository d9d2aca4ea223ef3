"""Which database a URL means."""

from datetime import timedelta

from runwire.server.storage.addresses import is_postgresql, path_of
from runwire.server.storage.database import Database


def database_at(
    url: str, *, sqlite_full_sync: bool = False, silence: timedelta | None = None
) -> Database:
    """Return the database at a URL that `check_address` has accepted; it is not open yet.

    `sqlite_full_sync`: a SQLite database survives a power cut without losing the last commits.
    `silence`: how long a connection to a PostgreSQL server may be dead until that is noticed.
    """
    if is_postgresql(url):
        from runwire.server.storage.postgres import PostgresDatabase

        return PostgresDatabase(url) if silence is None else PostgresDatabase(url, silence=silence)
    from runwire.server.storage.sqlite import SqliteDatabase

    return SqliteDatabase(path_of(url), full_sync=sqlite_full_sync)
