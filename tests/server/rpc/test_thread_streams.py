"""The streams that do not end by themselves, on a socket: silence, and the server's end."""

import asyncio
from typing import Any

import grpc
import pytest
from tests.server.rpc.conftest import Served
from tests.support.serving import serve_in_process
from tests.support.statuses import failure_of

from runwire.v1 import runs_pb2, threads_pb2
from runwire.v1.runs_pb2_grpc import RunServiceStub
from runwire.v1.threads_pb2_grpc import ThreadServiceStub


async def streams(channel: grpc.aio.Channel) -> dict[str, Any]:
    threads, runs = ThreadServiceStub(channel), RunServiceStub(channel)
    thread_id = (await threads.CreateThread(threads_pb2.CreateThreadRequest())).thread.thread_id
    return {
        "thread": threads.ThreadStream(threads_pb2.ThreadStreamRequest(thread_id=thread_id)),
        "runs": runs.WatchRuns(runs_pb2.WatchRunsRequest()),
    }


@pytest.mark.parametrize("kind", ["thread", "runs"])
async def test_the_first_message_is_a_token_and_silence_is_broken_by_others(
    served: Served, kind: str
) -> None:
    call = (await streams(served.channel))[kind]
    for _ in range(4):
        message = await asyncio.wait_for(call.read(), 5)
        assert message.resume_token
        assert not (message.events if kind == "thread" else message.changes)
    call.cancel()


@pytest.mark.parametrize("kind", ["thread", "runs"])
async def test_the_end_of_the_server_is_told(tmp_path: Any, kind: str) -> None:
    async with serve_in_process(tmp_path) as app:
        channel = grpc.aio.insecure_channel(app.address)
        call = (await streams(channel))[kind]
        assert (await call.read()).resume_token

    async def read_on() -> None:
        while await call.read() is not grpc.aio.EOF:
            pass

    failed = await failure_of(read_on())
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "DRAINING")
    await channel.close()


async def test_a_mode_is_asked_for_once(served: Served) -> None:
    created = await served.threads.CreateThread(threads_pb2.CreateThreadRequest())
    request = threads_pb2.ThreadStreamRequest(thread_id=created.thread.thread_id, modes=[1, 1])
    failure = await failure_of(served.threads.ThreadStream(request).read())
    assert (failure.code, [*failure.fields]) == ("INVALID_ARGUMENT", ["modes"])
