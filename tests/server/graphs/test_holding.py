"""The saver that holds writes back."""

from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver

from runwire.server.graphs.holding import HoldingSaver


async def test_nothing_is_written_before_it_is_told_to() -> None:
    saver = InMemorySaver()
    holding = HoldingSaver(saver)
    clone = holding.with_allowlist([("somewhere", "Type")])
    checkpoint = empty_checkpoint()

    config = await clone.aput(
        {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}, checkpoint, {"step": 1}, {}
    )
    await holding.aput_writes(config, [("channel", 1)], "task")
    assert await holding.aget_tuple(config) is None
    assert [item async for item in holding.alist(config)] == []

    await holding.write()

    found = await holding.aget_tuple(config)
    assert found is not None
    assert found.config == config
    assert found.pending_writes == [("task", "channel", 1)]
    assert [item async for item in holding.alist(config)] == [found]

    await holding.write()
    assert len([item async for item in saver.alist(config)]) == 1
