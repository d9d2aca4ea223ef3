"""Slots: who may set them aside."""

from tests.support.engine import open_engine

from runwire.server.model.runs import CancelAction, RunSpec, RunState


async def test_older_runs_that_wait_come_before_new_ones(database_url: str) -> None:
    slow = RunSpec(assistant_id="slow_async", input={"seconds": 30})
    async with open_engine(database_url, max_concurrent_runs=1) as engine:
        (first,) = await engine.create(slow)
        (older,) = await engine.create(slow)
        assert older.state is RunState.PENDING
        (newer,) = await engine.create(slow)

        await engine.runs.cancel(first.run_id, CancelAction.INTERRUPT, wait=True)
        (newest,) = await engine.create(slow)

        assert newest.state is RunState.PENDING
        assert newer.state is RunState.PENDING
