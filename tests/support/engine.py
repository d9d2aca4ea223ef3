"""A server's floors up to the runner, put together in this process, without gRPC."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from runwire.server.core.assistants import Assistants
from runwire.server.core.creation import Rules
from runwire.server.core.crons import Crons
from runwire.server.core.default_assistants import ensure_defaults
from runwire.server.core.follow import Follower
from runwire.server.core.hearing import Hearing
from runwire.server.core.limits import NO_LIMITS, RunLimits
from runwire.server.core.logs import RunLogs
from runwire.server.core.news import News
from runwire.server.core.places import Places
from runwire.server.core.run_changes import RunChanges
from runwire.server.core.runs import Runs
from runwire.server.core.states import States
from runwire.server.core.supersteps import Supersteps
from runwire.server.core.thread_streams import ThreadStreams
from runwire.server.core.threads import Threads
from runwire.server.graphs.config import read_config
from runwire.server.graphs.registry import Registry
from runwire.server.graphs.saver import RunwireSaver
from runwire.server.graphs.store import RunwireStore
from runwire.server.model.events import EventId, LogEntry
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import Run, RunSpec
from runwire.server.rpc.events import encode_event
from runwire.server.rpc.selection import joined
from runwire.server.rpc.thread_streams import encode_state_update
from runwire.server.runner.runner import Runner, RunnerOptions
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.opening import database_at
from runwire.v1.events_pb2 import RunEvent
from runwire.v1.runs_pb2 import RunStreamResponse

SUPPORT_GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"

PATIENCE_SECONDS = 60.0
"""How long tests wait for what should come soon, before they call it missing."""


async def until(condition: Callable[[], Any]) -> None:
    """Return when `condition`, a function or a coroutine function, holds. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.002)


def decode(entries: Sequence[LogEntry]) -> list[RunEvent]:
    """Return log entries as the events that a client would see."""
    return [joined(RunStreamResponse.FromString(entry.data).events) for entry in entries]


def kinds(events: Sequence[RunEvent]) -> list[str]:
    """Return what happened in each event."""
    return [event.WhichOneof("event") or "" for event in events]


def ids(events: Sequence[RunEvent]) -> list[str]:
    """Return the events' ids."""
    return [event.id for event in events]


@dataclass
class Engine:
    """The parts of a server, open."""

    database: Database
    registry: Registry
    logs: RunLogs
    follower: Follower
    runner: Runner
    rules: Rules
    assistants: Assistants
    threads: Threads
    states: States
    news: News
    thread_streams: ThreadStreams
    run_changes: RunChanges
    runs: Runs
    crons: Crons

    async def thread(self) -> str:
        """Return a new thread."""
        thread, _ = await self.threads.create(None, {}, return_existing=False, request=None)
        return thread.thread_id

    async def start(self, graph_id: str, graph_input: Any = None, **spec: Any) -> Run:
        """Create a run and return it as it was created."""
        spec = {"assistant_id": graph_id, "input": graph_input or {}, **spec}
        return (await self.create(RunSpec(**spec)))[0]

    async def create(self, *specs: RunSpec, request: RequestKey | None = None) -> list[Run]:
        """Create runs, all or none."""
        return (await self.runs.create(specs, request)).runs

    async def run(self, graph_id: str, graph_input: Any = None, **spec: Any) -> Run:
        """Create a run and return it when it has ended."""
        return await self.ended(await self.start(graph_id, graph_input, **spec))

    async def ended(self, run: Run) -> Run:
        """Return a run when it has ended, also one that is taken back."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.follower.wait(run.run_id, rolled_back=True)

    async def row(self, run: Run) -> Run:
        """Return a run as it is in the database now."""
        return await self.runs.get(run.run_id)

    async def events(
        self, run: Run, after: str | None = None, *, live_only: bool = False
    ) -> list[RunEvent]:
        """Follow a run to its end; return its events."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            start = None if after is None else EventId.parse(after)
            batches = self.runs.follow(run.run_id, after=start, live_only=live_only)
            return decode([entry async for batch in batches for entry in batch])

    def readers_of(self, run: Run) -> int:
        """Return how many readers wait for news of a run now. Who was woken and has yet to notice
        does not count: it is about to look."""
        log, _ = self.logs._logs.get(run.run_id, (None, 0))
        waiters = log._readers | log._patient if log else set()
        return sum(not waiter.done() for waiter in waiters)

    async def execute(self, function: Callable[[Connection], Any]) -> Any:
        """Do to the database what no code of the server would."""
        return await self.database.write(function)


@asynccontextmanager
async def open_engine(
    url: str,
    *,
    graphs: Path = SUPPORT_GRAPHS,
    max_pending: int = 1_000,
    request_retention: timedelta = timedelta(hours=24),
    limits: RunLimits = NO_LIMITS,
    **options: Any,
) -> AsyncIterator[Engine]:
    """Give an engine whose database is at `url`; `graphs` is a configuration file, `options` are
    the runner's.

    On leaving nothing is drained: what executes is left as a crash would leave it, but for its
    code, which is stopped.
    """
    options = {"cancel_grace": timedelta(seconds=0.3), **options}
    async with database_at(url) as database:
        registry = Registry(
            read_config(graphs), saver=RunwireSaver(database), store=RunwireStore(database)
        )
        await registry.load()
        logs = RunLogs(encode_event)
        runner = Runner(database, registry, logs, encode_event, RunnerOptions(**options))
        follower = Follower(database, logs)
        news, places = News(database), Places(timedelta(hours=24))
        rules = Rules(
            graph_ids=registry.graph_ids,
            owner=runner.server_id,
            max_pending=max_pending,
            request_retention=request_retention,
            encode=encode_event,
            limits=limits,
        )
        runs = Runs(database, logs, follower, runner, rules)
        assistants = Assistants(
            database, registry, runner, runs, request_retention=request_retention
        )
        await ensure_defaults(database, registry)
        crons = Crons(database, runs, rules)
        hearing = Hearing(follower, runner, news, crons.wake)
        async with follower, news, runner, database.hearing(hearing):
            yield Engine(
                database=database,
                registry=registry,
                logs=logs,
                follower=follower,
                runner=runner,
                rules=rules,
                assistants=assistants,
                states=States(database, registry, runner, encode_state_update),
                news=news,
                thread_streams=ThreadStreams(database, follower, news, places),
                run_changes=RunChanges(database, news, places),
                threads=Threads(
                    database,
                    runs,
                    Supersteps(database, registry, runner),
                    request_retention=request_retention,
                ),
                runs=runs,
                crons=crons,
            )
