"""State updates: after one another, and after what a server with another clock wrote."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langgraph.checkpoint.base import id as checkpoint_ids
from tests.support.engine import Engine, open_engine

from runwire.server.core import states
from runwire.server.model.errors import CheckpointNotFound, ThreadContended
from runwire.server.storage import checkpoints, pruning
from runwire.server.storage.database import Connection

UPDATES = 20


async def add(engine: Engine, thread_id: str, name: str) -> None:
    await engine.states.update(
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

        state = await engine.states.get(thread_id, None, include_subgraphs=False)
        values = json.loads(state.values)
        assert values["count"] == UPDATES + 1
        assert sorted(values["log"]) == sorted(["?", *names])
        assert (await engine.threads.get(thread_id)).values == state.values


async def log_of(engine: Engine, thread_id: str) -> list[str]:
    """Return what callers have put into the log; the graph itself adds question marks."""
    state = await engine.states.get(thread_id, None, include_subgraphs=False)
    return [entry for entry in json.loads(state.values)["log"] if entry != "?"]


def before_the_put(
    monkeypatch: pytest.MonkeyPatch, happen: Callable[[], Awaitable[object]], *, times: int = 1
) -> list[object]:
    """Let something happen after an update has read the state, and before it stores its own; that
    many times. What it gave is in the list that is returned."""
    plan, loop, happened = states.state.plan_update, asyncio.get_running_loop(), list[object]()

    async def awaited() -> object:
        return await happen()

    async def plan_early(*arguments: Any, **how: Any) -> Any:
        planned = await plan(*arguments, **how)
        if len(happened) < times:
            future = asyncio.run_coroutine_threadsafe(awaited(), loop)
            happened.append(await asyncio.wrap_future(future))
        return planned

    monkeypatch.setattr(states.state, "plan_update", plan_early)
    return happened


@pytest.mark.parametrize("clock_ahead", [False, True])
async def test_an_update_hides_no_run_that_begins_and_ends_meanwhile(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, clock_ahead: bool
) -> None:
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
    thread_id = await engine.thread()
    await engine.run("counter", {"log": ["first"]}, thread_id=thread_id)
    real = time.time_ns
    if clock_ahead:
        monkeypatch.setattr(time, "time_ns", lambda: real() + 60_000_000_000)

    async def run_meanwhile() -> object:
        # The run is on a server with the right time.
        monkeypatch.setattr(time, "time_ns", real)
        checkpoint_ids._last_v6_timestamp = None
        return await engine.run("counter", {"log": ["meanwhile"]}, thread_id=thread_id)

    happened = before_the_put(monkeypatch, run_meanwhile)
    await add(engine, thread_id, "update")

    assert len(happened) == 1
    assert await log_of(engine, thread_id) == ["first", "meanwhile", "update"]
    state = await engine.states.get(thread_id, None, include_subgraphs=False)
    assert (await engine.threads.get(thread_id)).values == state.values


async def test_an_update_of_a_named_checkpoint_does_not_mind_what_is_newer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", {"log": ["first"]}, thread_id=thread_id)
    first = await engine.states.get(thread_id, None, include_subgraphs=False)
    before_the_put(
        monkeypatch, lambda: engine.run("counter", {"log": ["meanwhile"]}, thread_id=thread_id)
    )
    await engine.states.update(
        thread_id, {"log": ["fork"]}, as_node="", checkpoint=first.checkpoint, assistant_id=""
    )
    assert await log_of(engine, thread_id) == ["first", "fork"]


async def test_an_update_that_others_always_forestall_is_refused_in_the_end(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_MAX_TRIES", 3)
    thread_id = await engine.thread()
    await engine.run("counter", {"log": ["0"]}, thread_id=thread_id)
    others = iter("123")
    happened = before_the_put(
        monkeypatch,
        lambda: engine.run("counter", {"log": [next(others)]}, thread_id=thread_id),
        times=3,
    )
    with pytest.raises(ThreadContended):
        await add(engine, thread_id, "update")
    assert len(happened) == 3
    assert await log_of(engine, thread_id) == ["0", "1", "2", "3"]


async def test_a_copy_of_the_newest_checkpoint_is_made_of_what_is_the_newest(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", {"log": ["first"]}, thread_id=thread_id)
    await engine.states.update(
        thread_id, None, as_node="__copy__", checkpoint=None, assistant_id=""
    )
    state = await engine.states.get(thread_id, None, include_subgraphs=False)
    assert await log_of(engine, thread_id) == ["first"]
    assert json.loads(state.metadata)["source"] == "fork"


async def test_an_update_of_a_checkpoint_that_goes_meanwhile_is_not_put_on_top_of_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    before = await engine.states.get(thread_id, None, include_subgraphs=False)
    assert before.parent_checkpoint
    add_checkpoint = checkpoints.add_checkpoint

    def prune_first(connection: Connection, **how: Any) -> None:
        pruning.prune_thread(connection, thread_id)
        add_checkpoint(connection, **how)

    monkeypatch.setattr(checkpoints, "add_checkpoint", prune_first)
    with pytest.raises(CheckpointNotFound):
        await engine.states.update(
            thread_id,
            {"count": 1},
            as_node="count",
            checkpoint=before.parent_checkpoint,
            assistant_id="",
        )
    await add(engine, thread_id, "on the newest")
    state = await engine.states.get(thread_id, None, include_subgraphs=False)
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

        state = await engine.states.get(thread_id, None, include_subgraphs=False)
        assert json.loads(state.values) == {"count": 2, "log": ["?", "later"]}
