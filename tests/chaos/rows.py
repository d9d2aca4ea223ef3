"""An account of every row that is written for a run, kept by the database itself.

PostgreSQL only: there servers share a database, and a row may come from one that no longer should
write it. Each server's connections have its name.
"""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg

from tests.chaos.history import History

_WATCH = """
CREATE TABLE chaos_rows (
    number bigint GENERATED ALWAYS AS IDENTITY,
    xact text NOT NULL DEFAULT pg_current_xact_id()::text,
    written_by text NOT NULL DEFAULT split_part(current_setting('application_name'), ' ', 1),
    table_name text NOT NULL,
    run_id text NOT NULL,
    owner text,
    expired boolean,
    state text,
    new_owner text
);

CREATE FUNCTION chaos_note_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_rows (table_name, run_id, owner, expired, state, new_owner)
    VALUES (
        'runs', NEW.run_id, OLD.owner,
        NOT EXISTS (SELECT FROM servers WHERE server_id = OLD.owner AND lease_until >= now()),
        NEW.state, NEW.owner
    );
    RETURN NULL;
END $$;

CREATE FUNCTION chaos_note_new_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_rows (table_name, run_id, expired, state, new_owner)
    VALUES ('runs', NEW.run_id, false, NEW.state, NEW.owner);
    RETURN NULL;
END $$;

CREATE FUNCTION chaos_note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_rows (table_name, run_id, owner)
    SELECT TG_TABLE_NAME, NEW.run_id, (SELECT owner FROM runs WHERE run_id = NEW.run_id)
    WHERE NEW.run_id <> '';
    RETURN NULL;
END $$;

CREATE TRIGGER chaos_note AFTER UPDATE ON runs
FOR EACH ROW EXECUTE FUNCTION chaos_note_run();
CREATE TRIGGER chaos_note_new AFTER INSERT ON runs
FOR EACH ROW EXECUTE FUNCTION chaos_note_new_run();
"""

_WATCH_TABLE = """
CREATE TRIGGER chaos_note AFTER INSERT OR UPDATE ON {table}
FOR EACH ROW EXECUTE FUNCTION chaos_note_row();
"""

_TABLES = ("run_events", "checkpoints", "checkpoint_writes")

_READ = """
SELECT xact, written_by, table_name, run_id, owner, expired, state, new_owner
FROM chaos_rows ORDER BY number
"""


def named(database_url: str, name: str, *, address: str = "") -> str:
    """Return the URL by which a server connects under its name, by another address if given."""
    parts = urlsplit(database_url)
    query = urlencode({**dict(parse_qsl(parts.query)), "application_name": name})
    netloc = parts.netloc
    if address:
        user, separator, _ = netloc.rpartition("@")
        netloc = f"{user}{separator}{address}"
    return urlunsplit(parts._replace(query=query, netloc=netloc))


def address_of(database_url: str) -> str:
    """Return the host and port in a URL."""
    parts = urlsplit(database_url)
    return f"{parts.hostname}:{parts.port or 5432}"


def watch_rows(database_url: str) -> None:
    """Have the database keep account from now on. Its tables are there."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_WATCH)
        for table in _TABLES:
            connection.execute(_WATCH_TABLE.format(table=table).encode())


def write_rows(history: History, database_url: str) -> None:
    """Write the account down. Servers have the names there that their connections had."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        rows = connection.execute(_READ).fetchall()
    # A server takes a run itself: whoever wrote that is called so.
    names = {row[7]: row[1] for row in rows if row[7] is not None and row[7] != row[4]}
    for xact, by, table, run_id, owner, expired, state, _ in rows:
        history.add(
            "row",
            table=table,
            run=run_id,
            by=by,
            owner=None if owner is None else names.get(owner, owner),
            expired=expired,
            state=state,
            xact=xact,
        )
