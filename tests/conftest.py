"""What tests of every floor start from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import runwire.server.graphs  # noqa: F401 - makes LangGraph strict, so it comes before LangGraph
from runwire.server.storage.database import Database
from runwire.server.storage.sqlite import SqliteDatabase


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    """Where a server would keep its SQLite file; nothing is there yet."""
    return tmp_path / "runwire" / "runwire.db"


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[Database]:
    """An open database of its own for each test."""
    async with SqliteDatabase(database_path) as database:
        yield database
