"""A client of a real server, for each test its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.serving import serve_in_process

from runwire.client import RunwireClient, get_client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[RunwireClient]:
    """A client of a server in this process that serves the graphs of tests/support."""
    async with (
        serve_in_process(tmp_path) as app,
        get_client(app.address) as client,
    ):
        yield client
