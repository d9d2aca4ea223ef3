"""Many servers at work on the same few threads: none ever waits for another in a ring."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text
from tests.support.engine import PATIENCE_SECONDS
from tests.support.records import a_server, add_default_assistant, an_assistant
from tests.support.transactions import encode

from runwire.server.core.assistant_deletion import delete_unused
from runwire.server.core.cancels import cancel_runs
from runwire.server.core.copies import copy_thread
from runwire.server.core.creation import Rules, create_runs
from runwire.server.core.endings import (
    Outcome,
    finish_attempt,
    leave_attempt,
    release_attempt,
)
from runwire.server.core.flushing import _store_all
from runwire.server.core.logs import RunLog
from runwire.server.core.prunes import delete_thread
from runwire.server.core.servers import enter, leave, renew_lease
from runwire.server.core.sweeping import claim, list_lost, list_owned, recover_orphans
from runwire.server.model.attempts import Attempt
from runwire.server.model.errors import AttemptLost, RunwireError
from runwire.server.model.events import Data, Event
from runwire.server.model.ids import new_id
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import (
    CancelAction,
    CancelCause,
    IfThreadMissing,
    MultitaskStrategy,
    Run,
    RunSpec,
    RunState,
    StreamMode,
)
from runwire.server.storage import assistants, claims, locks, runs, threads
from runwire.server.storage.database import Database
from runwire.server.storage.opening import database_at

SERVERS = 6
SECONDS = 6.0
WANTED = {
    *("create", "claim", "finish", "release", "cancel", "flush", "sweep"),
    *("remake_assistant", "copy_thread"),
}
"""What has to be done at the same time at least once, before it is said that nothing goes wrong."""
LEASE = timedelta(seconds=0.4)
SPARE = new_id()
"""An assistant that is there from time to time."""
THREADS = [new_id() for _ in range(4)]


@dataclass
class Busy:
    """A server that does whatever servers do, in any order and as fast as it can, each time in a
    transaction of its own."""

    database: Database
    loop: asyncio.AbstractEventLoop
    chance: random.Random
    server_id: str = field(default_factory=new_id)
    executing: list[tuple[Attempt, RunLog]] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def live(self, until: float) -> None:
        """Be busy until a moment on the machine's clock, or longer if the machine is so slow that
        something has not been done yet."""
        self.write(lambda c: enter(c, a_server(server_id=self.server_id), LEASE))
        deeds: list[Callable[[], object]] = [
            *(self.create, self.create, self.claim, self.claim, self.finish, self.finish),
            *(self.release, self.cancel, self.flush, self.sweep, self.beat, self.update_thread),
            *(self.delete, self.copy_thread, self.delete_thread, self.remake_assistant, self.die),
        ]
        while (now := time.monotonic()) < until or (
            now < until + PATIENCE_SECONDS and not self.done.keys() >= WANTED
        ):
            deed = self.chance.choice(deeds)
            with suppress(RunwireError, AttemptLost):
                deed()
                self.done[deed.__name__] = self.done.get(deed.__name__, 0) + 1
        self.write(lambda c: leave(c, self.server_id))

    def write(self, function: Callable[[Connection], Any]) -> Any:
        return self.database.write_apart(function)

    def create(self) -> None:
        chosen = self.chance.choices([*THREADS, None], k=self.chance.choice([1, 1, 3]))
        specs = [
            RunSpec(
                assistant_id=self.chance.choice(["graph", SPARE]),
                thread_id=thread_id,
                multitask_strategy=self.chance.choice(list(MultitaskStrategy)),
                if_thread_missing=IfThreadMissing.CREATE,
                start_delay=timedelta(seconds=self.chance.choice([0, 0, 0.02])),
            )
            for thread_id in chosen
        ]
        rules = Rules(
            graph_ids=["graph"],
            owner=self.server_id,
            max_pending=10_000,
            request_retention=timedelta(hours=1),
            encode=encode,
        )
        name = f"request {self.chance.randrange(50)}"
        request = RequestKey("CreateRun", name, b"body") if self.chance.random() < 0.2 else None
        creation = self.write(
            lambda c: create_runs(c, specs, request, rules, slots=self.chance.choice([0, 1, 2]))
        )
        self.execute(creation.started)

    def claim(self) -> None:
        self.execute(
            self.write(lambda c: claim(c, owner=self.server_id, graph_ids=["graph"], limit=3))
        )

    def execute(self, claimed: list[Run]) -> None:
        for run in claimed:
            log = RunLog(run.run_id, encode, self.loop)
            log.begin(run.attempt)
            attempt = Attempt(run.run_id, run.thread_id, run.graph_id, run.attempt, self.server_id)
            self.executing.append((attempt, log))

    def some(self) -> tuple[Attempt, RunLog]:
        if not self.executing:
            raise RunwireError("nothing is executed")
        return self.executing.pop(self.chance.randrange(len(self.executing)))

    def finish(self) -> None:
        attempt, log = self.some()
        outcome = Outcome(state=self.chance.choice([RunState.SUCCEEDED, RunState.TIMED_OUT]))
        self.write(lambda c: finish_attempt(c, attempt, outcome, log, encode))

    def release(self) -> None:
        attempt, log = self.some()
        if self.chance.random() < 0.5:
            self.write(lambda c: release_attempt(c, attempt, log, give_back=True))
        else:
            self.write(lambda c: leave_attempt(c, attempt, log, encode))

    def cancel(self) -> None:
        in_flight = self.write(
            lambda c: runs.list_run_ids(
                c, runs.RunFilter(states=[RunState.PENDING, RunState.RUNNING]), limit=30
            )
        )
        chosen = self.chance.sample(in_flight, min(len(in_flight), self.chance.choice([1, 6])))
        action = self.chance.choice(list(CancelAction))
        self.write(lambda c: cancel_runs(c, chosen, action, CancelCause.CLIENT, encode))

    def flush(self) -> None:
        for attempt, log in self.executing:
            log.append(attempt.number, Event(Data(StreamMode.CUSTOM, "1")))
        self.write(lambda c: _store_all(c, self.executing))

    def sweep(self) -> None:
        for owner in self.write(list_lost):
            run_ids = [run.run_id for run in self.write(lambda c, o=owner: list_owned(c, o))]
            self.write(
                lambda c, o=owner, i=run_ids: recover_orphans(
                    c, o, i, encode=encode, max_attempts=3
                )
            )

    def beat(self) -> None:
        self.write(lambda c: renew_lease(c, a_server(server_id=self.server_id), LEASE))

    def update_thread(self) -> None:
        thread_id = self.chance.choice(THREADS)

        def update(connection: Connection) -> None:
            if threads.lock_queue(connection, thread_id):
                claims.has_in_flight(connection, thread_id=thread_id)

        self.write(update)

    def delete(self) -> None:
        ended = self.write(
            lambda c: runs.list_run_ids(
                c, runs.RunFilter(states=[RunState.SUCCEEDED, RunState.CANCELLED]), limit=5
            )
        )
        for run_id in ended:
            self.write(lambda c, run_id=run_id: runs.delete_run(c, run_id))

    def copy_thread(self) -> None:
        source, target = self.chance.choice(THREADS), self.chance.choice([*THREADS, None])
        kept = timedelta(hours=1)
        self.write(lambda c: copy_thread(c, source, target, None, request_retention=kept))

    def delete_thread(self) -> None:
        thread_id = self.chance.choice(THREADS)
        self.write(lambda c: delete_thread(c, thread_id))

    def remake_assistant(self) -> None:
        def remake(connection: Connection) -> None:
            locks.hold_name(connection, "assistant", SPARE)
            found = assistants.get_assistant(connection, SPARE)
            if found is None:
                assistants.add_assistant(connection, an_assistant(assistant_id=SPARE))
            else:
                delete_unused(connection, found)

        self.write(remake)

    def die(self) -> None:
        """Be another server from now on; the former one's lease ends by itself."""
        if self.chance.random() < 0.05:
            self.server_id = new_id()
            self.executing.clear()
            self.write(lambda c: enter(c, a_server(server_id=self.server_id), LEASE))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with turning() as loop:
        yield loop


@contextmanager
def turning() -> Iterator[asyncio.AbstractEventLoop]:
    """Give a loop that turns on a thread: logs want to wake their readers there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_no_deadlock_arises_whatever_several_servers_do_and_no_run_is_left(
    postgres_url: str, loop: asyncio.AbstractEventLoop
) -> None:
    async with database_at(postgres_url) as first, database_at(postgres_url) as second:
        await first.write(lambda c: add_default_assistant(c) and None)
        done: dict[str, int] = {}
        servers = [
            Busy([first, second][number % 2], loop, random.Random(number), done=done)
            for number in range(SERVERS)
        ]
        until = time.monotonic() + SECONDS
        with ThreadPoolExecutor(SERVERS) as pool:
            lives = [pool.submit(server.live, until) for server in servers]
            await asyncio.gather(*(asyncio.wrap_future(life) for life in lives))
        assert done.keys() >= WANTED
        last = Busy(first, loop, random.Random(0))
        await asyncio.to_thread(carry_all_to_their_end, last)
    assert await deadlocks(postgres_url) == 0


def carry_all_to_their_end(server: Busy) -> None:
    """Claim and finish until nothing is in flight any more."""
    server.write(lambda c: enter(c, a_server(server_id=server.server_id), timedelta(hours=1)))
    deadline = time.monotonic() + PATIENCE_SECONDS
    states = [RunState.PENDING, RunState.RUNNING, RunState.CANCELLING]
    in_flight = runs.RunFilter(states=states)
    while left := server.write(lambda c: runs.list_run_ids(c, in_flight, limit=9)):
        assert time.monotonic() < deadline, f"nobody can execute {left}"
        server.sweep()
        server.claim()
        while server.executing:
            server.finish()


async def deadlocks(url: str) -> int:
    """Return how often PostgreSQL had to break a ring. Every connection to the database that is
    looked at has ended, and has told what it had counted."""
    async with database_at(url) as database:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        found: int = await database.read(lambda c: c.scalar(text(query)))
    return found
