"""Commands against a real server: one for all tests here, which therefore look for what is theirs
alone."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.background import serve_in_background
from typer.testing import CliRunner

from runwire.client import SyncRunwireClient, get_sync_client
from runwire.commands.main import app


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it said."""

    exit_code: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.output)

    @property
    def lines(self) -> list[Any]:
        """The JSON documents on the lines of standard output."""
        return [json.loads(line) for line in self.output.splitlines()]


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands that find the server at an address."""

    address: str

    def __call__(
        self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None
    ) -> Said:
        """Run `runwire` with arguments, and `given` on standard input. Nothing may be raised."""
        settings = {"RUNWIRE_ADDRESS": self.address, **(environment or {})}
        result = CliRunner().invoke(app, arguments, input=given, env=settings)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        return Said(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server with the graphs of tests/support is."""
    with serve_in_background(tmp_path_factory.mktemp("commands")) as address:
        yield address


@pytest.fixture
def runwire(address: str) -> Commands:
    """The command line, with a server that it finds by itself."""
    return Commands(address)


@pytest.fixture
def client(address: str) -> Iterator[SyncRunwireClient]:
    """A client of the same server."""
    with get_sync_client(address) as client:
        yield client


@pytest.fixture
def thread_id(client: SyncRunwireClient) -> str:
    """A new thread."""
    return str(client.threads.create()["thread_id"])
