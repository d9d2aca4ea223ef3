"""A server that has as many waiting runs as it takes."""

import pytest
from tests.support.engine import open_engine, until

from runwire.server.model.errors import QueueFull
from runwire.server.model.runs import CancelAction, RunSpec, RunState
from runwire.server.model.threads import ThreadState

SLOW = RunSpec(assistant_id="slow_async", input={"seconds": 30})


async def test_runs_that_would_wait_are_refused_until_one_waits_no_more(
    database_url: str,
) -> None:
    async with open_engine(database_url, max_pending=2, max_concurrent_runs=1) as engine:
        (executing,) = await engine.create(SLOW)
        await until(lambda: executing.run_id in engine.runner._slots)
        waiting = [(await engine.create(SLOW))[0] for _ in range(2)]

        with pytest.raises(QueueFull):
            await engine.create(SLOW)
        await engine.runs.cancel(waiting[0].run_id, CancelAction.INTERRUPT, wait=True)

        assert (await engine.create(SLOW))[0].state is RunState.PENDING


async def test_of_a_batch_that_does_not_fit_nothing_is_stored(database_url: str) -> None:
    async with open_engine(database_url, max_pending=2, max_concurrent_runs=1) as engine:
        thread_id = await engine.thread()
        spec = RunSpec(assistant_id="slow_async", thread_id=thread_id, input={"seconds": 30})

        with pytest.raises(QueueFull):
            await engine.create(*[spec] * 4)

        assert (await engine.threads.get(thread_id)).state is ThreadState.IDLE
        assert len(await engine.create(*[spec] * 2)) == 2
