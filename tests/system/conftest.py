"""Servers in processes of their own, with the graphs of this directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import BOTH
from tests.support.postgres import Databases
from tests.support.serving import QUICK_LEASES, ServerProcess, start_server_process
from tests.support.watching import SYSTEM_GRAPHS


@pytest.fixture(scope="module", params=BOTH)
def module_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL database for all tests of a module; or nothing, which means a SQLite
    file of the server's. Each test runs on both."""
    if request.param == "sqlite":
        yield ""
    else:
        databases: Databases = request.getfixturevalue("postgres")
        with databases.create() as url:
            yield url


@pytest.fixture(params=BOTH)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that is up: each test runs with one on SQLite and with one on PostgreSQL."""
    if request.param == "sqlite":
        on, flags = "", []
    else:
        on, flags = request.getfixturevalue("postgres_url"), list(QUICK_LEASES)
    with start_server_process(tmp_path, *flags, graphs=SYSTEM_GRAPHS, on=on) as server:
        yield server
