"""What tests of every floor start from."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy

import runwire.server.graphs  # noqa: F401 - makes LangGraph strict, so it comes before LangGraph
from runwire.server.storage.database import Database
from runwire.server.storage.migrate import migrate
from runwire.server.storage.sqlite import SqliteDatabase
from tests.support.postgres import Databases, postgres_databases


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    """Where a server would keep its SQLite file; nothing is there yet."""
    return tmp_path / "runwire" / "runwire.db"


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[Database]:
    """An open database of its own for each test."""
    async with SqliteDatabase(database_path) as database:
        yield database


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """Databases on PostgreSQL, migrated. Without PostgreSQL, whatever needs them fails."""

    def make_tables(url: str) -> None:
        engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
        migrate(engine)
        engine.dispose()

    with postgres_databases() as databases:
        databases.migrate(make_tables)
        yield databases


@pytest.fixture
def postgres_url(postgres: Databases) -> Iterator[str]:
    """A PostgreSQL database of its own for each test, migrated."""
    with postgres.create() as url:
        yield url
