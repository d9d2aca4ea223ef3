"""What tests of the server's floors start from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.engine import Engine, open_engine


@pytest.fixture
async def engine(database_path: Path) -> AsyncIterator[Engine]:
    """A server's floors up to the runner, on a database of its own."""
    async with open_engine(database_path) as engine:
        yield engine
