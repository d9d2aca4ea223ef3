"""Failures that no Runwire server has described: what is said of them, and what outlives them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from tests.support.scripted import (
    RUN_ID,
    Context,
    ScriptedRuns,
    client_of,
    custom,
    ended,
    started,
)

from runwire.client import (
    DeadlineExceededError,
    ResourceExhaustedError,
    ServerError,
    UnavailableError,
    get_client,
)
from runwire.client.failures import is_break
from runwire.v1 import core_pb2, runs_pb2

AT_ONCE = [
    ("grpc.enable_retries", 0),
    ("grpc.min_reconnect_backoff_ms", 300),
    ("grpc.initial_reconnect_backoff_ms", 300),
]
"""Channel options with which a connection that does not come about is soon given up."""

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listen(talk: Talk) -> AsyncIterator[str]:
    """Give the address of something that is not gRPC."""

    taken: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(100):  # asyncio leaves a connection open that it accepts while it closes
            await asyncio.sleep(0)
    for writer in taken:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def serve_pages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(24)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (serve_pages, "is a web server and does not speak gRPC: another port?"),
        (hang_up, "hangs up: if it wants TLS, call it with https://; otherwise, another port?"),
        (say_nothing, "what listens at .* does not speak gRPC: another port?"),
    ],
)
async def test_what_is_not_grpc_is_called_what_it_is(talk: Talk, told: str) -> None:
    async with listen(talk) as address, get_client(address, options=AT_ONCE) as client:
        with pytest.raises(UnavailableError, match=told) as raised:
            await client.runs.get(None, RUN_ID)
    assert address in str(raised.value)
    assert not raised.value.connected


async def test_a_name_that_nobody_has_is_said() -> None:
    async with get_client("nobody.invalid:1", options=AT_ONCE) as client:
        with pytest.raises(
            UnavailableError, match=r"the name of nobody\.invalid:1 cannot be"
        ) as raised:
            await client.runs.get(None, RUN_ID)
    assert not raised.value.connected


LOG = [started(1), *(custom(f"1-{index}", str(index)) for index in range(2, 6)), ended("1-6")]

BREAKS = {
    "a stream that a proxy resets": (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error 2"),
    "a stream that got lost": (grpc.StatusCode.UNKNOWN, "Stream removed"),
    "a proxy's own time limit": (grpc.StatusCode.DEADLINE_EXCEEDED, "upstream request timeout"),
    "a server that stops at once": (grpc.StatusCode.CANCELLED, "CANCELLED"),
}


@pytest.mark.parametrize("how", BREAKS)
async def test_what_something_on_the_way_breaks_off_is_gone_on_with(how: str) -> None:
    async def cut(context: Context) -> None:
        await context.abort(*BREAKS[how])

    async with client_of(ScriptedRuns(LOG, [3, 0], cut)) as client:
        parts: Any = client.runs.stream(None, "chat", stream_mode="custom")
        assert [part.data async for part in parts if part.event == "custom"] == [2, 3, 4, 5]


async def test_waiting_outlives_the_time_limit_of_something_on_the_way() -> None:
    class Limited(ScriptedRuns):
        async def JoinRun(self, request: Any, context: Context) -> Any:
            self.calls.append(request)
            if len(self.calls) == 1:
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "upstream request timeout")
            return runs_pb2.JoinRunResponse(run=core_pb2.Run(run_id=RUN_ID))

    servicer = Limited()
    async with client_of(servicer) as client:
        await client.runs.join(None, RUN_ID)
    assert len(servicer.calls) == 2


class Failing(ScriptedRuns):
    """Fails in a way of its own, without a reason."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__()
        self.how = (code, message)

    async def GetRun(self, request: Any, context: Context) -> Any:
        await context.abort(*self.how)


async def test_a_time_limit_of_a_call_that_has_one_is_a_time_limit() -> None:
    async with client_of(Failing(grpc.StatusCode.DEADLINE_EXCEEDED, "late")) as client:
        with pytest.raises(DeadlineExceededError, match=r"within the client's timeout \(late\)"):
            await client.runs.get(None, RUN_ID)


@pytest.mark.parametrize(
    "message", ["too many requests", "SERVER: Received message larger than max (9 vs. 4)"]
)
async def test_what_is_exhausted_elsewhere_is_no_limit_of_the_client(message: str) -> None:
    async with client_of(Failing(grpc.StatusCode.RESOURCE_EXHAUSTED, message)) as client:
        with pytest.raises(ResourceExhaustedError) as raised:
            await client.runs.get(None, RUN_ID)
    assert message in str(raised.value)
    assert "max_receive_message_length" not in str(raised.value)


async def test_an_internal_error_of_whoever_is_none_of_the_connection() -> None:
    async with client_of(Failing(grpc.StatusCode.INTERNAL, "a bug")) as client:
        with pytest.raises(ServerError, match="a bug"):
            await client.runs.get(None, RUN_ID)


@pytest.mark.parametrize(
    ("message", "reason", "breaks"),
    [
        ("Stream removed (Socket closed)", "", True),
        ("Cancelling all calls", "", True),
        ("shutting down", "DRAINING", True),
        ("Socket closed", "DATABASE_UNAVAILABLE", False),
        ("upstream connect error: Socket closed", "", False),
    ],
)
def test_a_break_is_told_from_what_a_peer_says(message: str, reason: str, breaks: bool) -> None:
    assert is_break(UnavailableError(message, reason=reason)) is breaks
