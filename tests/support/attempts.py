"""Runs that execute on threads, as the database sees them, without a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import update

from runwire.server.model.attempts import Attempt, StateUpdate, current_writer
from runwire.server.model.ids import new_id
from runwire.server.model.runs import ACTIVE_STATES, RunState
from runwire.server.storage import endings, runs, threads
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.tables import runs as runs_table
from tests.support.execution import make_run


@contextmanager
def writing_as(writer: Attempt | StateUpdate | None) -> Iterator[None]:
    """Let what runs in the block write on behalf of `writer`."""
    token = current_writer.set(writer)
    try:
        yield
    finally:
        current_writer.reset(token)


@dataclass
class Attempts:
    """Makes threads and runs in a database, and moves runs on."""

    database: Database

    async def thread(self) -> str:
        """Return a new thread."""
        thread_id, now = new_id(), datetime.now(UTC)
        await self.database.write(lambda c: threads.add_thread(c, thread_id, {}, now))
        return thread_id

    async def start(self, thread_id: str, graph_id: str = "graph") -> Attempt:
        """Return the first attempt of a new run, which is RUNNING."""
        run = make_run(graph_id, thread_id)
        await self.database.write(lambda c: runs.add_run(c, run, runnable=False, wake_time=None))
        assert run.owner is not None
        return Attempt(run.run_id, thread_id, graph_id, run.attempt, run.owner)

    async def end(self, attempt: Attempt) -> None:
        """Move the attempt's run to SUCCEEDED."""

        def end(connection: Connection) -> None:
            ending = endings.Ending(state=RunState.SUCCEEDED)
            now = datetime.now(UTC)
            assert endings.end_run(connection, attempt.run_id, ending, now, was=ACTIVE_STATES)

        await self.database.write(end)

    async def set(self, attempt: Attempt, /, **columns: object) -> None:
        """Change the row of the attempt's run as no code of the server would."""
        statement = (
            update(runs_table).where(runs_table.c.run_id == attempt.run_id).values(**columns)
        )
        await self.database.write(lambda c: c.execute(statement).rowcount)
