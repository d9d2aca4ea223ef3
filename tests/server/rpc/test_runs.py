"""The service of runs over a real socket: what the contract promises of each call."""

import asyncio
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.server.rpc.conftest import Served
from tests.support.statuses import failure_of

from runwire.server.model.ids import new_id
from runwire.server.rpc.frames import MESSAGE_BYTES
from runwire.v1 import core_pb2, events_pb2
from runwire.v1 import runs_pb2 as wire

ECHO: dict[str, Any] = {"assistant_id": "echo", "input": {"json": '{"text": "hi"}'}}
SLOW: dict[str, Any] = {"assistant_id": "slow_async", "input": {"json": '{"seconds": 30}'}}


def gate(directory: Path, **more: Any) -> dict[str, Any]:
    """Return a run that has started once `directory` holds `started`, and waits for `open`."""
    return {"assistant_id": "gate", "input": {"json": f'{{"directory": "{directory}"}}'}, **more}


async def exists(path: Path) -> None:
    while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110 - a node makes it
        await asyncio.sleep(0.005)


async def events_of(call: Any) -> list[events_pb2.RunEvent]:
    """Return what a stream says, but for heartbeats: a busy machine makes silences."""
    events = [event async for message in call for event in message.events]
    return [event for event in events if not event.HasField("heartbeat")]


def kinds(events: list[events_pb2.RunEvent]) -> list[str]:
    return [event.WhichOneof("event") or "" for event in events]


async def ended(served: Served, run_id: str) -> core_pb2.Run:
    return (await served.runs.JoinRun(wire.JoinRunRequest(run_id=run_id))).run


class TestRunStream:
    """RunStream: create and follow."""

    async def test_a_stream_has_a_snapshot_the_events_and_the_end(self, served: Served) -> None:
        events = await events_of(served.runs.RunStream(wire.RunStreamRequest(spec=ECHO)))
        assert kinds(events) == ["run", "attempt_started", "values", "values", "run_ended"]
        assert [event.id for event in events] == ["", "1-1", "1-2", "1-3", "1-4"]
        assert {event.run_id for event in events} == {events[0].run.run_id}
        assert all(event.HasField("create_time") for event in events)
        assert events[-1].run_ended.state == core_pb2.RUN_STATE_SUCCEEDED

    async def test_the_call_names_its_run_before_any_message(self, served: Served) -> None:
        thread_id = new_id()
        spec = {
            **SLOW,
            "thread_id": thread_id,
            "if_thread_missing": core_pb2.IF_THREAD_MISSING_CREATE,
        }
        call = served.runs.RunStream(wire.RunStreamRequest(spec=spec))
        metadata = dict(await call.initial_metadata())
        assert metadata["runwire-thread-id"] == thread_id
        assert metadata["runwire-replayed"] == "false"
        assert (await call.read()).events[0].run.run_id == metadata["runwire-run-id"]
        call.cancel()

    async def test_a_quiet_stream_has_heartbeats(self, served: Served, tmp_path: Path) -> None:
        spec = gate(tmp_path)
        call = served.runs.RunStream(wire.RunStreamRequest(spec=spec))
        seen: list[events_pb2.RunEvent] = []
        async for message in call:
            seen += message.events
            if kinds(seen).count("heartbeat") == 2:
                (tmp_path / "open").touch()
        assert kinds(seen)[-1] == "run_ended"
        assert all(event.id == "" for event in seen if event.HasField("heartbeat"))

    async def test_a_large_event_comes_in_parts_below_the_limit(self, served: Served) -> None:
        spec = {
            "assistant_id": "big_events",
            "input": {"json": f'{{"count": 1, "size": {3 * MESSAGE_BYTES}}}'},
            "stream_modes": ["STREAM_MODE_CUSTOM"],
        }
        messages = [m async for m in served.runs.RunStream(wire.RunStreamRequest(spec=spec))]
        assert all(message.ByteSize() < MESSAGE_BYTES for message in messages)
        events = [event for message in messages for event in message.events]
        parts = [event for event in events if event.HasField("part")]
        assert len(parts) >= 4
        assert {part.id for part in parts} == {"1-2"}
        whole = events_pb2.RunEvent.FromString(b"".join(part.part.data for part in parts))
        assert len(whole.custom.data.json) > 3 * MESSAGE_BYTES

    async def test_a_call_may_ask_for_values(self, served: Served) -> None:
        call = served.runs.RunStream(
            wire.RunStreamRequest(spec=ECHO), metadata=(("runwire-payload", "value"),)
        )
        events = await events_of(call)
        assert events[0].run.metadata.HasField("value")
        assert events[3].values.data.value.struct_value.fields["answer"].string_value == "hi"

    async def test_a_repeated_request_follows_the_first_ones_run(self, served: Served) -> None:
        request = wire.RunStreamRequest(spec=ECHO, request_id="order-1")
        first = await events_of(served.runs.RunStream(request))
        call = served.runs.RunStream(request)
        again = await events_of(call)
        metadata = dict(await call.initial_metadata())
        assert metadata["runwire-replayed"] == "true"
        assert [event.id for event in again] == [event.id for event in first]
        assert again[1:] == first[1:]
        request.spec.input.json = '{"text": "other"}'
        failure = await failure_of(events_of(served.runs.RunStream(request)))
        assert (failure.code, failure.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")

    async def test_a_run_that_failed_is_data(self, served: Served) -> None:
        spec = {"assistant_id": "fails", "input": {"json": "{}"}}
        events = await events_of(served.runs.RunStream(wire.RunStreamRequest(spec=spec)))
        assert events[-1].run_ended.state == core_pb2.RUN_STATE_FAILED
        assert events[-1].run_ended.error.type


class TestDisconnects:
    """Callers that leave the call that made their run."""

    @pytest.mark.parametrize("method", ["RunStream", "RunWait"])
    async def test_a_deadline_that_passes_cancels_the_run_if_it_should(
        self, served: Served, method: str
    ) -> None:
        spec = {**SLOW, "on_disconnect": core_pb2.ON_DISCONNECT_CANCEL}
        call: Any
        if method == "RunStream":
            call = served.runs.RunStream(wire.RunStreamRequest(spec=spec), timeout=0.5)
        else:
            call = served.runs.RunWait(wire.RunWaitRequest(spec=spec), timeout=0.5)
        run_id = dict(await call.initial_metadata())["runwire-run-id"]
        waiting = events_of(call) if method == "RunStream" else call
        assert (await failure_of(waiting)).code == "DEADLINE_EXCEEDED"
        run = await ended(served, run_id)
        assert run.state == core_pb2.RUN_STATE_CANCELLED
        assert run.cancel.cause == core_pb2.CANCEL_CAUSE_DISCONNECT

    async def test_a_caller_that_cancels_cancels_the_run_if_it_should(self, served: Served) -> None:
        spec = {**SLOW, "on_disconnect": core_pb2.ON_DISCONNECT_CANCEL}
        call = served.runs.RunStream(wire.RunStreamRequest(spec=spec))
        run_id = (await call.read()).events[0].run_id
        call.cancel()
        assert (await ended(served, run_id)).state == core_pb2.RUN_STATE_CANCELLED

    async def test_a_caller_that_is_gone_at_once_cancels_the_run_if_it_should(
        self, served: Served
    ) -> None:
        metadata = core_pb2.Run(metadata={"json": '{"who": "gone"}'}).metadata
        spec = {
            **SLOW,
            "on_disconnect": core_pb2.ON_DISCONNECT_CANCEL,
            "metadata": metadata,
        }
        calls = [served.runs.RunStream(wire.RunStreamRequest(spec=spec)) for _ in range(40)]
        for index, call in enumerate(calls):
            await asyncio.sleep(0.0005 * index)
            call.cancel()
        async with asyncio.timeout(60):
            while True:
                page = await served.runs.ListRuns(wire.ListRunsRequest(metadata=metadata))
                if all(run.HasField("end_time") for run in page.runs):
                    break
                await asyncio.sleep(0.02)
        assert {run.state for run in page.runs} <= {core_pb2.RUN_STATE_CANCELLED}

    async def test_by_default_the_run_goes_on(self, served: Served, tmp_path: Path) -> None:
        call = served.runs.RunStream(wire.RunStreamRequest(spec=gate(tmp_path)))
        run_id = (await call.read()).events[0].run_id
        call.cancel()
        await exists(tmp_path / "started")
        (tmp_path / "open").touch()
        assert (await ended(served, run_id)).state == core_pb2.RUN_STATE_SUCCEEDED

    async def test_leaving_a_joined_stream_cancels_the_run_if_it_should(
        self, served: Served
    ) -> None:
        run = (await served.runs.CreateRun(wire.CreateRunRequest(spec=SLOW))).run
        joined = served.runs.JoinRunStream(
            wire.JoinRunStreamRequest(
                run_id=run.run_id, on_disconnect=core_pb2.ON_DISCONNECT_CANCEL
            )
        )
        await joined.read()
        joined.cancel()
        stopped = await ended(served, run.run_id)
        assert stopped.state == core_pb2.RUN_STATE_CANCELLED
        assert stopped.cancel.cause == core_pb2.CANCEL_CAUSE_DISCONNECT

    async def test_leaving_a_joined_stream_cancels_nothing_by_default(
        self, served: Served, tmp_path: Path
    ) -> None:
        spec = gate(tmp_path, on_disconnect=core_pb2.ON_DISCONNECT_CANCEL)
        stream = served.runs.RunStream(wire.RunStreamRequest(spec=spec))
        run_id = (await stream.read()).events[0].run_id
        joined = served.runs.JoinRunStream(wire.JoinRunStreamRequest(run_id=run_id))
        await joined.read()
        joined.cancel()
        await exists(tmp_path / "started")
        (tmp_path / "open").touch()
        assert (await ended(served, run_id)).state == core_pb2.RUN_STATE_SUCCEEDED


class TestJoinRunStream:
    """JoinRunStream: following what exists."""

    async def run(self, served: Served, *modes: str) -> str:
        request = wire.RunWaitRequest(spec={**ECHO, "stream_modes": modes})
        return (await served.runs.RunWait(request)).run.run_id

    async def join(self, served: Served, **request: Any) -> list[events_pb2.RunEvent]:
        return await events_of(served.runs.JoinRunStream(wire.JoinRunStreamRequest(**request)))

    async def test_a_run_that_has_ended_is_told_from_the_beginning(self, served: Served) -> None:
        events = await self.join(served, run_id=await self.run(served))
        assert events[0].run.state == core_pb2.RUN_STATE_SUCCEEDED
        assert [event.id for event in events[1:]] == ["1-1", "1-2", "1-3", "1-4"]

    async def test_a_reader_goes_on_after_what_it_has_seen(self, served: Served) -> None:
        run_id = await self.run(served)
        for seen, rest in (("1-2", ["1-3", "1-4"]), ("1-4", [])):
            events = await self.join(served, run_id=run_id, after_event_id=seen)
            assert [event.id for event in events[1:]] == rest

    async def test_only_wanted_kinds_come_and_the_end(self, served: Served) -> None:
        run_id = await self.run(served, "STREAM_MODE_VALUES", "STREAM_MODE_UPDATES")
        events = await self.join(served, run_id=run_id, stream_modes=["STREAM_MODE_UPDATES"])
        assert kinds(events) == ["run", "attempt_started", "updates", "run_ended"]

    async def test_live_only_leaves_out_the_past(self, served: Served, tmp_path: Path) -> None:
        call = served.runs.RunStream(wire.RunStreamRequest(spec=gate(tmp_path)))
        run_id = (await call.read()).events[0].run_id
        await exists(tmp_path / "started")
        live = served.runs.JoinRunStream(wire.JoinRunStreamRequest(run_id=run_id, live_only=True))
        assert (await live.read()).events[0].HasField("run")
        assert (await live.read()).events[0].HasField("heartbeat")
        (tmp_path / "open").touch()
        rest = []
        while (message := await live.read()) is not grpc.aio.EOF:
            assert isinstance(message, wire.JoinRunStreamResponse)
            rest += [kind for kind in kinds(list(message.events)) if kind != "heartbeat"]
        assert rest == ["values", "run_ended"]

    async def test_an_id_that_never_was_is_refused(self, served: Served) -> None:
        run_id = await self.run(served)
        for wrong in ("1-99", "2-1", "x"):
            failure = await failure_of(self.join(served, run_id=run_id, after_event_id=wrong))
            assert list(failure.fields) == ["after_event_id"]


class TestCreateAndRead:
    """CreateRun, BatchCreateRuns, RunWait, GetRun, ListRuns, DeleteRun."""

    async def test_a_run_is_told_in_full(self, served: Served) -> None:
        spec = {**ECHO, "metadata": {"json": '{"label": 1}'}, "start_delay": timedelta(hours=1)}
        created = await served.runs.CreateRun(wire.CreateRunRequest(spec=spec))
        assert not created.replayed
        run = (await served.runs.GetRun(wire.GetRunRequest(run_id=created.run.run_id))).run
        assert run.state == core_pb2.RUN_STATE_PENDING
        assert run.graph_id == "echo"
        assert run.assistant_id not in ("", "echo")
        assert run.assistant_version == 1
        assert run.attempt == 0
        assert run.create_time.ToDatetime(UTC)
        assert not run.HasField("start_time")
        assert not run.HasField("end_time")
        assert run.metadata.json == '{"label":1}'
        assert run.spec.input.json == '{"text":"hi"}'
        assert run.spec.start_delay.ToTimedelta() == timedelta(hours=1)
        assert run.HasField("queue_position"), "it waits"
        for more in ("spec", "queue_position"):
            run.ClearField(more)
        assert created.run == run
        listed = await served.runs.ListRuns(wire.ListRunsRequest())
        assert list(listed.runs) == [run]

    async def test_a_wait_answers_with_the_output(self, served: Served) -> None:
        answer = await served.runs.RunWait(wire.RunWaitRequest(spec=ECHO))
        assert answer.run.state == core_pb2.RUN_STATE_SUCCEEDED
        assert answer.output.json == '{"text":"hi","answer":"hi"}'
        joined = await served.runs.JoinRun(wire.JoinRunRequest(run_id=answer.run.run_id))
        assert joined.output == answer.output

    async def test_a_wait_answers_with_the_questions(self, served: Served) -> None:
        spec = {
            "assistant_id": "asks",
            "input": {"json": "{}"},
            "thread_id": new_id(),
            "if_thread_missing": "IF_THREAD_MISSING_CREATE",
        }
        answer = await served.runs.RunWait(wire.RunWaitRequest(spec=spec))
        assert answer.run.state == core_pb2.RUN_STATE_INTERRUPTED
        (question,) = answer.interrupts
        assert question.value.json == '{"question":"go on?"}'
        command = {
            "assistant_id": "asks",
            "thread_id": answer.run.thread_id,
            "command": {"resume": {"json": '"yes"'}},
        }
        answer = await served.runs.RunWait(wire.RunWaitRequest(spec=command))
        assert answer.run.state == core_pb2.RUN_STATE_SUCCEEDED
        assert '"yes"' in answer.output.json

    async def test_a_repeated_create_gives_the_same_run(self, served: Served) -> None:
        request = wire.CreateRunRequest(spec=ECHO, request_id="é" * 128)
        first, again = [await served.runs.CreateRun(request) for _ in range(2)]
        assert again.replayed
        assert again.run.run_id == first.run.run_id
        request.request_id += "x"
        assert list((await failure_of(served.runs.CreateRun(request))).fields) == ["request_id"]

    async def test_a_batch_is_all_or_nothing(self, served: Served) -> None:
        specs = [{**ECHO, "metadata": {"json": f'{{"n": {n}}}'}} for n in range(3)]
        batch = await served.runs.BatchCreateRuns(wire.BatchCreateRunsRequest(specs=specs))
        assert [run.metadata.json for run in batch.runs] == ['{"n":0}', '{"n":1}', '{"n":2}']
        specs[1] = {"assistant_id": "echo", "input": {"json": "NaN"}, "durability": 9}
        failure = await failure_of(
            served.runs.BatchCreateRuns(wire.BatchCreateRunsRequest(specs=specs))
        )
        assert set(failure.fields) == {"specs[1].input", "specs[1].durability"}
        assert len((await served.runs.ListRuns(wire.ListRunsRequest())).runs) == 3

    @pytest.mark.parametrize("count", [0, 101])
    async def test_a_batch_has_a_size(self, served: Served, count: int) -> None:
        request = wire.BatchCreateRunsRequest(specs=[ECHO] * count)
        failure = await failure_of(served.runs.BatchCreateRuns(request))
        assert list(failure.fields) == ["specs"]

    async def test_a_pending_run_tells_what_comes_before_it(
        self, served: Served, tmp_path: Path
    ) -> None:
        on_thread = {"thread_id": new_id(), "if_thread_missing": "IF_THREAD_MISSING_CREATE"}
        first = await served.runs.CreateRun(wire.CreateRunRequest(spec=gate(tmp_path, **on_thread)))
        assert not first.run.HasField("queue_position")
        waiting = [
            (await served.runs.CreateRun(wire.CreateRunRequest(spec={**ECHO, **on_thread}))).run
            for _ in range(2)
        ]

        async def position(run: core_pb2.Run) -> core_pb2.QueuePosition | None:
            told = (await served.runs.GetRun(wire.GetRunRequest(run_id=run.run_id))).run
            return told.queue_position if told.HasField("queue_position") else None

        assert await position(first.run) is None
        before = [core_pb2.QueuePosition(runs_before_on_thread=count) for count in (1, 2)]
        assert [await position(run) for run in waiting] == before
        joined = served.runs.JoinRunStream(wire.JoinRunStreamRequest(run_id=waiting[1].run_id))
        assert (await joined.read()).events[0].run.queue_position == before[1]
        created = served.runs.RunStream(wire.RunStreamRequest(spec={**ECHO, **on_thread}))
        assert (await created.read()).events[0].run.queue_position.runs_before_on_thread == 3
        assert not any(
            run.HasField("queue_position")
            for run in (await served.runs.ListRuns(wire.ListRunsRequest())).runs
        )
        (tmp_path / "open").touch()
        await created.read()
        await ended(served, waiting[1].run_id)
        assert [await position(run) for run in waiting] == [None, None]

    async def test_many_runs_are_cancelled_a_page_at_a_time(self, served: Served) -> None:
        specs = [{**ECHO, "start_delay": timedelta(hours=1)}] * 3
        made = await served.runs.BatchCreateRuns(wire.BatchCreateRunsRequest(specs=specs))
        request = wire.CancelRunsRequest(states=["RUN_STATE_PENDING"], page_size=2)
        first = await served.runs.CancelRuns(request)
        request.page_token = first.next_page_token
        second = await served.runs.CancelRuns(request)
        assert (len(first.results), len(second.results), second.next_page_token) == (2, 1, "")
        told = [result.run_id for result in [*first.results, *second.results]]
        assert told == [run.run_id for run in made.runs]

    async def test_a_list_shows_what_is_asked_for(self, served: Served) -> None:
        spec = {**ECHO, "start_delay": timedelta(hours=1), "priority": 3}
        created = (await served.runs.CreateRun(wire.CreateRunRequest(spec=spec))).run
        other = {**spec, "assistant_id": "counter"}
        await served.runs.CreateRun(wire.CreateRunRequest(spec=other))

        async def listed(**wanted: Any) -> wire.ListRunsResponse:
            return await served.runs.ListRuns(wire.ListRunsRequest(graph_id="echo", **wanted))

        assert not (await listed()).runs[0].HasField("spec")
        assert not (await listed()).HasField("total_size")
        page = await listed(read_mask={"paths": ["run_id", "priority"]}, count_total=True)
        assert page.total_size == 1
        assert list(page.runs) == [core_pb2.Run(run_id=created.run_id, priority=3)]
        told = await listed(read_mask={"paths": ["spec.input"]})
        assert told.runs[0].spec.input.json == '{"text":"hi"}'
        assert not told.runs[0].spec.assistant_id
        whole = await listed(read_mask={"paths": ["*"]})
        assert whole.runs[0].spec.priority == 3
        assert whole.runs[0].run_id == created.run_id

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            (
                {"create_time": {"start_time": {"seconds": 9}, "end_time": {"seconds": 9}}},
                "create_time.end_time",
            ),
            ({"end_time": {"start_time": {"seconds": 2**60}}}, "end_time.start_time"),
            ({"read_mask": {"paths": ["run_id", "nothing"]}}, "read_mask.paths[1]"),
            ({"order": 99}, "order"),
            ({"run_ids": ["x"]}, "run_ids[0]"),
            ({"states": [0]}, "states[0]"),
        ],
    )
    async def test_a_list_of_what_cannot_be_is_refused(
        self, served: Served, wanted: dict[str, Any], field: str
    ) -> None:
        failure = await failure_of(served.runs.ListRuns(wire.ListRunsRequest(**wanted)))
        assert (failure.reason, list(failure.fields)) == ("INVALID_FIELD", [field])

    async def test_a_list_comes_in_pages(self, served: Served) -> None:
        specs = [{**ECHO, "start_delay": timedelta(hours=1)}] * 5
        batch = await served.runs.BatchCreateRuns(wire.BatchCreateRunsRequest(specs=specs))
        request, found = wire.ListRunsRequest(page_size=2, assistant_id="echo"), []
        for _ in range(3):
            page = await served.runs.ListRuns(request)
            found += [run.run_id for run in page.runs]
            request.page_token = page.next_page_token
        assert request.page_token == ""
        assert found == [run.run_id for run in reversed(batch.runs)]

    async def test_a_list_is_filtered(self, served: Served) -> None:
        spec = {**ECHO, "metadata": {"json": '{"a": {"b": 1, "c": 2}}'}}
        run = (await served.runs.RunWait(wire.RunWaitRequest(spec=spec))).run
        await served.runs.RunWait(wire.RunWaitRequest(spec=ECHO))
        for filters in (
            {"metadata": {"json": '{"a": {"b": 1}}'}},
            {"metadata": {"json": '{"a": {"b": 1}}'}, "states": ["RUN_STATE_SUCCEEDED"]},
            {"metadata": {"json": '{"a": {"c": 2}}'}, "assistant_id": run.assistant_id},
        ):
            listed = await served.runs.ListRuns(wire.ListRunsRequest(**filters))
            assert [found.run_id for found in listed.runs] == [run.run_id]
        for nothing in ({"assistant_id": "nope"}, {"states": ["RUN_STATE_FAILED"]}):
            assert not (await served.runs.ListRuns(wire.ListRunsRequest(**nothing))).runs
        failure = await failure_of(
            served.runs.ListRuns(wire.ListRunsRequest(states=[0, 99], thread_id="x"))
        )
        assert set(failure.fields) == {"states[0]", "states[1]", "thread_id"}

    async def test_a_deleted_run_is_gone(self, served: Served) -> None:
        run_id = (await served.runs.RunWait(wire.RunWaitRequest(spec=ECHO))).run.run_id
        await served.runs.DeleteRun(wire.DeleteRunRequest(run_id=run_id))
        for call in (
            served.runs.GetRun(wire.GetRunRequest(run_id=run_id)),
            served.runs.JoinRun(wire.JoinRunRequest(run_id=run_id)),
            served.runs.CancelRun(wire.CancelRunRequest(run_id=run_id)),
            served.runs.JoinRunStream(wire.JoinRunStreamRequest(run_id=run_id)).read(),
        ):
            failure = await failure_of(call)
            assert (failure.reason, failure.variables) == ("RUN_NOT_FOUND", {"run_id": run_id})

    @pytest.mark.parametrize(
        "run_id", ["", "x", "../etc", "0192f0c32b3c7d4e8f5a6b7c8d9e0f1a", "%2F\0"]
    )
    async def test_what_is_no_id_is_refused(self, served: Served, run_id: str) -> None:
        for call in (
            served.runs.GetRun(wire.GetRunRequest(run_id=run_id)),
            served.runs.CancelRun(wire.CancelRunRequest(run_id=run_id)),
            served.runs.JoinRunStream(wire.JoinRunStreamRequest(run_id=run_id)).read(),
        ):
            assert list((await failure_of(call)).fields) == ["run_id"]

    async def test_ids_are_found_in_any_case(self, served: Served) -> None:
        run_id = (await served.runs.RunWait(wire.RunWaitRequest(spec=ECHO))).run.run_id
        answer = await served.runs.GetRun(wire.GetRunRequest(run_id=run_id.upper()))
        assert answer.run.run_id == run_id

    async def test_a_request_without_a_spec_is_refused(self, served: Served) -> None:
        failure = await failure_of(served.runs.CreateRun(wire.CreateRunRequest()))
        assert set(failure.fields) >= {"spec"}

    async def test_an_assistant_that_is_not_there_is_named(self, served: Served) -> None:
        for unknown in ("nope", new_id()):
            request = wire.CreateRunRequest(spec={"assistant_id": unknown})
            failure = await failure_of(served.runs.CreateRun(request))
            assert failure.reason == "ASSISTANT_NOT_FOUND"
            assert failure.variables["assistant_id"] == unknown


class TestCancels:
    """CancelRun and CancelRuns."""

    async def start(self, served: Served, count: int = 1, **more: Any) -> list[str]:
        request = wire.BatchCreateRunsRequest(specs=[{**SLOW, **more}] * count)
        return [run.run_id for run in (await served.runs.BatchCreateRuns(request)).runs]

    async def test_a_cancel_may_be_waited_for(self, served: Served) -> None:
        (run_id,) = await self.start(served)
        answer = await served.runs.CancelRun(wire.CancelRunRequest(run_id=run_id, wait=True))
        assert answer.run.state == core_pb2.RUN_STATE_CANCELLED
        assert answer.run.cancel.action == core_pb2.CANCEL_ACTION_INTERRUPT
        assert answer.run.cancel.cause == core_pb2.CANCEL_CAUSE_CLIENT
        failure = await failure_of(served.runs.CancelRun(wire.CancelRunRequest(run_id=run_id)))
        assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "RUN_FINISHED")
        assert failure.variables == {"run_id": run_id, "state": "cancelled"}

    async def test_a_rolled_back_run_is_gone(self, served: Served) -> None:
        (run_id,) = await self.start(served)
        request = wire.CancelRunRequest(
            run_id=run_id, wait=True, action=core_pb2.CANCEL_ACTION_ROLLBACK
        )
        answer = await served.runs.CancelRun(request)
        assert answer.run.state == core_pb2.RUN_STATE_CANCELLED
        failure = await failure_of(served.runs.GetRun(wire.GetRunRequest(run_id=run_id)))
        assert (failure.code, failure.reason) == ("NOT_FOUND", "RUN_ROLLED_BACK")

    async def test_each_run_of_many_has_its_result_in_the_order_asked(self, served: Served) -> None:
        first, second = await self.start(served, 2)
        finished = (await served.runs.RunWait(wire.RunWaitRequest(spec=ECHO))).run.run_id
        missing = new_id()
        asked = [second, missing, finished, first]
        answer = await served.runs.CancelRuns(wire.CancelRunsRequest(run_ids=asked, wait=True))
        assert [result.run_id for result in answer.results] == asked
        names = ["ERROR_REASON_RUN_NOT_FOUND", "ERROR_REASON_RUN_FINISHED"]
        reasons = [wire.CancelRunResult(reason=name).reason for name in names]
        assert [result.reason for result in answer.results] == [0, *reasons, 0]
        assert [bool(result.message) for result in answer.results] == [False, True, True, False]
        states = [r.run.state for r in answer.results if r.HasField("run")]
        assert states == [core_pb2.RUN_STATE_CANCELLED] * 2

    async def test_runs_are_cancelled_by_filter(self, served: Served) -> None:
        marked = await self.start(served, 2, metadata={"json": '{"mark": 1}'})
        (other,) = await self.start(served)
        answer = await served.runs.CancelRuns(
            wire.CancelRunsRequest(metadata={"json": '{"mark": 1}'}, wait=True)
        )
        assert sorted(result.run_id for result in answer.results) == sorted(marked)
        run = (await served.runs.GetRun(wire.GetRunRequest(run_id=other))).run
        assert run.state in (core_pb2.RUN_STATE_PENDING, core_pb2.RUN_STATE_RUNNING)

    @pytest.mark.parametrize("request_", [{}, {"metadata": {"json": "{}"}}, {"wait": True}])
    async def test_all_runs_are_never_cancelled_by_accident(
        self, served: Served, request_: dict[str, Any]
    ) -> None:
        failure = await failure_of(served.runs.CancelRuns(wire.CancelRunsRequest(**request_)))
        assert failure.reason == "INVALID_FIELD"

    async def test_what_is_wrong_with_a_cancel_is_named(self, served: Served) -> None:
        request = wire.CancelRunsRequest(run_ids=["x"], states=[0], action=9, thread_id="t")
        failure = await failure_of(served.runs.CancelRuns(request))
        assert set(failure.fields) == {"run_ids[0]", "states[0]", "action", "thread_id"}
        many = wire.CancelRunsRequest(run_ids=[new_id() for _ in range(501)])
        assert list((await failure_of(served.runs.CancelRuns(many))).fields) == ["run_ids"]
