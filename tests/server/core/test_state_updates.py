"""State updates: after one another, and after what a server with another clock wrote."""

import asyncio
import json
import time
from typing import Any

import pytest
from langgraph.checkpoint.base import id as checkpoint_ids
from tests.support.engine import Engine, open_engine

from runwire.server.model.errors import CheckpointNotFound
from runwire.server.storage import checkpoints, pruning
from runwire.server.storage.database import Connection

UPDATES = 20


async def add(engine: Engine, thread_id: str, name: str) -> None:
    await engine.threads.update_state(
        thread_id,
        {"count": 1, "log": [name]},
        as_node="",
        checkpoint=None,
        assistant_id="",
    )


async def test_each_of_many_updates_at_once_builds_on_the_one_before(database_url: str) -> None:
    async with open_engine(database_url) as engine:
        thread_id = await engine.thread()
        await engine.run("counter", thread_id=thread_id)
        names = [str(number) for number in range(UPDATES)]
        await asyncio.gather(*(add(engine, thread_id, name) for name in names))

        state = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
        values = json.loads(state.values)
        assert values["count"] == UPDATES + 1
        assert sorted(values["log"]) == sorted(["?", *names])
        assert (await engine.threads.get(thread_id)).values == state.values


async def test_an_update_of_a_checkpoint_that_goes_meanwhile_is_not_put_on_top_of_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    before = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
    assert before.parent_checkpoint
    add_checkpoint = checkpoints.add_checkpoint

    def prune_first(connection: Connection, **how: Any) -> None:
        pruning.prune_thread(connection, thread_id)
        add_checkpoint(connection, **how)

    monkeypatch.setattr(checkpoints, "add_checkpoint", prune_first)
    with pytest.raises(CheckpointNotFound):
        await engine.threads.update_state(
            thread_id,
            {"count": 1},
            as_node="count",
            checkpoint=before.parent_checkpoint,
            assistant_id="",
        )
    await add(engine, thread_id, "on the newest")
    state = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
    assert json.loads(state.values) == {"count": 2, "log": ["?", "on the newest"]}


async def test_an_update_is_not_hidden_behind_what_a_server_with_a_clock_ahead_wrote(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
    async with open_engine(database_url) as engine:
        thread_id = await engine.thread()
        real = time.time_ns
        with monkeypatch.context() as ahead:
            ahead.setattr(time, "time_ns", lambda: real() + 3_600_000_000_000)
            await engine.run("counter", thread_id=thread_id)
        checkpoint_ids._last_v6_timestamp = None

        await add(engine, thread_id, "later")

        state = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
        assert json.loads(state.values) == {"count": 2, "log": ["?", "later"]}
