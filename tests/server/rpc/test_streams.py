"""Streams to one subscriber: heartbeats, slow readers, readers that leave."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from runwire.server.rpc.events import encode_heartbeat
from runwire.server.rpc.frames import framed
from runwire.server.rpc.interceptors import Boundary, OpenCalls
from runwire.server.rpc.streams import EventStream
from runwire.v1 import events_pb2, runs_pb2, runs_pb2_grpc

EVENT = framed(events_pb2.RunEvent(id="1-1").SerializeToString())
METHOD = "/runwire.v1.RunService/RunStream"
SILENCE = 0.03

Behave = Callable[[EventStream], Awaitable[None]]


@asynccontextmanager
async def calling(
    behave: Behave, calls: OpenCalls, on_beat: Callable[[], None] = lambda: None
) -> AsyncIterator[Any]:
    """Give a call whose handler does `behave` with its stream."""

    def beat() -> bytes:
        on_beat()
        return encode_heartbeat("r")

    async def handle(request: Any, context: Any) -> None:
        async with EventStream(context, beat, SILENCE) as stream:
            await behave(stream)

    handler = grpc.unary_stream_rpc_method_handler(
        handle, runs_pb2.RunStreamRequest.FromString, None
    )
    server = grpc.aio.server(interceptors=[Boundary(calls, 1_000)])
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("runwire.v1.RunService", {"RunStream": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield runs_pb2_grpc.RunServiceStub(channel).RunStream(runs_pb2.RunStreamRequest())
    await server.stop(None)
    await calls.wait_ended()


async def kinds(call: Any) -> list[str]:
    return [event.WhichOneof("event") or event.id async for m in call for event in m.events]


async def test_silence_is_broken_by_heartbeats() -> None:
    silent = 0.0

    async def behave(stream: EventStream) -> None:
        nonlocal silent
        began = time.monotonic()
        await stream.write(EVENT)
        await asyncio.sleep(SILENCE * 3.5)
        await stream.write(EVENT)
        silent = time.monotonic() - began

    async with calling(behave, OpenCalls()) as call:
        received = await kinds(call)
    assert received[0] == received[-1] == "1-1"
    assert 1 <= received.count("heartbeat") <= 1 + silent / SILENCE
    assert set(received[1:-1]) == {"heartbeat"}


async def test_events_keep_heartbeats_away() -> None:
    written: list[float] = []
    silences: list[float] = []

    async def behave(stream: EventStream) -> None:
        for _ in range(20):
            written.append(time.monotonic())
            await stream.write(EVENT)
            await asyncio.sleep(SILENCE / 6)

    def on_beat() -> None:
        silences.append(time.monotonic() - written[-1])

    async with calling(behave, OpenCalls(), on_beat) as call:
        received = await kinds(call)
    assert [kind for kind in received if kind != "heartbeat"] == ["1-1"] * 20
    # There is none, unless the machine itself kept the events from coming.
    assert all(silence >= 0.99 * SILENCE for silence in silences)


async def test_a_reader_that_does_not_read_gets_everything_in_order_once_it_does() -> None:
    large = framed(events_pb2.RunEvent(id="1-2", run_id="x" * 900_000).SerializeToString())

    async def behave(stream: EventStream) -> None:
        for _ in range(12):
            await stream.write(large)
        await asyncio.sleep(SILENCE * 2)
        await stream.write(EVENT)

    async with calling(behave, OpenCalls()) as call:
        await asyncio.sleep(SILENCE * 5)
        received = await kinds(call)
    assert [kind for kind in received if kind != "heartbeat"] == ["1-2"] * 12 + ["1-1"]


@pytest.mark.parametrize("reads_on", [True, False])
async def test_a_reader_that_leaves_in_the_middle_of_a_burst_cancels_the_handler(
    caplog: pytest.LogCaptureFixture, reads_on: bool
) -> None:
    ended: list[BaseException] = []
    calls = OpenCalls()

    async def behave(stream: EventStream) -> None:
        try:
            while True:
                await stream.write(EVENT * 100)
        except BaseException as error:
            ended.append(error)
            raise

    async with calling(behave, calls) as call:
        for _ in range(20):
            await call.read()
        if not reads_on:
            # Until the window is full and a write waits: then that is what fails.
            await asyncio.sleep(0.3)
        call.cancel()
        await calls.wait_ended()
    assert [type(error) for error in ended] == [asyncio.CancelledError]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_reader_that_leaves_during_silence_cancels_the_handler() -> None:
    calls = OpenCalls()

    async def behave(stream: EventStream) -> None:
        await asyncio.sleep(60)

    async with calling(behave, calls) as call:
        assert (await call.read()).events[0].HasField("heartbeat")
        call.cancel()
        await calls.wait_ended()
