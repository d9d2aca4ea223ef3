"""Core's transactions as a server makes them, on an open connection and under a movable clock."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from sqlalchemy import Connection

from runwire.server.core.cancels import CancelResult, cancel_runs
from runwire.server.core.creation import Creation, Rules, create_runs
from runwire.server.core.endings import Finished, Outcome, finish_attempt, release_attempt
from runwire.server.core.logs import Encode, RunLog
from runwire.server.core.servers import enter
from runwire.server.core.sweeping import claim, list_lost, list_owned, recover_orphans
from runwire.server.model.attempts import Attempt
from runwire.server.model.events import START, Data, Event, EventId
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import (
    CancelAction,
    CancelCause,
    Run,
    RunSpec,
    RunState,
    StreamMode,
)
from runwire.server.model.threads import Thread, ThreadTtl
from runwire.server.storage import clock, events, runs, threads
from tests.support.records import START_TIME, a_server, add_default_assistant


class MovableClock:
    """What the database's clock shows."""

    time = START_TIME

    @classmethod
    def ask(cls, connection: Connection) -> datetime:
        """Return what it shows now."""
        return cls.time


@contextmanager
def stopped_clock() -> Iterator[type[MovableClock]]:
    """Let the database's time go on only where a test says so."""
    MovableClock.time = START_TIME
    with mock.patch.object(clock, "_ask", MovableClock.ask):
        yield MovableClock


def encode(run_id: str, event_id: EventId, time: datetime, event: Event) -> bytes:
    """Serialize an event as its id and its kind."""
    return f"{event_id} {type(event.body).__name__}".encode()


def recover_all(connection: Connection, *, max_attempts: int, encode: Encode = encode) -> list[Run]:
    """Take back the runs of every server that is gone; return those that this ended."""
    ended = []
    for owner in list_lost(connection):
        run_ids = [run.run_id for run in list_owned(connection, owner)]
        recovery = recover_orphans(
            connection, owner, run_ids, encode=encode, max_attempts=max_attempts
        )
        ended += recovery.ended
    return ended


class Server:
    """A server's transactions on one connection. It executes nothing."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = connection
        self.server_id = new_id()
        self._loop = loop
        self._logs: dict[tuple[str, int], RunLog] = {}
        add_default_assistant(connection)
        enter(connection, a_server(server_id=self.server_id), None)

    def thread(self, ttl: ThreadTtl | None = None) -> str:
        """Return a new thread."""
        now = MovableClock.time
        return threads.add_thread(self.connection, new_id(), {}, now, ttl).thread_id

    def get_thread(self, thread_id: str | None) -> Thread:
        """Return a thread as it is stored now."""
        thread = threads.get_thread(self.connection, thread_id or "")
        assert thread is not None
        return thread

    def rules(self, **changes: Any) -> Rules:
        """Return what holds for each creation."""
        rules = {
            "graph_ids": ["graph"],
            "owner": self.server_id,
            "max_pending": 1000,
            "request_retention": timedelta(hours=24),
            "encode": encode,
            **changes,
        }
        return Rules(**rules)

    def create_all(
        self,
        specs: Sequence[RunSpec],
        *,
        slots: int = 0,
        request: RequestKey | None = None,
        principal: str = "",
        **rules: Any,
    ) -> Creation:
        """Create runs, all or none."""
        with self.connection.begin_nested():
            return create_runs(
                self.connection,
                specs,
                request,
                self.rules(**rules),
                slots=slots,
                principal=principal,
            )

    def spec(self, **spec: Any) -> RunSpec:
        """Return what a run is asked to do."""
        return RunSpec(assistant_id="graph", **spec)

    def create(self, thread_id: str | None = None, *, slots: int = 0, **spec: Any) -> Run:
        """Create a run and return it."""
        wanted = self.spec(thread_id=thread_id, **spec)
        return self.create_all([wanted], slots=slots).runs[0]

    def start(self, thread_id: str | None = None, **spec: Any) -> Run:
        """Create a run that executes at once."""
        run = self.create(thread_id, slots=1, **spec)
        assert run.state is RunState.RUNNING
        return run

    def claim(self, limit: int = 9) -> list[Run]:
        """Claim what there is."""
        return claim(self.connection, owner=self.server_id, graph_ids=["graph"], limit=limit)

    def attempt(self, run: Run) -> Attempt:
        """Return the attempt that executes a run."""
        assert run.owner is not None
        return Attempt(run.run_id, run.thread_id, run.graph_id, run.attempt, run.owner)

    def log(self, run: Run) -> RunLog:
        """Return the log of a run's attempt."""
        key = (run.run_id, run.attempt)
        if key not in self._logs:
            self._logs[key] = RunLog(run.run_id, encode, self._loop)
            self._logs[key].begin(run.attempt)
        return self._logs[key]

    def speak(self, run: Run, times: int = 1) -> None:
        """Let an attempt produce events."""
        for _ in range(times):
            self.log(run).append(run.attempt, Event(Data(StreamMode.CUSTOM, "1")))

    def finish(self, run: Run, state: RunState = RunState.SUCCEEDED, **outcome: Any) -> Finished:
        """End the run that an attempt executes."""
        how = Outcome(state=state, **outcome)
        attempt, log = self.attempt(run), self.log(run)
        return finish_attempt(self.connection, attempt, how, log, encode)

    def release(self, run: Run, *, give_back: bool = True, wait: float = 0) -> bool:
        """Give up an attempt."""
        return release_attempt(
            self.connection,
            self.attempt(run),
            self.log(run),
            give_back=give_back,
            wait=timedelta(seconds=wait),
        )

    def cancel(
        self, *cancelled: Run, action: CancelAction = CancelAction.INTERRUPT
    ) -> list[CancelResult]:
        """Cancel runs."""
        ids = [run.run_id for run in cancelled]
        cause = CancelCause.CLIENT
        return cancel_runs(self.connection, ids, action, cause, encode).results

    def crash(self, max_attempts: int = 3) -> list[Run]:
        """Be another server from now on, which takes back what the former one had; return the runs
        that this ended."""
        self.server_id = new_id()
        enter(self.connection, a_server(server_id=self.server_id), None)
        return recover_all(self.connection, max_attempts=max_attempts)

    def row(self, run: Run) -> Run:
        """Return a run as it is stored now."""
        found = runs.get_run(self.connection, run.run_id)
        assert found is not None
        return found

    def states(self, *wanted: Run) -> list[str]:
        """Return the states of runs."""
        return [self.row(run).state.value for run in wanted]

    def events(self, run: Run) -> list[str]:
        """Return the stored events of a run, each as its id and its kind."""
        segments = events.read_segments(self.connection, run.run_id, START)
        entries = [entry for segment in segments for entry in segment.entries(START)]
        assert [entry.final for entry in entries[:-1]] == [False] * len(entries[:-1])
        return [entry.data.decode() for entry in entries]
