"""A server is told to stop while it is at work: nothing is lost, and nothing is done twice."""

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.outside import ask
from tests.support.serving import ServerProcess, start_server_process
from tests.support.statuses import Failure
from tests.support.watching import (
    SYSTEM_GRAPHS,
    chain_input,
    chain_result,
    check_run,
    done_on,
    runs_at,
    say,
    times_begun,
    until,
    until_begun,
)

from runwire.client import RunwireClient, get_client
from runwire.v1 import core_pb2, runs_pb2

STEPS = 40
RUNS = 20
ONCE = dict.fromkeys(range(STEPS), 1)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Stop:
    """What was seen of a server that was told to stop. Runs are ids by label."""

    server: ServerProcess
    runs: dict[str, str] = field(default_factory=dict)
    threads: dict[str, str] = field(default_factory=dict)
    exit_code: int = -1
    seconds: float = -1.0
    watched: list[tuple[int, float]] = field(default_factory=list)
    """What a health watch told, and how long after the signal."""
    check_seconds: float = -1.0
    """How long after the signal a probe was first told that the server does not serve."""
    failures: list[Failure] = field(default_factory=list)
    """How streams ended whose readers have no client that joins again."""
    parts: list[Any] = field(default_factory=list)
    """What a user of the client got from a stream that the stop was in the middle of."""
    rows: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """State, attempt and attempts given back of each run while there was no server."""

    @property
    def directory(self) -> Path:
        return self.server.directory


@pytest.fixture(scope="module")
def stop(tmp_path_factory: pytest.TempPathFactory, module_database: str) -> Iterator[Stop]:
    directory = tmp_path_factory.mktemp("drain")
    with start_server_process(
        directory, "--drain-grace=10m", graphs=SYSTEM_GRAPHS, on=module_database
    ) as server:
        stop = Stop(server)
        asyncio.run(live_through(stop))
        yield stop


async def live_through(stop: Stop) -> None:
    server, directory = stop.server, stop.directory
    async with get_client(server.address) as client:
        for number in range(RUNS):
            graph_id = "chain_sync" if number % 2 else "chain"
            await create(stop, client, f"run {number}", graph_id)
        await create(stop, client, "stateless", steps=1, wait_at=0)
        reading = asyncio.create_task(read_parts(stop, client))
        labels = [f"run {number}" for number in range(RUNS)]
        for label in (*labels, "stateless"):
            await until_begun(directory, label, 0)
        streams = [asyncio.create_task(read_raw(stop, stop.runs[label])) for label in labels]
        watching = asyncio.create_task(watch_health(stop))
        await until(lambda: stop.watched, "the watch is open")

        begun = time.monotonic()
        server.send(signal.SIGTERM)
        await is_not_serving(stop)
        stop.check_seconds = time.monotonic() - begun
        await create(stop, client, "late", steps=1)
        (directory / "open").touch()
        stop.exit_code = await asyncio.to_thread(server.wait)
        stop.seconds = time.monotonic() - begun
        stop.watched = [(status, at - begun) for status, at in stop.watched]
        await asyncio.wait_for(asyncio.gather(watching, *streams), 60)
        stop.rows = rows_of(stop)
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(reading, 180)


async def create(
    stop: Stop,
    client: RunwireClient,
    label: str,
    graph_id: str = "chain",
    *,
    steps: int = STEPS,
    **more: Any,
) -> None:
    """Create a run, on a thread of its own unless it is the stateless one."""
    thread_id = None
    if label != "stateless":
        thread_id = stop.threads[label] = (await client.threads.create())["thread_id"]
    run_input = chain_input(stop.directory, label, steps, seconds=0.05, **more)
    run = await client.runs.create(thread_id, graph_id, input=run_input)
    stop.runs[label] = run["run_id"]


async def read_parts(stop: Stop, client: RunwireClient) -> None:
    async for part in client.runs.join_stream(None, stop.runs["run 0"]):
        stop.parts.append(part)


async def read_raw(stop: Stop, run_id: str) -> None:
    try:
        async with runs_at(stop.server.address) as runs:
            async for _ in runs.JoinRunStream(runs_pb2.JoinRunStreamRequest(run_id=run_id)):
                pass
    except grpc.aio.AioRpcError as error:
        stop.failures.append(Failure(error))


async def watch_health(stop: Stop) -> None:
    async with grpc.aio.insecure_channel(stop.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        async for response in stub.Watch(health_pb2.HealthCheckRequest()):
            stop.watched.append((response.status, time.monotonic()))


async def is_not_serving(stop: Stop) -> None:
    async with grpc.aio.insecure_channel(stop.server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        while (await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)).status == SERVING:
            pass


def rows_of(stop: Stop) -> dict[str, tuple[str, int, int]]:
    query = "SELECT run_id, state, attempt, attempts_given_back, owner FROM runs"
    rows = {row[0]: tuple(row[1:]) for row in ask(stop.server.database_url, query)}
    assert not any(row[3] for row in rows.values()), "no run belongs to a server that is gone"
    return {label: rows[run_id][:3] for label, run_id in stop.runs.items()}


def drained(stop: Stop) -> list[str]:
    """Return the labels of the runs that the stop cut short."""
    return [label for label in stop.runs if label.startswith("run ")]


# ------------------------------------------------------------------------------------------- tests


async def test_it_exits_soon_although_everybody_watches(stop: Stop) -> None:
    say(f"not serving after {stop.check_seconds:.3f} s, gone after {stop.seconds:.1f} s")
    assert stop.exit_code == 0, "nobody waited for the grace"


async def test_its_health_is_not_serving_at_once(stop: Stop) -> None:
    assert stop.check_seconds < stop.seconds, "while a run that may end holds it up"
    assert [status for status, _ in stop.watched] == [SERVING, NOT_SERVING]
    assert stop.watched[-1][1] < stop.seconds


async def test_runs_are_released_and_their_attempts_do_not_count(stop: Stop) -> None:
    assert {stop.rows[label] for label in drained(stop)} == {("pending", 1, 1)}


async def test_the_next_server_executes_nothing_again(stop: Stop) -> None:
    for label in drained(stop):
        run = await check_run(stop.server.address, stop.runs[label])
        assert run.state == core_pb2.RUN_STATE_SUCCEEDED
        assert times_begun(stop.directory, run.run_id) == ONCE

    async with get_client(stop.server.address) as client:
        for label in drained(stop):
            done = await done_on(client, stop.threads[label])
            assert done == chain_result(label, steps=STEPS)


async def test_a_run_that_leaves_no_checkpoints_may_end(stop: Stop) -> None:
    assert stop.rows["stateless"] == ("succeeded", 1, 0)


async def test_a_run_that_comes_late_waits_for_the_next_server(stop: Stop) -> None:
    run = await check_run(stop.server.address, stop.runs["late"])

    assert stop.rows["late"] == ("pending", 0, 0)
    assert (run.state, run.attempt) == (core_pb2.RUN_STATE_SUCCEEDED, 1)


async def test_streams_end_with_a_reason_that_says_to_come_back(stop: Stop) -> None:
    ends = [(failure.code, failure.reason) for failure in stop.failures]
    assert ends == [("UNAVAILABLE", "DRAINING")] * RUNS


async def test_a_client_s_stream_goes_on_with_the_next_server(stop: Stop) -> None:
    ids = [part.id for part in stop.parts if part.id]
    states = [part.data["done"] for part in stop.parts if part.event == "values"]

    assert len(ids) == len(set(ids))
    assert (stop.parts[-1].event, stop.parts[-1].data["status"]) == ("end", "success")
    for number in range(STEPS):
        assert chain_result("run 0", steps=STEPS)[: number + 1] in states


async def test_code_that_does_not_stop_holds_the_exit_up_for_no_longer_than_the_grace(
    tmp_path: Path,
) -> None:
    flags = ("--drain-grace=1s", "--cancel-grace=500ms")
    with start_server_process(tmp_path, *flags, graphs=SYSTEM_GRAPHS) as server:
        async with get_client(server.address) as client:
            thread_id = (await client.threads.create())["thread_id"]
            run_input = chain_input(tmp_path, "a", steps=STEPS, seconds=0.05)
            run = await client.runs.create(thread_id, "chain", input=run_input)
            await until_begun(tmp_path, "a", 0)
            for graph_id in ("never_stops", "blocks_loop"):
                stuck = {"directory": str(tmp_path), "name": graph_id, "seconds": 600}
                await client.runs.create(None, graph_id, input=stuck)
                await until((tmp_path / graph_id).exists, f"{graph_id} is at work")

            begun = time.monotonic()
            exit_code = await asyncio.to_thread(server.terminate)
            seconds = time.monotonic() - begun
            (tmp_path / "open").touch()
            await asyncio.to_thread(server.start)
            values = await client.runs.join(thread_id, run["run_id"])

    say(f"gone after {seconds:.1f} s")
    assert exit_code == 1
    assert values["done"] == chain_result("a", steps=STEPS)
