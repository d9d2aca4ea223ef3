"""A supervisor whose servers are quick to start: they do nothing but what a test wants of them.

As a module it is both programs: `supervise` runs a supervisor, `serve` is one of its servers.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from runwire.server import supervisor
from runwire.server.seat import Seat
from runwire.server.settings import SEAT_VARIABLE, Settings
from tests.support.environments import clean_environment

PATIENCE_SECONDS = 60.0
ROOT = Path(__file__).parents[2]


@dataclass
class Supervised:
    """A supervisor in a process of its own, and what it and its servers said."""

    log_file: Path
    process: "subprocess.Popen[bytes]"

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Return the lines logged so far, all or those about an event."""
        text = self.log_file.read_text()
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if not event or line["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Return the lines about an event once there are `count` of them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found := self.lines(event)) < count:
            assert time.monotonic() < deadline, self.log_file.read_text()
            time.sleep(0.005)
        return found

    def pids(self) -> dict[int, int]:
        """Return the newest process of each server, by its number."""
        return {
            line["server_process"]: line["pid"] for line in self.lines("a server process is up")
        }

    def terminate(self) -> int:
        """Ask the supervisor to stop; return its exit code when it has."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Return the exit code when the supervisor has ended."""
        return self.process.wait(PATIENCE_SECONDS)


def wait_gone(pid: int) -> None:
    """Return when there is no such process any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def supervised(
    directory: Path,
    how: str = "well",
    *,
    processes: int = 2,
    drain_seconds: float = 5,
    bind: str = "127.0.0.1:0",
) -> Iterator[Supervised]:
    """Give a supervisor of servers that behave as `how` says; see `_serve`."""
    log_file = directory / "log"
    arguments = ["supervise", str(directory), how, str(processes), str(drain_seconds), bind]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.supervised", *arguments],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Supervised(log_file, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _supervise(directory: str, how: str, processes: str, drain_seconds: str, bind: str) -> int:
    for name in ("CLOSE_SECONDS", "KILL_SECONDS", "FIRST_PAUSE_SECONDS"):
        setattr(supervisor, name, 0.05)
    settings = Settings.model_construct(
        bind=bind,
        processes=int(processes),
        drain_grace=timedelta(seconds=float(drain_seconds)),
        log_format="json",
        log_level="info",
    )
    command = [sys.executable, "-m", "tests.support.supervised", "serve", directory, how]
    return supervisor.supervise(settings, command)


def _serve(directory: str, how: str, *flags: str) -> None:
    seat = Seat.parse(os.environ[SEAT_VARIABLE])
    seat.hold()
    starts = Path(directory) / f"starts-{seat.number}"
    with starts.open("a") as file:
        file.write(f"{os.getpid()}\n")
    is_first = len(starts.read_text().splitlines()) == 1
    if how == "never" or (how == "once" and not is_first):
        sys.exit(3)
    # "silent" servers never say that they are up, "slow" ones take their time to stop, "deaf" ones
    # never do; of "insisting" ones each signal but the first ends one.
    heard = 0

    def hear(number: int, frame: object) -> None:
        nonlocal heard
        heard += 1
        with (Path(directory) / f"heard-{seat.number}").open("a") as file:
            file.write(f"{heard}\n")
        if how == "slow":
            time.sleep(0.3)
        if how == "insisting" and heard > 1:
            os._exit(1)
        if how not in ("deaf", "insisting"):
            os._exit(0)

    signal.signal(signal.SIGTERM, hear)
    if how != "silent":
        seat.report({"banner": "", "facts": {"flags": list(flags)}})
    while True:
        # Not `signal.pause`: a signal that comes just before it would be slept over.
        time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[1] == "supervise":
        sys.exit(_supervise(*sys.argv[2:]))
    _serve(*sys.argv[2:])
