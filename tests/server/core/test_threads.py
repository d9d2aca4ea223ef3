"""What can be done with threads, on a server that executes runs."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, until

from runwire.server.core import threads as core_threads
from runwire.server.model.errors import (
    AssistantNotFound,
    CheckpointNotFound,
    RequestIdReused,
    RunNotFound,
    StateUpdateRefused,
    ThreadExists,
    ThreadInUse,
    ThreadNotFound,
)
from runwire.server.model.ids import new_id
from runwire.server.model.requests import Order, RequestKey
from runwire.server.model.runs import Run
from runwire.server.model.threads import CheckpointRef, StateSnapshot, Thread, ThreadState
from runwire.server.storage import checkpoints
from runwire.server.storage.threads import ThreadFilter


async def create(engine: Engine, thread_id: str | None = None, **how: Any) -> tuple[Thread, bool]:
    given = {"return_existing": False, "request": None, **how}
    metadata = given.pop("metadata", {})
    return await engine.threads.create(thread_id, metadata, **given)


async def gate(engine: Engine, directory: Path, thread_id: str) -> Run:
    run = await engine.start("gate", {"directory": str(directory)}, thread_id=thread_id)
    await until((directory / "started").exists)
    return run


async def update(engine: Engine, thread_id: str, values: Any, **how: Any) -> CheckpointRef:
    given = {"as_node": "", "checkpoint": None, "assistant_id": "", **how}
    return await engine.threads.update_state(thread_id, values, **given)


async def states(engine: Engine, thread_id: str, **how: Any) -> list[StateSnapshot]:
    given = {"checkpoint": None, "before": None, "metadata": {}, "limit": 99, "cursor": None}
    return (await engine.threads.list_states(thread_id, **{**given, **how})).items


# Threads.


async def test_a_thread_is_created_once_under_its_id(engine: Engine) -> None:
    thread_id = new_id()
    thread, existed = await create(engine, thread_id, metadata={"a": 1})
    assert (thread.thread_id, thread.metadata, existed) == (thread_id, {"a": 1}, False)
    with pytest.raises(ThreadExists):
        await create(engine, thread_id)
    assert await create(engine, thread_id, return_existing=True, metadata={"b": 2}) == (
        thread,
        True,
    )
    assert await engine.threads.get(thread_id) == thread


async def test_a_repeated_request_gives_the_same_thread(engine: Engine) -> None:
    key = RequestKey("CreateThread", "id", b"hash")
    answers = await asyncio.gather(*(create(engine, request=key) for _ in range(9)))
    assert len({thread.thread_id for thread, _ in answers}) == 1
    assert sum(not existed for _, existed in answers) == 1
    with pytest.raises(RequestIdReused):
        await create(engine, request=RequestKey("CreateThread", "id", b"other"))
    await engine.threads.delete(answers[0][0].thread_id)
    with pytest.raises(ThreadNotFound):
        await create(engine, request=key)


async def test_metadata_are_merged_and_null_takes_a_key_away(engine: Engine) -> None:
    thread, _ = await create(engine, metadata={"a": 1, "b": {"x": 1}})
    changed = await engine.threads.update(thread.thread_id, {"a": None, "b": {"y": 2}, "c": 3})
    assert changed.metadata == {"b": {"y": 2}, "c": 3}
    assert changed.update_time > thread.update_time
    assert changed.state_update_time == thread.state_update_time
    assert await engine.threads.update(thread.thread_id, {"c": 3, "d": None}) == changed


async def test_threads_are_listed_in_pages_that_join(engine: Engine) -> None:
    made = [(await create(engine, metadata={"n": number}))[0] for number in range(4)]
    first = await engine.threads.list(ThreadFilter(), Order(), limit=3, cursor=None)
    rest = await engine.threads.list(ThreadFilter(), Order(), limit=3, cursor=first.next)
    assert first.items + rest.items == made[::-1]
    found = await engine.threads.list(
        ThreadFilter(metadata={"n": 2}), Order(), limit=3, cursor=None
    )
    assert found.items == [made[2]]


async def test_a_deleted_thread_is_gone_with_its_runs_and_checkpoints(engine: Engine) -> None:
    thread_id = await engine.thread()
    run = await engine.run("counter", thread_id=thread_id)
    await engine.threads.delete(thread_id)
    for call in (engine.threads.get, engine.threads.delete):
        with pytest.raises(ThreadNotFound):
            await call(thread_id)
    with pytest.raises(RunNotFound):
        await engine.runs.get(run.run_id)
    await create(engine, thread_id)
    assert await states(engine, thread_id) == [], "who takes the id again inherits nothing"


async def test_a_busy_thread_is_not_deleted(engine: Engine, tmp_path: Path) -> None:
    thread_id = await engine.thread()
    run = await gate(engine, tmp_path, thread_id)
    with pytest.raises(ThreadInUse):
        await engine.threads.delete(thread_id)
    (tmp_path / "open").touch()
    await engine.ended(run)
    await engine.threads.delete(thread_id)


async def test_what_is_not_there_is_not_found(engine: Engine) -> None:
    missing = new_id()
    for call in (
        engine.threads.get(missing),
        engine.threads.update(missing, {}),
        engine.threads.delete(missing),
        engine.threads.get_state(missing, None, include_subgraphs=False),
        update(engine, missing, {}, assistant_id="echo"),
        states(engine, missing),
    ):
        with pytest.raises(ThreadNotFound):
            await call


# States.


async def test_a_thread_without_checkpoints_has_an_empty_state(engine: Engine) -> None:
    thread_id = await engine.thread()
    snapshot = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
    assert (snapshot.values, snapshot.next, snapshot.checkpoint) == ("{}", (), None)
    assert await states(engine, thread_id) == []
    for wanted in (CheckpointRef(checkpoint_id="c"), CheckpointRef(checkpoint_ns="inner")):
        with pytest.raises(CheckpointNotFound):
            await engine.threads.get_state(thread_id, wanted, include_subgraphs=False)


async def test_states_are_listed_newest_first_in_pages_that_join(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("steps", {"steps": 4}, thread_id=thread_id)
    everything = await states(engine, thread_id)
    assert [len(json.loads(state.values).get("done_steps", [])) for state in everything] == [
        *(4, 3, 2, 1, 0),
        0,
    ]
    joined: list[StateSnapshot] = []
    cursor = None
    while True:
        page = await engine.threads.list_states(
            thread_id, checkpoint=None, before=None, metadata={}, limit=4, cursor=cursor
        )
        joined, cursor = joined + page.items, page.next
        if cursor is None:
            break
    assert joined == everything
    third = everything[2].checkpoint
    assert await states(engine, thread_id, before=third) == everything[3:]
    assert await states(engine, thread_id, checkpoint=third) == [everything[2]]
    assert len(await states(engine, thread_id, metadata={"source": "input"})) == 1
    snapshot = await engine.threads.get_state(thread_id, third, include_subgraphs=False)
    assert snapshot == everything[2]


async def test_a_state_update_is_shown_by_the_thread(engine: Engine) -> None:
    thread_id = await engine.thread()
    made = await update(engine, thread_id, {"count": 5, "log": ["u"]}, assistant_id="counter")
    thread = await engine.threads.get(thread_id)
    assert (thread.state, thread.values) == (ThreadState.IDLE, '{"count":5,"log":["u"]}')
    newest = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
    assert newest.checkpoint == made
    run = await engine.run("counter", thread_id=thread_id)
    assert run.output == '{"count":6,"log":["u","?"]}'


async def test_a_state_update_closes_or_leaves_an_open_question(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("asks", {"question": "?"}, thread_id=thread_id)
    assert (await engine.threads.get(thread_id)).state is ThreadState.INTERRUPTED
    await update(engine, thread_id, {"answers": ["by hand"]}, as_node="ask")
    thread = await engine.threads.get(thread_id)
    assert (thread.state, thread.interrupts) == (ThreadState.IDLE, ())
    assert '"by hand"' in (thread.values or "")


async def test_a_state_update_clears_a_failure(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("fails", {"kind": "value"}, thread_id=thread_id)
    failed = await engine.threads.get(thread_id)
    assert failed.error is not None
    assert (failed.state, failed.error.type) == (ThreadState.FAILED, "ValueError")
    await update(engine, thread_id, {"done": ["by hand"]}, as_node="fail")
    thread = await engine.threads.get(thread_id)
    assert (thread.state, thread.error) == (ThreadState.IDLE, None)


async def test_a_state_update_that_is_refused_changes_nothing(engine: Engine) -> None:
    thread_id = await engine.thread()
    with pytest.raises(StateUpdateRefused):
        await update(engine, thread_id, {"count": 1})
    with pytest.raises(AssistantNotFound):
        await update(engine, thread_id, {}, assistant_id="nonsense")
    await engine.run("counter", thread_id=thread_id)
    before = (await engine.threads.get(thread_id), await states(engine, thread_id))
    for values, as_node in (({"nonsense": 1}, "nonsense"), ("not a dict", "count")):
        with pytest.raises(StateUpdateRefused):
            await update(engine, thread_id, values, as_node=as_node)
    with pytest.raises(CheckpointNotFound):
        await update(engine, thread_id, {}, checkpoint=CheckpointRef(checkpoint_id=new_id()))
    assert (await engine.threads.get(thread_id), await states(engine, thread_id)) == before


async def test_the_state_of_a_busy_thread_is_not_updated(engine: Engine, tmp_path: Path) -> None:
    thread_id = await engine.thread()
    await engine.run("gate", {"directory": str(await opened(tmp_path))}, thread_id=thread_id)
    (tmp_path / "open").unlink()
    run = await gate(engine, tmp_path, thread_id)
    with pytest.raises(ThreadInUse):
        await update(engine, thread_id, {"done": ["x"]}, as_node="wait_for_gate")
    assert await states(engine, thread_id, metadata={"source": "update"}) == []
    (tmp_path / "open").touch()
    await engine.ended(run)


async def opened(directory: Path) -> Path:
    (directory / "open").touch()
    return directory


async def test_state_updates_at_once_lose_nothing(engine: Engine) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    updates = [update(engine, thread_id, {"count": 1}, as_node="count") for _ in range(8)]
    made = await asyncio.gather(*updates)
    assert len({one.checkpoint_id for one in made}) == 8
    assert json.loads((await engine.threads.get(thread_id)).values or "")["count"] == 9


async def test_a_caller_that_hangs_up_leaves_a_thread_that_shows_the_state_it_has(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    for _ in range(15):
        updating = asyncio.create_task(update(engine, thread_id, {"count": 1}, as_node="count"))
        await asyncio.sleep(0.001)
        updating.cancel()
        await asyncio.wait([updating])
    await until(lambda: not engine.threads._updates._locks)
    snapshot = await engine.threads.get_state(thread_id, None, include_subgraphs=False)
    assert (await engine.threads.get(thread_id)).values == snapshot.values


async def test_a_run_that_ends_while_an_update_is_being_shown_shows_what_it_left(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    call = engine.runner.call

    async def call_and_run(function: Any) -> Any:
        result = await call(function)
        monkeypatch.setattr(engine.runner, "call", call)
        await engine.run("counter", thread_id=thread_id)
        return result

    monkeypatch.setattr(engine.runner, "call", call_and_run)
    await update(engine, thread_id, {"count": 10}, as_node="count")
    thread = await engine.threads.get(thread_id)
    assert json.loads(thread.values or "")["count"] == 12


async def test_a_thread_that_is_deleted_while_it_is_updated_stays_gone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("counter", thread_id=thread_id)
    write_state = core_threads.state.update_state

    async def delete_and_write(*arguments: Any, **how: Any) -> Any:
        await engine.database.write(lambda c: checkpoints.delete_thread(c, "another"))
        home = asyncio.run_coroutine_threadsafe(engine.threads.delete(thread_id), loop)
        await asyncio.wrap_future(home)
        return await write_state(*arguments, **how)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(core_threads.state, "update_state", delete_and_write)
    with pytest.raises(ThreadNotFound):
        await update(engine, thread_id, {"count": 1}, as_node="count")
    assert await engine.database.read(lambda c: checkpoints.head(c, thread_id)) is None
