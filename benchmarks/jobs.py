"""What one measurement is asked to do, and how it is counted."""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import psutil

Kind = Literal["wait", "stream", "record", "first_event", "turns", "naps", "cancel"]
Measured = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One measurement, made by a process of its own.

    `seconds` is how long callers go on starting runs. `pid` is the process whose CPU time counts.
    `recording` names what is recorded and replayed, into and from `directory`.
    """

    kind: Kind
    graph: str = ""
    callers: int = 1
    seconds: float = 1.0
    input: dict[str, Any]
    turns: int = 20
    port: int = 0
    pid: int = 0
    recording: str = ""
    directory: str = ""

    def to_json(self) -> str:
        """Return the job as `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the job that a command line carries."""
        return cls(**json.loads(text))


class Meter:
    """Wall and CPU time of a block, the CPU time being that of one process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid or None)

    def __enter__(self) -> Self:
        self._cpu = self._cpu_seconds()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_error: object) -> None:
        self.wall = time.perf_counter() - self._start
        self.cpu = self._cpu_seconds() - self._cpu

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rate(self, count: int) -> Measured:
        """Return what `count` operations in the block come to."""
        return {"rate": count / self.wall, "cpu_us": self.cpu / count * 1e6}


def latency(seconds: Sequence[float], prefix: str = "") -> Measured:
    """Return median and 99th percentile in ms."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {f"{prefix}p50_ms": statistics.median(ordered) * 1e3, f"{prefix}p99_ms": p99 * 1e3}


async def repeat(job: Job, once: Callable[[], Awaitable[int]]) -> Measured:
    """Let the job's callers do something over and over; return how often it happened, by the
    counts that `once` returns, and how long one time took."""
    await once()
    took: list[float] = []
    total = 0

    async def call(until: float) -> None:
        nonlocal total
        while (start := time.perf_counter()) < until:
            done = await once()
            total += done  # after the await: others add to it meanwhile
            took.append(time.perf_counter() - start)

    with Meter(job.pid) as meter:
        until = time.perf_counter() + job.seconds
        await asyncio.gather(*(call(until) for _ in range(job.callers)))
    return {**meter.rate(total), **latency(took)}


async def take_turns(
    job: Job, turn: Callable[[str, int], Awaitable[None]], threads: Sequence[str]
) -> Measured:
    """Let every thread take its turns one after the other, all threads at the same time."""

    async def converse(thread: str) -> None:
        for number in range(1, job.turns + 1):
            await turn(thread, number)

    with Meter(job.pid) as meter:
        await asyncio.gather(*(converse(thread) for thread in threads))
    return meter.rate(job.turns * len(threads))
