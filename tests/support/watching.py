"""Looking at servers that tests kill: what is there, what has happened, whether it fits."""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from runwire.client import RunwireClient
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import RunEvent
from runwire.v1.runs_pb2_grpc import RunServiceStub

SYSTEM_GRAPHS = Path(__file__).parents[1] / "system" / "graphs" / "langgraph.json"

PATIENCE_SECONDS = 90.0
"""How long something may take that happens soon on an idle machine."""


async def until(is_so: Callable[[], object], what: str, patience: float = PATIENCE_SECONDS) -> None:
    """Return when something that another process does has happened."""
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, f"not within {patience} seconds: {what}"
        await asyncio.sleep(0.005)


def say(text: str) -> None:
    """Tell a figure; pytest shows it when the test fails, and with -s."""
    sys.stdout.write(f"{text}\n")


class Note(NamedTuple):
    """A line of the ledger that the graphs in `tests/system/graphs` keep."""

    what: str
    label: str
    step: int
    pid: int
    time: float
    run_id: str
    thread_id: str | None


def ledger(directory: Path) -> list[Note]:
    """Return what the graphs wrote down so far, in the order in which it happened."""
    file = directory / "ledger"
    if not file.exists():
        return []
    # A process that is killed may leave a line half written.
    lines = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("}\n")]
    return [Note(**json.loads(line)) for line in lines]


async def until_begun(directory: Path, label: str, step: int) -> None:
    """Return when a superstep of a chain has begun."""
    wanted = ("begin", label, step)
    await until(
        lambda: any((note.what, note.label, note.step) == wanted for note in ledger(directory)),
        f"superstep {step} of {label} begins",
    )


def times_begun(directory: Path, run_id: str) -> Counter[int]:
    """Return how often each superstep of a run has begun."""
    notes = ledger(directory)
    return Counter(note.step for note in notes if (note.what, note.run_id) == ("begin", run_id))


def chain_input(directory: Path, label: str, steps: int = 6, **more: Any) -> dict[str, Any]:
    """Return the input of a chain."""
    fixed = {"label": label, "directory": str(directory), "steps": steps, "left": steps}
    return {**fixed, "seconds": 0.02, "wait_at": -1, **more}


def chain_result(*labels: str, steps: int = 6) -> list[str]:
    """Return what chains leave in `done`, one after the other, when nothing goes wrong."""
    return [f"{label}.{step}" for label in labels for step in range(steps)]


async def done_on(client: RunwireClient, thread_id: str) -> list[str]:
    """Return what chains have left in `done` on a thread."""
    values = (await client.threads.get(thread_id))["values"]
    return list(values["done"]) if values else []


@asynccontextmanager
async def runs_at(address: str) -> AsyncIterator[RunServiceStub]:
    """Give the calls of the run service, without anything that makes up for a lost server."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield RunServiceStub(channel)


async def get_run(address: str, run_id: str) -> core_pb2.Run:
    """Return a run as it travels."""
    async with runs_at(address) as runs:
        return (await runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id))).run


async def read_log(address: str, run_id: str, after: str = "") -> list[RunEvent]:
    """Return a run's events to its end, or those after an id, without the snapshot."""
    request = runs_pb2.JoinRunStreamRequest(run_id=run_id, after_event_id=after)
    async with runs_at(address) as runs:
        call = runs.JoinRunStream(request, timeout=PATIENCE_SECONDS)
        events = [event async for response in call for event in response.events]
    assert events[0].HasField("run")
    return [event for event in events[1:] if not event.HasField("heartbeat")]


def place_of(event: RunEvent) -> tuple[int, int]:
    """Return an event's attempt and index."""
    attempt, _, index = event.id.partition("-")
    return int(attempt), int(index)


def check_log(events: list[RunEvent], run: core_pb2.Run) -> None:
    """Check that a whole log is in order and agrees with the run's row.

    An attempt that was lost may have left nothing, or not its last events.
    """
    places = [place_of(event) for event in events]
    for (attempt, index), following in itertools.pairwise([(0, 0), *places]):
        next_attempt = following > (attempt, index) and following[1] == 1
        assert next_attempt or following == (attempt, index + 1), f"{following} after {index}"
    assert [event for event in events if event.HasField("run_ended")] == [events[-1]]
    for event in events[:-1]:
        assert event.HasField("attempt_started") == (place_of(event)[1] == 1)
        if event.HasField("attempt_started"):
            assert event.attempt_started.attempt == place_of(event)[0]
    ended = events[-1].run_ended
    assert (ended.state, ended.error, ended.cancel) == (run.state, run.error, run.cancel)
    assert ended.end_time == run.end_time
    assert places[-1][0] in (run.attempt, run.attempt + 1)


async def check_run(address: str, run_id: str) -> core_pb2.Run:
    """Return a run that has ended, or ends soon, after checking its log."""
    events = await read_log(address, run_id)
    run = await get_run(address, run_id)
    check_log(events, run)
    return run
