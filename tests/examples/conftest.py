"""A client of a server with the example agents, for each test its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.callers import Client
from tests.support.serving import serve_in_process

from runwire.client import get_client

CONFIG = Path(__file__).parents[2] / "examples" / "langgraph.json"


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    async with (
        serve_in_process(tmp_path, graphs=CONFIG) as server,
        get_client(server.address) as client,
    ):
        yield client


@pytest.fixture
async def thread_id(client: Client) -> str:
    """A new thread."""
    return str((await client.threads.create())["thread_id"])
