"""Runs that another server executes, as the database shows them, and how often it is asked."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from runwire.server.model.events import Data, Event, EventId, LogEntry, segment_of
from runwire.server.model.runs import ACTIVE_STATES, Run, RunState, StreamMode
from runwire.server.rpc.events import encode_event
from runwire.server.storage import endings, events, servers
from runwire.server.storage.database import Connection
from tests.support.engine import Engine, until
from tests.support.records import a_server, at


def custom_event(index: int) -> Event:
    """Return an event of a run's own."""
    return Event(Data(StreamMode.CUSTOM, str(index)))


@dataclass
class Elsewhere:
    """A run that another server executes, as the database shows it."""

    engine: Engine
    run: Run

    async def store(self, first: int, last: int, *, attempt: int = 1, final: bool = False) -> None:
        """Store events of the run; with `final`, it ends with them."""
        entries = []
        for index in range(first, last + 1):
            event_id = EventId(attempt, index)
            data = encode_event(self.run.run_id, event_id, at(0), custom_event(index))
            entries.append(LogEntry(event_id, data, final and index == last))
        segment = segment_of(self.run.run_id, entries)

        def write(connection: Connection) -> None:
            events.add_segments(connection, [segment])
            if final:
                ending = endings.Ending(state=RunState.SUCCEEDED)
                endings.end_run(connection, self.run.run_id, ending, at(0), was=ACTIVE_STATES)

        await self.engine.execute(write)

    def tell(self) -> None:
        """Tell this server that there is news."""
        self.engine.logs.told([self.run.run_id])

    async def waited_for(self, readers: int = 1) -> None:
        """Return when so many readers wait for news."""
        await until(lambda: self.engine.readers_of(self.run) == readers)


async def elsewhere(engine: Engine) -> Elsewhere:
    """Return a run that another server has begun."""
    """Return a run that another server has begun."""
    run = await engine.start("echo", start_delay=timedelta(days=1))
    other = a_server(lease_until=None)  # for ever
    taken = f"""UPDATE runs SET state = 'running', owner = '{other.server_id}', attempt = 1,
                wake_time = NULL WHERE run_id = '{run.run_id}'"""
    await engine.execute(lambda c: servers.add_server(c, other))
    await engine.execute(lambda c: c.exec_driver_sql(taken).rowcount)
    return Elsewhere(engine, run)


def count_reads(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that grows with every read of readers of runs and of who watches for them."""
    reads: list[None] = []
    read = engine.database.read

    async def counted(function: Any) -> Any:
        if _is_of(function, "watch.py", "follow.py"):
            reads.append(None)
        return await read(function)

    monkeypatch.setattr(engine.database, "read", counted)
    return reads


@contextmanager
def late_answers(engine: Engine, monkeypatch: pytest.MonkeyPatch, of: str) -> Iterator[list[None]]:
    """Give no answers to reads of the module `of` until the end of the block, though they are what
    there was when they were asked for. Gives a list that grows with every one that is held back."""
    held: list[None] = []
    over = asyncio.Event()
    read = engine.database.read

    async def late(function: Any) -> Any:
        answer = await read(function)
        if _is_of(function, of):
            held.append(None)
            await over.wait()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(engine.database, "read", late)
        yield held
    over.set()


def _is_of(function: Callable[..., Any], *modules: str) -> bool:
    return function.__code__.co_filename.endswith(modules)


@contextmanager
def held_reads(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, of: str, *, answered: bool = True
) -> Iterator[list[None]]:
    """Hold the reads of a class, or of one of its methods, until the block ends: they see what
    there was when they began if they are `answered`, what there is at the end if they are not.
    Gives a list that grows with every read that is held."""
    held: list[None] = []
    over = asyncio.Event()
    read = engine.database.read

    async def late(function: Any) -> Any:
        if not function.__qualname__.startswith(f"{of}."):
            return await read(function)
        answer = await read(function) if answered else None
        held.append(None)
        await over.wait()
        return answer if answered else await read(function)

    with monkeypatch.context() as patched:
        patched.setattr(engine.database, "read", late)
        yield held
    over.set()
