"""What the synchronous client sends and how it bears what comes back, call by call, on a channel
of gRPC's own for tests and in its fake time."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from tests.support.scripted import RUN_ID, THREAD_ID, custom, ended, event, started

from runwire.client import (
    NotFoundError,
    Reconnect,
    StreamPart,
    SyncRunwireClient,
    UnavailableError,
    get_sync_client,
)
from runwire.client.sync import reconnect
from runwire.client.sync.channel import Connection
from runwire.v1 import runs_pb2, threads_pb2

RUNS = runs_pb2.DESCRIPTOR.services_by_name["RunService"].methods_by_name
THREADS = threads_pb2.DESCRIPTOR.services_by_name["ThreadService"].methods_by_name
SOON = 10
"""Seconds for what takes none."""


class Bench:
    """A client whose calls a test takes and answers."""

    def __init__(self, channel: Any, clock: Any, client: SyncRunwireClient) -> None:
        self.channel = channel
        self.clock = clock
        self.client = client

    def start(self, function: Callable[[], Any]) -> "Future[Any]":
        """Have the client do something meanwhile."""
        future: Future[Any] = Future()

        def do() -> None:
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - the test is told
                future.set_exception(error)

        # A thread that nobody waits for: a test that fails leaves it in its call.
        Thread(target=do, daemon=True).start()
        return future

    def take(self, method: MethodDescriptor) -> tuple[Any, Any, Any]:
        """Return the metadata, the request and the rest of the client's next call."""
        if method.server_streaming:
            return self.channel.take_unary_stream(method)  # type: ignore[no-any-return]
        return self.channel.take_unary_unary(method)  # type: ignore[no-any-return]


@pytest.fixture
def rest() -> Callable[[Connection, float], None]:
    """Return what the bench puts its own time in place of."""
    return Connection.rest


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    clock = grpc_testing.strict_fake_time(0)
    descriptors = [runs_pb2.DESCRIPTOR, threads_pb2.DESCRIPTOR]
    services = [one for file in descriptors for one in file.services_by_name.values()]
    channel = grpc_testing.channel(services, clock)
    monkeypatch.setattr(grpc, "insecure_channel", lambda *_: channel)
    monkeypatch.setattr(Connection, "rest", lambda _, seconds: clock.sleep_for(seconds))
    monkeypatch.setattr(reconnect.time, "monotonic", clock.time)
    policy = Reconnect(first_pause=1, longest_pause=8, give_up_after=60)
    client = get_sync_client("agents:1", headers={"Authorization": "me"}, reconnect=policy)
    return Bench(channel, clock, client)


def end(rpc: Any, code: grpc.StatusCode, details: str = "", reason: str = "") -> None:
    """Let a stream fail, as a Runwire server does if there is a reason."""
    metadata: tuple[Any, ...] = ()
    if reason:
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=details)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="runwire.dev"))
        metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    rpc.terminate(metadata, code, details)


def send(rpc: Any, *events: Any) -> None:
    rpc.send_response(runs_pb2.RunStreamResponse(events=events))


def test_a_call_carries_what_the_client_was_given(bench: Bench) -> None:
    asked = bench.start(lambda: bench.client.threads.get(THREAD_ID, headers={"X-Trace": "1"}))
    metadata, request, rpc = bench.take(THREADS["GetThread"])
    assert {("authorization", "me"), ("x-trace", "1")} <= {tuple(one) for one in metadata}
    assert request.thread_id == THREAD_ID
    found = threads_pb2.GetThreadResponse()
    found.thread.thread_id = THREAD_ID
    found.thread.state = threads_pb2.THREAD_STATE_IDLE
    rpc.terminate(found, (), grpc.StatusCode.OK, "")
    assert asked.result(SOON)["thread_id"] == THREAD_ID


def following(
    bench: Bench, stream: Iterator[StreamPart]
) -> tuple["Future[Any]", "SimpleQueue[StreamPart]"]:
    """Have the client read a stream; its parts come out of a queue, so that a test knows what has
    been read: the channel forgets the rest when a call fails."""
    parts: SimpleQueue[StreamPart] = SimpleQueue()

    def read() -> None:
        for part in stream:
            parts.put(part)

    return bench.start(read), parts


def test_a_stream_that_breaks_is_taken_up_after_the_last_event(bench: Bench) -> None:
    stream = bench.client.runs.stream(THREAD_ID, "chat", stream_mode="custom")
    reading, parts = following(bench, stream)
    _, first, rpc = bench.take(RUNS["RunStream"])
    assert first.request_id
    send(rpc, event(run={"run_id": RUN_ID}), started(1), custom("1-2", "2"))
    assert [parts.get(timeout=SOON).event for _ in range(2)] == ["metadata", "custom"]
    end(rpc, grpc.StatusCode.UNAVAILABLE, "shutting down", "DRAINING")
    _, again, rpc = bench.take(RUNS["JoinRunStream"])
    assert (again.run_id, again.after_event_id) == (RUN_ID, "1-2")
    send(rpc, event(run={"run_id": RUN_ID}), custom("1-3", "3"), ended("1-4"))
    rpc.terminate((), grpc.StatusCode.OK, "")
    reading.result(SOON)
    left = [parts.get(timeout=SOON) for _ in range(parts.qsize())]
    assert [(part.event, part.id) for part in left] == [("custom", "1-3"), ("end", "1-4")]


@pytest.mark.parametrize(("told", "longest"), [("gone", 8), ("failed to connect", 1)])
def test_a_server_that_stays_away_is_given_up_when_it_is_time(
    bench: Bench, told: str, longest: float
) -> None:
    reading, parts = following(bench, bench.client.runs.stream(None, "chat"))
    _, _, rpc = bench.take(RUNS["RunStream"])
    send(rpc, event(run={"run_id": RUN_ID}), started(1))
    assert parts.get(timeout=SOON).event == "metadata"
    end(rpc, grpc.StatusCode.UNAVAILABLE, told)
    tries = []
    while True:
        trying = bench.start(lambda: bench.take(RUNS["JoinRunStream"]))
        wait([reading, trying], SOON, FIRST_COMPLETED)
        if reading.done():
            break
        tries.append(bench.clock.time())
        end(trying.result(SOON)[2], grpc.StatusCode.UNAVAILABLE, told)
    with pytest.raises(UnavailableError, match=told):
        reading.result(SOON)
    assert bench.clock.time() == pytest.approx(60)
    pauses = [later - earlier for earlier, later in zip([0, *tries], tries, strict=False)]
    if longest > 1:
        assert [round(pause) for pause in pauses[:2]] in ([1, 2], [1, 3])
    assert max(pauses) <= longest * 1.25


@pytest.mark.parametrize("what", ["a stream", "a wait"])
def test_a_server_that_comes_and_goes_is_not_given_up_although_it_has_nothing_to_say(
    bench: Bench, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may wait for long, and so may those who wait for it."""
    said: SimpleQueue[None] = SimpleQueue()
    hear = reconnect.Outage.heard
    heard = lambda outage: said.put(hear(outage))  # noqa: E731
    monkeypatch.setattr(reconnect.Outage, "heard", heard)
    if what == "a stream":
        method = RUNS["JoinRunStream"]
        reading = bench.start(lambda: list(bench.client.runs.join_stream(None, RUN_ID)))
    else:
        method = RUNS["JoinRun"]
        bench.client._connection.reached = True  # which this channel cannot tell by itself
        reading = bench.start(lambda: bench.client.runs.join(None, RUN_ID))
    while bench.clock.time() < 100:
        rpc = bench.take(method)[2]
        if what == "a stream":
            send(rpc, event(run={"run_id": RUN_ID}))
            said.get(timeout=SOON)
        bench.clock.sleep_for(3)
        gone: Any = ((), grpc.StatusCode.UNAVAILABLE, "Socket closed")
        rpc.terminate(*gone) if what == "a stream" else rpc.terminate(None, *gone)
    assert not reading.done()
    rpc = bench.take(method)[2]
    if what == "a stream":
        send(rpc, event(run={"run_id": RUN_ID}), ended("1-1"))
        rpc.terminate((), grpc.StatusCode.OK, "")
    else:
        joined = runs_pb2.JoinRunResponse()
        joined.run.run_id = RUN_ID
        rpc.terminate(joined, (), grpc.StatusCode.OK, "")
    reading.result(SOON)


@pytest.mark.parametrize("what", ["a stream", "a wait"])
def test_what_answers_late_for_a_server_that_is_away_does_not_hold_one_for_ever(
    bench: Bench, what: str
) -> None:
    """As a proxy does that first tries for a while to reach the server itself."""
    bench.client._connection.reached = True
    lost: list[UnavailableError] = []
    bench.client._connection.reconnect = Reconnect(give_up_after=60, on_lost=lost.append)
    runs = bench.client.runs
    if what == "a stream":
        method = RUNS["JoinRunStream"]
        reading = bench.start(lambda: list(runs.join_stream(None, RUN_ID)))
    else:
        method = RUNS["JoinRun"]
        reading = bench.start(lambda: runs.join(None, RUN_ID))
    while bench.clock.time() < 200:
        trying = bench.start(lambda: bench.take(method)[2])
        wait([reading, trying], SOON, FIRST_COMPLETED)
        if reading.done():
            break
        bench.clock.sleep_for(3)
        away = "upstream connect error or disconnect/reset before headers: Socket closed"
        gone: Any = ((), grpc.StatusCode.UNAVAILABLE, away)
        rpc = trying.result(SOON)
        rpc.terminate(*gone) if what == "a stream" else rpc.terminate(None, *gone)
    with pytest.raises(UnavailableError, match="upstream"):
        reading.result(SOON)
    assert len(lost) == 1


def test_an_error_that_is_none_of_the_connection_ends_a_stream(bench: Bench) -> None:
    reading = bench.start(lambda: list(bench.client.runs.join_stream(None, RUN_ID)))
    _, _, rpc = bench.take(RUNS["JoinRunStream"])
    end(rpc, grpc.StatusCode.NOT_FOUND, "there is no run", "RUN_NOT_FOUND")
    with pytest.raises(NotFoundError, match="there is no run") as raised:
        reading.result(SOON)
    assert raised.value.reason == "RUN_NOT_FOUND"


def test_a_closed_client_says_so(bench: Bench) -> None:
    bench.client.close()
    with pytest.raises(RuntimeError, match="closed"):
        bench.client.threads.get(THREAD_ID)


def test_closing_ends_a_pause_between_tries(
    rest: Callable[[Connection, float], None], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "rest", rest)
    lost = Event()
    bench.client._connection.reconnect = Reconnect(
        first_pause=1000, longest_pause=1000, give_up_after=1000, on_lost=lambda _: lost.set()
    )
    bench.client._connection.reached = True
    reading = bench.start(lambda: list(bench.client.runs.join_stream(None, RUN_ID)))
    end(bench.take(RUNS["JoinRunStream"])[2], grpc.StatusCode.UNAVAILABLE, "gone")
    assert lost.wait(SOON)
    bench.client.close()
    with pytest.raises(UnavailableError, match="closed"):
        reading.result(SOON)


def test_a_client_that_is_closed_while_it_opens_opens_no_more(bench: Bench) -> None:
    connection = bench.client._connection
    with connection._opening:
        calling = bench.start(lambda: connection.services)
        closing = bench.start(bench.client.close)
        wait([calling, closing], 0.1, FIRST_COMPLETED)
        assert not closing.done()
        connection.closed = True
    with pytest.raises(RuntimeError, match="closed"):
        calling.result(SOON)
    closing.result(SOON)
    assert connection._channel is None
