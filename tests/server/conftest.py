"""What tests of the server's floors start from."""

from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy
from sqlalchemy import Connection, text
from tests.conftest import BOTH
from tests.support.engine import Engine, open_engine
from tests.support.memory import open_memory
from tests.support.postgres import Databases

from runwire.server.core import news, watch
from runwire.server.runner import runner, sweeper
from runwire.server.storage.connecting import engine_on


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    """A server's floors up to the runner, on a database of its own."""
    async with open_engine(database_url) as engine:
        yield engine


@pytest.fixture(scope="session")
def postgres_engine(postgres: Databases) -> Iterator[sqlalchemy.Engine]:
    """Connections to one database, in which nothing is ever committed."""
    with postgres.create() as url:
        engine = engine_on(url, connections=3)
        yield engine
        engine.dispose()


@pytest.fixture(params=BOTH)
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """An open transaction on a database without rows: each test runs on SQLite, in memory, and on
    PostgreSQL."""
    on_sqlite = request.param == "sqlite"
    engine = open_memory() if on_sqlite else request.getfixturevalue("postgres_engine")
    with engine.connect() as connection, connection.begin() as transaction:
        if not on_sqlite:  # a test may take its time
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield connection
        transaction.rollback()
    if on_sqlite:
        engine.dispose()


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing looks by itself: what is not woken waits for ever."""
    monkeypatch.setattr(watch, "POLL_SECONDS", 1000.0)
    monkeypatch.setattr(news, "POLL_SECONDS", 1000.0)
    monkeypatch.setattr(runner, "POLL_SECONDS", 1000.0)
    monkeypatch.setattr(sweeper, "pause_of", lambda interval: 1000.0)
