"""What happens on a thread, as any program reads it."""

import json
from typing import Any

import pytest
from tests.support.callers import MISSING_ID, Client, Stubs, follow, kinds, whole
from tests.support.statuses import failure_of

from runwire.v1 import core_pb2, events_pb2, runs_pb2, threads_pb2

MEBIBYTE = 1024 * 1024


async def read(
    stubs: Stubs, thread_id: str, ends: int = 1, metadata: Any = (), **request: Any
) -> list[threads_pb2.ThreadStreamResponse]:
    """Return a thread's messages up to the one with so many ends of runs."""
    wanted = threads_pb2.ThreadStreamRequest(thread_id=thread_id, **request)
    call = stubs.threads.ThreadStream(wanted, metadata=metadata)
    messages = []
    async for message in call:
        messages.append(message)
        ends -= sum(event.HasField("run_ended") for event in message.events)
        if ends <= 0:
            break
    call.cancel()
    return messages


def events_in(messages: list[threads_pb2.ThreadStreamResponse]) -> list[events_pb2.RunEvent]:
    return whole([event for message in messages for event in message.events])


async def run(client: Client, thread_id: str, graph_id: str = "echo", **options: Any) -> str:
    made = await client.runs.create(thread_id, graph_id, **{"input": {"text": "a"}, **options})
    await client.runs.join(thread_id, made["run_id"])
    return str(made["run_id"])


async def test_a_thread_s_runs_have_the_events_that_they_have_by_themselves(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    run_ids = [await run(client, thread_id), await run(client, thread_id, "counter", input={})]
    events = events_in(await read(stubs, thread_id, ends=2))
    for run_id in run_ids:
        own = [event for event in events if event.run_id == run_id]
        assert own[1:] == (await follow(stubs, run_id))[1:]
        assert own[0].run.run_id == run_id
    assert [event.run_id for event in events] == sorted(event.run_id for event in events)


async def test_only_wanted_kinds_come(client: Client, stubs: Stubs, thread_id: str) -> None:
    await run(client, thread_id, stream_mode=["values", "updates"])
    mode = core_pb2.STREAM_MODE_UPDATES
    messages = await read(stubs, thread_id, stream_modes=[mode])
    assert kinds(events_in(messages)) == ["run", "attempt_started", "updates", "run_ended"]


async def test_large_events_come_in_parts_and_can_be_gone_on_after(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    options = {"input": {"count": 2, "size": 3 * MEBIBYTE}, "stream_mode": "custom"}
    run_id = await run(client, thread_id, "big_events", **options)
    messages = await read(stubs, thread_id)
    assert max(message.ByteSize() for message in messages) < MEBIBYTE + 64 * 1024
    assert [e.id for e in events_in(messages)] == [e.id for e in await follow(stubs, run_id)]
    # In the midst of an event the place is the one before it.
    number = next(i for i, m in enumerate(messages) if m.events and m.events[0].HasField("part"))
    token = messages[number].resume_token
    rest = events_in(await read(stubs, thread_id, resume_token=token))
    assert rest[0].id == messages[number].events[0].id


async def test_payloads_come_as_values_for_people(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    await run(client, thread_id)
    await client.threads.update_state(thread_id, {"text": "b"})
    modes = [threads_pb2.THREAD_STREAM_MODE_RUNS, threads_pb2.THREAD_STREAM_MODE_STATE_UPDATES]
    wanted = threads_pb2.ThreadStreamRequest(thread_id=thread_id, modes=modes)
    call = stubs.threads.ThreadStream(wanted, metadata=[("runwire-payload", "value")])
    messages = []
    async for message in call:
        messages.append(message)
        if message.HasField("state_update"):
            break
    call.cancel()
    shown = next(e.values.data for m in messages for e in m.events if e.HasField("values"))
    assert shown.value.struct_value.fields["text"].string_value == "a"
    values = messages[-1].state_update.state.values
    assert values.value.struct_value.fields["text"].string_value == "b"


async def test_a_thread_that_is_not_there_ends_the_call_at_once(stubs: Stubs) -> None:
    failed = await failure_of(read(stubs, MISSING_ID))
    assert (failed.code, failed.reason) == ("NOT_FOUND", "THREAD_NOT_FOUND")


@pytest.mark.parametrize(
    "wrong", ["x", "!", "other", "/", "{}/x", "{}/{id}", "{}/{id}/1", "{}/{id}/1-1/"]
)
async def test_tokens_that_are_none_are_refused(
    stubs: Stubs, client: Client, thread_id: str, wrong: str
) -> None:
    await run(client, thread_id)
    token = (await read(stubs, thread_id))[0].resume_token
    if wrong == "other":
        other = str((await client.threads.create())["thread_id"])
        await run(client, other)
        wrong = (await read(stubs, other))[0].resume_token
    wrong = wrong.replace("{}", token).replace("{id}", MISSING_ID)
    failed = await failure_of(read(stubs, thread_id, resume_token=wrong))
    assert (failed.code, list(failed.fields)) == ("INVALID_ARGUMENT", ["resume_token"])
    failed = await failure_of(read(stubs, thread_id, resume_token=token, live_only=True))
    assert list(failed.fields) == ["live_only"]


async def test_an_event_that_a_run_never_had_is_refused(
    stubs: Stubs, client: Client, thread_id: str
) -> None:
    run_id = await run(client, thread_id)
    token = (await read(stubs, thread_id))[0].resume_token
    failed = await failure_of(read(stubs, thread_id, resume_token=f"{token}/{run_id}/1-900"))
    assert (failed.code, list(failed.fields)) == ("INVALID_ARGUMENT", ["resume_token"])


async def watched(stubs: Stubs, **request: Any) -> runs_pb2.WatchRunsResponse:
    call = stubs.runs.WatchRuns(runs_pb2.WatchRunsRequest(**request))
    message = await call.read()
    call.cancel()
    assert isinstance(message, runs_pb2.WatchRunsResponse)
    return message


@pytest.mark.parametrize("wrong", ["x", "!", "ab/cd", "AAAA"])
async def test_tokens_of_no_watch_are_refused(stubs: Stubs, wrong: str) -> None:
    failed = await failure_of(watched(stubs, resume_token=wrong))
    assert (failed.code, list(failed.fields)) == ("INVALID_ARGUMENT", ["resume_token"])
    token = (await watched(stubs)).resume_token
    failed = await failure_of(watched(stubs, resume_token=token, include_unfinished=True))
    assert list(failed.fields) == ["include_unfinished"]


async def test_a_watch_tells_runs_without_what_they_were_asked(
    stubs: Stubs, client: Client, thread_id: str
) -> None:
    token = (await watched(stubs, thread_id=thread_id)).resume_token
    run_id = await run(client, thread_id, metadata={"a": 1})
    call = stubs.runs.WatchRuns(
        runs_pb2.WatchRunsRequest(thread_id=thread_id, resume_token=token),
        metadata=[("runwire-payload", "value")],
    )
    assert not (await call.read()).changes  # type: ignore[union-attr]
    message = await call.read()
    call.cancel()
    assert isinstance(message, runs_pb2.WatchRunsResponse)
    (change,) = message.changes
    assert (change.run.run_id, change.run.state) == (run_id, core_pb2.RUN_STATE_SUCCEEDED)
    assert change.run.metadata.value.struct_value.fields["a"].number_value == 1
    assert not change.run.HasField("spec")
    assert message.caught_up


async def test_messages_of_a_thread_hold_the_bytes_of_its_runs_logs(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    run_id = await run(client, thread_id)
    messages = await read(stubs, thread_id)
    joined = b"".join(
        runs_pb2.JoinRunStreamResponse(events=[event]).SerializeToString()
        for event in (await follow(stubs, run_id))[1:]
    )
    assert joined in messages[-1].SerializeToString()
    assert json.loads(events_in(messages)[-2].values.data.json)["answer"] == "a"


def test_events_have_the_number_that_they_have_in_a_run_s_stream() -> None:
    field = threads_pb2.ThreadStreamResponse.DESCRIPTOR.fields_by_name["events"]
    own = runs_pb2.RunStreamResponse.DESCRIPTOR.fields_by_name["events"]
    assert (field.number, field.message_type) == (own.number, own.message_type)
