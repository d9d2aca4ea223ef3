"""What tests of the storage floor start from."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection
from tests.support.memory import open_memory


@pytest.fixture
def connection() -> Iterator[Connection]:
    """An open transaction on a database in memory."""
    engine = open_memory()
    with engine.begin() as connection:
        yield connection
    engine.dispose()
