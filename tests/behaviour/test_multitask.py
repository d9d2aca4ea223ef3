"""Runs that meet on a thread: what happens to those that are there, and to those that come."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.callers import Client, Stubs, collect, data_in, follow, ledger, start
from tests.support.tables import count_rows

from runwire.client import ConflictError, NotFoundError, ThreadBusyError
from runwire.server.app import App
from runwire.v1 import core_pb2


async def states(client: Client, *runs: dict[str, Any]) -> list[str]:
    return [(await client.runs.get(None, run["run_id"]))["state"] for run in runs]


# ------------------------------------------------------------------- enqueue


async def test_a_run_on_a_busy_thread_waits_for_its_turn_by_default(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    first = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    second = await client.runs.create(thread_id, "counter", input={"count": 1})
    waiting = await states(client, first, second)
    (tmp_path / "open").touch()

    assert (await client.runs.join(thread_id, second["run_id"]))["count"] == 2
    assert waiting == ["running", "pending"]
    assert second["multitask_strategy"] == "enqueue"
    assert await states(client, first) == ["succeeded"]


async def test_runs_of_a_thread_execute_one_at_a_time_in_the_order_of_their_creation(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    runs = [
        await client.runs.create(
            thread_id, "counter", input={}, context={"name": str(number)}, stream_mode="custom"
        )
        for number in range(20)
    ]
    (tmp_path / "open").touch()
    await client.runs.join(thread_id, runs[-1]["run_id"])

    state = await client.threads.get_state(thread_id)
    ended = [await client.runs.get(None, run["run_id"]) for run in runs]
    assert state["values"]["log"] == [str(number) for number in range(20)]
    for before, after in pairwise(ended):
        assert before["ended_at"] <= after["started_at"]


async def test_runs_created_at_the_same_moment_never_overlap(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    (tmp_path / "open").touch()
    asked = {"directory": str(tmp_path)}

    await asyncio.gather(
        *(client.runs.wait(thread_id, "gate", input=asked) for _ in range(10)),
        *(client.runs.wait(thread_id, "gate_sync", input=asked) for _ in range(10)),
    )

    whats = [line["what"] for line in ledger(tmp_path)]
    assert whats == ["started", "ended"] * 20


async def test_a_thread_goes_on_with_its_queue_after_a_run_that_fails(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    failing = await client.runs.create(thread_id, "fails", input={})
    following = await client.runs.create(thread_id, "echo", input={"text": "after"})
    (tmp_path / "open").touch()

    assert (await client.runs.join(thread_id, following["run_id"]))["answer"] == "after"
    assert await states(client, failing) == ["failed"]
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_busy_thread_delays_no_other_thread(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    blocking = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    queued = [await client.runs.create(thread_id, "echo", input={}) for _ in range(50)]

    for _ in range(10):
        other = (await client.threads.create())["thread_id"]
        async with asyncio.timeout(60):
            assert (await client.runs.wait(other, "echo", input={"text": "x"}))["answer"] == "x"

    assert set(await states(client, *queued)) == {"pending"}
    await client.runs.cancel_many(thread_id=thread_id, wait=True)
    assert await states(client, blocking) == ["cancelled"]


# ------------------------------------------------------------------- reject


async def test_a_run_that_may_not_wait_is_rejected_and_leaves_no_trace(
    client: Client, server: App, thread_id: str, tmp_path: Path
) -> None:
    running = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    before = await count_rows(server.database)

    for starting in (
        client.runs.create(thread_id, "echo", input={}, multitask_strategy="reject"),
        client.runs.wait(thread_id, "echo", input={}, multitask_strategy="reject"),
        collect(client.runs.stream(thread_id, "echo", input={}, multitask_strategy="reject")),
    ):
        with pytest.raises(ConflictError) as caught:
            await starting
        assert (caught.value.code, caught.value.reason) == ("ABORTED", "THREAD_BUSY")
        assert caught.value.metadata == {"thread_id": thread_id}

    assert (await count_rows(server.database))["runs"] == before["runs"]
    assert await states(client, running) == ["running"]
    (tmp_path / "open").touch()
    await client.runs.join(thread_id, running["run_id"])
    output = await client.runs.wait(thread_id, "echo", input={}, multitask_strategy="reject")
    assert output["answer"] == ""


async def test_a_run_that_is_being_cancelled_still_keeps_its_thread_busy(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    running = await start(client, thread_id, "gate_sync", input={"directory": str(tmp_path)})
    await client.runs.cancel(thread_id, running["run_id"])

    with pytest.raises(ConflictError) as caught:
        await client.runs.create(thread_id, "echo", input={}, multitask_strategy="reject")

    assert caught.value.reason == "THREAD_BUSY"
    (tmp_path / "open").touch()
    await client.runs.join(thread_id, running["run_id"])


async def test_of_many_runs_that_may_not_wait_exactly_one_is_taken(
    client: Client, thread_id: str
) -> None:
    answers: Any = await asyncio.gather(
        *(
            client.runs.create(
                thread_id, "slow_async", input={"seconds": 60}, multitask_strategy="reject"
            )
            for _ in range(20)
        ),
        return_exceptions=True,
    )

    taken = [answer for answer in answers if not isinstance(answer, Exception)]
    assert len(taken) == 1
    assert {type(answer) for answer in answers} == {dict, ThreadBusyError}
    await client.runs.cancel(thread_id, taken[0]["run_id"], wait=True)


# ------------------------------------------------------------------- interrupt


async def test_a_run_that_interrupts_cancels_the_others_and_starts_from_what_they_left(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    running = await client.runs.create(
        thread_id, "steps", input={"steps": 1000, "seconds": 0.01}, stream_mode="updates"
    )
    async for part in client.runs.join_stream(thread_id, running["run_id"]):
        if part.event == "updates":
            break
    pending = await client.runs.create(thread_id, "counter", input={})

    parts = await collect(
        client.runs.stream(thread_id, "steps", input={"steps": 0}, multitask_strategy="interrupt")
    )

    assert await states(client, running, pending) == ["cancelled", "cancelled"]
    for run in (running, pending):
        cancel = (await client.runs.get(None, run["run_id"]))["cancel"]
        assert (cancel["cause"], cancel["action"]) == ("multitask", "interrupt")
    ended = (await follow(stubs, running["run_id"]))[-1].run_ended
    assert ended.cancel.cause == core_pb2.CANCEL_CAUSE_MULTITASK
    done = data_in(parts, "values")[-1]["done_steps"]
    assert done == list(range(len(done)))
    assert len(done) >= 2


async def test_a_run_that_interrupts_waits_until_the_other_s_code_has_stopped(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    running = await start(client, thread_id, "gate_sync", input={"directory": str(tmp_path)})
    newer = await client.runs.create(thread_id, "counter", input={}, multitask_strategy="interrupt")
    assert await states(client, running, newer) == ["cancelling", "pending"]
    (tmp_path / "open").touch()

    await client.runs.join(thread_id, newer["run_id"])

    older, newer = [await client.runs.get(None, run["run_id"]) for run in (running, newer)]
    assert (older["state"], newer["state"]) == ("cancelled", "succeeded")
    assert older["ended_at"] <= newer["started_at"]


async def test_of_many_runs_that_interrupt_each_other_only_the_last_one_succeeds(
    client: Client, thread_id: str
) -> None:
    runs = [
        await client.runs.create(
            thread_id, "slow_async", input={"seconds": 0.2}, multitask_strategy="interrupt"
        )
        for _ in range(10)
    ]
    await client.runs.join(thread_id, runs[-1]["run_id"])

    assert await states(client, *runs) == ["cancelled"] * 9 + ["succeeded"]
    assert (await client.threads.get(thread_id))["status"] == "idle"


# ------------------------------------------------------------------- rollback


async def test_a_run_that_rolls_back_takes_the_others_back_and_starts_from_before_them(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "steps", input={"steps": 2})
    running = await client.runs.create(
        thread_id, "steps", input={"steps": 1000, "seconds": 0.01}, stream_mode="updates"
    )
    stream = client.runs.join_stream(thread_id, running["run_id"])
    async for part in stream:
        if part.event == "updates":
            break
    pending = await client.runs.create(thread_id, "counter", input={})

    output = await client.runs.wait(
        thread_id, "steps", input={"steps": 3}, multitask_strategy="rollback"
    )

    assert output["done_steps"] == [0, 1, 2]
    for run in (running, pending):
        with pytest.raises(NotFoundError) as caught:
            await client.runs.get(None, run["run_id"])
        assert caught.value.reason == "RUN_ROLLED_BACK"
    assert len(await client.runs.list(thread_id)) == 2


async def test_who_follows_a_run_that_a_later_one_takes_back_sees_its_end(
    client: Client, thread_id: str
) -> None:
    running = await start(client, thread_id, "slow_async", input={"seconds": 60})
    following = asyncio.create_task(collect(client.runs.join_stream(None, running["run_id"])))
    joined = asyncio.create_task(client.runs.join(None, running["run_id"]))
    await client.runs.list(thread_id)  # lets both reach the server

    await client.runs.wait(thread_id, "echo", input={}, multitask_strategy="rollback")

    parts = await following
    assert parts[-1].data["cancel"]["cause"] == "multitask"
    assert parts[-1].data["cancel"]["action"] == "rollback"
    with pytest.raises(NotFoundError):
        await joined


# ------------------------------------------------------------------- with others


async def test_every_way_to_start_a_run_decides_in_the_same_way(
    client: Client, thread_id: str
) -> None:
    async def in_the_way() -> dict[str, Any]:
        return await start(client, thread_id, "slow_async", input={"seconds": 60})

    options: Any = {"input": {}, "multitask_strategy": "interrupt"}
    one = await in_the_way()
    await client.runs.wait(thread_id, "echo", **options)
    two = await in_the_way()
    await collect(client.runs.stream(thread_id, "echo", **options))
    three = await in_the_way()
    [batched] = await client.runs.create_batch(
        [{"assistant_id": "echo", "thread_id": thread_id, **options}]
    )
    await client.runs.join(thread_id, batched["run_id"])

    assert await states(client, one, two, three) == ["cancelled"] * 3


async def test_specifications_of_one_batch_queue_up_behind_each_other(
    client: Client, thread_id: str
) -> None:
    batch: Any = [
        {
            "assistant_id": "counter",
            "thread_id": thread_id,
            "input": {},
            "context": {"name": str(number)},
        }
        for number in range(5)
    ]
    runs = await client.runs.create_batch(batch)
    await client.runs.join(thread_id, runs[-1]["run_id"])

    state = await client.threads.get_state(thread_id)
    assert state["values"]["log"] == ["0", "1", "2", "3", "4"]


async def test_a_later_specification_of_a_batch_treats_an_earlier_one_like_any_other_run(
    client: Client, thread_id: str
) -> None:
    # "Each is treated as if it came alone, in this order."
    one: Any = {"assistant_id": "slow_async", "thread_id": thread_id, "input": {"seconds": 60}}
    two: Any = {"assistant_id": "counter", "thread_id": thread_id, "input": {}}

    interrupted, counted = await client.runs.create_batch(
        [one, {**two, "multitask_strategy": "interrupt"}]
    )
    assert (await client.runs.join(thread_id, counted["run_id"]))["count"] == 1
    assert await states(client, interrupted) == ["cancelled"]

    with pytest.raises(ConflictError) as caught:
        await client.runs.create_batch([one, {**two, "multitask_strategy": "reject"}])
    assert caught.value.reason == "THREAD_BUSY"
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_delayed_run_does_not_hold_back_later_runs_of_its_thread(
    client: Client, thread_id: str
) -> None:
    delayed = await client.runs.create(thread_id, "counter", input={}, after_seconds=3600)
    output = await client.runs.wait(thread_id, "counter", input={})

    assert output["count"] == 1
    assert await states(client, delayed) == ["pending"]
    assert (await client.threads.get(thread_id))["status"] == "busy"
    with pytest.raises(ConflictError):
        await client.runs.create(thread_id, "counter", input={}, multitask_strategy="reject")
    output = await client.runs.wait(thread_id, "counter", input={}, multitask_strategy="interrupt")
    assert output["count"] == 2
    assert await states(client, delayed) == ["cancelled"]
    assert (await client.threads.get(thread_id))["status"] == "idle"
