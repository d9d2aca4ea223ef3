"""The saver that holds writes back."""

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from tests.support.attempts import Attempts, writing_as

from runwire.server.graphs.holding import HoldingSaver
from runwire.server.graphs.saver import RunwireSaver
from runwire.server.model.attempts import StateUpdate
from runwire.server.storage.checkpoints import CheckpointOutdated
from runwire.server.storage.database import Database


async def test_nothing_is_written_before_it_is_told_to(database: Database) -> None:
    saver = RunwireSaver(database, fenced=False)
    holding = HoldingSaver(saver)
    clone = holding.with_allowlist([("somewhere", "Type")])
    checkpoint = empty_checkpoint()

    config = await clone.aput(
        {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}, checkpoint, {"step": 1}, {}
    )
    await holding.aput_writes(config, [("channel", 1)], "task")
    assert await saver.aget_tuple(config) is None
    assert [item async for item in holding.alist(config)] == []
    ahead = await holding.aget_tuple(config)

    await database.write(holding.writing())

    found = await saver.aget_tuple(config)
    assert found is not None
    assert ahead is not None
    assert (ahead.checkpoint, ahead.pending_writes) == (found.checkpoint, found.pending_writes)
    assert found.config["configurable"].items() >= config["configurable"].items()
    assert found.pending_writes == [("task", "channel", 1)]
    assert [item async for item in holding.alist(config)] == [found]


async def test_nothing_is_written_of_what_is_refused_in_part(
    database: Database, saver: RunwireSaver, attempts: Attempts
) -> None:
    thread_id = await attempts.thread()
    place = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    with writing_as(StateUpdate(thread_id, "graph")):
        old = await saver.aput(place, empty_checkpoint(), {}, {})
        await saver.aput(old, empty_checkpoint(), {}, {})
    held = HoldingSaver(saver)
    await held.aput_writes(old, [("channel", 1)], "task")
    await held.aput(old, empty_checkpoint(), {}, {})
    newest = old["configurable"]["checkpoint_id"]
    with (
        writing_as(StateUpdate(thread_id, "graph", newest=newest)),
        pytest.raises(CheckpointOutdated),
    ):
        await database.write(held.writing())
    found = await saver.aget_tuple(old)
    assert found is not None
    assert not found.pending_writes
    assert len([item async for item in saver.alist(place)]) == 2
