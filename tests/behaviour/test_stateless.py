"""Runs without a thread, and many runs created at once."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.callers import (
    MISSING_ID,
    Client,
    Stubs,
    collect,
    data_in,
    kinds,
    of_json,
    start,
    whole,
)
from tests.support.serving import serve_in_process
from tests.support.tables import count_rows

from runwire.client import ConflictError, InvalidArgumentError, NotFoundError, get_client
from runwire.server.app import App
from runwire.server.core.retention import Retention, sweep
from runwire.v1 import core_pb2, runs_pb2

# ------------------------------------------------------------------- stateless


async def test_a_stateless_run_has_no_thread_and_leaves_no_checkpoint(
    client: Client, server: App
) -> None:
    before = await count_rows(server.database)

    run = await client.runs.create(None, "counter", input={"count": 1})
    output = await client.runs.join(None, run["run_id"])

    after = await count_rows(server.database)
    assert output == {"count": 2, "log": ["?"]}
    assert run["thread_id"] is None
    for table in ("threads", "checkpoints", "checkpoint_writes"):
        assert after[table] == before[table], table


async def test_a_stateless_run_leaves_nothing_once_its_retention_has_passed(
    tmp_path: Path,
) -> None:
    now = timedelta(0)
    async with serve_in_process(tmp_path) as server, get_client(server.address) as client:
        before = await count_rows(server.database)
        run = await client.runs.create(None, "echo", input={"text": "gone"})
        await client.runs.join(None, run["run_id"])

        await sweep(server.database, Retention(stateless_run_retention=now, request_retention=now))

        with pytest.raises(NotFoundError) as caught:
            await client.runs.get(None, run["run_id"])
        assert caught.value.reason == "RUN_NOT_FOUND"
        assert await count_rows(server.database) == before


async def test_two_stateless_runs_know_nothing_of_each_other(client: Client) -> None:
    first = await client.runs.wait(None, "counter", input={"count": 1})
    second = await client.runs.wait(None, "counter", input={"count": 1})

    assert first == second == {"count": 2, "log": ["?"]}


async def test_stateless_runs_do_not_wait_for_each_other(client: Client, tmp_path: Path) -> None:
    runs = [await start(client, None, "gate", input={"directory": str(tmp_path)}) for _ in range(5)]
    (tmp_path / "open").touch()

    for run in runs:
        assert (await client.runs.join(None, run["run_id"]))["done"] == ["wait_for_gate"]


async def test_a_stateless_run_that_is_kept_makes_a_thread_with_its_state(
    client: Client,
) -> None:
    run = await client.runs.create(None, "counter", input={"count": 4}, on_completion="keep")
    await client.runs.join(None, run["run_id"])

    assert run["thread_id"] is not None
    state = await client.threads.get_state(run["thread_id"])
    assert state["values"] == {"count": 5, "log": ["?"]}
    again = await client.runs.wait(run["thread_id"], "counter", input={"count": 1})
    assert again["count"] == 7


async def test_a_stateless_run_that_is_kept_streams_its_checkpoints(
    client: Client,
) -> None:
    parts = await collect(
        client.runs.stream(
            None, "echo", input={"text": "x"}, on_completion="keep", stream_mode="checkpoints"
        )
    )

    thread_id = parts[0].data["thread_id"]
    assert thread_id
    checkpoints = data_in(parts, "checkpoints")
    assert checkpoints[-1]["values"] == {"text": "x", "answer": "x"}
    assert checkpoints[-1]["config"]["configurable"]["thread_id"] == thread_id


async def test_a_stateless_run_cannot_take_what_needs_a_thread(client: Client) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await client.runs.create(None, "asks", command={"resume": "yes"})
    assert caught.value.violations == (("spec.command", "needs thread_id"),)
    with pytest.raises(InvalidArgumentError) as caught:
        await client.runs.create(None, "asks", input={}, checkpoint_id=MISSING_ID)
    assert caught.value.violations == (("spec.checkpoint", "needs thread_id"),)


async def test_a_stateless_run_can_be_interrupted_though_nobody_can_resume_it(
    client: Client,
) -> None:
    output = await client.runs.wait(None, "asks", input={"question": "well?"})

    assert output["answers"] == ["prepared"]
    assert output["__interrupt__"][0]["value"] == {"question": "well?"}


# ------------------------------------------------------------------- batches


async def test_a_batch_answers_with_its_runs_in_order(client: Client, thread_id: str) -> None:
    payloads: Any = [
        {"assistant_id": "echo", "input": {"text": str(number)}} for number in range(20)
    ]
    payloads += [
        {"assistant_id": "counter", "thread_id": thread_id, "input": {"count": 10 * number}}
        for number in range(3)
    ]

    runs = await client.runs.create_batch(payloads)

    outputs = [await client.runs.join(None, run["run_id"]) for run in runs]
    assert [output["answer"] for output in outputs[:20]] == [str(number) for number in range(20)]
    assert [output["count"] for output in outputs[20:]] == [1, 12, 33]


async def test_a_batch_with_one_wrong_specification_creates_nothing(
    client: Client, server: App, thread_id: str
) -> None:
    good: Any = {
        "assistant_id": "echo",
        "thread_id": thread_id,
        "input": {},
        "if_not_exists": "create",
    }
    before = await count_rows(server.database)

    for wrong, error, reason in (
        ({"assistant_id": "nobody"}, NotFoundError, "ASSISTANT_NOT_FOUND"),
        ({"assistant_version": 99}, NotFoundError, "ASSISTANT_VERSION_NOT_FOUND"),
        ({"thread_id": MISSING_ID, "if_not_exists": "reject"}, NotFoundError, "THREAD_NOT_FOUND"),
        ({"checkpoint_id": MISSING_ID}, NotFoundError, "CHECKPOINT_NOT_FOUND"),
        ({"timeout": -1}, InvalidArgumentError, "INVALID_FIELD"),
    ):
        with pytest.raises(error) as caught:
            await client.runs.create_batch([good, {**good, **wrong}, good])
        assert caught.value.reason == reason

    assert await count_rows(server.database) == before
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_batch_names_the_place_of_the_wrong_specification(client: Client) -> None:
    payloads: Any = [
        {"assistant_id": "echo", "input": {}},
        {"assistant_id": "echo", "input": {}, "timeout": 0},
        {"assistant_id": "", "input": {}},
    ]

    with pytest.raises(InvalidArgumentError) as caught:
        await client.runs.create_batch(payloads)

    fields = [field for field, _ in caught.value.violations]
    assert fields == ["specs[1].timeout", "specs[2].assistant_id"]


async def test_a_batch_that_finds_one_thread_busy_creates_nothing(
    client: Client, server: App, thread_id: str, tmp_path: Path
) -> None:
    run = await start(client, thread_id, "gate", input={"directory": str(tmp_path)})
    before = await count_rows(server.database)
    payloads: Any = [
        {"assistant_id": "echo", "input": {}},
        {"assistant_id": "echo", "thread_id": thread_id, "multitask_strategy": "reject"},
    ]

    with pytest.raises(ConflictError) as caught:
        await client.runs.create_batch(payloads)

    assert caught.value.reason == "THREAD_BUSY"
    after = await count_rows(server.database)
    assert {**after, "run_events": 0} == {**before, "run_events": 0}
    await client.runs.cancel(thread_id, run["run_id"], wait=True)


async def test_a_batch_has_from_one_to_a_hundred_specifications(
    client: Client, stubs: Stubs
) -> None:
    one = core_pb2.RunSpec(assistant_id="echo", input=of_json({}))
    hundred = runs_pb2.BatchCreateRunsRequest(specs=[one] * 100)
    answer = await stubs.runs.BatchCreateRuns(hundred)
    await asyncio.gather(*(client.runs.join(None, run.run_id) for run in answer.runs))

    for count in (0, 101):
        with pytest.raises(InvalidArgumentError) as caught:
            await client.runs.create_batch([{"assistant_id": "echo", "input": {}}] * count)
        assert [field for field, _ in caught.value.violations] == ["specs"]


async def test_a_batch_can_be_repeated_under_its_request_id(client: Client) -> None:
    payloads: Any = [{"assistant_id": "echo", "input": {"text": "a"}}, {"assistant_id": "echo"}]

    first = await client.runs.create_batch(payloads, request_id="batch-1")
    second = await client.runs.create_batch(payloads, request_id="batch-1")

    assert [run["run_id"] for run in second] == [run["run_id"] for run in first]


async def test_a_stateless_stream_can_be_read_by_any_client(stubs: Stubs) -> None:
    spec = core_pb2.RunSpec(assistant_id="echo", input=of_json({"text": "plain"}))
    call = stubs.runs.RunStream(runs_pb2.RunStreamRequest(spec=spec))

    events = whole([event async for response in call for event in response.events])

    assert kinds(events) == ["run", "attempt_started", "values", "values", "run_ended"]
