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
    insert,
    inspect,
    text,
)

from runwire.server.storage.tables import metadata

HEAD = "0001"
"""The newest migration. A test holds it equal to what the migrations directory says."""


class SchemaTooNew(Exception):
    """The database was migrated by a newer version of Runwire."""


def migrate(engine: Engine) -> None:
    """Migrate to `HEAD`; at once when the database is there already.

    Raises `SchemaTooNew` for a schema that this version does not know: a newer server wrote it.
    """
    with engine.begin() as connection:
        current = _current(connection)
        if current is None and not inspect(connection).get_table_names():
            _create(connection)
            return
    if current == HEAD:
        return
    upgrade(engine, current)


def upgrade(engine: Engine, current: str | None) -> None:
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
    with engine.begin() as connection:
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


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    current: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return current
