"""What tests of the storage floor start from."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection
from tests.support.memory import open_memory
from tests.support.plans import fill_postgres
from tests.support.postgres import Databases

from runwire.server.storage.connecting import engine_on


@pytest.fixture
def memory() -> Iterator[Connection]:
    """An open transaction on a SQLite database in memory."""
    engine = open_memory()
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="session")
def filled_connection(postgres: Databases) -> Iterator[Connection]:
    with postgres.create() as url:
        engine = engine_on(url, connections=1)
        with engine.connect() as connection:
            with connection.begin():
                fill_postgres(connection)
            yield connection
        engine.dispose()


@pytest.fixture
def filled(filled_connection: Connection) -> Iterator[Connection]:
    """An open transaction on a PostgreSQL database with many rows."""
    with filled_connection.begin() as transaction:
        yield filled_connection
        transaction.rollback()
