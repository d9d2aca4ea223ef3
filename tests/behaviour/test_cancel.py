"""Cancelling runs, wherever they are in their life."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from tests.support.callers import (
    MISSING_ID,
    Client,
    Stubs,
    collect,
    data_in,
    follow,
    kinds,
    ledger,
    noted,
    start,
)
from tests.support.serving import serve_in_process

from runwire.client import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    RunFailedError,
    StreamPart,
    get_client,
)
from runwire.v1 import core_pb2, errors_pb2, runs_pb2


@pytest_asyncio.fixture(loop_scope="session")
async def impatient(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a server that waits but a moment for code that does not stop."""
    async with (
        serve_in_process(tmp_path, cancel_grace="200ms") as server,
        get_client(server.address) as client,
    ):
        yield client


async def state_of(client: Client, run: dict[str, Any]) -> str:
    return str((await client.runs.get(None, run["run_id"]))["state"])


def whats(directory: Path) -> list[str]:
    return [line["what"] for line in ledger(directory)]


# ------------------------------------------------------------------- pending


async def test_a_pending_run_is_cancelled_at_once_and_never_starts(
    client: Client, stubs: Stubs, thread_id: str, tmp_path: Path
) -> None:
    ahead = await start(client, thread_id, "slow_async", input={"seconds": 60})
    pending = await client.runs.create(thread_id, "gate", input={"directory": str(tmp_path)})

    answer = await stubs.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=pending["run_id"]))

    run = answer.run
    assert run.state == core_pb2.RUN_STATE_CANCELLED
    assert run.attempt == 0
    assert not run.HasField("start_time")
    assert run.HasField("end_time")
    await client.runs.cancel(thread_id, ahead["run_id"], wait=True)
    assert (await client.threads.get(thread_id))["status"] == "idle"
    assert ledger(tmp_path) == []


async def test_the_only_event_of_a_run_cancelled_while_pending_is_its_end(
    client: Client, stubs: Stubs
) -> None:
    run = await client.runs.create(None, "echo", input={}, after_seconds=3600)
    stream = asyncio.create_task(collect(client.runs.join_stream(None, run["run_id"])))
    await client.runs.cancel(None, run["run_id"], wait=True)

    events = await follow(stubs, run["run_id"])

    assert [(event.id, event.WhichOneof("event")) for event in events] == [
        ("", "run"),
        ("0-1", "run_ended"),
    ]
    assert events[-1].run_ended.state == core_pb2.RUN_STATE_CANCELLED
    assert (await stream)[-1].data["state"] == "cancelled"
    assert (await state_of(client, run)) == "cancelled"


async def test_a_run_behind_a_cancelled_pending_one_is_not_held_up(
    client: Client, thread_id: str
) -> None:
    first = await start(client, thread_id, "slow_async", input={"seconds": 60})
    second = await client.runs.create(thread_id, "slow_async", input={"seconds": 60})
    third = await client.runs.create(thread_id, "counter", input={"count": 1})

    await client.runs.cancel(thread_id, second["run_id"])
    await client.runs.cancel(thread_id, first["run_id"])

    assert (await client.runs.join(thread_id, third["run_id"]))["count"] == 2


# ------------------------------------------------------------------- running


@pytest.mark.parametrize("graph_id", ["slow_async", "slow_nested", "gate", "steps"])
async def test_code_that_awaits_is_stopped_where_it_is(
    client: Client, thread_id: str, tmp_path: Path, graph_id: str
) -> None:
    run = await start(
        client,
        thread_id,
        graph_id,
        input={"directory": str(tmp_path), "seconds": 600},
        stream_subgraphs=True,
    )

    await client.runs.cancel(thread_id, run["run_id"], wait=True)

    ended = await client.runs.get(thread_id, run["run_id"])
    assert (ended["state"], ended["status"]) == ("cancelled", "interrupted")
    assert ended["cancel"]["cause"] == ended["cancel_reason"] == "client"
    assert ended["cancel"]["action"] == "interrupt"
    assert not ended["cancel"]["abandoned"]
    assert ended["error"] is None
    assert "ended" not in whats(tmp_path)
    assert (await client.threads.get(thread_id))["status"] == "idle"


@pytest.mark.parametrize("graph_id", ["slow_sync", "locked", "gate_sync"])
async def test_code_that_cannot_be_stopped_is_waited_for(
    client: Client, thread_id: str, tmp_path: Path, graph_id: str
) -> None:
    asked = {"directory": str(tmp_path), "until_open": True}
    run = await start(client, thread_id, graph_id, input=asked)
    await client.runs.cancel(thread_id, run["run_id"])
    cancelling = await client.runs.get(thread_id, run["run_id"])
    busy = await client.threads.get(thread_id)
    (tmp_path / "open").touch()

    await client.runs.join(thread_id, run["run_id"])

    assert (cancelling["state"], cancelling["status"]) == ("cancelling", "running")
    assert cancelling["cancel"]["requested_at"] is not None
    assert cancelling["ended_at"] is None
    assert busy["status"] == "busy"
    assert await state_of(client, run) == "cancelled"
    assert whats(tmp_path) == ["started", "ended"]


async def test_the_next_run_of_a_thread_waits_until_cancelled_code_has_really_stopped(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(client, thread_id, "gate_sync", input={"directory": str(tmp_path)})
    await client.runs.cancel(thread_id, run["run_id"])
    following = await client.runs.create(thread_id, "counter", input={})
    assert await state_of(client, following) == "pending"
    (tmp_path / "open").touch()

    await client.runs.join(thread_id, following["run_id"])

    first, second = [await client.runs.get(None, each["run_id"]) for each in (run, following)]
    assert first["ended_at"] <= second["started_at"]


async def test_a_cancelled_run_cleans_up_before_it_is_over(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(
        client, thread_id, "cleans_up", input={"directory": str(tmp_path), "seconds": 60}
    )

    await client.runs.cancel(thread_id, run["run_id"], wait=True)

    assert whats(tmp_path) == ["started", "cleaned up"]


@pytest.mark.parametrize("graph_id", ["locked", "stubborn", "blocks_loop"])
async def test_code_that_does_not_stop_in_time_is_left_behind(
    impatient: Client, tmp_path: Path, graph_id: str
) -> None:
    thread_id = (await impatient.threads.create())["thread_id"]
    asked = {"directory": str(tmp_path), "until_open": True}
    run = await impatient.runs.create(thread_id, graph_id, input=asked)
    await noted(tmp_path, "started")  # code that blocks its loop cannot say so in a stream

    await impatient.runs.cancel(thread_id, run["run_id"], wait=True)

    ended = await impatient.runs.get(thread_id, run["run_id"])
    assert ended["state"] == "cancelled"
    assert ended["cancel"]["abandoned"]
    assert "ended" not in whats(tmp_path)
    # The thread is free, and what the left-behind code does later does not count.
    if graph_id == "blocks_loop":  # nothing else happens there
        (tmp_path / "open").touch()
    output = await impatient.runs.wait(thread_id, "counter", input={"count": 1})
    assert output["count"] == 2
    (tmp_path / "open").touch()
    await noted(tmp_path, "ended")
    # It was told once: who is told again and again cannot clean up.
    assert whats(tmp_path).count("refused") == (graph_id == "stubborn")
    parts = await collect(impatient.runs.join_stream(thread_id, run["run_id"]))
    assert parts[-1].data["cancel"]["abandoned"]
    assert (await impatient.threads.get_state(thread_id))["values"] == output
    assert await impatient.runs.wait(thread_id, "counter", input={}) == {
        "count": 3,
        "log": ["?", "?"],
    }


async def test_a_cancelled_run_leaves_the_state_that_it_had_reached(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(
        thread_id, "steps", input={"steps": 1000, "seconds": 0.01}, stream_mode="updates"
    )
    shown = []
    async for part in client.runs.join_stream(thread_id, run["run_id"]):
        if part.event == "updates":
            shown += part.data["step"]["done_steps"]
            if shown == [0, 1, 2]:
                await client.runs.cancel(thread_id, run["run_id"])

    done = (await client.threads.get_state(thread_id))["values"]["done_steps"]

    assert done == list(range(len(done)))
    assert 3 <= len(shown) < 100
    assert abs(len(done) - len(shown)) <= 1  # the cancel may come between the two
    assert (await client.threads.get(thread_id))["values"]["done_steps"] == done
    assert await client.runs.join(thread_id, run["run_id"]) is None


async def test_streams_tell_a_cancel_with_its_action_and_cause(
    client: Client, stubs: Stubs
) -> None:
    run = await start(client, None, "slow_async", input={"seconds": 60})
    stream = asyncio.create_task(collect(client.runs.join_stream(None, run["run_id"])))
    await client.runs.cancel(None, run["run_id"])

    parts, events = await stream, await follow(stubs, run["run_id"])

    assert (parts[-1].event, parts[-1].data["state"]) == ("end", "cancelled")
    assert parts[-1].data["cancel"]["cause"] == "client"
    ended = events[-1].run_ended
    assert ended.state == core_pb2.RUN_STATE_CANCELLED
    assert ended.cancel.cause == core_pb2.CANCEL_CAUSE_CLIENT
    assert ended.cancel.action == core_pb2.CANCEL_ACTION_INTERRUPT
    assert ended.cancel.HasField("request_time")
    assert not ended.HasField("error")
    shown = (await stubs.runs.GetRun(runs_pb2.GetRunRequest(run_id=run["run_id"]))).run
    assert shown.cancel == ended.cancel
    assert shown.end_time == ended.end_time


# ------------------------------------------------------------------- wait or not


async def test_a_cancel_that_does_not_wait_is_stored_before_it_is_answered(
    client: Client, stubs: Stubs, tmp_path: Path
) -> None:
    run = await start(client, None, "gate_sync", input={"directory": str(tmp_path)})

    answer = await stubs.runs.CancelRun(runs_pb2.CancelRunRequest(run_id=run["run_id"]))

    assert answer.run.state == core_pb2.RUN_STATE_CANCELLING
    # The code ends well, and too late: the cancel was first.
    (tmp_path / "open").touch()
    assert await client.runs.join(None, run["run_id"]) is None
    assert await state_of(client, run) == "cancelled"


async def test_a_cancel_stands_though_its_caller_s_deadline_passes(
    client: Client, stubs: Stubs, tmp_path: Path
) -> None:
    run = await start(client, None, "gate_sync", input={"directory": str(tmp_path)})
    request = runs_pb2.CancelRunRequest(run_id=run["run_id"], wait=True)

    for seconds in (0.1, 1, 10):  # so that it comes in time on a slow machine, too
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.runs.CancelRun(request, timeout=seconds)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if await state_of(client, run) == "cancelling":
            break
    assert await state_of(client, run) == "cancelling"
    (tmp_path / "open").touch()
    await client.runs.join(None, run["run_id"])
    assert await state_of(client, run) == "cancelled"


async def test_cancelling_again_changes_nothing(
    client: Client, stubs: Stubs, tmp_path: Path
) -> None:
    run = await start(client, None, "gate_sync", input={"directory": str(tmp_path)})
    request = runs_pb2.CancelRunRequest(run_id=run["run_id"])

    first = (await stubs.runs.CancelRun(request)).run
    second = (await stubs.runs.CancelRun(request)).run

    assert first.cancel == second.cancel
    assert first.update_time == second.update_time
    (tmp_path / "open").touch()
    await client.runs.join(None, run["run_id"])


# ------------------------------------------------------------------- finished


async def test_a_run_that_has_ended_cannot_be_cancelled_however_it_ended(
    client: Client, thread_id: str
) -> None:
    ends = {
        "succeeded": await client.runs.create(None, "echo", input={}),
        "failed": await client.runs.create(None, "fails", input={}),
        "interrupted": await client.runs.create(thread_id, "asks", input={}),
        "timed_out": await client.runs.create(
            None, "slow_async", input={"seconds": 60}, timeout=0.05
        ),
        "cancelled": await client.runs.create(None, "slow_async", input={"seconds": 60}),
    }
    await client.runs.cancel(None, ends["cancelled"]["run_id"], wait=True)
    for state, run in ends.items():
        await client.runs.join(None, run["run_id"])
        for wait in (False, True):
            for action in ("interrupt", "rollback"):
                with pytest.raises(ConflictError) as caught:
                    await client.runs.cancel(None, run["run_id"], wait=wait, action=action)
                assert caught.value.code == "FAILED_PRECONDITION"
                assert caught.value.reason == "RUN_FINISHED"
                assert caught.value.metadata == {"run_id": run["run_id"], "state": state}
        assert await state_of(client, run) == state


# ------------------------------------------------------------------- rollback


async def test_a_rollback_takes_back_what_the_run_did_and_the_run_itself(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "counter", input={"count": 1})
    before = await client.threads.get_state(thread_id)
    thread_before = await client.threads.get(thread_id)
    run = await start(
        client,
        thread_id,
        "steps",
        input={"steps": 1000, "seconds": 0.005},
        stream_mode=["custom", "updates"],
    )
    parts: list[StreamPart] = []
    async for part in client.runs.join_stream(None, run["run_id"]):
        parts.append(part)
        if len(parts) == 5:
            assert len(await client.threads.get_history(thread_id)) > 5
            await client.runs.cancel(thread_id, run["run_id"], action="rollback", wait=True)

    assert await client.threads.get_state(thread_id) == before
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]) == ("idle", thread_before["values"])
    for ask in (client.runs.get, client.runs.join, client.runs.delete, client.runs.cancel):
        with pytest.raises(NotFoundError) as caught:
            await ask(None, run["run_id"])
        assert caught.value.reason == "RUN_ROLLED_BACK"
    assert run["run_id"] not in [each["run_id"] for each in await client.runs.list(thread_id)]
    assert parts[-1].data["state"] == "cancelled"
    assert parts[-1].data["cancel"]["action"] == "rollback"
    with pytest.raises(NotFoundError) as caught:
        await collect(client.runs.join_stream(None, run["run_id"]))
    assert caught.value.reason == "RUN_ROLLED_BACK"
    assert (await client.runs.wait(thread_id, "counter", input={}))["count"] == 3


async def test_a_waiting_caller_is_told_that_the_run_was_rolled_back(client: Client) -> None:
    run = await start(client, None, "slow_async", input={"seconds": 60})
    joining = asyncio.create_task(client.runs.join(None, run["run_id"]))

    await client.runs.cancel(None, run["run_id"], action="rollback")

    with pytest.raises(NotFoundError) as caught:
        await joining
    assert caught.value.reason == "RUN_ROLLED_BACK"


async def test_a_pending_run_can_be_rolled_back_too(client: Client, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "counter", input={}, after_seconds=3600)

    await client.runs.cancel(thread_id, run["run_id"], action="rollback")

    with pytest.raises(NotFoundError) as caught:
        await client.runs.get(thread_id, run["run_id"])
    assert caught.value.reason == "RUN_ROLLED_BACK"
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_rollback_restores_an_open_interrupt(client: Client, thread_id: str) -> None:
    await client.runs.wait(thread_id, "asks_then_waits", input={"question": "still?"})
    before = await client.threads.get(thread_id)
    answered = await start(
        client, thread_id, "asks_then_waits", command={"resume": "yes"}, stream_mode="custom"
    )

    await client.runs.cancel(thread_id, answered["run_id"], action="rollback", wait=True)

    after = await client.threads.get(thread_id)
    assert after["status"] == before["status"] == "interrupted"
    assert after["interrupts"] == before["interrupts"]
    state = await client.threads.get_state(thread_id)
    assert [interrupt["value"] for interrupt in state["interrupts"]] == [{"question": "still?"}]


async def test_a_cancel_can_become_a_rollback_until_it_is_over_but_not_the_reverse(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(client, thread_id, "gate_sync", input={"directory": str(tmp_path)})
    await client.runs.cancel(thread_id, run["run_id"])
    await client.runs.cancel(thread_id, run["run_id"], action="rollback")
    await client.runs.cancel(thread_id, run["run_id"])
    (tmp_path / "open").touch()

    with pytest.raises(NotFoundError) as caught:
        await client.runs.join(thread_id, run["run_id"])

    assert caught.value.reason == "RUN_ROLLED_BACK"
    assert (await client.threads.get_state(thread_id))["values"] == {}


# ------------------------------------------------------------------- many at once


async def waiting_runs(
    client: Client, count: int, thread_id: str | None = None, **options: Any
) -> list[str]:
    runs = [
        await client.runs.create(thread_id, "slow_async", input={"seconds": 60}, **options)
        for _ in range(count)
    ]
    return [run["run_id"] for run in runs]


async def test_many_runs_are_cancelled_by_their_ids_and_each_is_answered_for(
    client: Client, stubs: Stubs
) -> None:
    ended = await client.runs.create(None, "echo", input={})
    await client.runs.join(None, ended["run_id"])
    gone = await client.runs.create(None, "echo", input={}, after_seconds=60)
    await client.runs.cancel(None, gone["run_id"], action="rollback")
    running, other = await waiting_runs(client, 2)
    ids = [running, ended["run_id"], MISSING_ID, gone["run_id"], other]

    request = runs_pb2.CancelRunsRequest(run_ids=ids, wait=True)
    results = (await stubs.runs.CancelRuns(request)).results

    assert [result.run_id for result in results] == ids
    assert [result.reason for result in results] == [
        errors_pb2.ERROR_REASON_UNSPECIFIED,
        errors_pb2.ERROR_REASON_RUN_FINISHED,
        errors_pb2.ERROR_REASON_RUN_NOT_FOUND,
        errors_pb2.ERROR_REASON_RUN_ROLLED_BACK,
        errors_pb2.ERROR_REASON_UNSPECIFIED,
    ]
    assert [result.HasField("run") for result in results] == [True, False, False, False, True]
    assert [bool(result.message) for result in results] == [False, True, True, True, False]
    assert results[0].run.state == results[4].run.state == core_pb2.RUN_STATE_CANCELLED


async def test_many_runs_are_cancelled_by_thread(client: Client, thread_id: str) -> None:
    ids = await waiting_runs(client, 3, thread_id)
    [elsewhere] = await waiting_runs(client, 1)

    outcomes = await client.runs.cancel_many(thread_id=thread_id, wait=True)

    assert [outcome["run_id"] for outcome in outcomes] == ids
    assert {outcome["run"]["state"] for outcome in outcomes} == {"cancelled"}
    assert (await client.threads.get(thread_id))["status"] == "idle"
    assert (await client.runs.get(None, elsewhere))["state"] == "running"
    await client.runs.cancel(None, elsewhere)


async def test_many_runs_are_cancelled_by_assistant(client: Client) -> None:
    assistant = await client.assistants.create("slow_async")
    run = await client.runs.create(None, assistant["assistant_id"], input={"seconds": 60})
    [of_default] = await waiting_runs(client, 1)

    outcomes = await client.runs.cancel_many(assistant_id=assistant["assistant_id"], wait=True)
    by_graph = await client.runs.cancel_many(assistant_id="slow_async", wait=True)

    assert [outcome["run_id"] for outcome in outcomes] == [run["run_id"]]
    assert of_default in [outcome["run_id"] for outcome in by_graph]


async def test_many_runs_are_cancelled_by_metadata(client: Client) -> None:
    [blue] = await waiting_runs(client, 1, metadata={"job": {"team": "blue", "n": 1}})
    [red] = await waiting_runs(client, 1, metadata={"job": {"team": "red", "n": 1}})

    outcomes = await client.runs.cancel_many(metadata={"job": {"team": "blue"}}, wait=True)

    assert [outcome["run_id"] for outcome in outcomes] == [blue]
    assert (await client.runs.get(None, red))["state"] == "running"
    await client.runs.cancel(None, red)


async def test_many_runs_are_cancelled_by_state(client: Client, thread_id: str) -> None:
    running, *pending = await waiting_runs(client, 3, thread_id)
    assert (await client.runs.get(None, running))["state"] == "running"

    outcomes = await client.runs.cancel_many(thread_id=thread_id, status="pending")

    assert [outcome["run_id"] for outcome in outcomes] == pending
    assert (await client.runs.get(None, running))["state"] == "running"
    await client.runs.cancel_many(thread_id=thread_id, status="all", wait=True)
    assert (await client.runs.get(None, running))["state"] == "cancelled"


async def test_filters_of_a_bulk_cancel_narrow_each_other(client: Client, thread_id: str) -> None:
    first, second = await waiting_runs(client, 2, thread_id)
    [elsewhere] = await waiting_runs(client, 1)
    ended = await client.runs.create(None, "echo", input={})
    await client.runs.join(None, ended["run_id"])

    nothing = await client.runs.cancel_many(thread_id=thread_id, assistant_id="echo")
    some = await client.runs.cancel_many(
        thread_id=thread_id, run_ids=[elsewhere, second, ended["run_id"], first]
    )

    assert nothing == []
    assert [outcome["run_id"] for outcome in some] == [second, first]
    assert (await client.runs.get(None, elsewhere))["state"] == "running"
    await client.runs.cancel(None, elsewhere)


async def test_ended_runs_are_answered_for_only_if_they_are_named(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "echo", input={})
    await client.runs.join(thread_id, run["run_id"])

    unnamed = await client.runs.cancel_many(thread_id=thread_id)
    named = await client.runs.cancel_many(thread_id=thread_id, run_ids=[run["run_id"]])

    assert unnamed == []
    assert [outcome["reason"] for outcome in named] == ["RUN_FINISHED"]


async def test_a_bulk_cancel_can_roll_back(client: Client, thread_id: str) -> None:
    await client.runs.wait(thread_id, "counter", input={"count": 1})
    ids = await waiting_runs(client, 2, thread_id)

    outcomes = await client.runs.cancel_many(thread_id=thread_id, action="rollback", wait=True)

    assert [outcome["run_id"] for outcome in outcomes] == ids
    for run_id in ids:
        with pytest.raises(NotFoundError):
            await client.runs.get(None, run_id)
    assert (await client.threads.get_state(thread_id))["values"]["count"] == 2


async def test_a_bulk_cancel_without_a_filter_is_refused(client: Client, stubs: Stubs) -> None:
    [bystander] = await waiting_runs(client, 1)

    nothing: list[dict[str, Any]] = [{}, {"metadata": {}}]
    for filters in nothing:
        with pytest.raises(InvalidArgumentError) as caught:
            await client.runs.cancel_many(**filters)
        assert caught.value.reason == "INVALID_FIELD"
    assert (await client.runs.get(None, bystander))["state"] == "running"
    await client.runs.cancel(None, bystander)


async def test_a_hundred_runs_are_cancelled_together_and_tell_so(
    client: Client, stubs: Stubs
) -> None:
    ids = await waiting_runs(client, 100, metadata={"test": "hundred"})

    outcomes = await client.runs.cancel_many(metadata={"test": "hundred"}, wait=True)

    assert [outcome["run_id"] for outcome in outcomes] == ids
    assert {outcome["run"]["state"] for outcome in outcomes} == {"cancelled"}
    for events in await asyncio.gather(*(follow(stubs, run_id) for run_id in ids)):
        assert kinds(events)[-1] == "run_ended"
        assert events[-1].run_ended.state == core_pb2.RUN_STATE_CANCELLED


async def test_a_run_that_ends_while_it_is_cancelled_has_one_end_that_agrees_with_its_events(
    client: Client, stubs: Stubs
) -> None:
    async def race(number: int) -> None:
        run = await client.runs.create(
            None, "steps", input={"steps": 2, "seconds": 0}, stream_mode="updates"
        )
        for _ in range(number % 40):
            await asyncio.sleep(0)
        try:
            await client.runs.cancel(None, run["run_id"], wait=True)
            expected = "cancelled"
        except ConflictError:
            expected = "succeeded"
        assert await state_of(client, run) == expected
        events = await follow(stubs, run["run_id"])
        ends = [event.run_ended.state for event in events if event.HasField("run_ended")]
        assert ends == [core_pb2.RunState.Value(f"RUN_STATE_{expected.upper()}")]

    await asyncio.gather(*(race(number) for number in range(100)))


async def test_a_cancel_does_not_touch_a_failure_that_came_first(client: Client) -> None:
    with pytest.raises(RunFailedError) as caught:
        await client.runs.wait(None, "fails", input={"message": "first"})

    with pytest.raises(ConflictError):
        await client.runs.cancel(None, caught.value.run["run_id"])

    assert data_in(
        await collect(client.runs.join_stream(None, caught.value.run["run_id"])), "error"
    ) == [caught.value.run["error"]]
