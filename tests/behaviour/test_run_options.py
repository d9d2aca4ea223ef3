"""What a caller may ask of a run besides what it is to do."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.callers import (
    Client,
    Stubs,
    at_work,
    collect,
    data_in,
    follow,
    kinds,
    of_json,
    start,
    stubs_on,
)
from tests.support.serving import serve_in_process

from runwire.client import AlreadyExistsError, NotFoundError, RunFailedError, get_client
from runwire.v1 import core_pb2, runs_pb2, threads_pb2


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


# ------------------------------------------------------------------- start_delay


async def test_a_delayed_run_starts_when_its_time_has_come(client: Client, thread_id: str) -> None:
    run = await client.runs.create(thread_id, "echo", input={"text": "late"}, after_seconds=0.3)
    assert run["state"] == "pending"

    output = await client.runs.join(thread_id, run["run_id"])

    ended = await client.runs.get(thread_id, run["run_id"])
    assert output["answer"] == "late"
    assert seconds_between(ended["created_at"], ended["started_at"]) >= 0.3


async def test_delayed_runs_start_in_the_order_of_their_times(
    client: Client, thread_id: str
) -> None:
    due = {}
    for name, delay in (("third", 0.3), ("first", 0.1), ("second", 0.2)):
        run = await client.runs.create(
            thread_id, "counter", input={}, context={"name": name}, after_seconds=delay
        )
        due[name] = datetime.fromisoformat(run["created_at"]) + timedelta(seconds=delay)
    for run in await client.runs.list(thread_id):
        await client.runs.join(thread_id, run["run_id"])

    state = await client.threads.get_state(thread_id)
    # First, second, third, unless it took long to create them.
    assert state["values"]["log"] == sorted(due, key=lambda name: due[name])


async def test_a_delayed_stateless_run_can_be_streamed_meanwhile(client: Client) -> None:
    parts = await collect(client.runs.stream(None, "echo", input={"text": "x"}, after_seconds=0.2))

    assert (parts[0].event, parts[0].data["state"]) == ("metadata", "pending")
    assert parts[-1].data["state"] == "succeeded"


# ------------------------------------------------------------------- timeout


async def test_a_run_that_takes_longer_than_its_timeout_times_out(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(
        thread_id, "slow_async", input={"seconds": 60}, timeout=timedelta(milliseconds=200)
    )
    parts = await collect(client.runs.join_stream(thread_id, run["run_id"]))

    ended = await client.runs.get(thread_id, run["run_id"])
    assert (ended["state"], ended["status"]) == ("timed_out", "timeout")
    assert ended["error"]["error"] == "RunTimeout"
    assert ended["error"]["attempt"] == 1
    assert seconds_between(ended["started_at"], ended["ended_at"]) >= 0.2
    assert parts[-1].event == "error"
    assert parts[-1].data == ended["error"]
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "error"
    assert thread["error"] == ended["error"]
    with pytest.raises(RunFailedError, match="RunTimeout"):
        await client.runs.wait(None, "slow_async", input={"seconds": 60}, timeout=0.01)


async def test_a_timeout_counts_from_the_start_and_not_from_the_creation(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    for seconds in (0.1, 1, 10):  # on a slow machine a run that has begun may need that long
        gate = tmp_path / str(seconds)
        gate.mkdir()
        await start(client, thread_id, "gate", input={"directory": str(gate)})
        spec: Any = {"input": {"text": "x"}, "timeout": seconds}
        waiting = await client.runs.create(thread_id, "echo", **spec)
        delayed = await client.runs.create(None, "echo", **spec, after_seconds=3 * seconds)
        ended = [await ended_of(client, delayed)]
        (gate / "open").touch()
        ended.append(await ended_of(client, waiting))
        for run in ended:
            assert seconds_between(run["created_at"], run["started_at"]) > seconds
        if [run["state"] for run in ended] == ["succeeded"] * 2:
            return
    pytest.fail("no run had the time that it was given")


async def ended_of(client: Client, run: Any) -> Any:
    """Return a run when it has ended, however that was."""
    await collect(client.runs.join_stream(None, run["run_id"]))
    return await client.runs.get(None, run["run_id"])


async def test_a_timeout_that_is_not_reached_changes_nothing(client: Client) -> None:
    output = await client.runs.wait(None, "slow_async", input={"seconds": 0.01}, timeout=30)

    assert output["done"] == ["sleep"]


async def test_what_a_timed_out_run_has_done_stays_on_its_thread(
    client: Client, thread_id: str
) -> None:
    for seconds in (1, 10):  # on a slow machine it may need that long to begin
        run = await client.runs.create(
            thread_id, "steps", input={"steps": 10_000, "seconds": 0.01}, timeout=seconds
        )
        assert (await ended_of(client, run))["state"] == "timed_out"
        done = (await client.threads.get_state(thread_id))["values"].get("done_steps", [])
        if len(done) >= 2:
            break
    assert len(done) >= 2
    assert (await client.runs.wait(thread_id, "counter", input={}))["count"] == 1


async def test_a_cancel_of_a_run_that_is_timing_out_does_not_undo_the_timeout(
    client: Client, tmp_path: Path
) -> None:
    asked: Any = {"input": {"directory": str(tmp_path)}, "stream_mode": "custom"}
    for seconds in (0.1, 1, 10):  # on a slow machine it may need that long to begin
        run = await client.runs.create(None, "gate_sync", **asked, timeout=seconds)
        with suppress(AssertionError):
            await at_work(client, run["run_id"])
            break
    with pytest.raises(TimeoutError):  # its code has not stopped though its time has passed
        await asyncio.wait_for(client.runs.join(None, run["run_id"]), 3 * seconds)
    await client.runs.cancel(None, run["run_id"])
    (tmp_path / "open").touch()
    await client.runs.join(None, run["run_id"])

    # The cancel was stored while the run had not ended: it wins, as over any other end.
    assert (await client.runs.get(None, run["run_id"]))["state"] == "cancelled"


# ------------------------------------------------------------------- on_disconnect


def slow_spec(on_disconnect: int, **more: Any) -> core_pb2.RunSpec:
    return core_pb2.RunSpec(
        assistant_id="slow_async",
        input=of_json({"seconds": 60}),
        stream_modes=[core_pb2.STREAM_MODE_CUSTOM],
        on_disconnect=on_disconnect,  # type: ignore[arg-type]
        **more,
    )


def gate_spec(directory: Path, thread_id: str) -> core_pb2.RunSpec:
    return core_pb2.RunSpec(
        assistant_id="gate",
        thread_id=thread_id,
        input=of_json({"directory": str(directory)}),
        stream_modes=[core_pb2.STREAM_MODE_CUSTOM],
    )


async def first_run_of(client: Client, thread_id: str) -> str:
    """Return the id of the first run on a thread, as soon as there is one."""
    while not (runs := await client.runs.list(thread_id)):
        pass
    return str(runs[-1]["run_id"])


async def run_of(client: Client, thread_id: str, call: Any) -> str | None:
    """Return the id of the newest run on a thread, as soon as there is one that has not ended; None
    if the call that was to create one ends before."""
    while True:
        is_over = call.done()
        runs = await client.runs.list(thread_id)
        if runs and runs[0]["ended_at"] is None:
            return str(runs[0]["run_id"])
        if is_over:
            return None


@pytest.mark.parametrize("method", ["RunStream", "RunWait"])
@pytest.mark.parametrize("leaving", ["cancel", "deadline"])
async def test_a_run_is_cancelled_with_its_caller_if_it_says_so(
    client: Client, stubs: Stubs, thread_id: str, method: str, leaving: str
) -> None:
    spec = slow_spec(core_pb2.ON_DISCONNECT_CANCEL, thread_id=thread_id)
    request = getattr(runs_pb2, f"{method}Request")(spec=spec)
    for seconds in (0.5, 5, 50):  # on a slow machine it takes longer until its code is at work
        call = stubs.method(method)(request, timeout=seconds if leaving == "deadline" else None)
        run_id = await run_of(client, thread_id, call)
        if run_id is None:
            continue
        with suppress(AssertionError):
            await at_work(client, run_id)
            break
    assert run_id is not None
    if leaving == "cancel":
        call.cancel()

    parts = await collect(client.runs.join_stream(None, run_id))

    cancel = parts[-1].data["cancel"]
    assert (cancel["cause"], cancel["action"]) == ("disconnect", "interrupt")
    assert (await client.runs.get(None, run_id))["state"] == "cancelled"


@pytest.mark.parametrize("method", ["RunStream", "RunWait"])
@pytest.mark.parametrize("leaving", ["cancel", "deadline"])
async def test_a_run_goes_on_without_its_caller_by_default(
    client: Client, stubs: Stubs, thread_id: str, tmp_path: Path, method: str, leaving: str
) -> None:
    spec = gate_spec(tmp_path, thread_id)
    request = getattr(runs_pb2, f"{method}Request")(spec=spec)
    for seconds in (0.2, 2, 20):  # on a slow machine it takes longer until there is a run
        call = stubs.method(method)(request, timeout=seconds if leaving == "deadline" else None)
        run_id = await run_of(client, thread_id, call)
        if run_id is not None:
            break
    assert run_id is not None
    if leaving == "cancel":
        call.cancel()
    await call.code()
    (tmp_path / "open").touch()

    assert (await client.runs.join(None, run_id))["done"] == ["wait_for_gate"]


async def test_a_channel_that_is_lost_counts_as_a_caller_that_leaves(
    client: Client, server: Any
) -> None:
    async with get_client(server.address) as other:
        stream = other.runs.stream(
            None,
            "slow_async",
            input={"seconds": 60},
            stream_mode="custom",
            on_disconnect="cancel",
        )
        run_id = (await anext(stream)).data["run_id"]

    parts = await collect(client.runs.join_stream(None, run_id))
    assert parts[-1].data["cancel"]["cause"] == "disconnect"


async def test_who_joins_a_run_later_can_leave_without_effect(
    client: Client, stubs: Stubs, thread_id: str, tmp_path: Path
) -> None:
    spec = gate_spec(tmp_path, thread_id)
    spec.on_disconnect = core_pb2.ON_DISCONNECT_CANCEL
    staying = stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))
    run_id = await first_run_of(client, thread_id)
    for join in (
        stubs.runs.JoinRun(runs_pb2.JoinRunRequest(run_id=run_id)),
        stubs.runs.JoinRunStream(runs_pb2.JoinRunStreamRequest(run_id=run_id)),
    ):
        join.cancel()
        assert await join.code() is grpc.StatusCode.CANCELLED
    (tmp_path / "open").touch()

    assert (await staying).run.state == core_pb2.RUN_STATE_SUCCEEDED


async def test_a_caller_that_leaves_after_the_end_cancels_nothing(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    spec = slow_spec(core_pb2.ON_DISCONNECT_CANCEL, thread_id=thread_id)
    spec.assistant_id = "echo"
    call = stubs.runs.RunStream(runs_pb2.RunStreamRequest(spec=spec))
    run_id = await first_run_of(client, thread_id)
    await client.runs.join(None, run_id)
    call.cancel()

    assert (await client.runs.get(None, run_id))["state"] == "succeeded"


async def test_a_pending_run_is_cancelled_with_its_caller_too(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    ahead = await start(client, thread_id, "slow_async", input={"seconds": 60})
    spec = slow_spec(core_pb2.ON_DISCONNECT_CANCEL, thread_id=thread_id)
    call = stubs.runs.RunStream(runs_pb2.RunStreamRequest(spec=spec))
    run_id = str(dict(await call.initial_metadata())["runwire-run-id"])
    call.cancel()

    events = await follow(stubs, run_id)

    assert kinds(events) == ["run", "run_ended"]
    assert events[-1].run_ended.cancel.cause == core_pb2.CANCEL_CAUSE_DISCONNECT
    await client.runs.cancel(thread_id, ahead["run_id"])


# ------------------------------------------------------------------- durability


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_every_durability_leaves_the_same_state(
    client: Client, thread_id: str, durability: str
) -> None:
    for _ in range(2):
        await client.runs.wait(thread_id, "two_steps", input={}, durability=durability)

    state = await client.threads.get_state(thread_id)
    assert state["values"]["answers"] == ["first", "second", "first", "second"]
    history = await client.threads.get_history(thread_id, limit=100)
    assert len(history) == (2 if durability == "exit" else 8)


async def test_checkpoints_are_there_before_the_next_superstep_if_durability_is_sync(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(
        thread_id, "steps", input={"steps": 1000, "seconds": 0.01}, stream_mode="updates"
    )
    seen = 0
    async for part in client.runs.join_stream(thread_id, run["run_id"]):
        if part.event == "updates":
            seen += 1
            state = await client.threads.get_state(thread_id)
            assert len(state["values"].get("done_steps", [])) >= seen - 1
        if seen == 5:
            await client.runs.cancel(thread_id, run["run_id"])
            break


async def test_a_run_that_writes_at_its_exit_shows_nothing_before(
    client: Client, thread_id: str, tmp_path: Path
) -> None:
    run = await start(
        client, thread_id, "gate", input={"directory": str(tmp_path)}, durability="exit"
    )
    before = await client.threads.get_history(thread_id)
    (tmp_path / "open").touch()
    await client.runs.join(thread_id, run["run_id"])

    assert before == []
    assert len(await client.threads.get_history(thread_id)) == 1


# ------------------------------------------------------------------- interrupt_before, _after


@pytest.mark.parametrize(
    ("options", "stops"),
    [
        ({"interrupt_before": ["second"]}, [["first"]]),
        ({"interrupt_after": ["first"]}, [["first"]]),
        ({"interrupt_before": ["first"]}, [[]]),
        ({"interrupt_before": "*"}, [[], ["first"]]),
        ({"interrupt_after": "*"}, [["first"]]),
    ],
)
async def test_a_run_pauses_before_and_after_nodes(
    client: Client, thread_id: str, options: dict[str, Any], stops: list[list[str]]
) -> None:
    asked: dict[str, Any] = {"input": {"question": "?"}}
    for stop in stops:
        run = await client.runs.create(thread_id, "two_steps", **asked, **options)
        output = await client.runs.join(thread_id, run["run_id"])
        assert output["answers"] == stop
        assert (await client.runs.get(thread_id, run["run_id"]))["state"] == "interrupted"
        thread = await client.threads.get(thread_id)
        assert (thread["status"], thread["interrupts"]) == ("interrupted", {})
        asked = {}

    output = await client.runs.wait(thread_id, "two_steps")

    assert output["answers"] == ["first", "second"]
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_run_that_stops_after_its_last_node_has_succeeded(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "two_steps", input={}, interrupt_after=["second"])
    await client.runs.join(thread_id, run["run_id"])

    assert (await client.runs.get(thread_id, run["run_id"]))["state"] == "succeeded"
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_a_node_to_stop_at_that_the_graph_does_not_have_fails_the_run_by_its_name(
    client: Client, thread_id: str
) -> None:
    with pytest.raises(RunFailedError, match=r"interrupt_before\[1\].*'nowhere'"):
        await client.runs.wait(
            thread_id, "two_steps", input={}, interrupt_before=["first", "nowhere"]
        )


# ------------------------------------------------------------------- request_id


async def test_a_repeated_request_id_gives_the_same_run_and_creates_nothing(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    spec = core_pb2.RunSpec(assistant_id="counter", thread_id=thread_id, input=of_json({}))
    request = runs_pb2.CreateRunRequest(spec=spec, request_id="repeat-create")

    first = await stubs.runs.CreateRun(request)
    await client.runs.join(thread_id, first.run.run_id)
    second = await stubs.runs.CreateRun(request)

    assert (first.replayed, second.replayed) == (False, True)
    assert second.run.run_id == first.run.run_id
    assert second.run.state == core_pb2.RUN_STATE_SUCCEEDED
    assert len(await client.runs.list(thread_id)) == 1


async def test_a_repeated_stream_follows_the_run_from_its_beginning(
    client: Client, thread_id: str
) -> None:
    options: Any = {"input": {}, "stream_mode": "updates", "request_id": "repeat-stream"}

    first = await collect(client.runs.stream(thread_id, "two_steps", **options))
    second = await collect(client.runs.stream(thread_id, "two_steps", **options))

    assert second[1:] == first[1:]
    assert second[0].data["run_id"] == first[0].data["run_id"]
    assert len(await client.runs.list(thread_id)) == 1


async def test_a_repeated_wait_waits_for_the_first_one_s_run(
    client: Client, stubs: Stubs, thread_id: str, tmp_path: Path
) -> None:
    spec = gate_spec(tmp_path, thread_id)
    request = runs_pb2.RunWaitRequest(spec=spec, request_id="repeat-wait")
    first = stubs.runs.RunWait(request)
    run_id = await first_run_of(client, thread_id)
    second = stubs.runs.RunWait(request)
    await at_work(client, run_id)
    (tmp_path / "open").touch()

    answers = [await first, await second]

    assert [answer.run.run_id for answer in answers] == [run_id, run_id]
    assert answers[0].output == answers[1].output
    assert [answer.replayed for answer in answers] == [False, True]


async def test_a_request_id_belongs_to_one_request(client: Client, thread_id: str) -> None:
    await client.runs.wait(thread_id, "echo", input={"text": "a"}, request_id="mine")

    for text, graph_id in (("b", "echo"), ("a", "counter")):
        with pytest.raises(AlreadyExistsError) as caught:
            await client.runs.wait(thread_id, graph_id, input={"text": text}, request_id="mine")
        assert caught.value.reason == "REQUEST_ID_REUSED"
        assert caught.value.metadata == {"request_id": "mine"}
    assert len(await client.runs.list(thread_id)) == 1


async def test_a_request_id_belongs_to_one_method(client: Client, thread_id: str) -> None:
    await client.runs.wait(thread_id, "echo", input={}, request_id="shared")
    await client.runs.create(thread_id, "echo", input={}, request_id="shared")
    thread = await client.threads.create(request_id="shared")
    assistant = await client.assistants.create("echo", request_id="shared")

    assert len(await client.runs.list(thread_id)) == 2
    assert (await client.threads.create(request_id="shared"))["thread_id"] == thread["thread_id"]
    again = await client.assistants.create("echo", request_id="shared")
    assert again["assistant_id"] == assistant["assistant_id"]
    with pytest.raises(AlreadyExistsError):
        await client.threads.create(request_id="shared", metadata={"other": True})


async def test_requests_with_one_id_at_the_same_moment_create_one_run(
    client: Client, thread_id: str
) -> None:
    runs = await asyncio.gather(
        *(client.runs.create(thread_id, "echo", input={}, request_id="at-once") for _ in range(20))
    )

    assert len({run["run_id"] for run in runs}) == 1
    assert len(await client.runs.list(thread_id)) == 1


async def test_a_request_that_failed_can_be_repeated_under_its_id(client: Client) -> None:
    missing = "0192f0c3-ffff-7d4e-8f5a-6b7c8d9e0f1a"
    options: Any = {"input": {"text": "x"}, "request_id": "second try"}
    with pytest.raises(NotFoundError):
        await client.runs.wait(missing, "echo", **options)
    await client.threads.create(thread_id=missing)

    assert (await client.runs.wait(missing, "echo", **options))["answer"] == "x"


async def test_a_run_that_was_deleted_is_not_created_again_by_its_request_id(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    spec = core_pb2.RunSpec(assistant_id="echo", thread_id=thread_id, input=of_json({}))
    request = runs_pb2.CreateRunRequest(spec=spec, request_id="deleted")
    run_id = (await stubs.runs.CreateRun(request)).run.run_id
    await client.runs.join(thread_id, run_id)
    await client.runs.delete(thread_id, run_id)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.runs.CreateRun(request)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert await client.runs.list(thread_id) == []


async def test_a_run_that_was_rolled_back_is_not_created_again_by_its_request_id(
    client: Client, thread_id: str
) -> None:
    options: Any = {"input": {"seconds": 60}, "request_id": "rolled back"}
    run = await client.runs.create(thread_id, "slow_async", **options)
    waiting = asyncio.create_task(client.runs.wait(thread_id, "slow_async", **options))
    streaming = asyncio.create_task(collect(client.runs.stream(thread_id, "slow_async", **options)))
    while len(await client.runs.list(thread_id)) < 3:
        pass
    await client.runs.cancel_many(thread_id=thread_id, action="rollback", wait=True)

    again = await client.runs.create(thread_id, "slow_async", **options)

    assert (again["run_id"], again["state"]) == (run["run_id"], "cancelled")
    assert again["cancel"]["action"] == "rollback"
    for call in (waiting, client.runs.wait(thread_id, "slow_async", **options)):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.reason == "RUN_ROLLED_BACK"
    first = await streaming
    assert first[-1].data["state"] == "cancelled"
    repeated = await collect(client.runs.stream(thread_id, "slow_async", **options))
    assert repeated[1:] == first[1:]
    assert await client.runs.list(thread_id) == []


async def test_a_thread_that_was_deleted_is_not_created_again_by_its_request_id(
    client: Client, stubs: Stubs
) -> None:
    request = threads_pb2.CreateThreadRequest(request_id="deleted thread")
    thread_id = (await stubs.threads.CreateThread(request)).thread.thread_id
    await client.threads.delete(thread_id)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.threads.CreateThread(request)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


# ------------------------------------------------------------------- heartbeats


async def test_a_silent_stream_says_that_it_lives(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path, heartbeat_interval="200ms") as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        request = runs_pb2.RunStreamRequest(spec=slow_spec(core_pb2.ON_DISCONNECT_CANCEL))
        call = stubs_on(channel).runs.RunStream(request)
        seen: list[Any] = []
        async for response in call:
            seen += response.events
            if any(event.HasField("heartbeat") for event in response.events):
                break
        call.cancel()

    assert not any(event.HasField("run_ended") for event in seen)
    beat = seen[-1]
    assert (beat.id, beat.run_id) == ("", seen[0].run_id)


async def test_modes_that_a_run_was_not_asked_for_are_not_produced(client: Client) -> None:
    parts = await collect(
        client.runs.stream(None, "custom_events", input={"count": 3}, stream_mode="updates")
    )

    assert data_in(parts, "custom") == []
