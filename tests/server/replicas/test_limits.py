"""Limits of runs hold when several servers create some at the same moment."""

import asyncio

from tests.support.engine import Engine
from tests.support.replicas import open_replicas

from runwire.server.core.limits import RunLimits
from runwire.server.model.errors import RunLimitReached
from runwire.server.model.ids import new_id
from runwire.server.model.runs import IfThreadMissing, RunSpec
from runwire.server.storage.runs import RunFilter

MANY = 12
LIMITS = RunLimits(per_assistant=7, per_principal=5)


async def test_no_more_runs_are_there_than_may_be_whoever_creates_them(postgres_url: str) -> None:
    async def create(engine: Engine, number: int, principal: str) -> bool:
        thread_ids = sorted([new_id(), new_id()], reverse=number % 2 == 0)
        specs = [
            RunSpec(
                assistant_id="echo",
                thread_id=thread_id,
                if_thread_missing=IfThreadMissing.CREATE,
            )
            for thread_id in (thread_ids if number % 3 == 0 else thread_ids[:1])
        ]
        try:
            await engine.runs.create(specs, None, principal)
        except RunLimitReached:
            return False
        return True

    async with open_replicas(postgres_url, 3, slots=(0, 0, 0), limits=LIMITS) as engines:
        created = await asyncio.gather(
            *(
                create(engine, number, principal)
                for engine in engines
                for number in range(MANY)
                for principal in ("ada", "bob", "")
            )
        )
        assert False in created
        page = await engines[0].runs.list(RunFilter(), limit=100, cursor=None)
        assert len(page.items) == LIMITS.per_assistant, "one more always fits until it is reached"
        by_ada = [run for run in page.items if run.principal == "ada"]
        assert len(by_ada) <= LIMITS.per_principal
