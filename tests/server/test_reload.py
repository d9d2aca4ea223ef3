"""`runwire dev`: the server starts again when the graphs' code changes."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.environments import clean_environment
from tests.support.serving import database_url
from watchfiles import Change

from runwire.client import get_client
from runwire.server.reload import CodeFilter

PATIENCE_SECONDS = 120.0

AGENT = """
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict
class State(TypedDict, total=False):
    said: str
builder = StateGraph(State).add_node("say", lambda state: {"said": "WORD"})
graph = builder.add_edge(START, "say").compile()
"""


class Dev:
    """A `runwire dev` in a process of its own, and what its servers said."""

    def __init__(self, directory: Path, process: "subprocess.Popen[bytes]") -> None:
        self.directory = directory
        self.process = process

    def said(self) -> str:
        """Return everything said so far."""
        return (self.directory / "log").read_text()

    async def serving(self, count: int) -> list[dict[str, Any]]:
        """Return what servers said when they were up, once there were `count` of them."""
        return await self.lines(count, "serving")

    async def lines(self, count: int, event: str) -> list[dict[str, Any]]:
        """Return the log lines about an event, once there are `count` of them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            text = [line for line in self.said().splitlines() if line.startswith("{")]
            found = [line for line in map(json.loads, text) if line["event"] == event]
            if len(found) >= count:
                return found
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.02)


@contextmanager
def developing(directory: Path, code: str) -> Iterator[Dev]:
    """Give a `runwire dev` on a graph with `code`."""
    (directory / "agent.py").write_text(code)
    (directory / "langgraph.json").write_text('{"graphs": {"agent": "./agent.py:graph"}}')
    flags = ["--bind=127.0.0.1:0", f"--database-url={database_url(directory)}", "--log-format=json"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runwire.server", "dev", *flags],
            cwd=directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Dev(directory, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


async def test_new_code_is_served_and_threads_are_kept(tmp_path: Path) -> None:
    with developing(tmp_path, AGENT.replace("WORD", "old")) as dev:
        (first,) = await dev.serving(1)
        async with get_client(first["address"]) as client:
            thread_id = (await client.threads.create())["thread_id"]
            assert await client.runs.wait(thread_id, "agent", input={}) == {"said": "old"}

        (tmp_path / "agent.py").write_text(AGENT.replace("WORD", "new"))

        second = (await dev.serving(2))[1]
        async with get_client(second["address"]) as client:
            assert (await client.threads.get(thread_id))["values"] == {"said": "old"}
            assert await client.runs.wait(thread_id, "agent", input={}) == {"said": "new"}
    assert "agent.py changed: starting again" in dev.said()
    assert "Traceback" not in dev.said()


async def test_code_that_is_broken_meanwhile_is_said_and_mended(tmp_path: Path) -> None:
    with developing(tmp_path, "graph = nothing") as dev:
        (failure,) = await dev.lines(1, "cannot start")
        assert "agent.py, line 1: NameError" in failure["reason"]

        (tmp_path / "agent.py").write_text(AGENT)

        await dev.serving(1)


@pytest.mark.parametrize(
    ("path", "matters"),
    [
        ("/app/agent.py", True),
        ("/app/langgraph.json", True),
        ("/app/.env", True),
        ("/app/notes.txt", False),
        ("/app/.runwire/runwire.db", False),
        ("/app/.runwire/export.json", False),
        ("/app/.venv/lib/site.py", False),
        ("/app/__pycache__/agent.cpython-311.pyc", False),
    ],
)
def test_only_code_and_configuration_matter(path: str, matters: bool) -> None:
    assert CodeFilter()(Change.modified, path) is matters
