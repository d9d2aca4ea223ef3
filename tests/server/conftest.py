"""What tests of the server's floors start from."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.engine import Engine, open_engine

from runwire.server.core import watch
from runwire.server.runner import runner, sweeper


@pytest.fixture
async def engine(database_path: Path) -> AsyncIterator[Engine]:
    """A server's floors up to the runner, on a database of its own."""
    async with open_engine(database_path) as engine:
        yield engine


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing looks by itself: what is not woken waits for ever."""
    monkeypatch.setattr(watch, "POLL_SECONDS", 1000.0)
    monkeypatch.setattr(runner, "POLL_SECONDS", 1000.0)
    monkeypatch.setattr(sweeper, "pause_of", lambda interval: 1000.0)
