import asyncio
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from tests.conftest import BOTH
from tests.support.postgres import Databases

from runwire.server.model.ids import new_id
from runwire.server.storage import migrate as migrate_module
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.json_text import SearchableText
from runwire.server.storage.migrate import HEAD, SchemaTooNew, migrate, upgrade
from runwire.server.storage.opening import database_at
from runwire.server.storage.sqlite import SqliteDatabase
from runwire.server.storage.tables import PlainData, metadata

MIGRATIONS = Path(migrate_module.__file__).parent / "migrations"


@pytest.fixture(params=BOTH)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Makes databases with nothing in them."""
    with ExitStack() as stack:

        def make() -> Engine:
            if request.param == "sqlite":
                engine = create_engine(f"sqlite:///{tmp_path / new_id()}.db")
            else:
                databases: Databases = request.getfixturevalue("postgres")
                url = stack.enter_context(databases.create(empty=True))
                engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
            stack.callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def migrated(empty: Callable[[], Engine]) -> Engine:
    engine = empty()
    with engine.begin() as connection:
        upgrade(connection, None)
    return engine


def schema(connection: Connection) -> dict[str, list[str]]:
    """Each table's and index's SQL, cut into clauses whose order does not matter."""
    if connection.dialect.name == "postgresql":
        return {query: sorted(connection.scalars(text(query))) for query in POSTGRES_SCHEMA}
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {
        name: sorted(re.sub(r"\s+", " ", line).strip(" ,") for line in sql.splitlines())
        for name, sql in rows
    }


POSTGRES_SCHEMA = (
    "SELECT concat_ws(' ', table_name, column_name, data_type, character_maximum_length,"
    " is_nullable, column_default, collation_name) FROM information_schema.columns"
    " WHERE table_schema = 'public'",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))"
    " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
)


def test_the_migrations_make_the_tables_that_the_code_knows(migrated: Engine) -> None:
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_an_empty_database_becomes_what_the_migrations_make(
    migrated: Engine, empty: Callable[[], Engine]
) -> None:
    direct = empty()
    migrate(direct)
    with migrated.connect() as ours, direct.connect() as wanted:
        assert schema(ours) == schema(wanted)
        version = text("SELECT version_num FROM alembic_version")
        assert ours.scalar(version) == wanted.scalar(version) == HEAD


def test_in_postgresql_all_text_is_compared_by_its_characters_numbers(
    connection: Connection,
) -> None:
    if connection.dialect.name == "postgresql":
        # Those that hold JSON data are compared with nothing.
        known = {
            f"{table.name}.{column.name}"
            for table in metadata.sorted_tables
            for column in table.columns
            if isinstance(column.type, PlainData | SearchableText)
        }
        query = text(
            "SELECT table_name || '.' || column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type IN ('text', 'character varying')"
            " AND collation_name IS DISTINCT FROM 'C'"
        )
        assert set(connection.scalars(query)) <= known | {"alembic_version.version_num"}


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_schema_of_a_newer_version_is_refused(migrated: Engine) -> None:
    with migrated.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="9999"):
        migrate(migrated)


async def test_a_refused_database_is_given_back(database_url: str) -> None:
    async with database_at(database_url) as database:
        await database.write(
            lambda connection: (
                connection.execute(text("UPDATE alembic_version SET version_num = '9999'")).rowcount
            )
        )
    for _ in range(2):  # the first refusal must not keep the file locked
        with pytest.raises(SchemaTooNew):
            async with database_at(database_url):
                pass


async def test_a_migration_that_fails_leaves_nothing_behind(database_path: Path) -> None:
    database_path.parent.mkdir()
    file = sqlite3.connect(database_path)
    file.execute("CREATE TABLE store_items (namespace TEXT)")
    with pytest.raises(DatabaseUnusable, match="store_items"):
        async with SqliteDatabase(database_path):
            pass
    assert [name for (name,) in file.execute("SELECT name FROM sqlite_master")] == ["store_items"]
    file.close()


def test_a_start_on_sqlite_with_nothing_to_migrate_imports_neither_alembic_nor_psycopg(
    database_path: Path,
) -> None:
    async def start() -> None:
        async with SqliteDatabase(database_path):
            pass

    asyncio.run(start())
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from runwire.server.storage.sqlite import SqliteDatabase\n"
        "async def start():\n"
        "    async with SqliteDatabase(Path(sys.argv[1])):\n"
        "        pass\n"
        "asyncio.run(start())\n"
        "sys.exit(', '.join({'alembic', 'psycopg'} & set(sys.modules)) or 0)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, str(database_path)], timeout=30, check=False
    )
    assert finished.returncode == 0
