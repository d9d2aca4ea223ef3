"""Calls that fail: what they raise, what is tried again, and how often."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # has no stubs
from tests.support.scripted import (
    DRAINING,
    RUN_ID,
    THREAD_ID,
    Context,
    ScriptedRuns,
    client_of,
    ended,
    failure,
    json_payload,
    serve,
    started,
)

from runwire import client as package
from runwire.client import (
    AlreadyExistsError,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    Reconnect,
    ResourceExhaustedError,
    RunCancelledError,
    RunFailedError,
    RunwireClient,
    RunwireError,
    ServerError,
    UnavailableError,
    get_client,
)
from runwire.v1 import core_pb2, runs_pb2

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRangeError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAUTHENTICATED: PermissionDeniedError,
    grpc.StatusCode.INTERNAL: ServerError,
    grpc.StatusCode.UNKNOWN: ServerError,
    grpc.StatusCode.UNIMPLEMENTED: ServerError,
    grpc.StatusCode.DATA_LOSS: ServerError,
    grpc.StatusCode.CANCELLED: UnavailableError,
}

RUN = core_pb2.Run(run_id=RUN_ID, thread_id=THREAD_ID, state=core_pb2.RUN_STATE_SUCCEEDED)


def answering(*answers: Any) -> ScriptedRuns:
    servicer = ScriptedRuns()
    servicer.answers = [*answers]
    return servicer


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
async def test_each_status_is_an_error_of_its_kind(code: grpc.StatusCode) -> None:
    status = failure(code, "SOME_REASON", "what went wrong", run_id=RUN_ID)
    async with client_of(answering(status)) as client:
        with pytest.raises(RunwireError) as raised:
            await client.runs.get(None, RUN_ID)
    error = raised.value
    assert type(error) is CODES[code]
    assert str(error) == error.message == "what went wrong"
    assert (error.code, error.reason) == (code.name, "SOME_REASON")
    assert error.metadata == {"run_id": RUN_ID}
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_wrong_fields_are_named() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="spec.input", description="no")
    details = error_details_pb2.BadRequest(field_violations=[violation])
    status = failure(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "no", details)
    async with client_of(answering(status)) as client:
        with pytest.raises(InvalidArgumentError) as raised:
            await client.runs.create(None, "chat")
    assert raised.value.violations == (("spec.input", "no"),)


async def test_a_full_queue_says_when_to_come_back() -> None:
    details = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    status = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "full", details)
    async with client_of(answering(status)) as client:
        with pytest.raises(ResourceExhaustedError) as raised:
            await client.runs.create(None, "chat")
    assert raised.value.retry_after == 1.5


async def test_a_status_that_is_not_a_runwire_servers_is_told_with_the_address() -> None:
    class Foreign(ScriptedRuns):
        async def GetRun(self, request: Any, context: Context) -> Any:
            trailer = (("grpc-status-details-bin", b"\xff\xff"),)
            await context.abort(grpc.StatusCode.UNKNOWN, "teapot", trailer)

    async with client_of(Foreign()) as client:
        with pytest.raises(ServerError, match=r"UNKNOWN from 127\.0\.0\.1:\d+: teapot") as raised:
            await client.runs.get(None, RUN_ID)
    assert raised.value.reason == ""


async def test_creating_is_tried_again_under_the_same_request_id() -> None:
    servicer = answering(DRAINING, DRAINING, runs_pb2.CreateRunResponse(run=RUN))
    async with client_of(servicer) as client:
        run = await client.runs.create(None, "chat")
    assert run["run_id"] == RUN_ID
    assert len({call.request_id for call in servicer.calls}) == 1
    assert len(servicer.calls) == 3


async def test_each_creation_has_a_request_id_of_its_own_unless_it_is_given() -> None:
    servicer = answering(runs_pb2.CreateRunResponse(run=RUN))
    async with client_of(servicer) as client:
        for request_id in (None, None, "order-4711"):
            await client.runs.create(None, "chat", request_id=request_id)
    first, second, third = (call.request_id for call in servicer.calls)
    assert first != second
    assert third == "order-4711"


async def test_a_drain_that_does_not_end_is_an_error_after_a_few_tries() -> None:
    servicer = answering(DRAINING)
    async with client_of(servicer) as client:
        with pytest.raises(UnavailableError) as raised:
            await client.runs.get(None, RUN_ID)
    assert raised.value.reason == "DRAINING"
    assert len(servicer.calls) == 5


async def test_waiting_outlives_a_lost_server_under_the_same_request_id() -> None:
    answer = runs_pb2.RunWaitResponse(run=RUN, output=json_payload('{"answer": 42}'))
    servicer = answering(*[DRAINING] * 7, answer)
    async with client_of(servicer) as client:
        assert await client.runs.wait(None, "chat") == {"answer": 42}
    assert len(servicer.calls) == 8
    assert len({call.request_id for call in servicer.calls}) == 1


async def test_joining_outlives_a_lost_server() -> None:
    answer = runs_pb2.JoinRunResponse(run=RUN, output=json_payload("[1]"))
    async with client_of(answering(*[DRAINING] * 7, answer)) as client:
        assert await client.runs.join(THREAD_ID, RUN_ID) == [1]


async def test_waiting_without_reconnecting_fails_at_once() -> None:
    servicer = answering(DRAINING)
    async with client_of(servicer, reconnect=Reconnect(give_up_after=0)) as client:
        with pytest.raises(UnavailableError):
            await client.runs.wait(None, "chat")
    assert len(servicer.calls) == 1


FINISHED = failure(
    grpc.StatusCode.FAILED_PRECONDITION, "RUN_FINISHED", "ended", state="cancelled", run_id=RUN_ID
)
ROLLED_BACK = failure(grpc.StatusCode.NOT_FOUND, "RUN_ROLLED_BACK", "gone", run_id=RUN_ID)


async def test_a_cancel_whose_answer_got_lost_has_been_done() -> None:
    async with client_of(answering(DRAINING, FINISHED)) as client:
        await client.runs.cancel(None, RUN_ID, wait=True)
    async with client_of(answering(DRAINING, ROLLED_BACK)) as client:
        await client.runs.cancel(None, RUN_ID, action="rollback")


async def test_a_cancel_that_somebody_else_did_otherwise_has_not_been_done() -> None:
    async with client_of(answering(DRAINING, FINISHED)) as client:
        with pytest.raises(ConflictError):
            await client.runs.cancel(None, RUN_ID, action="rollback")
    async with client_of(answering(DRAINING, ROLLED_BACK)) as client:
        with pytest.raises(NotFoundError):
            await client.runs.cancel(None, RUN_ID)


async def test_a_cancel_of_a_run_that_was_cancelled_before_is_a_conflict() -> None:
    async with client_of(answering(FINISHED)) as client:
        with pytest.raises(ConflictError):
            await client.runs.cancel(None, RUN_ID)


async def test_a_run_on_another_thread_is_neither_cancelled_nor_deleted() -> None:
    servicer = answering(runs_pb2.GetRunResponse(run=RUN))
    async with client_of(servicer) as client:
        for call in (client.runs.cancel, client.runs.delete):
            with pytest.raises(NotFoundError):
                await call(RUN_ID, RUN_ID)
    assert all(isinstance(call, runs_pb2.GetRunRequest) for call in servicer.calls)


def ended_run(state: core_pb2.RunState, **more: Any) -> runs_pb2.RunWaitResponse:
    run = core_pb2.Run(run_id=RUN_ID, state=state, **more)
    return runs_pb2.RunWaitResponse(run=run, output=json_payload('{"left": 1}'))


@pytest.mark.parametrize("state", [core_pb2.RUN_STATE_FAILED, core_pb2.RUN_STATE_TIMED_OUT])
async def test_waiting_for_a_run_that_fails(state: core_pb2.RunState) -> None:
    error = core_pb2.RunError(type="ValueError", message="boom", attempt=1)
    async with client_of(answering(ended_run(state, error=error))) as client:
        with pytest.raises(RunFailedError, match=r"^ValueError: boom$") as raised:
            await client.runs.wait(None, "chat")
        told = await client.runs.wait(None, "chat", raise_error=False)
    failed = raised.value.run["error"]
    assert failed is not None
    assert failed["error"] == "ValueError"
    assert told == {"__error__": failed}


async def test_waiting_for_a_run_that_is_cancelled() -> None:
    async with client_of(answering(ended_run(core_pb2.RUN_STATE_CANCELLED))) as client:
        with pytest.raises(RunCancelledError) as raised:
            await client.runs.wait(None, "chat")
        assert await client.runs.wait(None, "chat", raise_error=False) == {"left": 1}
    assert raised.value.run["status"] == "interrupted"


async def test_waiting_can_tell_of_the_run_before_it_ends() -> None:
    servicer = ScriptedRuns([started(1), ended("1-2")])
    servicer.answers = [runs_pb2.JoinRunResponse(run=RUN, output=json_payload("1"))]
    told: list[Any] = []
    async with client_of(servicer) as client:
        assert await client.runs.wait(None, "chat", on_run_created=told.append) == 1
    assert told == [{"run_id": RUN_ID, "thread_id": THREAD_ID}]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_no_server_at_all_is_said_soon_and_with_its_address(closed_port: int) -> None:
    async with asyncio.timeout(60), get_client(f"127.0.0.1:{closed_port}") as client:
        for call in (client.threads.get(THREAD_ID), client.runs.wait(None, "chat")):
            with pytest.raises(UnavailableError, match=f"127.0.0.1:{closed_port}; is it running"):
                await call
        with pytest.raises(UnavailableError, match="is it running"):
            await anext(client.runs.stream(None, "chat"))


TRIED_ONCE = [("grpc.enable_retries", 0)]


async def test_a_call_waits_for_a_server_that_has_been_there() -> None:
    servicer = answering(runs_pb2.GetRunResponse(run=RUN))
    async with AsyncExitStack() as stack:
        async with serve(servicer) as address:
            client = await stack.enter_async_context(get_client(address, options=TRIED_ONCE))
            await client.runs.get(None, RUN_ID)
        calling = asyncio.create_task(client.runs.get(None, RUN_ID), name="calling")
        await asyncio.sleep(0.3)  # for longer than it takes to be refused
        assert not calling.done()
        await stack.enter_async_context(serve(servicer, int(address.rpartition(":")[2])))
        assert (await calling)["run_id"] == RUN_ID


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"timeout": 1}, DeadlineExceededError),
        ({"timeout": None}, UnavailableError),
        ({"reconnect": Reconnect(give_up_after=0)}, UnavailableError),
    ],
    ids=["for its timeout", "not without one", "not if nothing is waited for"],
)
async def test_a_server_that_stays_away_is_waited_for(settings: Any, error: Any) -> None:
    servicer = answering(runs_pb2.GetRunResponse(run=RUN))
    async with AsyncExitStack() as stack:
        async with serve(servicer) as address:
            client = await stack.enter_async_context(
                get_client(address, options=TRIED_ONCE, **settings)
            )
            await client.runs.get(None, RUN_ID)
        with pytest.raises(error):
            await client.runs.get(None, RUN_ID)


class Silent(ScriptedRuns):
    """Never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.called = asyncio.Event()

    async def GetRun(self, request: Any, context: Context) -> Any:
        self.called.set()
        await asyncio.Event().wait()

    async def RunWait(self, request: Any, context: Context) -> Any:
        await asyncio.sleep(0.4)
        return runs_pb2.RunWaitResponse(run=RUN)


async def test_an_answer_that_is_too_large_says_what_to_do() -> None:
    large = runs_pb2.GetRunResponse(run=core_pb2.Run(run_id="x" * 5000))
    options = [("grpc.max_receive_message_length", 1000)]
    async with client_of(answering(large), options=options) as client:
        with pytest.raises(ResourceExhaustedError, match="max_receive_message_length"):
            await client.runs.get(None, RUN_ID)


async def test_an_address_may_be_a_url() -> None:
    servicer = answering(runs_pb2.GetRunResponse(run=RUN))
    async with serve(servicer) as address, get_client(f"http://{address}/") as client:
        assert (await client.runs.get(None, RUN_ID))["run_id"] == RUN_ID
    async with serve(servicer) as address, get_client(f"https://{address}") as client:
        with pytest.raises(UnavailableError):  # there is no TLS
            await client.runs.get(None, RUN_ID)


def test_an_address_has_no_path() -> None:
    with pytest.raises(ValueError, match="http://localhost:2024/api has a path"):
        get_client("http://localhost:2024/api")


async def test_a_call_ends_with_the_clients_timeout_and_a_wait_does_not() -> None:
    async with client_of(Silent(), timeout=0.2) as client:
        with pytest.raises(DeadlineExceededError) as raised:
            await client.runs.get(None, RUN_ID)
        assert isinstance(raised.value, TimeoutError)
        assert await client.runs.wait(None, "chat") is None


async def test_closing_the_client_ends_its_calls_with_an_error() -> None:
    servicer = Silent()
    async with client_of(servicer) as client:
        calling = asyncio.create_task(client.runs.get(None, RUN_ID), name="calling")
        await servicer.called.wait()
        await client.aclose()
        with pytest.raises(UnavailableError, match="closed"):
            await calling
        with pytest.raises(RuntimeError, match="closed"):
            await client.runs.get(None, RUN_ID)
        await client.aclose()


async def test_a_cancelled_call_is_cancelled() -> None:
    async with client_of(Silent()) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.runs.get(None, RUN_ID)


class Listening(ScriptedRuns):
    """Notes what comes with calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []
        self.seconds_left: Any = None

    async def GetRun(self, request: Any, context: Context) -> Any:
        sent = context.invocation_metadata() or ()
        self.seen = [(str(key), str(value)) for key, value in sent if str(key).startswith("x-")]
        self.seconds_left = context.time_remaining()
        return runs_pb2.GetRunResponse(run=RUN)


async def test_headers_of_the_client_and_of_the_call_are_sent() -> None:
    listening = Listening()
    async with client_of(listening, headers={"X-Team": "a", "x-both": "client"}) as client:
        await client.runs.get(None, RUN_ID, headers={"X-Both": "call"})
    assert listening.seen == [("x-team", "a"), ("x-both", "call")]


async def test_an_api_key_is_sent_with_every_call_and_never_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANGSMITH_API_KEY", "for somebody else")
    listening = Listening()
    async with client_of(listening, api_key="k", headers={"x-team": "a"}) as client:
        await client.runs.get(None, RUN_ID)
    assert listening.seen == [("x-team", "a"), ("x-api-key", "k")]
    async with client_of(listening) as client:
        await client.runs.get(None, RUN_ID)
    assert listening.seen == []
    with pytest.raises(ValueError, match="api_key, headers"):
        get_client(api_key="k", headers={"X-API-Key": "l"})


@pytest.mark.parametrize("timeout", [30, (10.0, 20.0), (5, 10, 10, 5)])
async def test_the_limits_of_a_calls_parts_are_that_of_the_call(timeout: Any) -> None:
    listening = Listening()
    async with client_of(listening, timeout=timeout) as client:
        await client.runs.get(None, RUN_ID)
    assert 20 < listening.seconds_left < 31


@pytest.mark.parametrize("timeout", [None, (5.0, None)])
async def test_a_call_of_which_a_part_has_no_limit_has_none(timeout: Any) -> None:
    listening = Listening()
    async with client_of(listening, timeout=timeout) as client:
        await client.runs.get(None, RUN_ID)
    assert listening.seconds_left is None or listening.seconds_left > 10**6


def test_a_timeout_that_is_none_is_refused() -> None:
    wrong: Any = "5s"
    with pytest.raises(TypeError, match="timeout: '5s'"):
        get_client(timeout=wrong)


def test_a_client_is_made_outside_of_a_loop_and_used_on_one() -> None:
    client = get_client("127.0.0.1:1", reconnect=Reconnect(give_up_after=0))

    async def use(client: RunwireClient) -> None:
        with pytest.raises(UnavailableError):
            await client.runs.wait(None, "chat")

    asyncio.run(use(client))
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(use(client))


def test_what_is_public_is_there() -> None:
    assert sorted(package.__all__) == package.__all__
    assert all(hasattr(package, name) for name in package.__all__)
