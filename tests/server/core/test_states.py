"""The states of threads, on a server that executes runs."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, until

from runwire.server.core import states as core_states
from runwire.server.model.errors import (
    AssistantNotFound,
    CheckpointNotFound,
    StateUpdateRefused,
    ThreadInUse,
    ThreadNotFound,
)
from runwire.server.model.ids import new_id
from runwire.server.model.runs import Run
from runwire.server.model.threads import CheckpointRef, StateSnapshot, ThreadState
from runwire.server.storage import checkpoints


async def gate(engine: Engine, directory: Path, thread_id: str) -> Run:
    run = await engine.start("gate", {"directory": str(directory)}, thread_id=thread_id)
    await until((directory / "started").exists)
    return run


async def update(engine: Engine, thread_id: str, values: Any, **how: Any) -> CheckpointRef:
    given = {"as_node": "", "checkpoint": None, "assistant_id": "", **how}
    return await engine.states.update(thread_id, values, **given)


async def states(engine: Engine, thread_id: str, **how: Any) -> list[StateSnapshot]:
    given = {"checkpoint": None, "before": None, "metadata": {}, "limit": 99, "cursor": None}
    return (await engine.states.list(thread_id, **{**given, **how})).items


async def test_a_thread_without_checkpoints_has_an_empty_state(engine: Engine) -> None:
    thread_id = await engine.thread()
    snapshot = await engine.states.get(thread_id, None, include_subgraphs=False)
    assert (snapshot.values, snapshot.next, snapshot.checkpoint) == ("{}", (), None)
    assert await states(engine, thread_id) == []
    for wanted in (CheckpointRef(checkpoint_id="c"), CheckpointRef(checkpoint_ns="inner")):
        with pytest.raises(CheckpointNotFound):
            await engine.states.get(thread_id, wanted, include_subgraphs=False)


async def test_a_thread_that_is_not_there_has_no_states(engine: Engine) -> None:
    missing = new_id()
    for call in (
        engine.states.get(missing, None, include_subgraphs=False),
        update(engine, missing, {}, assistant_id="echo"),
        states(engine, missing),
    ):
        with pytest.raises(ThreadNotFound):
            await call


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
        page = await engine.states.list(
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
    snapshot = await engine.states.get(thread_id, third, include_subgraphs=False)
    assert snapshot == everything[2]


async def test_a_page_of_large_states_ends_early(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    await engine.run("steps", {"steps": 4}, thread_id=thread_id)
    everything = await states(engine, thread_id)
    sizes = [len(state.values) + len(state.metadata) for state in everything]
    for room, most in ((1, 1), (sizes[0] + sizes[1], 2)):
        monkeypatch.setattr(core_states, "PAGE_BYTES", room)
        joined: list[StateSnapshot] = []
        cursor = None
        while True:
            page = await engine.states.list(
                thread_id, checkpoint=None, before=None, metadata={}, limit=99, cursor=cursor
            )
            assert 0 < len(page.items) <= most
            joined, cursor = joined + page.items, page.next
            if cursor is None:
                break
        assert joined == everything


async def test_a_checkpoint_that_is_not_there_is_named_as_it_was_asked_for(engine: Engine) -> None:
    thread_id, missing = await engine.thread(), new_id()
    for wanted in ({"checkpoint_id": missing}, {"checkpoint_ns": "inner"}):
        with pytest.raises(CheckpointNotFound) as caught:
            await engine.states.get(thread_id, CheckpointRef(**wanted), include_subgraphs=False)
        assert caught.value.variables == {"thread_id": thread_id, **wanted}


async def test_a_state_update_is_shown_by_the_thread(engine: Engine) -> None:
    thread_id = await engine.thread()
    made = await update(engine, thread_id, {"count": 5, "log": ["u"]}, assistant_id="counter")
    thread = await engine.threads.get(thread_id)
    assert (thread.state, thread.values) == (ThreadState.INTERRUPTED, '{"count":5,"log":["u"]}')
    newest = await engine.states.get(thread_id, None, include_subgraphs=False)
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
    await until(lambda: not engine.states._updates._locks)

    async def agree() -> bool:  # what nobody waits for any more may still be stored in between
        snapshot = await engine.states.get(thread_id, None, include_subgraphs=False)
        return (await engine.threads.get(thread_id)).values == snapshot.values

    await until(agree)


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
    write_state = core_states.state.plan_update

    async def delete_and_write(*arguments: Any, **how: Any) -> Any:
        await engine.database.write(lambda c: checkpoints.delete_thread(c, "another"))
        home = asyncio.run_coroutine_threadsafe(engine.threads.delete(thread_id), loop)
        await asyncio.wrap_future(home)
        return await write_state(*arguments, **how)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(core_states.state, "plan_update", delete_and_write)
    with pytest.raises(ThreadNotFound):
        await update(engine, thread_id, {"count": 1}, as_node="count")
    assert await engine.database.read(lambda c: checkpoints.head(c, thread_id)) is None
