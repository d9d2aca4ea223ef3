"""Bringing the schema to what this version of the code needs."""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

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
    if current == HEAD:
        return
    # Alembic takes a second to import, which only a start that migrates should pay.
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


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    current: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return current
