"""A server on each database for all tests here, in this process, on a real socket, and its callers.

The tests share its event loop. Those that need another kind of server start their own.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from tests.conftest import BOTH
from tests.support.callers import Client, Stubs, stubs_on
from tests.support.postgres import Databases
from tests.support.serving import serve_in_process
from tests.support.tables import count_rows

from runwire.client import RunwireClient, get_client
from runwire.server.app import App


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", params=BOTH)
def server_database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The setting of a database: every test here runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield {}  # in the server's directory
    else:
        databases: Databases = request.getfixturevalue("postgres")
        with databases.create() as url:
            yield {"database_url": url}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(
    tmp_path_factory: pytest.TempPathFactory, server_database: dict[str, str]
) -> AsyncIterator[App]:
    async with serve_in_process(tmp_path_factory.mktemp("server"), **server_database) as app:
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
async def thread_id(client: Client) -> str:
    """A new thread."""
    return str((await client.threads.create())["thread_id"])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def there(client: Client) -> dict[str, str]:
    """Ids of a thread and a run that are there, and stay."""
    thread_id = (await client.threads.create())["thread_id"]
    for _ in range(2):
        await client.runs.wait(thread_id, "echo", input={"text": "there"})
    [run, _] = await client.runs.list(thread_id)
    return {"thread": thread_id, "run": run["run_id"]}


@pytest_asyncio.fixture(loop_scope="session")
async def nothing_stored(server: App, there: dict[str, str]) -> AsyncIterator[None]:
    """Check that a test leaves every table as it was."""
    before = await count_rows(server.database)
    yield
    assert await count_rows(server.database) == before
