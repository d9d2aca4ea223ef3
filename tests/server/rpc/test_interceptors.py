"""The edge of every call, with handlers that do what ours should not."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tests.support.statuses import failure_of

from runwire.server.model.errors import Draining, ThreadBusy
from runwire.server.rpc.frames import framed
from runwire.server.rpc.interceptors import Boundary, OpenCalls
from runwire.v1 import core_pb2, runs_pb2_grpc
from runwire.v1 import events_pb2 as events
from runwire.v1 import runs_pb2 as wire

SECRET = "sk-SECRET /etc/path"


class Handlers(runs_pb2_grpc.RunServiceServicer):
    """Stand-ins: each method behaves in its own bad way."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self.cleaned = asyncio.Event()

    async def GetRun(self, request: Any, context: Any) -> Any:
        raise ValueError(SECRET)

    async def CreateRun(self, request: Any, context: Any) -> Any:
        raise ThreadBusy("t")

    async def DeleteRun(self, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.DATA_LOSS, "told by the handler")

    async def ListRuns(self, request: Any, context: Any) -> Any:
        return "no message"

    async def CancelRuns(self, request: Any, context: Any) -> Any:
        return wire.CancelRunsResponse(
            results=[wire.CancelRunResult(run=core_pb2.Run(metadata={"json": '{"a": 1}'}))]
        )

    async def CancelRun(self, request: Any, context: Any) -> Any:
        return wire.CancelRunResponse(run=core_pb2.Run(run_id="r")).SerializeToString()

    async def JoinRun(self, request: Any, context: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            self.left.append("JoinRun")
            self.cleaned.set()

    async def BatchCreateRuns(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def RunWait(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def RunStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Yield bytes, then a message, then fail as the request says."""
        yield framed(events.RunEvent(id="1-1").SerializeToString())
        yield wire.RunStreamResponse(events=[events.RunEvent(id="1-2")])
        if request.request_id == "drain":
            raise Draining
        raise KeyError(SECRET)

    async def JoinRunStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield wire.JoinRunStreamResponse(events=[events.RunEvent(id="1-1")])
        finally:
            self.left.append("JoinRunStream")
            await asyncio.sleep(0.01)
            self.cleaned.set()


class Edge:
    """A server with such handlers, and a caller of it."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.calls = OpenCalls()
        self.server = grpc.aio.server(interceptors=[Boundary(self.calls, 1_000)])
        runs_pb2_grpc.add_RunServiceServicer_to_server(self.handlers, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    edge = Edge()
    await edge.server.start()
    yield edge
    await edge.server.stop(None)


@pytest.fixture
async def stub(edge: Edge) -> AsyncIterator[runs_pb2_grpc.RunServiceStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel:
        yield runs_pb2_grpc.RunServiceStub(channel)


Stub = runs_pb2_grpc.RunServiceStub


async def test_the_text_of_an_unexpected_exception_stays_inside(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    failure = await failure_of(stub.GetRun(wire.GetRunRequest()))
    assert (failure.code, failure.reason) == ("INTERNAL", "INTERNAL")
    assert "SECRET" not in f"{failure.message} {failure.variables}"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert record.__dict__["error_id"] == failure.variables["error_id"]
    assert record.__dict__["method"] == "/runwire.v1.RunService/GetRun"
    assert failure.variables["error_id"] in failure.message


async def test_what_cannot_be_serialized_is_unexpected_too(stub: Stub) -> None:
    assert (await failure_of(stub.ListRuns(wire.ListRunsRequest()))).reason == "INTERNAL"


async def test_an_expected_error_is_told_and_not_logged(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    failure = await failure_of(stub.CreateRun(wire.CreateRunRequest()))
    assert (failure.code, failure.reason) == ("ABORTED", "THREAD_BUSY")
    assert failure.variables == {"thread_id": "t"}
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_what_a_handler_says_itself_passes(stub: Stub) -> None:
    failure = await failure_of(stub.DeleteRun(wire.DeleteRunRequest()))
    assert (failure.code, failure.message) == ("DATA_LOSS", "told by the handler")


async def test_serialized_answers_pass_as_they_are(stub: Stub) -> None:
    assert (await stub.CancelRun(wire.CancelRunRequest())).run.run_id == "r"


async def test_payloads_are_values_if_the_call_asks_for_it(stub: Stub) -> None:
    usual = await stub.CancelRuns(wire.CancelRunsRequest())
    assert usual.results[0].run.metadata.json == '{"a": 1}'
    shown = await stub.CancelRuns(
        wire.CancelRunsRequest(), metadata=(("runwire-payload", "value"),)
    )
    metadata = shown.results[0].run.metadata
    assert metadata.value.struct_value.fields["a"].number_value == 1


@pytest.mark.parametrize(("request_id", "reason"), [("drain", "DRAINING"), ("fail", "INTERNAL")])
async def test_a_stream_that_fails_keeps_what_it_has_sent(
    stub: Stub, request_id: str, reason: str
) -> None:
    call = stub.RunStream(wire.RunStreamRequest(request_id=request_id))
    first, second = await call.read(), await call.read()
    assert isinstance(first, wire.RunStreamResponse)
    assert isinstance(second, wire.RunStreamResponse)
    assert [first.events[0].id, second.events[0].id] == ["1-1", "1-2"]
    failure = await failure_of(call.read())
    assert failure.reason == reason
    assert "SECRET" not in failure.message


@pytest.mark.parametrize("method", ["GetRun", "RunStream"])
async def test_bytes_that_are_no_request_are_refused_without_a_word_in_the_log(
    edge: Edge, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel:
        path = f"/runwire.v1.RunService/{method}"
        if method == "GetRun":
            failure = await failure_of(channel.unary_unary(path)(b"\xff\xff"))
        else:
            failure = await failure_of(channel.unary_stream(path)(b"\xff\xff").read())
    assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert failure.variables == {"method": method}
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_an_unknown_method_is_not_implemented(edge: Edge) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}") as channel:
        failure = await failure_of(channel.unary_unary("/runwire.v1.RunService/Nope")(b""))
    assert failure.code == "UNIMPLEMENTED"


async def test_a_deadline_ends_the_handler(edge: Edge, stub: Stub) -> None:
    failure = await failure_of(stub.JoinRun(wire.JoinRunRequest(), timeout=0.05))
    assert failure.code == "DEADLINE_EXCEEDED"
    await edge.handlers.cleaned.wait()
    await edge.calls.wait_ended()


async def test_a_generator_is_closed_as_soon_as_its_caller_has_left(
    edge: Edge, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    call = stub.JoinRunStream(wire.JoinRunStreamRequest())
    await call.read()
    call.cancel()
    await edge.handlers.cleaned.wait()
    await edge.calls.wait_ended()
    assert edge.handlers.left == ["JoinRunStream"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_open_calls_are_waited_for_until_they_have_cleaned_up(edge: Edge, stub: Stub) -> None:
    call = stub.JoinRunStream(wire.JoinRunStreamRequest())
    await call.read()
    await edge.server.stop(0)
    await edge.calls.wait_ended()
    assert edge.handlers.cleaned.is_set()
