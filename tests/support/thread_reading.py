"""Readers of threads' streams, in a server's process and without a socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from runwire.server.core.thread_streams import Told
from runwire.server.model.changes import ThreadStreamMode
from runwire.server.rpc.resume import read_thread_place
from runwire.server.rpc.thread_streams import StreamQuery, ThreadMessages
from runwire.v1.events_pb2 import RunEvent
from runwire.v1.threads_pb2 import ThreadStreamResponse
from tests.support.engine import PATIENCE_SECONDS, Engine, until

RUNS, LIFECYCLE, STATE_UPDATES = ThreadStreamMode


class ThreadReader:
    """What a reader of a thread has got so far."""

    def __init__(self, thread_id: str, *modes: ThreadStreamMode, token: str = "") -> None:
        self.thread_id = thread_id
        self.messages: list[ThreadStreamResponse] = []
        self.most: int | None = None
        """After how many messages its connection breaks."""
        place = read_thread_place(thread_id, token) if token else None
        self._query = StreamQuery(thread_id, modes or (RUNS,), (), place)
        self._shown = ThreadMessages(self._query, as_values=False)

    async def read(self, engine: Engine, *, live_only: bool = False) -> None:
        """Read until the connection breaks."""
        query = self._query
        with suppress(ConnectionError):
            await engine.thread_streams.follow(
                self.thread_id, query.modes, query.place, self._tell, live_only=live_only
            )

    async def _tell(self, told: Told) -> None:
        for message in self._shown.of(told):
            self.messages.append(ThreadStreamResponse.FromString(message))
            if len(self.messages) == self.most:
                raise ConnectionError

    @property
    def events(self) -> list[RunEvent]:
        """The events of all runs."""
        return [event for message in self.messages for event in message.events]

    @property
    def told(self) -> list[str]:
        """What the events say, in short: an id, or the state of a run."""
        return [short(event) for event in self.events]

    @property
    def token(self) -> str:
        """Where the reader can go on."""
        return self.messages[-1].resume_token

    async def ends(self, count: int) -> None:
        """Return when the ends of so many runs have come."""
        await until(lambda: self.count_ends() >= count)

    def count_ends(self) -> int:
        """Return how many ends of runs have come."""
        return sum(event.HasField("run_ended") for event in self.events)


def short(event: RunEvent) -> str:
    """Return an event's id, or the number of the state that the run of a snapshot is in."""
    return event.id or f"state {event.run.state}"


@asynccontextmanager
async def reading(
    engine: Engine,
    thread_id: str,
    *modes: ThreadStreamMode,
    token: str = "",
    live_only: bool = False,
) -> AsyncIterator[ThreadReader]:
    """Give a reader of a thread who reads for the length of a block, and has its first message."""
    reader = ThreadReader(thread_id, *modes, token=token)
    task = asyncio.create_task(reader.read(engine, live_only=live_only))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await until(lambda: reader.messages or task.done())
            yield reader
    finally:
        task.cancel()
        await asyncio.wait([task])
