"""Bringing the schema to what this version of the code needs."""

from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
)

from runwire.server.storage.tables import metadata

HEAD = "0001"
"""The newest migration. A test holds it equal to what the migrations directory says."""


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of Runwire."""


_LOCK = 7_231_900_571_000_001
"""The number of the advisory lock that migrating servers take in PostgreSQL: any, but always the
same."""


def migrate(engine: Engine) -> None:
    """Migrate to `HEAD`; at once when the database is there already.

    Of servers that start at the same time one migrates, and the others wait for it. Raises
    `SchemaTooNew` for a schema that this version does not know: a newer server wrote it.
    """
    with engine.begin() as connection:
        if revision(connection) == HEAD:
            return
    with engine.begin() as connection:
        _lock(connection)
        current = revision(connection)
        if current is None and not inspect(connection).get_table_names():
            _create(connection)
        elif current != HEAD:
            upgrade(connection, current)


def _lock(connection: Connection) -> None:
    # SQLite's file belongs to one server anyway.
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def upgrade(connection: Connection, current: str | None) -> None:
    """Run the migrations from `current` on, None for all of them. Raises `SchemaTooNew`."""
    # Alembic takes a second and several megabytes to import: only a start that migrates pays.
    import alembic.command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaTooNew(f"the database has schema {current}; this version knows up to {HEAD}")
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")


def _create(connection: Connection) -> None:
    """Make an empty database what all migrations would make it: a test holds the two equal."""
    metadata.create_all(connection)
    _versions.create(connection)
    connection.execute(insert(_versions).values(version_num=HEAD))


_versions = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def revision(connection: Connection) -> str | None:
    """Return the newest migration that the database has been through; None without any."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    current: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return current


def is_known(revision: str) -> bool:
    """Return whether a migration is one of this version's."""
    versions = Path(__file__).parent / "migrations" / "versions"
    return any(versions.glob(f"{revision}_*.py"))
