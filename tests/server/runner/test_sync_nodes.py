"""The pool for sync nodes, and nodes in it that do not stop."""

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from runwire.server.model.attempts import Attempt, current_writer
from runwire.server.runner.loops import SyncNodes


@pytest.fixture
def pool() -> Iterator[SyncNodes]:
    """A pool with room for two nodes."""
    pool = SyncNodes(2)
    yield pool
    pool.shutdown(wait=True)


def work_for(run_id: str) -> None:
    """Let what is submitted from here on belong to a run."""
    current_writer.set(Attempt(run_id, None, "graph", 1, "server"))


async def test_a_run_is_idle_once_its_last_node_has_ended(pool: SyncNodes) -> None:
    released = threading.Event()
    work_for("run")
    pool.submit(released.wait)
    pool.submit(lambda: None)

    waiting = asyncio.create_task(pool.idle("run", 30))
    released.set()

    assert await waiting
    assert await pool.idle("another", 0)


async def test_nodes_left_behind_are_counted_until_they_end(
    pool: SyncNodes, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()
    for number in range(2):
        work_for(f"run-{number}")
        pool.submit(released.wait)
        assert pool.left == number
        assert not pool.is_exhausted
        with caplog.at_level(logging.WARNING):
            assert not await pool.idle(f"run-{number}", 0.01)

    assert pool.is_exhausted
    assert [record.threads_kept for record in caplog.records] == [1, 2]  # type: ignore[attr-defined]

    released.set()
    assert await pool.idle("run-0", 30)
    assert await pool.idle("run-1", 30)
    assert pool.left == 0
