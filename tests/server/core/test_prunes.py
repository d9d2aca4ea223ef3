"""Threads that are deleted, or lose their history, when a caller says so."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, String, cast, func, or_, select
from tests.support.engine import Engine, until

from runwire.server.core.prunes import PruneResult
from runwire.server.model.errors import RunNotFound, RunwireError, ThreadInUse, ThreadNotFound
from runwire.server.model.ids import new_id
from runwire.server.model.runs import Command, Run, RunState
from runwire.server.model.threads import PruneStrategy, ThreadState
from runwire.server.storage import pruning
from runwire.server.storage.tables import metadata

TELLING = ("requests", "changes")
"""What is kept for a while and is no part of a thread: that a request came before, and for readers
of changes that a thread is gone."""

DELETE, KEEP_LATEST = PruneStrategy.DELETE, PruneStrategy.KEEP_LATEST


async def gate(engine: Engine, directory: Path, thread_id: str) -> Run:
    run = await engine.start("gate", {"directory": str(directory)}, thread_id=thread_id)
    await until((directory / "started").exists)
    return run


async def history(engine: Engine, thread_id: str) -> int:
    page = await engine.states.list(
        thread_id, checkpoint=None, before=None, metadata={}, limit=1000, cursor=None
    )
    return len(page.items)


def told(results: list[PruneResult]) -> list[tuple[str, type[RunwireError] | None]]:
    return [(result.thread_id, type(result.error) if result.error else None) for result in results]


async def mentions(engine: Engine, *ids: str) -> dict[str, int]:
    """Return which tables have rows with one of the ids in any column, and how many, except those
    that are `TELLING`."""

    def count(connection: Connection) -> dict[str, int]:
        found = {}
        for table in metadata.sorted_tables:
            named = [cast(column, String).contains(each) for column in table.c for each in ids]
            query = select(func.count()).select_from(table).where(or_(*named))
            if table.name not in TELLING and (rows := connection.scalar(query)):
                found[table.name] = rows
        return found

    found: dict[str, int] = await engine.database.read(count)
    return found


async def test_a_deleted_thread_leaves_no_row_in_any_table(engine: Engine) -> None:
    thread_id = await engine.thread()
    runs = [
        await engine.run("counter", thread_id=thread_id),
        await engine.run("counts_within", thread_id=thread_id),
        await engine.run("fails", {"message": "boom"}, thread_id=thread_id),
        await engine.run("asks_in_subgraph", {"question": "why?"}, thread_id=thread_id),
    ]
    ids = [thread_id, *(run.run_id for run in runs)]
    there = await mentions(engine, *ids)
    assert there.keys() >= {"threads", "runs", "run_events", "checkpoints", "checkpoint_writes"}
    await engine.threads.delete(thread_id)
    assert await mentions(engine, *ids) == {}


async def test_a_busy_thread_is_deleted_once_its_runs_are_cancelled(
    engine: Engine, tmp_path: Path
) -> None:
    thread_id = await engine.thread()
    executing = await gate(engine, tmp_path, thread_id)
    waiting = await engine.start("counter", thread_id=thread_id)
    with pytest.raises(ThreadInUse):
        await engine.threads.delete(thread_id)
    await engine.threads.delete(thread_id, cancel_runs=True)
    assert await mentions(engine, thread_id, executing.run_id, waiting.run_id) == {}
    for run in (executing, waiting):
        with pytest.raises(RunNotFound):
            await engine.row(run)
    await until(lambda: not engine.runner._slots)
    (tmp_path / "open").touch()
    assert await mentions(engine, thread_id, executing.run_id) == {}, "nothing wrote on"


async def test_code_that_does_not_stop_writes_nothing_for_a_thread_that_is_deleted(
    engine: Engine,
) -> None:
    thread_id = await engine.thread()
    run = await engine.start("stubborn", {"seconds": 1.5}, thread_id=thread_id)
    await until(lambda: bool(engine.runner._slots))
    async with asyncio.timeout(60):
        await engine.threads.delete(thread_id, cancel_runs=True)
    await until(lambda: not engine.runner._slots)
    assert await mentions(engine, thread_id, run.run_id) == {}


async def test_a_thread_that_is_not_there_is_not_deleted_whatever_is_said_of_its_runs(
    engine: Engine,
) -> None:
    with pytest.raises(ThreadNotFound):
        await engine.threads.delete(new_id(), cancel_runs=True)


async def test_each_thread_that_is_pruned_has_an_answer(engine: Engine, tmp_path: Path) -> None:
    used, busy, missing = await engine.thread(), await engine.thread(), new_id()
    await engine.run("counter", thread_id=used)
    run = await gate(engine, tmp_path, busy)
    for strategy in (KEEP_LATEST, DELETE):
        results = await engine.threads.prune([used, busy, missing, used], strategy)
        assert told(results) == [(used, None), (busy, ThreadInUse), (missing, ThreadNotFound)]
    with pytest.raises(ThreadNotFound):
        await engine.threads.get(used)
    (tmp_path / "open").touch()
    assert (await engine.ended(run)).state is RunState.SUCCEEDED
    assert told(await engine.threads.prune([busy], DELETE)) == [(busy, None)]


async def test_a_thread_that_lost_its_history_goes_on_from_its_state(engine: Engine) -> None:
    thread_id = await engine.thread()
    for _ in range(9):
        await engine.run("deltas", {"items": [1]}, thread_id=thread_id)
    before = await engine.threads.get(thread_id)
    state = await engine.states.get(thread_id, None, include_subgraphs=False)
    had = await history(engine, thread_id)

    assert told(await engine.threads.prune([thread_id], KEEP_LATEST)) == [(thread_id, None)]

    assert 0 < await history(engine, thread_id) < had
    assert await engine.threads.get(thread_id) == before
    assert before.state is ThreadState.INTERRUPTED
    assert state == await engine.states.get(thread_id, None, include_subgraphs=False)
    command = Command(resume=[9], has_resume=True)
    run = await engine.run("deltas", None, thread_id=thread_id, command=command, input=None)
    assert run.state is RunState.SUCCEEDED


async def test_a_long_history_goes_in_small_transactions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread_id = await engine.thread()
    for _ in range(4):
        await engine.run("counter", thread_id=thread_id)
    monkeypatch.setattr(pruning, "CHECKPOINTS", 2)
    steps = 0
    prune_some = pruning.prune_some

    def counted(*arguments: object) -> object:
        nonlocal steps
        steps += 1
        return prune_some(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pruning, "prune_some", counted)
    await engine.threads.prune([thread_id], KEEP_LATEST)
    assert await history(engine, thread_id) == 1
    assert steps > 4
