"""The server as a whole: its address, its limits, its end."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.server.rpc.conftest import Served
from tests.support.serving import serve_in_process
from tests.support.statuses import failure_of

from runwire.server.rpc.health import LIVENESS
from runwire.server.rpc.server import CannotListen, Limits, RpcServer
from runwire.v1 import runs_pb2 as wire
from runwire.v1 import runs_pb2_grpc, threads_pb2


def server_of(served: Served, address: str, **limits: int) -> RpcServer:
    """Return a second server before the same core."""
    app = served.app
    answering = app.answering()
    return RpcServer(address, answering, limits=Limits(**limits))


@asynccontextmanager
async def called(server: RpcServer) -> AsyncIterator[grpc.aio.Channel]:
    """Open a server; give a channel to it."""
    async with server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


async def test_a_server_that_takes_no_calls_tells_its_health_all_the_same() -> None:
    async with called(RpcServer("127.0.0.1:0", None)) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        ready = await health.Check(health_pb2.HealthCheckRequest())
        live = await health.Check(health_pb2.HealthCheckRequest(service=LIVENESS))
        unknown = health.Check(health_pb2.HealthCheckRequest(service="runwire.v1.RunService"))
        call = runs_pb2_grpc.RunServiceStub(channel).ListRuns(wire.ListRunsRequest())

        assert (await failure_of(unknown)).code == "NOT_FOUND"
        assert (await failure_of(call)).code == "UNIMPLEMENTED"
    assert ready.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert live.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_port_in_use_is_refused_with_its_reason(served: Served) -> None:
    with pytest.raises(CannotListen) as caught:
        async with server_of(served, served.app.address):
            pass
    assert str(caught.value) == f"cannot listen on {served.app.address}: the address is in use"


async def test_a_port_in_use_by_another_program_is_refused(served: Served) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(CannotListen, match="the address is in use"):
            async with server_of(served, address):
                pass


@pytest.mark.parametrize("address", ["203.0.113.1:0", "nowhere.invalid:0"])
async def test_an_address_that_is_not_ours_is_refused(served: Served, address: str) -> None:
    with pytest.raises(CannotListen, match="cannot listen on"):
        async with server_of(served, address):
            pass


async def test_a_request_above_the_limit_is_refused_and_one_below_is_not(served: Served) -> None:
    async with called(server_of(served, "127.0.0.1:0", request_bytes=20_000)) as channel:
        runs = runs_pb2_grpc.RunServiceStub(channel)

        def request(size: int) -> wire.RunWaitRequest:
            text = '{"text": "' + "x" * size + '"}'
            return wire.RunWaitRequest(spec={"assistant_id": "echo", "input": {"json": text}})

        assert len((await runs.RunWait(request(19_000))).output.json) > 19_000
        failures = [await failure_of(runs.RunWait(request(size))) for size in (20_001, 50_000)]
    assert [failure.code for failure in failures] == ["RESOURCE_EXHAUSTED"] * 2
    assert [failure.reason for failure in failures] == ["PAYLOAD_TOO_LARGE", ""]
    assert failures[0].variables["limit"] == "20000"
    assert not failures[0].retries


async def test_a_large_input_is_taken_and_a_large_answer_given(served: Served) -> None:
    text = '{"text": "' + "é" * 1_800_000 + '"}'
    request = wire.RunWaitRequest(spec={"assistant_id": "echo", "input": {"json": text}})
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(served.app.address, options=options) as channel:
        answer = await runs_pb2_grpc.RunServiceStub(channel).RunWait(request)
    assert answer.output.json.count("é") == 3_600_000


async def test_calls_above_the_limit_are_refused_at_once(served: Served) -> None:
    async with called(server_of(served, "127.0.0.1:0", calls=2)) as channel:
        runs = runs_pb2_grpc.RunServiceStub(channel)
        spec = {"assistant_id": "slow_async", "input": {"json": '{"seconds": 30}'}}
        streams = [runs.RunStream(wire.RunStreamRequest(spec=spec)) for _ in range(2)]
        for stream in streams:
            await stream.read()
        failure = await failure_of(runs.ListRuns(wire.ListRunsRequest()))
        for stream in streams:
            stream.cancel()
    assert failure.code == "RESOURCE_EXHAUSTED"


async def test_streams_and_waiting_calls_end_with_draining_when_the_server_stops(
    tmp_path: Path,
) -> None:
    async with serve_in_process(tmp_path) as app:
        channel = grpc.aio.insecure_channel(app.address)
        runs = runs_pb2_grpc.RunServiceStub(channel)
        spec = {
            "assistant_id": "slow_async",
            "input": {"json": '{"seconds": 30}'},
            "on_disconnect": "ON_DISCONNECT_CANCEL",
        }
        stream = runs.RunStream(wire.RunStreamRequest(spec=spec))
        run_id = (await stream.read()).events[0].run_id
        waiting = asyncio.ensure_future(runs.JoinRun(wire.JoinRunRequest(run_id=run_id)))
        # Answered after the call before it has arrived.
        await runs.GetRun(wire.GetRunRequest(run_id=run_id))

    async def read_on() -> None:
        while await stream.read() is not grpc.aio.EOF:
            pass

    for failure in (await failure_of(read_on()), await failure_of(waiting)):
        assert (failure.code, failure.reason) == ("UNAVAILABLE", "DRAINING")
    async with serve_in_process(tmp_path) as app:
        run = await app.runs.get(run_id)
        assert run.cancel is None, "a server that stops is not a caller that leaves"
    await channel.close()


async def test_metadata_above_the_limit_is_refused(served: Served) -> None:
    call = served.threads.GetThread(
        threads_pb2.GetThreadRequest(), metadata=(("x-large", "x" * 17_000),)
    )
    assert (await failure_of(call)).code == "RESOURCE_EXHAUSTED"
