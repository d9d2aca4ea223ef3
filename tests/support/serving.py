"""Servers for tests: in this process or in one of their own, always on a real socket."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runwire.server.app import App, serving
from runwire.server.settings import Settings
from tests.support.environments import clean_environment

SUPPORT_GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"
QUICK_LEASES = ("--lease=2s", "--beat-interval=500ms", "--sweep-interval=500ms")
"""Flags of servers that share a database, and soon do without one that is gone."""

START_SECONDS = 180.0
STOP_SECONDS = 60.0


@asynccontextmanager
async def serve_in_process(
    directory: Path, *, graphs: Path = SUPPORT_GRAPHS, **settings: Any
) -> AsyncIterator[App]:
    """Give a server in this process, with its database in `directory`.

    `graphs` is a configuration file, `settings` are what `Settings` has. Its `address` is where to
    call it; its parts (`database`, `runs`, …) are there for tests that look inside.
    """
    given: dict[str, Any] = {
        "config": graphs,
        "bind": "127.0.0.1:0",
        "database_url": database_url(directory),
        "drain_grace": "2s",
        **settings,
    }
    async with serving(Settings(**given)) as app:
        yield app


def database_url(directory: Path) -> str:
    """Return the URL of the database that servers of this module keep in `directory`."""
    return f"sqlite:///{directory / 'runwire' / 'runwire.db'}"


class ServerExited(Exception):
    """A server ended before it was up. The message is what it said."""


@dataclass
class ServerProcess:
    """A `runwire serve`, or a `runwire worker`, in a process of its own. Everything it said so far
    is in `log_file`.

    Methods that wait block: a test with a client on its loop that must go on meanwhile calls them
    by `asyncio.to_thread`.
    """

    directory: Path
    graphs: Path = SUPPORT_GRAPHS
    flags: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    """A command that executes the rest of its arguments: what the server is to be started by."""
    command: str = "serve"
    on: str = ""
    """The URL of its database; empty for a file in its directory."""
    port: int = 0
    """0 until the server has chosen one; kept over a restart."""
    _process: subprocess.Popen[bytes] | None = None
    _read_from: int = 0

    @property
    def log_file(self) -> Path:
        """What the server, and its predecessors here, wrote to standard output and error."""
        return self.directory / "server.log"

    @property
    def address(self) -> str:
        """Where to call the server."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> "ServerProcess":
        """Start the server and return when it is up. Raises `ServerExited`, TimeoutError."""
        self.launch()
        return self.await_up()

    def await_up(self) -> "ServerProcess":
        """Return when a server that was launched is up. Raises `ServerExited`, TimeoutError."""
        deadline = time.monotonic() + START_SECONDS
        while (line := self.logged("serving")) is None:
            self._check_starting(deadline)
            time.sleep(0.01)
        self.port = line["port"]
        return self

    def launch(self) -> None:
        """Start the server and return at once."""
        assert not self.is_running
        self._read_from = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=clean_environment(self.environment),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _command(self) -> list[str]:
        return [
            *self.prefix,
            *(sys.executable, "-m", "runwire.server", self.command, "--log-format=json"),
            *(f"--config={self.graphs}", f"--bind=127.0.0.1:{self.port}"),
            *(f"--database-url={self.database_url}", "--drain-grace=5s", *self.flags),
        ]

    @property
    def database_url(self) -> str:
        """The URL of its database."""
        return self.on or database_url(self.directory)

    def _check_starting(self, deadline: float) -> None:
        if not self.is_running:
            raise ServerExited(self.said())
        if time.monotonic() > deadline:
            self.kill()
            raise TimeoutError(f"not up after {START_SECONDS} seconds: {self.said()}")

    def said(self) -> str:
        """Return what this server, not its predecessors, wrote so far."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_bytes()[self._read_from :].decode(errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the lines of this server's log so far."""
        lines = [line for line in self.said().splitlines(keepends=True) if line.endswith("\n")]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, event: str) -> dict[str, Any] | None:
        """Return the first line of this server's log about an event, if there is one yet."""
        return next((line for line in self.log_lines() if line.get("event") == event), None)

    def kill(self) -> None:
        """End the server as a crash would: SIGKILL."""
        self._signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """Ask the server to stop, and return its exit code when it has."""
        self._signal(signal.SIGTERM)
        return self.wait()

    def pause(self) -> None:
        """Stop the server where it is, as a machine that sleeps would."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send any signal."""
        self._signal(number)

    def restart(self) -> "ServerProcess":
        """Start the server again, on the same database and port; kill it first if need be."""
        if self.is_running:
            self.kill()
        return self.start()

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """Return the exit code when the server has ended. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(timeout)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def start_server_process(
    directory: Path,
    *flags: str,
    graphs: Path = SUPPORT_GRAPHS,
    environment: Mapping[str, str] | None = None,
    command: str = "serve",
    on: str = "",
) -> Iterator[ServerProcess]:
    """Give a server in a process of its own, up, with its database in `directory` or, if that is
    said, `on` a URL. Whatever is left of it when the block ends is killed."""
    server = ServerProcess(
        directory, graphs, list(flags), environment or {}, command=command, on=on
    )
    try:
        yield server.start()
    finally:
        if server.is_running:
            server.kill()
