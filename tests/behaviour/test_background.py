"""Runs that go on by themselves: created, asked about, waited for, streamed, joined."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from tests.support.callers import (
    Client,
    Stubs,
    at_work,
    collect,
    data_in,
    follow,
    kinds,
    ledger,
    of_json,
    open_gate,
    start,
)

from runwire.client import (
    InvalidArgumentError,
    NotFoundError,
    RunCancelledError,
    RunFailedError,
    StreamPart,
)
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import RunEvent


def names(parts: list[StreamPart]) -> list[str]:
    return [part.event for part in parts]


# ------------------------------------------------------------------- create, poll, join


async def test_a_run_in_the_background_is_answered_at_once_and_joined_later(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "echo", input={"text": "hello"})

    assert run["thread_id"] == thread_id
    assert run["graph_id"] == "echo"
    assert run["state"] in ("pending", "running")
    assert await client.runs.join(thread_id, run["run_id"]) == {"text": "hello", "answer": "hello"}


async def test_polling_shows_a_run_running_and_then_succeeded(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    running = await client.runs.get(thread_id, run["run_id"])
    open_gate(tmp_path)
    await client.runs.join(thread_id, run["run_id"])
    ended = await client.runs.get(thread_id, run["run_id"])

    assert (running["state"], running["status"], running["attempt"]) == ("running", "running", 1)
    assert running["started_at"] is not None
    assert running["ended_at"] is None
    assert (ended["state"], ended["status"], ended["attempt"]) == ("succeeded", "success", 1)
    assert ended["ended_at"] is not None
    assert ended["created_at"] <= running["started_at"] <= ended["ended_at"]
    assert ended["ended_at"] <= ended["updated_at"]


async def test_a_run_tells_what_it_was_asked_to_do_to_who_asks_for_it_alone(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    created = await client.runs.create(
        thread_id,
        "counter",
        input={"count": 5},
        config={"tags": ["one"], "configurable": {"name": "Ada"}},
        context={"step": 2},
        metadata={"order": 4711},
        stream_mode=["updates", "custom"],
        stream_subgraphs=True,
        interrupt_after=["count"],
        multitask_strategy="reject",
        timeout=30,
        durability="async",
    )
    await client.runs.join(thread_id, created["run_id"])

    told = (await stubs.runs.GetRun(runs_pb2.GetRunRequest(run_id=created["run_id"]))).run
    shown = await client.runs.get(thread_id, created["run_id"])
    [listed] = (await stubs.runs.ListRuns(runs_pb2.ListRunsRequest(thread_id=thread_id))).runs

    assert "kwargs" not in created
    assert not listed.HasField("spec")
    assert shown["kwargs"]["input"] == {"count": 5}
    assert shown["kwargs"]["config"]["configurable"] == {"name": "Ada"}
    assert shown["metadata"] == {"order": 4711}
    assert told.spec.assistant_id == "counter"
    assert told.spec.thread_id == thread_id
    assert list(told.spec.stream_modes) == [
        core_pb2.STREAM_MODE_UPDATES,
        core_pb2.STREAM_MODE_CUSTOM,
    ]
    assert told.spec.stream_subgraphs
    assert list(told.spec.interrupt_after) == ["count"]
    assert told.spec.multitask_strategy == core_pb2.MULTITASK_STRATEGY_REJECT
    assert told.spec.timeout.seconds == 30
    assert told.spec.durability == core_pb2.DURABILITY_ASYNC


async def test_joining_a_run_again_gives_the_same_output(client: Client) -> None:
    run = await client.runs.create(None, "echo", input={"text": "again"})

    first = await client.runs.join(None, run["run_id"])
    second = await client.runs.join(None, run["run_id"])

    assert first == second == {"text": "again", "answer": "again"}


async def test_many_joiners_of_one_run_all_get_its_output(client: Client, tmp_path: Path) -> None:
    run = await start(client, None, "gate", input={"directory": str(tmp_path)})
    joiners = [asyncio.create_task(client.runs.join(None, run["run_id"])) for _ in range(20)]
    open_gate(tmp_path)

    outputs = await asyncio.gather(*joiners)

    assert [output["done"] for output in outputs] == [["wait_for_gate"]] * 20


async def test_going_away_from_a_join_leaves_the_run_alone(client: Client, tmp_path: Path) -> None:
    run = await start(client, None, "gate", input={"directory": str(tmp_path)})
    joiner = asyncio.create_task(client.runs.join(None, run["run_id"]))
    stream: Any = client.runs.join_stream(None, run["run_id"])
    async with aclosing(stream):
        await anext(stream)
        joiner.cancel()
    open_gate(tmp_path)

    assert (await client.runs.join(None, run["run_id"]))["done"] == ["wait_for_gate"]


async def test_runs_are_listed_newest_first_by_thread_state_assistant_and_metadata(
    client: Client, thread_id: str
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("echo", {"n": 1}),
        ("counter", {"n": 2, "tags": ["a", "b"]}),
        ("echo", {"n": 3}),
    ]
    for graph_id, metadata in asked:
        await client.runs.wait(thread_id, graph_id, input={}, metadata=metadata)
    with pytest.raises(RunFailedError):
        await client.runs.wait(thread_id, "fails", input={}, metadata={"n": 4})

    async def numbers(**wanted: Any) -> list[Any]:
        return [run["metadata"]["n"] for run in await client.runs.list(thread_id, **wanted)]

    assert await numbers() == [4, 3, 2, 1]
    assert await numbers(limit=2, offset=1) == [3, 2]
    assert await numbers(status="error") == [4]
    assert await numbers(assistant_id="echo") == [3, 1]
    assert await numbers(metadata={"tags": ["b"]}) == [2]
    assert await numbers(metadata={"tags": ["b"]}, assistant_id="echo") == []


async def test_a_deleted_run_is_gone_and_its_thread_keeps_what_it_did(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "counter", input={"count": 1})
    await client.runs.join(thread_id, run["run_id"])

    await client.runs.delete(thread_id, run["run_id"])

    for ask in (client.runs.get, client.runs.join, client.runs.delete):
        with pytest.raises(NotFoundError) as caught:
            await ask(None, run["run_id"])
        assert caught.value.reason == "RUN_NOT_FOUND"
    with pytest.raises(NotFoundError):
        await collect(client.runs.join_stream(None, run["run_id"]))
    assert (await client.threads.get_state(thread_id))["values"]["count"] == 2


# ------------------------------------------------------------------- wait


async def test_waiting_gives_the_output_and_names_the_run_at_once(
    client: Client, thread_id: str
) -> None:
    named: list[Any] = []

    output = await client.runs.wait(
        thread_id, "echo", input={"text": "hi"}, on_run_created=named.append
    )

    assert output == {"text": "hi", "answer": "hi"}
    [run] = await client.runs.list(thread_id)
    assert named == [{"run_id": run["run_id"], "thread_id": thread_id}]


async def test_a_run_that_failed_is_an_answer_and_not_a_failed_call(
    client: Client, stubs: Stubs
) -> None:
    spec = core_pb2.RunSpec(assistant_id="fails", input=of_json({}))
    answer = await stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))

    assert answer.run.state == core_pb2.RUN_STATE_FAILED
    assert answer.run.error.type == "ValueError"
    assert not answer.HasField("output")
    with pytest.raises(RunFailedError, match="ValueError: no reason"):
        await client.runs.wait(None, "fails", input={})
    told = await client.runs.wait(None, "fails", input={}, raise_error=False)
    assert told["__error__"]["error"] == "ValueError"


async def test_a_waiting_caller_is_told_that_the_run_was_cancelled(
    client: Client, thread_id: str
) -> None:
    named: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(
        client.runs.wait(
            thread_id, "slow_async", input={"seconds": 60}, on_run_created=named.set_result
        )
    )
    await client.runs.cancel(thread_id, (await named)["run_id"])

    with pytest.raises(RunCancelledError) as caught:
        await waiting
    assert caught.value.run["state"] == "cancelled"


# ------------------------------------------------------------------- stream


async def test_a_stream_begins_with_the_run_and_ends_with_its_end(
    client: Client, thread_id: str
) -> None:
    parts = await collect(
        client.runs.stream(
            thread_id, "custom_events", input={"count": 3}, stream_mode=["custom", "values"]
        )
    )

    assert names(parts) == ["metadata", "values", "custom", "custom", "custom", "values", "end"]
    [run] = await client.runs.list(thread_id)
    assert parts[0].data["run_id"] == run["run_id"]
    assert [data["index"] for data in data_in(parts, "custom")] == [0, 1, 2]
    assert parts[-1].data["state"] == "succeeded"
    assert parts[-1].data["ended_at"] == run["ended_at"]


async def test_event_ids_count_up_from_one_without_a_gap(client: Client, stubs: Stubs) -> None:
    run = await client.runs.create(
        None, "custom_events", input={"count": 200}, stream_mode=["custom", "updates"]
    )
    events = await follow(stubs, run["run_id"])

    assert [event.id for event in events] == ["", *(f"1-{n}" for n in range(1, len(events)))]
    assert kinds(events) == [
        "run", "attempt_started", *["custom"] * 200, "updates", "run_ended"
    ]  # fmt: skip
    assert {event.run_id for event in events} == {run["run_id"]}
    times = [event.create_time.ToNanoseconds() for event in events[1:]]
    assert times == sorted(times)


async def test_the_snapshot_comes_at_once_even_while_the_run_waits(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    ahead = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    stream: Any = client.runs.stream(thread_id, "echo", input={"text": "next"})
    async with aclosing(stream):
        first = await anext(stream)
        open_gate(tmp_path)
        rest = await collect(stream)

    assert (first.event, first.data["state"]) == ("metadata", "pending")
    assert rest[-1].data["state"] == "succeeded"
    await client.runs.join(thread_id, ahead["run_id"])


async def test_a_caller_that_does_not_read_does_not_hold_up_the_run(
    client: Client, stubs: Stubs
) -> None:
    spec = core_pb2.RunSpec(
        assistant_id="custom_events",
        input=of_json({"count": 300, "size": 20_000}),
        stream_modes=[core_pb2.STREAM_MODE_CUSTOM],
    )
    call = stubs.runs.RunStream(runs_pb2.RunStreamRequest(spec=spec))
    run_id = str(dict(await call.initial_metadata())["runwire-run-id"])

    assert (await client.runs.join(None, run_id))["written"] == 300

    events = [event async for response in call for event in response.events]
    assert kinds(events).count("custom") == 300
    assert kinds(events)[-1] == "run_ended"


# ------------------------------------------------------------------- join_stream


async def finished_run(client: Client, count: int = 5) -> str:
    run = await client.runs.create(
        None, "custom_events", input={"count": count}, stream_mode="custom"
    )
    await client.runs.join(None, run["run_id"])
    return str(run["run_id"])


async def test_a_finished_run_can_be_followed_from_its_beginning_any_number_of_times(
    client: Client, stubs: Stubs
) -> None:
    run_id = await finished_run(client)

    first, second = await follow(stubs, run_id), await follow(stubs, run_id)

    assert kinds(first) == ["run", "attempt_started", *["custom"] * 5, "run_ended"]
    assert first[1:] == second[1:]
    assert first[0].run.state == core_pb2.RUN_STATE_SUCCEEDED


async def test_joining_after_an_event_gives_what_came_after_it(
    client: Client, stubs: Stubs
) -> None:
    run_id = await finished_run(client)
    events = await follow(stubs, run_id)

    for place in range(1, len(events)):
        after = await follow(stubs, run_id, after_event_id=events[place].id)
        assert after[1:] == events[place + 1 :]


async def test_joining_a_running_run_after_an_event_goes_on_live(
    client: Client, tmp_path: Path
) -> None:
    run = await start(
        client, None, "gate", input={"directory": str(tmp_path)}, stream_mode=["custom", "updates"]
    )
    stream: Any = client.runs.join_stream(None, run["run_id"])
    async with aclosing(stream):
        seen = [await anext(stream), await anext(stream)]
    rest: Any = client.runs.join_stream(None, run["run_id"], last_event_id=seen[-1].id)
    async with aclosing(rest):
        assert (await anext(rest)).event == "metadata"
        open_gate(tmp_path)
        parts = await collect(rest)

    assert names(seen) == ["metadata", "custom"]
    assert names(parts) == ["updates", "end"]


async def test_joining_live_leaves_out_what_came_before(client: Client, tmp_path: Path) -> None:
    run = await start(
        client, None, "gate", input={"directory": str(tmp_path)}, stream_mode=["custom", "updates"]
    )
    stream: Any = client.runs.join_stream(None, run["run_id"], live_only=True)
    async with aclosing(stream):
        first = await anext(stream)
        open_gate(tmp_path)
        parts = [first, *await collect(stream)]

    assert names(parts) == ["metadata", "updates", "end"]


async def test_joining_live_misses_nothing_that_happens_after_the_snapshot(
    client: Client, tmp_path: Path
) -> None:
    async def join_live(number: int) -> list[str]:
        directory = tmp_path / str(number)
        directory.mkdir()
        asked: Any = {"input": {"directory": str(directory)}, "stream_mode": ["custom", "updates"]}
        run = await start(client, None, "gate", **asked)
        stream = client.runs.join_stream(None, run["run_id"], live_only=True)
        first = await anext(stream)
        open_gate(directory)
        return names([first, *await collect(stream)])

    for seen in await asyncio.gather(*(join_live(number) for number in range(50))):
        assert seen == ["metadata", "updates", "end"]


@pytest.mark.parametrize("is_delayed", [False, True], ids=["executing", "pending"])
async def test_who_loses_a_live_stream_before_its_first_event_can_go_on_after_its_snapshot(
    client: Client, stubs: Stubs, tmp_path: Path, is_delayed: bool
) -> None:
    asked: Any = {"input": {"directory": str(tmp_path)}, "stream_mode": ["custom", "updates"]}
    if is_delayed:
        run = await client.runs.create(None, "gate", after_seconds=0.5, **asked)
    else:
        run = await start(client, None, "gate", **asked)
    live = runs_pb2.JoinRunStreamRequest(run_id=run["run_id"], live_only=True)
    stream = stubs.runs.JoinRunStream(live)
    message: Any = await stream.read()
    snapshot = message.events[0]
    stream.cancel()
    open_gate(tmp_path)
    all_of_it = await follow(stubs, run["run_id"])
    rest = await follow(stubs, run["run_id"], after_event_id=snapshot.id)

    def place(event: RunEvent) -> tuple[int, ...]:
        return tuple(int(number) for number in event.id.split("-"))

    assert snapshot.HasField("run")
    later = [event.id for event in all_of_it[1:] if place(event) > place(snapshot)]
    assert [event.id for event in rest] == ["", *later]
    assert kinds(rest)[-2:] == ["updates", "run_ended"]


async def test_joining_a_finished_run_live_still_tells_how_it_ended(
    client: Client, stubs: Stubs
) -> None:
    run_id = await finished_run(client)

    assert kinds(await follow(stubs, run_id, live_only=True)) == ["run", "run_ended"]


async def test_a_joiner_can_narrow_the_modes(client: Client, stubs: Stubs) -> None:
    run = await client.runs.create(
        None, "custom_events", input={"count": 2}, stream_mode=["custom", "updates", "tasks"]
    )
    events = await follow(stubs, run["run_id"])
    some = await follow(stubs, run["run_id"], stream_modes=[core_pb2.STREAM_MODE_CUSTOM])
    none = await follow(stubs, run["run_id"], stream_modes=[core_pb2.STREAM_MODE_VALUES])

    wanted = ("attempt_started", "custom", "run_ended")
    assert some[1:] == [event for event in events if event.WhichOneof("event") in wanted]
    assert kinds(none) == ["run", "attempt_started", "run_ended"]


async def test_an_id_that_the_run_never_had_is_refused(client: Client, stubs: Stubs) -> None:
    run_id = await finished_run(client)
    for wrong in ("2-1", "1-4711", "1", "one-two", "1-1-1", "-1-1"):
        with pytest.raises(InvalidArgumentError) as caught:
            await collect(client.runs.join_stream(None, run_id, last_event_id=wrong))
        assert [field for field, _ in caught.value.violations] == ["after_event_id"], wrong


async def test_readers_that_come_at_any_moment_see_the_same_events(
    client: Client, stubs: Stubs
) -> None:
    # More output than a server keeps in memory, at different paces: some of it comes from there,
    # some from the database.
    run = await client.runs.create(
        None, "custom_events", input={"count": 2000, "size": 1000}, stream_mode="custom"
    )
    early = [asyncio.create_task(follow(stubs, run["run_id"])) for _ in range(5)]
    late: list[asyncio.Task[Any]] = []
    async for part in client.runs.join_stream(None, run["run_id"]):
        if part.event == "custom" and part.data["index"] % 400 == 0:
            asked = follow(stubs, run["run_id"], after_event_id=part.id)
            late.append(asyncio.create_task(asked))
    final = await follow(stubs, run["run_id"])

    assert [event.id for event in final[1:]] == [f"1-{n}" for n in range(1, 2003)]
    for events in await asyncio.gather(*early):
        assert events[1:] == final[1:]
    for events in await asyncio.gather(*late):
        assert events[1:] == final[-len(events) + 1 :]


async def test_two_hundred_runs_at_once_all_end_and_none_is_mixed_up(
    client: Client,
) -> None:
    async def run(number: int) -> bool:
        parts = await collect(
            client.runs.stream(None, "echo", input={"text": str(number)}, stream_mode="values")
        )
        return bool(parts[-2].data["answer"] == str(number))

    assert all(await asyncio.gather(*(run(number) for number in range(200))))


async def test_the_ledger_shows_that_each_run_was_executed_once(
    client: Client, tmp_path: Path
) -> None:
    runs = [
        await client.runs.create(
            None, "gate", input={"directory": str(tmp_path)}, stream_mode="custom"
        )
        for _ in range(10)
    ]
    for run in runs:
        await at_work(client, run["run_id"])
    open_gate(tmp_path)
    for run in runs:
        await client.runs.join(None, run["run_id"])

    lines = [(line["run_id"], line["what"]) for line in ledger(tmp_path)]
    assert sorted(lines) == sorted(
        (run["run_id"], what) for run in runs for what in ("started", "ended")
    )
