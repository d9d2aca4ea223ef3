"""What can be done with threads, on a server that executes runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, until

from runwire.server.model.errors import (
    PayloadTooLarge,
    RequestIdReused,
    RunNotFound,
    ThreadExists,
    ThreadInUse,
    ThreadNotFound,
)
from runwire.server.model.ids import new_id
from runwire.server.model.requests import Order, RequestKey
from runwire.server.model.runs import Run
from runwire.server.model.threads import Thread
from runwire.server.storage import checkpoints, pages
from runwire.server.storage.threads import ThreadFilter


async def create(engine: Engine, thread_id: str | None = None, **how: Any) -> tuple[Thread, bool]:
    given = {"return_existing": False, "request": None, **how}
    metadata = given.pop("metadata", {})
    return await engine.threads.create(thread_id, metadata, **given)


async def gate(engine: Engine, directory: Path, thread_id: str) -> Run:
    run = await engine.start("gate", {"directory": str(directory)}, thread_id=thread_id)
    await until((directory / "started").exists)
    return run


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


async def test_metadata_do_not_grow_beyond_what_can_be_given_at_once(engine: Engine) -> None:
    large = "x" * 40_000
    thread, _ = await create(engine, metadata={"a": large})
    with pytest.raises(PayloadTooLarge) as refused:
        await engine.threads.update(thread.thread_id, {"b": large})
    assert refused.value.variables["field"] == "metadata"
    assert await engine.threads.get(thread.thread_id) == thread
    changed = await engine.threads.update(thread.thread_id, {"a": None, "b": large})
    assert changed.metadata == {"b": large}


async def test_threads_are_listed_in_pages_that_join(engine: Engine) -> None:
    made = [(await create(engine, metadata={"n": number}))[0] for number in range(4)]
    first = await engine.threads.list(ThreadFilter(), Order(), limit=3, cursor=None)
    rest = await engine.threads.list(ThreadFilter(), Order(), limit=3, cursor=first.next)
    assert first.items + rest.items == made[::-1]
    found = await engine.threads.list(
        ThreadFilter(metadata={"n": 2}), Order(), limit=3, cursor=None
    )
    assert found.items == [made[2]]


async def test_a_page_of_large_threads_ends_early(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [(await create(engine))[0].thread_id for _ in range(3)]
    for thread_id in made:
        await engine.run("echo", {"text": "x" * 60}, thread_id=thread_id)
    monkeypatch.setattr(pages, "PAGE_BYTES", 100)
    found: list[str] = []
    cursor = None
    for _ in made:
        page = await engine.threads.list(ThreadFilter(), Order(), limit=3, cursor=cursor)
        assert len(page.items) == 1
        found, cursor = [*found, page.items[0].thread_id], page.next
    assert (found, cursor) == (made[::-1], None)
    bare = await engine.threads.list(
        ThreadFilter(), Order(), limit=3, cursor=None, with_values=False
    )
    assert len(bare.items) == 3


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
    head = await engine.database.read(lambda c: checkpoints.head(c, thread_id))
    assert head is None, "who takes the id again inherits nothing"


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
    ):
        with pytest.raises(ThreadNotFound):
            await call
