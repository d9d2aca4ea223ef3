"""Connections to a PostgreSQL server, and what is said when there is none."""

import math
from datetime import timedelta
from typing import Any, Final

import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy import Engine, event

from runwire.server.storage.addresses import shown, without_password
from runwire.server.storage.beginning import begin
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.json_text import dump_json, load_json
from runwire.server.storage.sharing import note_changes

OLDEST_VERSION = 14
"""The oldest PostgreSQL that is supported, as its own project supports it."""

SILENCE = timedelta(seconds=8)
"""How long a connection may say nothing that should, unless something else is asked for: a server
that has vanished is noticed soon. A kernel would keep a connection to it for hours."""

# What an address in DATABASE_URL may say otherwise.
_PARAMETERS: Final = {
    "application_name": "runwire",
    # Of several hosts, the one that can be written to.
    "target_session_attrs": "read-write",
}

# Said on each connection, because poolers refuse it among the parameters.
# A process that is stopped in the middle of a transaction must not keep its locks for long.
_SESSION = "SET TimeZone = 'UTC'; SET idle_in_transaction_session_timeout = '3s'"

# One that is stopped between the statements that the driver sends without waiting is not idle to
# the server, which would let it keep its locks for as long as it stands. What ends it is there from
# this version on.
_LIMITS_TRANSACTIONS = 170000
_LIMIT = "SET transaction_timeout = '20s'"


class BinaryCursor(psycopg.Cursor[Any]):
    """A cursor whose results travel as they are, and not as text: half the bytes of events."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.format = psycopg.pq.Format.BINARY


def connect(
    url: str, purpose: str = "", *, silence: timedelta = SILENCE
) -> psycopg.Connection[Any]:
    """Return a connection on which each statement is its own transaction, unless BEGIN says
    otherwise. `purpose` is what `pg_stat_activity` shows. Raises `psycopg.Error`."""
    given: dict[str, Any] = {**_PARAMETERS, **_limits(silence), **conninfo_to_dict(url)}
    if purpose:
        given["application_name"] += f" {purpose}"
    connection = psycopg.connect(**given, autocommit=True)
    try:
        connection.execute(_SESSION, prepare=False)
        if connection.info.server_version >= _LIMITS_TRANSACTIONS:
            connection.execute(_LIMIT, prepare=False)
    except BaseException:
        connection.close()
        raise
    return connection


def _limits(silence: timedelta) -> dict[str, int]:
    seconds = silence.total_seconds()
    return {
        # Whole seconds, of which libpq makes two at least; time for a busy server to begin.
        "connect_timeout": max(2, min(5, math.ceil(seconds))),
        # For what was sent, a connection's first packet too, and for probes: those go to a server
        # that took a question and does not answer.
        "tcp_user_timeout": math.ceil(seconds * 1000),
        "keepalives_idle": max(1, int(seconds / 2)),
        "keepalives_interval": 1,
        "keepalives_count": 3,
    }


def engine_on(url: str, *, connections: int, silence: timedelta = SILENCE) -> Engine:
    """Return SQLAlchemy's engine for a database, with up to `connections` at a time, each of which
    may say nothing for `silence`."""

    def connect_engine() -> psycopg.Connection[Any]:
        connection = connect(url, silence=silence)
        connection.cursor_factory = BinaryCursor
        set_json_dumps(dump_json, connection)
        set_json_loads(load_json, connection)
        return connection

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=connect_engine,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,  # they are users' data, which no log is to have
        pool_use_lifo=True,
        use_native_hstore=False,  # looking for it would be one more question on each connection
    )
    # The driver would begin a transaction with a round trip of its own, and know one kind of them.
    event.listen(engine, "begin", begin)
    note_changes(engine)
    return engine


def check_server(url: str) -> None:
    """Return if the database can be connected to. Raises `DatabaseUnusable` with a sentence that
    tells no password."""
    try:
        connection = connect(url)
    except psycopg.Error as error:
        why = without_password(str(error), url)
        raise DatabaseUnusable(f"{shown(url)} cannot be used: {why}") from None
    version = connection.info.server_version
    connection.close()
    if version < OLDEST_VERSION * 10_000:
        raise DatabaseUnusable(
            f"{shown(url)} is PostgreSQL {version // 10_000}: {OLDEST_VERSION} is the oldest that"
            " Runwire works with"
        )
