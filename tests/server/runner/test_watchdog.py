"""Noticing runner loops that stop turning."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.engine import Engine, until
from tests.support.meeting import Meeting

from runwire.server.model.attempts import Attempt, current_writer
from runwire.server.runner import watchdog
from runwire.server.runner.loops import RunnerLoops
from runwire.server.runner.watchdog import Watchdog

ATTEMPT = Attempt("run-that-blocks", None, "graph", 1, "server")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.1)


@pytest.fixture
async def loops() -> AsyncIterator[RunnerLoops]:
    loops = RunnerLoops(loops=2, sync_nodes=1)
    loops.start()
    yield loops
    loops.stop()
    await until(lambda: all(loop.loop.is_closed() for loop in loops.loops))


@pytest.fixture
async def watched(loops: RunnerLoops) -> AsyncIterator[Watchdog]:
    watched = Watchdog(loops)
    watching = asyncio.create_task(watched.run())
    yield watched
    watching.cancel()
    await asyncio.wait([watching])


def reports(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if "blocked" in record.message]


async def block(go_on: threading.Event) -> None:
    current_writer.set(ATTEMPT)

    async def node_that_blocks() -> None:
        go_on.wait()

    await asyncio.create_task(node_that_blocks())


@pytest.mark.usefixtures("watched")
async def test_a_blocked_loop_is_reported_once_with_the_run_and_the_place(
    loops: RunnerLoops, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    go_on = threading.Event()
    blocked = asyncio.run_coroutine_threadsafe(block(go_on), loops.loops[0].loop)
    await until(lambda: reports(caplog))
    await asyncio.sleep(0.1)
    (report,) = reports(caplog)
    assert report["run_id"] == "run-that-blocks"
    assert report["seconds"] >= 0.1
    assert any("node_that_blocks" in place for place in report["stack"])
    go_on.set()
    await until(blocked.done)


async def test_each_time_that_a_loop_stops_is_reported(
    loops: RunnerLoops, watched: Watchdog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for count in (1, 2):
        go_on = threading.Event()
        blocked = asyncio.run_coroutine_threadsafe(block(go_on), loops.loops[0].loop)
        await until(lambda count=count: len(reports(caplog)) == count)
        go_on.set()
        await until(blocked.done)
        await until(lambda: not watched._reported)


async def test_a_loop_that_turns_is_not_reported(
    loops: RunnerLoops,
    watched: Watchdog,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock on which a loop is never late because the machine is."""
    caplog.set_level(logging.WARNING)
    now = time.monotonic()
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: now))

    async def work() -> None:
        while True:  # noqa: ASYNC110 - so that the loop is in a task whenever one looks
            await asyncio.sleep(0)

    working = asyncio.run_coroutine_threadsafe(work(), loops.loops[0].loop)
    for _ in range(5):
        now += 0.6 * watchdog.BLOCKED_SECONDS
        await until(lambda now=now: {*watched._turned.values()} == {now})
    working.cancel()
    assert reports(caplog) == []


async def test_the_lag_is_that_of_the_loop_that_is_furthest_behind() -> None:
    loops = RunnerLoops(loops=2, sync_nodes=1)
    watched = Watchdog(loops)
    assert watched.lag < 60
    watched._turned[id(loops.loops[1])] -= 5000
    assert 4990 < watched.lag < 5060


async def test_a_node_that_blocks_is_named_by_its_run(
    engine: Engine, meeting: Meeting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    run = await meeting.start(engine, "blocks_loop", until_open=True)
    await until(lambda: reports(caplog))
    assert reports(caplog)[0]["run_id"] == run.run_id
    assert any("waiting.py" in place and "block" in place for place in reports(caplog)[0]["stack"])
    meeting.open()
    await engine.ended(run)
