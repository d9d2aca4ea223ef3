"""Callers and runs that meet in one server and must not get into each other's way."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.serving import ServerProcess, start_server_process
from tests.support.watching import (
    SYSTEM_GRAPHS,
    chain_input,
    check_run,
    get_run,
    ledger,
    read_log,
    runs_at,
    say,
    until,
)

from runwire.client import get_client
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.payload_pb2 import Payload
from runwire.v1.runs_pb2_grpc import RunServiceStub

CALLERS = 50
CONNECTIONS = 5
BLOCKED_SECONDS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("beside")
    with start_server_process(directory, graphs=SYSTEM_GRAPHS) as server:
        yield server


def spec(server: ServerProcess, label: str) -> core_pb2.RunSpec:
    run_input = chain_input(server.directory, label)
    return core_pb2.RunSpec(assistant_id="chain", input=Payload(json=json.dumps(run_input)))


async def all_at_once(
    server: ServerProcess, call: Callable[[RunServiceStub], Awaitable[Any]]
) -> list[Any]:
    """Return the answers of many callers that make one call at the same time."""
    async with AsyncExitStack() as opened:
        stubs = [
            await opened.enter_async_context(runs_at(server.address)) for _ in range(CONNECTIONS)
        ]
        calls = [call(stubs[number % CONNECTIONS]) for number in range(CALLERS)]
        return list(await asyncio.gather(*calls))


# ---------------------------------------------------------------------------------- idempotency


async def test_creates_with_one_request_id_make_one_run(server: ServerProcess) -> None:
    request = runs_pb2.CreateRunRequest(spec=spec(server, "created"), request_id="created")
    answers = await all_at_once(server, lambda stub: stub.CreateRun(request))

    run_ids = {answer.run.run_id for answer in answers}
    assert len(run_ids) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    await read_log(server.address, run_ids.pop())
    begun = [note for note in ledger(server.directory) if note.label == "created"]
    assert [note.what for note in begun].count("begin") == 6


async def test_batches_with_one_request_id_make_their_runs_once(server: ServerProcess) -> None:
    specs = [spec(server, f"batch {number}") for number in range(3)]
    request = runs_pb2.BatchCreateRunsRequest(specs=specs, request_id="batch")
    answers = await all_at_once(server, lambda stub: stub.BatchCreateRuns(request))

    answered = {tuple(run.run_id for run in answer.runs) for answer in answers}
    assert len(answered) == 1
    assert len(set(answered.pop())) == 3


async def test_streams_with_one_request_id_all_show_one_run_from_its_beginning(
    server: ServerProcess,
) -> None:
    request = runs_pb2.RunStreamRequest(spec=spec(server, "streamed"), request_id="streamed")

    async def read(stub: RunServiceStub) -> tuple[bytes, ...]:
        call = stub.RunStream(request, timeout=60)
        events = [event async for response in call for event in response.events]
        return tuple(event.SerializeToString() for event in events if event.id)

    answers = await all_at_once(server, read)

    assert len(set(answers)) == 1
    assert [note.what for note in ledger(server.directory) if note.label == "streamed"].count(
        "begin"
    ) == 6


async def test_waits_with_one_request_id_wait_for_one_run(server: ServerProcess) -> None:
    request = runs_pb2.RunWaitRequest(spec=spec(server, "waited for"), request_id="waited for")
    answers = await all_at_once(server, lambda stub: stub.RunWait(request, timeout=60))

    assert len({answer.run.run_id for answer in answers}) == 1
    assert len({answer.output.json for answer in answers}) == 1


async def test_one_request_id_with_different_bodies_makes_one_run(server: ServerProcess) -> None:
    async def create(stub: RunServiceStub, number: int) -> str:
        request = runs_pb2.CreateRunRequest(spec=spec(server, f"{number}"), request_id="different")
        try:
            return (await stub.CreateRun(request)).run.run_id
        except grpc.aio.AioRpcError as error:
            return error.code().name

    async with runs_at(server.address) as stub:
        answers = await asyncio.gather(*(create(stub, number) for number in range(CALLERS)))

    assert answers.count("ALREADY_EXISTS") == CALLERS - 1


# ------------------------------------------------------------------------------- a blocked loop


async def test_a_node_that_blocks_the_runner_s_loop_stops_runs_and_nothing_else(
    server: ServerProcess,
) -> None:
    directory = server.directory
    async with get_client(server.address) as client, runs_at(server.address) as runs:
        finished = await client.runs.create(None, "chain", input=chain_input(directory, "before"))
        await client.runs.join(None, finished["run_id"])
        blocking = {"directory": str(directory), "name": "blocking", "seconds": BLOCKED_SECONDS}
        blocker = await client.runs.create(None, "blocks_loop", input=blocking)
        await until((directory / "blocking").exists, "the loop is blocked")
        end = time.monotonic() + BLOCKED_SECONDS

        started = await client.runs.create(None, "chain", input=chain_input(directory, "during"))
        slowest = 0.0
        rounds = 0
        while time.monotonic() < end - 0.5:
            begun = time.monotonic()
            assert await health_of(server) == health_pb2.HealthCheckResponse.SERVING
            assert (await get_run(server.address, finished["run_id"])).HasField("end_time")
            await runs.ListRuns(runs_pb2.ListRunsRequest())
            await read_log(server.address, finished["run_id"])
            slowest, rounds = max(slowest, time.monotonic() - begun), rounds + 1
        await check_run(server.address, finished["run_id"])

        for run in (blocker, started):
            await client.runs.join(None, run["run_id"])
            assert (await client.runs.get(None, run["run_id"]))["status"] == "success"

    say(f"{rounds} rounds of calls beside a blocked loop, the slowest in {slowest:.3f} s")
    assert slowest < 2
    warning = next(line for line in server.log_lines() if line["event"].startswith("a runner loop"))
    assert warning["run_id"] == blocker["run_id"]
    assert any("sleep_hard" in frame for frame in warning["stack"])


async def health_of(server: ServerProcess) -> int:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        status: int = (await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
        return status
