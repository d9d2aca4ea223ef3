"""Three servers, each of which has the next one do its work: what becomes of the first one's run
reaches the last one's code."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.network import free_port
from tests.support.serving import ServerProcess
from tests.support.watching import say, until

from runwire.client import RunFailedError, RunwireClient, get_client

GRAPHS = Path(__file__).parent / "graphs" / "relays.json"
TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=1",
    "baggage": "user=ada",
    "langsmith-trace": "20260101T000000000000Z0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a",
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServerProcess]]:
    """The first server, the second, the last."""
    ports = [free_port() for _ in range(3)]
    chain = []
    for port, following in zip(ports, [*ports[1:], None], strict=True):
        environment = {} if following is None else {"NEXT_SERVER": f"127.0.0.1:{following}"}
        directory = tmp_path_factory.mktemp("server")
        chain.append(ServerProcess(directory, GRAPHS, environment=environment, port=port))
    try:
        for server in chain:
            server.launch()
        for server in chain:
            server.await_up()
        yield chain
    finally:
        for server in chain:
            if server.is_running:
                server.kill()


@pytest.fixture
async def root(servers: list[ServerProcess]) -> AsyncIterator[RunwireClient]:
    async with get_client(servers[0].address) as client:
        yield client


def ledger(directory: Path) -> list[dict[str, Any]]:
    file = directory / "ledger"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}\n")]


async def noted(directory: Path, what: str) -> dict[str, Any]:
    """Return what the last server's code has written down, when it has."""

    def found() -> list[dict[str, Any]]:
        return [note for note in ledger(directory) if note["what"] == what]

    await until(found, f"the last server's code has {what}")
    return found()[0]


def tell(how: str, since: float, stopped: dict[str, Any]) -> None:
    took = stopped["time"] - since
    say(f"{how}: the last server's code stopped after {took * 1000:.0f} ms")


async def unfinished(servers: list[ServerProcess]) -> list[str]:
    """Return the states of runs that have not ended."""
    states = []
    for server in servers:
        async with get_client(server.address) as client:
            states += [run["state"] for run in await client.runs.list(None, status="running")]
    return states


async def all_ended(servers: list[ServerProcess]) -> None:
    async with asyncio.timeout(60):
        while await unfinished(servers):  # noqa: ASYNC110 - they are other processes
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("graph_id", ["relay", "relay_sync", "relay_waiting"])
async def test_a_cancel_of_the_first_run_stops_the_last_one_s_code(
    servers: list[ServerProcess], root: RunwireClient, tmp_path: Path, graph_id: str
) -> None:
    run = await root.runs.create(None, graph_id, input={"directory": str(tmp_path)}, headers=TRACE)
    begun = await noted(tmp_path, "begun")
    since = time.monotonic()
    await root.runs.cancel(None, run["run_id"], wait=True)
    tell(f"cancel ({graph_id})", since, await noted(tmp_path, "stopped"))
    ended = await root.runs.get(None, run["run_id"])
    assert (ended["state"], ended["cancel"]["abandoned"]) == ("cancelled", False)
    await all_ended(servers)
    async with get_client(servers[-1].address) as last:
        (run,) = await last.runs.list(None, limit=1)
    assert (run["state"], run["cancel"]["cause"]) == ("cancelled", "disconnect")
    assert run["thread_id"] is None
    assert TRACE.items() <= begun["configurable"].items()


@pytest.mark.parametrize("graph_id", ["relay", "relay_sync"])
async def test_the_timeout_of_the_first_run_stops_the_last_one_s_code(
    servers: list[ServerProcess], root: RunwireClient, tmp_path: Path, graph_id: str
) -> None:
    for seconds in (1.5, 10, 40):  # on a slow machine it takes longer until the last one begins
        since = time.monotonic() + seconds
        asked: Any = {"input": {"directory": str(tmp_path)}, "timeout": seconds}
        run = await root.runs.create(None, graph_id, **asked)
        while not ledger(tmp_path) and time.monotonic() < since:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)
        if ledger(tmp_path):
            break
    stopped = await noted(tmp_path, "stopped")
    tell(f"timeout ({graph_id})", since, stopped)
    await all_ended(servers)
    assert (await root.runs.get(None, run["run_id"]))["state"] == "timed_out"


async def test_a_question_of_the_last_run_is_answered_at_the_first(
    servers: list[ServerProcess], root: RunwireClient
) -> None:
    thread_id = (await root.threads.create())["thread_id"]
    asked = await root.runs.wait(thread_id, "asks", input={"question": "why?"})
    (question,) = asked["__interrupt__"]
    assert question["value"] == "why?"
    answer = {"resume": {question["id"]: "because"}}
    done = await root.runs.wait(thread_id, "asks", command=answer)
    assert done["answers"] == ["because"]
    await all_ended(servers)


async def test_a_run_that_waits_for_itself_fails_at_once(
    servers: list[ServerProcess], root: RunwireClient
) -> None:
    thread_id = (await root.threads.create())["thread_id"]
    with pytest.raises(RunFailedError, match="ThreadBusyError"):
        await root.runs.wait(thread_id, "calls_itself", input={"question": servers[0].address})


async def test_the_death_of_the_first_server_stops_the_last_one_s_code(
    servers: list[ServerProcess], tmp_path: Path
) -> None:
    first, *others = servers
    async with get_client(first.address) as root:
        await root.runs.create(None, "relay", input={"directory": str(tmp_path)})
    await noted(tmp_path, "begun")
    since = time.monotonic()
    await asyncio.to_thread(first.kill)
    tell("kill", since, await noted(tmp_path, "stopped"))
    await all_ended(others)
