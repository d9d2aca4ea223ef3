"""What happens on a thread is told once, in order, for as long as somebody wants to know."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import Engine, open_engine, until
from tests.support.following import CUSTOM, NO_EVENTS, events_of, gate
from tests.support.records import at
from tests.support.thread_reading import (
    LIFECYCLE,
    RUNS,
    STATE_UPDATES,
    ThreadReader,
    reading,
    short,
)

from runwire.server.core import news
from runwire.server.core.retention import sweep
from runwire.server.model.errors import Draining, ThreadNotFound
from runwire.server.model.ids import new_id
from runwire.server.model.runs import CancelAction, RunState
from runwire.v1 import core_pb2

SUCCEEDED = f"state {core_pb2.RUN_STATE_SUCCEEDED}"
PENDING = f"state {core_pb2.RUN_STATE_PENDING}"
RUNNING = f"state {core_pb2.RUN_STATE_RUNNING}"
CANCELLED = f"state {core_pb2.RUN_STATE_CANCELLED}"
CANCELLING = f"state {core_pb2.RUN_STATE_CANCELLING}"


@pytest.fixture
async def thread_id(engine: Engine) -> str:
    return await engine.thread()


async def run_custom(engine: Engine, thread_id: str, count: int = 2, **spec: Any) -> str:
    graph_input = {"count": count}
    run = await engine.run("custom_events", graph_input, thread_id=thread_id, **CUSTOM, **spec)
    return run.run_id


async def test_runs_are_told_one_after_the_other_from_the_first_to_one_that_comes_later(
    engine: Engine, thread_id: str
) -> None:
    first = [await run_custom(engine, thread_id), await run_custom(engine, thread_id)]
    async with reading(engine, thread_id) as reader:
        await reader.ends(2)
        third = await run_custom(engine, thread_id)
        await reader.ends(3)
    assert reader.told == [
        *(SUCCEEDED, *events_of(2)) * 2,
        reader.told[10],
        *events_of(2),
    ]
    assert list(dict.fromkeys(event.run_id for event in reader.events)) == [*first, third]


async def test_every_message_says_of_which_run_and_assistant_it_is(
    engine: Engine, thread_id: str
) -> None:
    own = await engine.row(await engine.run("echo", thread_id=thread_id))
    other = await engine.row(await engine.run("counter", thread_id=thread_id))
    async with reading(engine, thread_id) as reader:
        await reader.ends(2)
    assert not reader.messages[0].events, "the first one tells the place alone"
    for message in reader.messages[1:]:
        run = {run.run_id: run for run in (own, other)}[message.run_id]
        assert {event.run_id for event in message.events} == {run.run_id}
        assert (message.assistant_id, message.graph_id) == (run.assistant_id, run.graph_id)
    assert {message.run_id for message in reader.messages[1:]} == {own.run_id, other.run_id}


async def test_events_are_told_while_they_are_made(
    engine: Engine, thread_id: str, tmp_path: Path
) -> None:
    async with reading(engine, thread_id) as reader:
        run = await gate(engine, tmp_path, thread_id=thread_id)
        await until(lambda: any(event.HasField("custom") for event in reader.events))
        assert reader.told[0] == RUNNING
        assert await engine.row(run) == run, "it has not ended"
        (tmp_path / "open").touch()
        await reader.ends(1)
    assert [event for event in reader.events if event.id] == await engine.events(run)


async def test_every_place_is_one_to_go_on_from(engine: Engine, thread_id: str) -> None:
    async with reading(engine, thread_id, RUNS, STATE_UPDATES) as reader:
        await run_custom(engine, thread_id, count=5)
        await update(engine, thread_id)
        await run_custom(engine, thread_id)
        await reader.ends(2)
    for number, message in enumerate(reader.messages):
        token, rest = message.resume_token, flat(reader.messages[number + 1 :])
        async with reading(engine, thread_id, RUNS, STATE_UPDATES, token=token) as other:
            await until(lambda: flat(other.messages) == rest)  # noqa: B023


async def test_a_reader_may_stop_in_the_middle_of_a_message(engine: Engine, thread_id: str) -> None:
    await run_custom(engine, thread_id, count=4)
    async with reading(engine, thread_id) as reader:
        await reader.ends(1)
    before, message = next(
        (reader.messages[number - 1], message)
        for number, message in enumerate(reader.messages)
        if len(message.events) > 3
    )
    seen = message.events[2]
    token = f"{before.resume_token}/{seen.run_id}/{seen.id}"
    async with reading(engine, thread_id, token=token) as rest:
        await rest.ends(1)
    assert rest.events == [*message.events][3:]


def what(message: Any) -> list[str]:
    if message.HasField("state_update"):
        return [message.state_update.checkpoint.checkpoint_id]
    return [f"{event.run_id} {event.id}" for event in message.events if event.id]


def flat(messages: list[Any]) -> list[str]:
    return [told for message in messages for told in what(message)]


async def update(engine: Engine, thread_id: str, **values: Any) -> str:
    made = await engine.states.update(
        thread_id, values or None, as_node="", checkpoint=None, assistant_id=""
    )
    return made.checkpoint_id


async def test_live_only_is_what_happens_from_now_on(
    engine: Engine, thread_id: str, tmp_path: Path
) -> None:
    await run_custom(engine, thread_id)
    run = await gate(engine, tmp_path, thread_id=thread_id)
    log = engine.logs._logs[run.run_id][0]
    await until(lambda: log.last.index == 2)
    async with reading(engine, thread_id, live_only=True) as reader:
        await until(lambda: reader.events)
        (tmp_path / "open").touch()
        await reader.ends(1)
        next_one = await run_custom(engine, thread_id)
        await reader.ends(2)
    own = [event for event in reader.events if event.run_id == run.run_id]
    assert short(own[0]) == RUNNING
    assert own[1:] == (await engine.events(run))[2:]
    assert {event.run_id for event in reader.events} == {run.run_id, next_one}


async def test_the_life_of_each_run_is_told_queued_ones_too(
    engine: Engine, thread_id: str, tmp_path: Path
) -> None:
    async with reading(engine, thread_id, LIFECYCLE) as reader:
        run = await gate(engine, tmp_path, thread_id=thread_id)
        await until(lambda: of(reader, run) == [RUNNING])
        queued = await engine.start("echo", thread_id=thread_id)
        dropped = await engine.start("echo", thread_id=thread_id)
        await until(lambda: of(reader, queued) == of(reader, dropped) == [PENDING])
        await engine.runs.cancel(dropped.run_id, CancelAction.INTERRUPT, wait=True)
        await until(lambda: of(reader, dropped) == [PENDING, CANCELLED, "0-1"])
        (tmp_path / "open").touch()
        await reader.ends(3)
    assert of(reader, run)[-2] == SUCCEEDED
    assert of(reader, queued)[-2] == SUCCEEDED
    assert [event.id for event in reader.events if event.HasField("run_ended")] == [
        "0-1",
        (await engine.events(run))[-1].id,
        (await engine.events(queued))[-1].id,
    ]


def of(reader: ThreadReader, run: Any) -> list[str]:
    return [short(event) for event in reader.events if event.run_id == run.run_id]


async def test_lives_and_events_come_together_without_repetition(
    engine: Engine, thread_id: str, tmp_path: Path
) -> None:
    async with reading(engine, thread_id, RUNS, LIFECYCLE) as reader:
        run = await gate(engine, tmp_path, thread_id=thread_id)
        (tmp_path / "open").touch()
        await reader.ends(1)
    ids = [event.id for event in await engine.events(run)]
    assert reader.told == [RUNNING, *ids[:-1], SUCCEEDED, ids[-1]]


async def test_a_run_that_is_taken_back_is_told_to_its_end(
    engine: Engine, thread_id: str, tmp_path: Path
) -> None:
    async with reading(engine, thread_id, RUNS, LIFECYCLE) as reader:
        run = await gate(engine, tmp_path, thread_id=thread_id)
        await until(lambda: "1-1" in reader.told)
        await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)
        await reader.ends(1)
        await run_custom(engine, thread_id)
        await reader.ends(2)
    ended = next(event.run_ended for event in reader.events if event.HasField("run_ended"))
    assert ended.cancel.action == core_pb2.CANCEL_ACTION_ROLLBACK
    # Whoever reads later is told the same, as long as it is kept.
    async with reading(engine, thread_id) as later:
        await later.ends(2)
    assert [e for e in later.events if e.id] == [e for e in reader.events if e.id]


async def test_each_update_of_the_state_is_told_with_what_it_made(
    engine: Engine, thread_id: str
) -> None:
    await engine.run("echo", {"text": "first"}, thread_id=thread_id)
    async with reading(engine, thread_id, STATE_UPDATES) as reader:
        made = [await update(engine, thread_id, text=text) for text in ("a", "b")]
        await until(lambda: len(reader.messages) > 2)
    updates = [message.state_update for message in reader.messages[1:]]
    assert [told.checkpoint.checkpoint_id for told in updates] == made
    assert [told.state.checkpoint.checkpoint_id for told in updates] == made
    assert [told.state.values.json for told in updates] == [
        '{"text":"a","answer":"first"}',
        '{"text":"b","answer":"first"}',
    ]
    assert not reader.events, "runs are not wanted"


async def test_a_state_that_is_too_large_for_a_message_is_left_out(
    engine: Engine, thread_id: str
) -> None:
    await engine.run("echo", {"text": "first"}, thread_id=thread_id)
    made = await update(engine, thread_id, text="x" * 2_000_000)
    async with reading(engine, thread_id, STATE_UPDATES) as reader:
        await until(lambda: len(reader.messages) > 1)
    told = reader.messages[1].state_update
    assert told.checkpoint.checkpoint_id == made
    assert not told.HasField("state")


async def test_nothing_is_told_of_a_thread_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(ThreadNotFound):
        await ThreadReader(new_id()).read(engine)


async def test_a_reader_is_told_that_the_thread_is_deleted(engine: Engine, thread_id: str) -> None:
    await run_custom(engine, thread_id)
    reader = ThreadReader(thread_id)
    task = asyncio.create_task(reader.read(engine))
    await reader.ends(1)
    await engine.threads.delete(thread_id)
    with pytest.raises(ThreadNotFound):
        await asyncio.wait_for(task, 60)


async def test_a_thread_that_comes_after_one_of_the_same_name_is_another_one(
    engine: Engine, thread_id: str
) -> None:
    await engine.run("echo", {"text": "old"}, thread_id=thread_id)
    async with reading(engine, thread_id, STATE_UPDATES) as old:
        await update(engine, thread_id, text="old")
        await until(lambda: len(old.messages) > 1)
    await engine.threads.delete(thread_id)
    await engine.threads.create(thread_id, {}, return_existing=False, request=None)
    with pytest.raises(ThreadNotFound):
        await ThreadReader(thread_id, token=old.token).read(engine)
    async with reading(engine, thread_id, RUNS, STATE_UPDATES) as reader:
        run_id = await run_custom(engine, thread_id)
        await reader.ends(1)
    assert {message.run_id for message in reader.messages[1:]} == {run_id}


async def test_events_that_are_gone_are_marked_and_the_end_is_known_all_the_same(
    engine: Engine, thread_id: str
) -> None:
    old = await run_custom(engine, thread_id)
    await sweep(engine.database, NO_EVENTS)
    new = await run_custom(engine, thread_id)
    async with reading(engine, thread_id) as reader:
        await reader.ends(1)
    gone, *others = reader.messages[1:]
    assert (gone.run_id, gone.events_missing) == (old, True)
    assert [short(event) for event in gone.events] == [SUCCEEDED]
    assert all((message.run_id, message.events_missing) == (new, False) for message in others)
    async with reading(engine, thread_id, LIFECYCLE) as reader:
        await reader.ends(1)
    assert reader.messages[1].events_missing
    assert [short(event) for event in reader.messages[1].events] == [SUCCEEDED]


async def test_a_run_that_is_deleted_half_told_is_marked(engine: Engine, thread_id: str) -> None:
    run_id = await run_custom(engine, thread_id, count=4)
    async with reading(engine, thread_id) as reader:
        await reader.ends(1)
    token = f"{reader.messages[0].resume_token}/{run_id}/1-2"
    await engine.runs.delete(run_id)
    async with reading(engine, thread_id, token=token) as rest:
        await until(lambda: len(rest.messages) > 1)
    assert (rest.messages[1].run_id, rest.messages[1].events_missing) == (run_id, True)


async def test_a_run_that_is_handed_back_goes_on_in_the_stream(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with (
        open_engine(sqlite_url) as engine,
        reading(engine, thread_id := await engine.thread(), RUNS, LIFECYCLE) as reader,
    ):
        graph_input = {"steps": 3, "seconds": 0.1, "directory": str(tmp_path)}
        run = await engine.start("steps", graph_input, thread_id=thread_id)
        await until((tmp_path / "started").exists)
        await engine.runner.drain()
        await until(lambda: of(reader, run)[-1] == PENDING)
        assert (await engine.row(run)).state is RunState.PENDING
        engine.runner._draining = False
        engine.runner.wake()
        await reader.ends(1)
        assert [e for e in reader.events if e.id] == await engine.events(run)
    assert [e.id for e in reader.events if e.HasField("attempt_started")] == ["1-1", "2-1"]


async def test_a_delayed_run_is_told_when_it_begins(engine: Engine, thread_id: str) -> None:
    async with reading(engine, thread_id) as reader:
        later = await engine.start(
            "echo", thread_id=thread_id, start_delay=timedelta(milliseconds=300)
        )
        sooner = await run_custom(engine, thread_id)
        await reader.ends(2)
    ends = [event.run_id for event in reader.events if event.HasField("run_ended")]
    rows = [await engine.runs.get(run_id) for run_id in (sooner, later.run_id)]
    assert ends == [run.run_id for run in sorted(rows, key=lambda run: run.end_time or at(0))]


async def test_readers_end_with_draining_when_their_server_stops(
    engine: Engine, thread_id: str
) -> None:
    reader = ThreadReader(thread_id)
    task = asyncio.create_task(reader.read(engine))
    await run_custom(engine, thread_id)
    await reader.ends(1)
    engine.follower.drain()
    engine.news.drain()
    with pytest.raises(Draining):
        await asyncio.wait_for(task, 60)
    with pytest.raises(Draining):
        await ThreadReader(thread_id, token=reader.token).read(engine)


async def test_a_reader_that_does_not_read_holds_little_and_misses_nothing(
    engine: Engine, thread_id: str
) -> None:
    reader = ThreadReader(thread_id)
    may_read = asyncio.Event()
    held: list[int] = []
    tell = reader._tell

    async def slow(told: Any) -> None:
        held.append(sum(len(entry.data) for entry in told.entries))
        await may_read.wait()
        await tell(told)

    reader._tell = slow  # type: ignore[method-assign]
    task = asyncio.create_task(reader.read(engine))
    await until(lambda: held)
    for _ in range(3):
        await run_custom(engine, thread_id, count=3000)
    assert len(held) == 1
    assert engine.logs._logs == {}, "nothing is kept for it"
    may_read.set()
    await reader.ends(3)
    task.cancel()
    await asyncio.wait([task])
    assert [event.id for event in reader.events if event.id] == events_of(3000) * 3
    assert max(held) < 200_000


async def test_many_idle_readers_ask_the_database_once_a_second(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "POLL_SECONDS", 0.2)
    async with open_engine(postgres_url) as engine:
        threads = [await engine.thread() for _ in range(5)]
        readers = [ThreadReader(thread_id, RUNS) for thread_id in threads * 10]
        tasks = [asyncio.create_task(reader.read(engine)) for reader in readers]
        await until(lambda: all(reader.messages for reader in readers))
        await until(lambda: engine.news._seen is not None)
        asked: list[str] = []
        look = engine.news._look

        async def count_look() -> None:
            asked.append("look")
            await look()

        read = engine.database.read

        async def count_read(function: Any) -> Any:
            of = Path(function.__code__.co_filename).stem
            if of in ("news", "thread_streams"):
                asked.append(of)
            return await read(function)

        monkeypatch.setattr(engine.news, "_look", count_look)
        monkeypatch.setattr(engine.database, "read", count_read)
        # Whom the first question has woken, asks once. Then there is but the one for all.
        idle = ["look", "news"] * 5
        await until(lambda: asked[-len(idle) :] == idle)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
