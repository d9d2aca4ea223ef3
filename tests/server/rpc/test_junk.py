"""Bytes of any kind on every method: each call is refused precisely, and nobody is bothered."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from tests.server.rpc.conftest import Served
from tests.support.statuses import Failure

from runwire.server.rpc.reflection import ALPHA, STABLE
from runwire.server.rpc.server import SERVICES
from runwire.v1 import core_pb2, runs_pb2, threads_pb2

AT_ONCE = 100

counts = pytest.mark.parametrize("count", [200, pytest.param(2_000, marks=pytest.mark.chaos)])

OURS = [
    (f"/{service}/{method.name}", method.server_streaming)
    for service in SERVICES
    for method in descriptor_pool.Default().FindServiceByName(service).methods
]
OTHERS = [
    ("/grpc.health.v1.Health/Check", False),
    ("/grpc.health.v1.Health/Watch", True),
    (f"/{ALPHA}/ServerReflectionInfo", True),
    (f"/{STABLE}/ServerReflectionInfo", True),
]

GROUPS = b"\x0b" * 200
"""Groups, one in the other: proto3 has none, parsers still read them."""


def random_payloads(seed: str, count: int) -> Iterator[bytes]:
    """Yield noise of many lengths, none of which is a message by its first byte alone."""
    randomness = random.Random(seed)
    yield GROUPS
    for _ in range(count - 1):
        length = randomness.choice((1, 2, 3, 8, 20, 100, 1_000))
        yield randomness.randbytes(length)


def mutated(seed: str, message: bytes, count: int) -> Iterator[bytes]:
    """Yield a valid message with a few bytes changed, inserted or cut out."""
    randomness = random.Random(seed)
    for _ in range(count):
        data = bytearray(message)
        for _ in range(randomness.randint(1, 4)):
            place = randomness.randrange(len(data))
            match randomness.randrange(3):
                case 0:
                    data[place] = randomness.randrange(256)
                case 1:
                    data.insert(place, randomness.randrange(256))
                case _:
                    del data[place : place + randomness.randint(1, 3)]
        yield bytes(data)


async def call(served: Served, path: str, streaming: bool, payload: bytes) -> Failure | None:
    """Return how a call with raw bytes failed; None if it did not."""
    try:
        if not streaming:
            await served.channel.unary_unary(path)(payload, timeout=10)
            return None
        stream: Any
        if "Reflection" in path:
            stream = served.channel.stream_stream(path)(timeout=10)
            await stream.write(payload)
        else:
            stream = served.channel.unary_stream(path)(payload, timeout=10)
        await stream.read()
        stream.cancel()
    except grpc.aio.AioRpcError as error:
        return Failure(error)
    return None


async def outcomes(
    served: Served, path: str, streaming: bool, payloads: Iterator[bytes]
) -> Counter[str]:
    """Call with every payload; count the reasons, or codes, of the failures."""
    slots = asyncio.Semaphore(AT_ONCE)
    counted: Counter[str] = Counter()

    async def one(payload: bytes) -> None:
        async with slots:
            failure = await call(served, path, streaming, payload)
        if failure is None:
            counted["OK"] += 1
        else:
            if failure.reason == "INVALID_FIELD":
                assert failure.fields, "the field is named"
            counted[failure.reason or failure.code] += 1

    await asyncio.gather(*map(one, payloads))
    return counted


def is_quiet(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether nobody had to be told of the calls, ourselves least of all."""
    voices = ("asyncio", "grpc", "runwire.server.rpc")
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return not [record for record in loud if record.name.startswith(voices)]


@counts
@pytest.mark.parametrize(
    ("path", "streaming"), OURS, ids=lambda value: str(value).rpartition("/")[2]
)
async def test_noise_is_refused_and_makes_no_noise(
    served: Served, caplog: pytest.LogCaptureFixture, path: str, streaming: bool, count: int
) -> None:
    counted = await outcomes(served, path, streaming, random_payloads(path, count))
    # Some noise is a message with nothing but unknown fields, which is as good as an empty one.
    assert counted.keys() <= {"INVALID_REQUEST", "INVALID_FIELD", "OK"}
    assert counted["INVALID_REQUEST"] > count / 2
    assert is_quiet(caplog)


@counts
@pytest.mark.parametrize(("path", "streaming"), OTHERS)
async def test_noise_is_refused_by_the_standard_services_too(
    served: Served, caplog: pytest.LogCaptureFixture, path: str, streaming: bool, count: int
) -> None:
    counted = await outcomes(served, path, streaming, random_payloads(path, count))
    assert counted.keys() <= {"INVALID_REQUEST", "NOT_FOUND", "OK"}
    assert counted["INVALID_REQUEST"] > count / 2
    assert is_quiet(caplog)


SPEC = core_pb2.RunSpec(
    assistant_id="echo",
    thread_id="0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d",
    input={"json": '{"text": "hi", "n": [1, 2.5, null, {"deep": true}]}'},
    config={"tags": ["t"], "recursion_limit": 5, "configurable": {"json": '{"a": 1}'}},
    stream_modes=[core_pb2.STREAM_MODE_VALUES],
    if_thread_missing=core_pb2.IF_THREAD_MISSING_CREATE,
    start_delay={"seconds": 3600},
)
SPEC.context.value.struct_value.fields["a"].number_value = 1.5

NEARLY_RIGHT = {
    "CreateRun": runs_pb2.CreateRunRequest(spec=SPEC, request_id="r"),
    "BatchCreateRuns": runs_pb2.BatchCreateRunsRequest(specs=[SPEC, SPEC]),
    "ListRuns": runs_pb2.ListRunsRequest(
        states=[1, 2], metadata={"json": '{"a": {"b": 1}}'}, page_size=5
    ),
    "CancelRuns": runs_pb2.CancelRunsRequest(thread_id=SPEC.thread_id, states=[1]),
}


@counts
@pytest.mark.parametrize("method", NEARLY_RIGHT)
async def test_what_is_nearly_right_never_is_a_defect(
    served: Served, caplog: pytest.LogCaptureFixture, method: str, count: int
) -> None:
    payloads = mutated(method, NEARLY_RIGHT[method].SerializeToString(), count)
    counted = await outcomes(served, f"/runwire.v1.RunService/{method}", False, payloads)
    expected = {"INVALID_REQUEST", "INVALID_FIELD", "OK"}
    assert counted.keys() <= expected | {
        "ASSISTANT_NOT_FOUND",
        "THREAD_NOT_FOUND",
        "REQUEST_ID_REUSED",
    }
    assert counted["INVALID_REQUEST"]
    assert is_quiet(caplog)


async def test_a_state_update_that_is_nearly_right_never_is_a_defect(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    thread = await served.threads.CreateThread(threads_pb2.CreateThreadRequest())
    request = threads_pb2.UpdateThreadStateRequest(
        thread_id=thread.thread.thread_id,
        values={"json": '{"text": "a"}'},
        as_node="answer",
        assistant_id="echo",
    )
    payloads = mutated("update", request.SerializeToString(), 300)
    path = "/runwire.v1.ThreadService/UpdateThreadState"
    counted = await outcomes(served, path, False, payloads)
    assert "INTERNAL" not in counted
    assert is_quiet(caplog)
