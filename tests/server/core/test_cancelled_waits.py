"""Waits that are cancelled in the very moment in which they are over.

A cancel that is lost leaves a call that nobody listens to, or a server that does not stop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.support.engine import open_engine

from runwire.server.core.logs import RunLog
from runwire.server.model.runs import RunSpec, RunState
from runwire.server.rpc.events import encode_event


async def is_cancelled_when(
    happens: Callable[[], object], waiting: Coroutine[Any, Any, object]
) -> bool:
    """Return whether a task that waits is cancelled, when that comes right after it is woken."""
    task = asyncio.create_task(waiting)
    for _ in range(5):
        await asyncio.sleep(0)
    happens()
    task.cancel()
    await asyncio.wait([task], timeout=60)
    return task.cancelled()


async def test_a_reader_that_leaves_as_it_is_woken() -> None:
    log = RunLog("run", encode_event, asyncio.get_running_loop())

    assert await is_cancelled_when(log.wake, log.changed(log.wakes))


@pytest.mark.timeout(20)
async def test_a_runner_that_is_left_as_it_is_woken_stops(database_url: str) -> None:
    async with open_engine(database_url, max_concurrent_runs=1) as engine:
        spec = RunSpec(assistant_id="slow_async", input={"seconds": 30})
        await engine.create(spec)

        (waiting,) = await engine.create(spec)

        assert waiting.state is RunState.PENDING
