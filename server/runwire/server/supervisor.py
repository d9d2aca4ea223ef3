"""`--processes`: servers that share a port, started, watched and stopped by a process of its own.

The supervisor answers no calls and executes no runs: it imports neither gRPC, which does not
survive a fork, nor the graphs. Each server is a fresh interpreter that gets the supervisor's
command line and environment, a port that all of them listen on, and a line to the supervisor.
"""

import asyncio
import errno
import json
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runwire.server.exits import CLOSE_SECONDS, FAILED, STOPPED, say_why
from runwire.server.log_output import configure_logs, is_pretty
from runwire.server.ports import held_port
from runwire.server.seat import Seat
from runwire.server.settings import SEAT_VARIABLE, Settings, unknown_variables
from runwire.server.signals import StopSignals

_logger = logging.getLogger(__name__)

STEADY_SECONDS = 60.0
"""A server that has lived this long is started again at once when it dies."""

FIRST_PAUSE_SECONDS = 0.5
"""How long to wait before a server is started again that died young twice; doubled each time."""

LONGEST_PAUSE_SECONDS = 30.0
"""How long to wait at most."""

MAX_FAILED_STARTS = 5
"""Starts that may fail one after the other, of whichever servers, before all is given up."""

KILL_SECONDS = 5.0
"""How much longer than it may take to stop a server is waited for before it is killed."""


class CannotStart(Exception):
    """Servers do not come up. The message is the reason."""


def supervise(settings: Settings, command: Sequence[str]) -> int:
    """Run `settings.processes` servers, each by `command` and a few flags of its own, until a
    signal says to stop; return the process's exit code."""
    configure_logs(settings.log_level, settings.log_format)
    for name in unknown_variables():
        _logger.warning("%s is not a setting: see runwire serve --help", name)
    try:
        with held_port(settings.bind) as address:
            own = [*command, f"--bind={address}", "--processes=1"]
            return asyncio.run(Supervisor(settings, own).run())
    except CannotStart as error:
        say_why(settings.log_format, error)
    except OSError as error:
        why = "the address is in use" if error.errno == errno.EADDRINUSE else error.strerror
        reason = CannotStart(f"cannot listen on {settings.bind}: {why or error}")
        say_why(settings.log_format, reason)
    return FAILED


@dataclass(slots=True)
class _Server:
    """A server process, since when it has run, and whether it said that it is up. Its line stays
    open as long as it lives: its end would tell it that its supervisor is gone."""

    number: int
    process: Process
    line: socket.socket
    began: float
    is_up: bool = False


class Supervisor:
    """Keeps servers running."""

    def __init__(self, settings: Settings, command: Sequence[str]) -> None:
        self._settings = settings
        self._command = command
        self._servers: dict[int, _Server] = {}
        self._first_is_up = asyncio.Event()
        self._awaited = set(range(1, settings.processes + 1))
        self._failed_starts = 0
        self._stopping = False

    async def run(self) -> int:
        """Run servers until a signal says to stop; return the exit code. Raises `CannotStart`."""
        signals = StopSignals(on_first=self._stop, on_further=self._terminate)
        with signals.received():
            tasks = [asyncio.create_task(self._keep(number)) for number in self._awaited]
            tasks.append(asyncio.create_task(signals.requested()))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                statuses = await self._wait_stopped()
                for server in self._servers.values():
                    server.line.close()
            for task in done:
                task.result()
        _logger.info("stopped")
        # A server that was told before it could listen to that has ended by the signal.
        return STOPPED if statuses <= {0, -signal.SIGTERM} else FAILED

    # ------------------------------------------------------------------ one server

    async def _keep(self, number: int) -> None:
        """Have a server with this number run, and run again whenever it has died."""
        # The first one comes up alone: what keeps it from that, it says once, and not as often as
        # there are servers.
        if number > 1:
            await self._first_is_up.wait()
        early_deaths = 0
        while True:
            server, status = await self._run(number)
            if not server.is_up:
                self._count_failed_start(number, status)
            lived = time.monotonic() - server.began
            early_deaths = 0 if lived > STEADY_SECONDS else early_deaths + 1
            pause = _pause(early_deaths)
            facts = {"server_process": number, "pid": server.process.pid, "status": status}
            _logger.warning("a server process died", extra={**facts, "restart_seconds": pause})
            await asyncio.sleep(pause)

    async def _run(self, number: int) -> tuple[_Server, int]:
        """Start a server; return it, and its exit status, when it has ended."""
        server = await self._start(number)
        ended = asyncio.create_task(server.process.wait())
        said = asyncio.create_task(_read_line(server.line))
        try:
            await asyncio.wait([ended, said], return_when=asyncio.FIRST_COMPLETED)
            if said.done() and (line := said.result()):
                self._note_up(server, json.loads(line))
            status = await ended
        finally:
            said.cancel()
            ended.cancel()
        server.line.close()
        if not self._stopping:
            # What has died before says nothing about the end of the others.
            del self._servers[number]
        return server, status

    async def _start(self, number: int) -> _Server:
        here, there = socket.socketpair()
        here.setblocking(False)
        seat = Seat(number, there)
        with there:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, SEAT_VARIABLE: seat.describe()},
                stdin=DEVNULL,
                pass_fds=[there.fileno()],
                # A terminal's Ctrl-C is for the supervisor, which passes it on once.
                process_group=0,
            )
        server = _Server(number, process, here, time.monotonic())
        self._servers[number] = server
        if self._stopping:
            # It was not there yet when the others were told.
            _terminate(server)
        return server

    def _note_up(self, server: _Server, report: dict[str, Any]) -> None:
        server.is_up = True
        self._failed_starts = 0
        self._first_is_up.set()
        facts = {"server_process": server.number, "pid": server.process.pid}
        _logger.info("a server process is up", extra=facts)
        if server.number in self._awaited:
            self._awaited.remove(server.number)
            if not self._awaited:
                self._announce(report)

    def _announce(self, report: dict[str, Any]) -> None:
        """Say once what all servers have in common."""
        if is_pretty(self._settings.log_format, sys.stderr):
            sys.stderr.write(report["banner"])
        else:
            processes = {"processes": self._settings.processes}
            _logger.info("serving", extra={**report["facts"], **processes})

    def _count_failed_start(self, number: int, status: int) -> None:
        self._failed_starts += 1
        if not self._first_is_up.is_set():
            raise CannotStart(f"server process {number} ended with {status} before it was up")
        if self._failed_starts == MAX_FAILED_STARTS:
            raise CannotStart(
                f"{MAX_FAILED_STARTS} server processes in a row ended before they were up, the "
                f"last one with {status}"
            )

    # ------------------------------------------------------------------ the end of all

    def _stop(self) -> None:
        """Tell every server to stop, once."""
        if not self._stopping:
            self._stopping = True
            _logger.info("stopping")
            self._terminate()

    def _terminate(self) -> None:
        for server in self._servers.values():
            _terminate(server)

    async def _wait_stopped(self) -> set[int]:
        """Wait for all servers, and kill what takes longer than a server may; return how they
        ended."""
        limit = self._settings.drain_grace.total_seconds() + CLOSE_SECONDS + KILL_SECONDS
        ends = [asyncio.create_task(each.process.wait()) for each in self._servers.values()]
        try:
            async with asyncio.timeout(limit):
                return set(await asyncio.gather(*ends))
        except TimeoutError:
            _logger.warning("servers that do not stop are killed")
            for server in self._servers.values():
                with suppress(ProcessLookupError):
                    server.process.kill()
            return {await each.process.wait() for each in self._servers.values()}


def _terminate(server: _Server) -> None:
    # One that has ended takes no signal, and asyncio knows.
    with suppress(ProcessLookupError):
        server.process.terminate()


async def _read_line(line: socket.socket) -> bytes:
    """Return what a server says when it is up; nothing when it ends before."""
    said = b""
    while not said.endswith(b"\n"):
        more = await asyncio.get_running_loop().sock_recv(line, 65536)
        if not more:
            return b""
        said += more
    return said


def _pause(early_deaths: int) -> float:
    """Return how long to wait before a server that died is started again."""
    if early_deaths < 2:
        return 0.0
    doubled: float = FIRST_PAUSE_SECONDS * 2.0 ** min(early_deaths - 2, 20)
    return min(doubled, LONGEST_PAUSE_SECONDS)
