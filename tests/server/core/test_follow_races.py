"""Followers of runs that move on while the follower looks at the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from tests.support.engine import Engine, decode, kinds, open_engine

from runwire.server.core.follow import Follower
from runwire.server.model.runs import CancelAction, Run
from runwire.server.storage.database import Connection, Database


class LateAnswers:
    """A database whose first answer comes when something else has happened meanwhile."""

    def __init__(self, database: Database, happens: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._happens: Callable[[], Awaitable[object]] | None = happens

    async def read(self, function: Callable[[Connection], Any]) -> Any:
        answer = await self._database.read(function)
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()
        return answer


async def follow_live(engine: Engine, run: Run, happens: Callable[[], Awaitable[object]]) -> Any:
    late = cast(Database, LateAnswers(engine.database, happens))
    async with asyncio.timeout(60):
        batches = Follower(late, engine.logs).follow(run.run_id, live_only=True)
        return kinds(decode([entry async for batch in batches for entry in batch]))


async def test_a_late_joiner_is_told_of_an_end_that_comes_while_it_joins(
    database_url: str,
) -> None:
    async with open_engine(database_url) as engine:
        run = await engine.start("slow_async", {"seconds": 30})

        async def ends() -> None:
            await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=True)

        assert await follow_live(engine, run, ends) == ["run_ended"]


async def test_a_late_joiner_of_a_waiting_run_is_told_of_its_cancel(database_url: str) -> None:
    async with open_engine(database_url) as engine:
        thread_id = await engine.thread()
        await engine.start("slow_async", {"seconds": 30}, thread_id=thread_id)
        waiting = await engine.start("slow_async", {"seconds": 30}, thread_id=thread_id)

        async def ends() -> None:
            await engine.runs.cancel(waiting.run_id, CancelAction.INTERRUPT, wait=True)

        assert await follow_live(engine, waiting, ends) == ["run_ended"]
