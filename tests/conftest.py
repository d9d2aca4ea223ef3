"""What tests of every floor start from."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import runwire.server.graphs  # noqa: F401 - makes LangGraph strict, so it comes before LangGraph
from runwire.server.storage.connecting import engine_on
from runwire.server.storage.database import Database
from runwire.server.storage.migrate import migrate
from runwire.server.storage.opening import database_at
from tests.support.postgres import Databases, postgres_databases

BOTH = ("sqlite", "postgresql")

# Property tests try the same examples wherever and whenever they run, however slow the machine is.
# To look for new ones: make test ARGS=--hypothesis-profile=random
_SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("random", **_SLOW)
settings.register_profile("repeatable", **_SLOW, derandomize=True, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """Databases on PostgreSQL, migrated. Without PostgreSQL, whatever needs them fails."""

    def make_tables(url: str) -> None:
        engine = engine_on(url, connections=1)
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


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    """Where a server would keep its SQLite file; nothing is there yet."""
    return tmp_path / "runwire" / "runwire.db"


@pytest.fixture
def sqlite_url(database_path: Path) -> str:
    """A SQLite database of its own for each test; nothing is there yet."""
    return f"sqlite:///{database_path}"


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of its own for each test: each test runs on SQLite and on PostgreSQL."""
    url: str = request.getfixturevalue(
        "sqlite_url" if request.param == "sqlite" else "postgres_url"
    )
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database of its own for each test."""
    async with database_at(database_url) as database:
        yield database


@pytest.fixture
async def sqlite_database(sqlite_url: str) -> AsyncIterator[Database]:
    """An open SQLite database, for what only one that belongs to one server does."""
    async with database_at(sqlite_url) as database:
        yield database
