"""One server for all tests here, in this process and on a real socket, and its callers.

The tests share its event loop. Those that need another kind of server start their own.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from tests.support.callers import Stubs, stubs_on
from tests.support.serving import serve_in_process

from runwire.client import RunwireClient, get_client
from runwire.server.app import App


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    async with serve_in_process(tmp_path_factory.mktemp("server")) as app:
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(server: App) -> AsyncIterator[RunwireClient]:
    async with get_client(server.address) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stubs(server: App) -> AsyncIterator[Stubs]:
    """The generated stubs on a channel without any options: what any other client has."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield stubs_on(channel)


@pytest_asyncio.fixture(loop_scope="session")
async def thread_id(client: RunwireClient) -> str:
    """A new thread."""
    return str((await client.threads.create())["thread_id"])
