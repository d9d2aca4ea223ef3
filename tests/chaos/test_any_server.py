"""How long it takes from one server to another: a start, an event, a cancel."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import RunEvent
from runwire.v1.payload_pb2 import Payload
from runwire.v1.runs_pb2_grpc import RunServiceStub
from tests.support.replicas import quantile, replica_processes
from tests.support.serving import SUPPORT_GRAPHS, ServerProcess
from tests.support.watching import runs_at, say

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

TIMES = ("--lease=2s", "--beat-interval=500ms", "--sweep-interval=500ms")
UNTOLD = "--faults=notifications.send:raise"
ROUNDS = 100


def spec_of(graph_id: str, **run_input: object) -> core_pb2.RunSpec:
    return core_pb2.RunSpec(
        assistant_id=graph_id,
        input=Payload(json=json.dumps(run_input)),
        stream_modes=[core_pb2.STREAM_MODE_CUSTOM],
    )


async def measure(
    once: Callable[[], Awaitable[float]], rounds: int = ROUNDS, pause: float = 0.01
) -> list[float]:
    """Return what `once` gives, again and again."""
    seconds = []
    for _ in range(rounds):
        seconds.append(await once())
        await asyncio.sleep(pause)
    return seconds


def tell(what: str, seconds: list[float]) -> tuple[float, float]:
    """Say and return the median of some durations, and the 99th percentile, in milliseconds."""
    half, most = quantile(seconds, 0.5), quantile(seconds, 0.99)
    say(f"{what}: p50 {half:.1f} ms, p99 {most:.1f} ms ({len(seconds)} times)")
    return half, most


@pytest.mark.parametrize(("flags", "limits"), [((), (30, 150)), ((UNTOLD,), (1000, 1500))])
async def test_a_run_that_one_server_takes_starts_on_another(
    tmp_path: Path, postgres_url: str, flags: tuple[str, ...], limits: tuple[int, int]
) -> None:
    taking, working = ("--no-runner", *TIMES, *flags), (*TIMES, *flags)
    async with (
        replica_processes(
            tmp_path, postgres_url, taking, working, working, graphs=SUPPORT_GRAPHS
        ) as servers,
        runs_at(servers[0].address) as runs,
    ):
        told: list[float] = []

        async def start() -> float:
            began = time.monotonic()
            responses = runs.RunStream(runs_pb2.RunStreamRequest(spec=spec_of("echo")))
            events: list[RunEvent] = []
            async for response in responses:
                events += response.events
                if any(event.HasField("attempt_started") for event in events) and not told_now:
                    told_now.append(time.monotonic() - began)
            told.append(told_now.pop())
            run_id = events[0].run.run_id
            run = (await runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id))).run
            waited = run.start_time.ToDatetime() - run.create_time.ToDatetime()
            return waited.total_seconds()

        told_now: list[float] = []
        await measure(start, 5)  # until everything is warm
        told.clear()
        started = await measure(start, ROUNDS if not flags else 30)
    name = "without notifications" if flags else "with notifications"
    half, most = tell(f"create to start across servers, {name}", started)
    tell(f"create to first event across servers, {name}", told)
    assert (half <= limits[0], most <= limits[1]) == (True, True)


@pytest.mark.parametrize(("flags", "limit"), [((), 100), ((UNTOLD,), 1000)])
async def test_a_cancel_at_one_server_stops_a_run_on_another(
    tmp_path: Path, postgres_url: str, flags: tuple[str, ...], limit: int
) -> None:
    async with (
        replica_processes(
            tmp_path,
            postgres_url,
            ("--no-runner", *TIMES, *flags),
            (*TIMES, *flags),
            graphs=SUPPORT_GRAPHS,
        ) as servers,
        runs_at(servers[0].address) as asking,
        runs_at(servers[1].address) as executing,
    ):

        async def cancel() -> float:
            run_id = await begin(executing, servers[1])
            began = time.monotonic()
            request = runs_pb2.CancelRunRequest(run_id=run_id, wait=True)
            # Its owner sees it end first: how long the caller waits for that is another matter.
            join = executing.JoinRun(runs_pb2.JoinRunRequest(run_id=run_id))
            waiting = asyncio.ensure_future(asking.CancelRun(request))
            run = (await join).run
            ended = time.monotonic() - began
            assert run.state == core_pb2.RUN_STATE_CANCELLED
            assert (await waiting).run.state == core_pb2.RUN_STATE_CANCELLED
            answered.append(time.monotonic() - began)
            return ended

        answered: list[float] = []
        await measure(cancel, 3)
        answered.clear()
        ended = await measure(cancel, ROUNDS if not flags else 30, 0.013)
    name = "without notifications" if flags else "with notifications"
    _, most = tell(f"cancel to its run's end on another server, {name}", ended)
    tell(f"cancel and wait at another server, {name}", answered)
    assert most <= limit


async def begin(runs: RunServiceStub, server: ServerProcess) -> str:
    """Return the id of a run whose code is at work on a server."""
    responses = runs.RunStream(runs_pb2.RunStreamRequest(spec=spec_of("slow_async", seconds=60)))
    async for response in responses:
        for event in response.events:
            if event.HasField("custom"):
                responses.cancel()
                return event.run_id
    raise AssertionError(f"the run ended on {server.address}")
