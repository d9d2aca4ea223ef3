"""Servers in processes of their own, with the graphs of this directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.serving import ServerProcess, start_server_process
from tests.support.watching import SYSTEM_GRAPHS


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that is up."""
    with start_server_process(tmp_path, graphs=SYSTEM_GRAPHS) as server:
        yield server
