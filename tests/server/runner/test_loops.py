"""The threads on which user code runs."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import Context
from typing import Any

import pytest
from tests.support.engine import until

from runwire.server.model.attempts import Attempt, current_writer
from runwire.server.runner.loops import WRITER, RunnerLoop, RunnerLoops, SyncNodes

ATTEMPT = Attempt("run", None, "graph", 1, "server")


@pytest.fixture
def sync_nodes() -> Iterator[SyncNodes]:
    pool = SyncNodes(2)
    yield pool
    pool.shutdown()


@pytest.fixture
async def loops() -> AsyncIterator[RunnerLoops]:
    loops = RunnerLoops(loops=2, sync_nodes=2)
    loops.start()
    yield loops
    loops.stop()
    await until(lambda: all(loop.loop.is_closed() for loop in loops.loops))


def submit(sync_nodes: SyncNodes, run_id: str, work: Any) -> Any:
    """Submit work as the code of a run does."""
    token = current_writer.set(Attempt(run_id, None, "graph", 1, "server"))
    try:
        return sync_nodes.submit(work)
    finally:
        current_writer.reset(token)


# Sync nodes.


async def test_a_run_without_jobs_is_idle_at_once(sync_nodes: SyncNodes) -> None:
    assert await sync_nodes.idle("run", 0)


async def test_a_run_is_idle_when_its_last_job_has_ended(sync_nodes: SyncNodes) -> None:
    go_on = [threading.Event(), threading.Event()]
    for event in go_on:
        submit(sync_nodes, "run", event.wait)
    go_on[0].set()
    assert not await sync_nodes.idle("run", 0.01), "one is still at work"
    idle = asyncio.create_task(sync_nodes.idle("run", 60))
    await asyncio.sleep(0)
    go_on[1].set()
    assert await asyncio.wait_for(idle, 60)
    assert await sync_nodes.idle("run", 0)


async def test_jobs_of_other_runs_are_not_waited_for(sync_nodes: SyncNodes) -> None:
    go_on = threading.Event()
    submit(sync_nodes, "other", go_on.wait)
    sync_nodes.submit(go_on.wait)
    assert await sync_nodes.idle("run", 0)
    go_on.set()


async def test_a_job_that_never_began_is_over_when_it_is_cancelled(sync_nodes: SyncNodes) -> None:
    go_on = threading.Event()
    for _ in range(2):
        sync_nodes.submit(go_on.wait)
    queued = submit(sync_nodes, "run", time.time)
    assert not await sync_nodes.idle("run", 0.01)
    assert queued.cancel()
    assert await sync_nodes.idle("run", 0)
    go_on.set()


async def test_a_job_that_fails_is_over(sync_nodes: SyncNodes) -> None:
    job = submit(sync_nodes, "run", lambda: 1 / 0)
    assert await sync_nodes.idle("run", 5)
    assert isinstance(job.exception(), ZeroDivisionError)
    assert not sync_nodes._jobs


# Loops.


async def test_calls_are_awaited_on_a_runner_loop(loops: RunnerLoops) -> None:
    async def where() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    assert await loops.loops[0].call(where) == loops.loops[0].thread_id != threading.get_ident()


async def test_a_call_raises_what_the_function_raises(loops: RunnerLoops) -> None:
    async def fail() -> None:
        raise LookupError("as intended")

    with pytest.raises(LookupError):
        await loops.loops[0].call(fail)


async def test_a_caller_that_is_cancelled_cancels_what_it_called(loops: RunnerLoops) -> None:
    seen: list[str] = []

    async def wait() -> None:
        seen.append("began")
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("stopped")

    calling = asyncio.create_task(loops.loops[0].call(wait))
    await until(lambda: seen)
    calling.cancel()
    await until(lambda: len(seen) == 2)


async def test_the_loop_with_the_fewest_runs_is_picked(loops: RunnerLoops) -> None:
    loops.loops[0].runs = 3
    assert loops.pick() is loops.loops[1]
    loops.loops[1].runs = 4
    assert loops.pick() is loops.loops[0]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_a_loop_goes_on_after_code_that_would_end_the_process(
    loops: RunnerLoops, kind: type[BaseException]
) -> None:
    loop = loops.loops[0]

    async def leave() -> None:
        raise kind

    ended = asyncio.run_coroutine_threadsafe(leave(), loop.loop)
    await until(ended.done)

    async def answer() -> int:
        return 1

    assert await loop.call(answer) == 1


async def test_a_task_says_for_whom_it_works(loops: RunnerLoops) -> None:
    async def told() -> tuple[Any, Any, Any]:
        current_writer.set(ATTEMPT)

        async def inner() -> Any:
            task = asyncio.current_task()
            return getattr(task, WRITER)

        outside = await asyncio.create_task(inner(), context=Context())
        return await asyncio.create_task(inner(), name="n"), outside, await inner()

    mine, outside, of_the_call = await loops.loops[0].call(told)
    assert (mine, outside, of_the_call) == (ATTEMPT, None, None)


async def test_sync_code_runs_in_the_pool_and_sees_the_context(loops: RunnerLoops) -> None:
    async def work() -> tuple[str, Any]:
        current_writer.set(ATTEMPT)
        return await asyncio.to_thread(look)

    def look() -> tuple[str, Any]:
        return threading.current_thread().name, current_writer.get()

    name, writer = await loops.loops[0].call(work)
    assert name.startswith("sync-node")
    assert writer == ATTEMPT


async def test_a_call_from_the_loop_s_own_thread_is_not_lost(loops: RunnerLoops) -> None:
    async def work() -> str:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon_threadsafe(future.set_result, "done")
        return await asyncio.wait_for(future, 60)

    assert await loops.loops[0].call(work) == "done"


async def test_what_is_left_on_a_loop_is_cancelled_when_it_is_closed() -> None:
    loops = RunnerLoops(loops=1, sync_nodes=1)
    loops.start()
    seen: list[str] = []

    async def wait() -> None:
        seen.append("began")
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("stopped")

    asyncio.run_coroutine_threadsafe(wait(), loops.loops[0].loop)
    await until(lambda: seen)
    loops.stop()
    await until(lambda: loops.loops[0].loop.is_closed())
    assert seen == ["began", "stopped"]


def test_a_loop_that_was_never_started_needs_no_closing() -> None:
    loop = RunnerLoop(SyncNodes(1))
    assert not hasattr(loop, "loop")
