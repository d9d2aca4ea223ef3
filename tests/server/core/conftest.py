"""What tests of the core floor start from."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection
from tests.support.transactions import MovableClock, Server, stopped_clock


@pytest.fixture
def moving_clock() -> Iterator[type[MovableClock]]:
    """The database's time, which stands still unless a test moves it."""
    with stopped_clock() as moving_clock:
        yield moving_clock


@pytest.fixture
def server(connection: Connection, moving_clock: type[MovableClock]) -> Iterator[Server]:
    """A server's transactions."""
    loop = asyncio.new_event_loop()
    yield Server(connection, loop)
    loop.close()
