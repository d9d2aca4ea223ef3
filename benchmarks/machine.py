"""The machine: processes that are measured, and how fast and how busy it is itself."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.jobs import Job, Measured

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
JOB_SECONDS = 60.0
BUSY_PERCENT = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is up."""

    port: int
    pid: int

    @property
    def rss_mb(self) -> float:
        """The memory that it has, in MB of 10^6 bytes."""
        return float(psutil.Process(self.pid).memory_info().rss / 1e6)


@contextmanager
def launched(log: Path, *arguments: str) -> Iterator[Callable[[], Server]]:
    """Run a server, as `python -m` with `arguments`, for the duration of a block; give a function
    that waits until it is up.

    It listens on loopback, on a port that it chooses and tells in a line of JSON.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield lambda: Server(_port(process, log), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def runwire(database: Path, *flags: str) -> tuple[str, ...]:
    """Return the arguments of our own server, with its defaults but for `flags`."""
    return (
        *("runwire.server", "serve", "--config", str(ROOT / "benchmarks" / "langgraph.json")),
        *("--bind", "127.0.0.1:0", "--database-url", f"sqlite:///{database}"),
        *flags,
    )


def run_jobs(module: str, *jobs: Job) -> list[Measured]:
    """Do jobs in a fresh process and return what was measured."""
    finished = subprocess.run(
        [sys.executable, "-m", module, *(job.to_json() for job in jobs)],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        timeout=JOB_SECONDS,
        check=True,
    )
    return [json.loads(line) for line in finished.stdout.splitlines()]


def _environment() -> dict[str, str]:
    """Return the environment without what would change a server's defaults."""
    strangers = ("RUNWIRE_", "DATABASE_URL", "LANGCHAIN_", "LANGSMITH_", "LANGGRAPH_")
    return {name: value for name, value in os.environ.items() if not name.startswith(strangers)}


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.perf_counter() + START_SECONDS
    while time.perf_counter() < deadline and process.poll() is None:
        for line in _json_lines(log):
            if "port" in line:
                return int(line["port"])
        time.sleep(0.02)
    raise RuntimeError(f"a server did not start: {log.read_text()[-2000:]}")


def _json_lines(log: Path) -> Iterator[dict[str, int]]:
    for line in log.read_text().splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)


def describe(packages: Sequence[str] = ("grpcio", "langgraph", "protobuf", "sqlalchemy")) -> str:
    """Return the machine in one line."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def calibrate() -> float:
    """Return how long a fixed loop takes at best, in ms: the machine's speed now."""
    return min(_loop() for _ in range(5)) * 1e3


def _loop() -> float:
    start = time.perf_counter()
    total = 0
    for i in range(300_000):
        total += i % 7
    return time.perf_counter() - start


def busy_percent() -> float:
    """Return how busy the machine is while nothing is measured."""
    return psutil.cpu_percent(interval=0.2)
