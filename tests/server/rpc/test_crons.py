"""The service of crons over a real socket."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from tests.server.rpc.conftest import Served
from tests.support.engine import until
from tests.support.statuses import Failure, failure_of

from runwire.server.model.ids import default_assistant_id, new_id
from runwire.v1 import assistants_pb2, core_pb2, errors_pb2, runs_pb2, threads_pb2
from runwire.v1 import crons_pb2 as wire

IN_A_YEAR = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)

SPEC: dict[str, Any] = {
    "assistant_id": "echo",
    "input": {"json": '{"text":"hi"}'},
    "metadata": {"json": '{"of":"run"}'},
    "stream_modes": [core_pb2.STREAM_MODE_UPDATES],
    "on_completion": core_pb2.ON_COMPLETION_KEEP,
}
FULL: dict[str, Any] = {
    "spec": SPEC,
    "schedule": "30 9 * * MON-FRI",
    "time_zone": "Europe/Berlin",
    "end_time": IN_A_YEAR,
    "metadata": {"json": '{"of":"cron"}'},
}


def wanted(**request: Any) -> wire.CreateCronRequest:
    spec = {"assistant_id": "echo", **request.pop("spec", {})}
    return wire.CreateCronRequest(**{"schedule": "0 0 1 1 *", "spec": spec, **request})


async def create(served: Served, **request: Any) -> wire.Cron:
    return (await served.crons.CreateCron(wanted(**request))).cron


async def get(served: Served, cron: wire.Cron) -> wire.Cron:
    return (await served.crons.GetCron(wire.GetCronRequest(cron_id=cron.cron_id))).cron


async def update(served: Served, cron: wire.Cron, *mask: str, **request: Any) -> wire.Cron:
    changed = wire.UpdateCronRequest(
        cron_id=cron.cron_id, update_mask=FieldMask(paths=mask), **request
    )
    return (await served.crons.UpdateCron(changed)).cron


async def refused(served: Served, cron: wire.Cron, *mask: str, **request: Any) -> dict[str, str]:
    changed = wire.UpdateCronRequest(
        cron_id=cron.cron_id, update_mask=FieldMask(paths=mask), **request
    )
    return (await failure_of(served.crons.UpdateCron(changed))).fields


async def thread(served: Served) -> str:
    answer = await served.threads.CreateThread(threads_pb2.CreateThreadRequest())
    return answer.thread.thread_id


async def make_due(served: Served, cron: wire.Cron) -> None:
    """Have a cron fire as if its time had come."""

    def set_back(connection: Any) -> None:
        due = datetime.now(UTC) - timedelta(seconds=1)
        connection.exec_driver_sql(
            "UPDATE crons SET next_fire_time = ? WHERE cron_id = ?",
            (due.replace(tzinfo=None).isoformat(" "), cron.cron_id),
        )

    await served.app.database.write(set_back)
    served.app.crons.wake()


async def fire(served: Served, cron: wire.Cron) -> wire.Cron:
    """Have a cron fire; return it as it is afterwards."""
    before = await get(served, cron)
    await make_due(served, cron)

    async def has_fired() -> bool:
        return (await get(served, cron)).last_fire_time != before.last_fire_time

    await until(has_fired)
    return await get(served, cron)


async def test_a_cron_is_told_in_full(served: Served) -> None:
    cron = await create(served, **FULL)
    assert cron.assistant_id == default_assistant_id("echo")
    assert (cron.thread_id, cron.enabled, cron.missed_fires) == ("", True, 0)
    assert (cron.schedule, cron.time_zone) == (FULL["schedule"], FULL["time_zone"])
    assert cron.end_time.ToDatetime(UTC) == IN_A_YEAR
    assert cron.metadata.json == '{"of":"cron"}'
    assert cron.spec.assistant_id == "echo"
    assert cron.spec.input.json == '{"text":"hi"}'
    assert cron.spec.metadata.json == '{"of":"run"}'
    assert [*cron.spec.stream_modes] == SPEC["stream_modes"]
    assert cron.create_time == cron.update_time
    assert cron.next_fire_time.ToDatetime(UTC) > datetime.now(UTC)
    for unset in ("last_fire_time", "last_error"):
        assert not cron.HasField(unset)
    assert cron.last_run_id == ""
    assert await get(served, cron) == cron


async def test_a_cron_needs_nothing_but_a_schedule_and_an_assistant(served: Served) -> None:
    cron = await create(served, schedule="@yearly")
    assert (cron.schedule, cron.time_zone, cron.enabled) == ("@yearly", "UTC", True)
    assert cron.metadata.json == "{}"
    assert not cron.HasField("end_time")
    first = datetime(datetime.now(UTC).year + 1, 1, 1, tzinfo=UTC)
    assert cron.next_fire_time.ToDatetime(UTC) == first


async def test_a_cron_that_is_not_enabled_has_no_next_time(served: Served) -> None:
    cron = await create(served, enabled=False)
    assert not cron.enabled
    assert not cron.HasField("next_fire_time")


async def test_a_cron_whose_end_comes_before_its_next_time_has_none(served: Served) -> None:
    cron = await create(served, end_time=datetime.now(UTC) + timedelta(milliseconds=700))
    assert cron.enabled
    assert not cron.HasField("next_fire_time")


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"schedule": ""}, "schedule", "is required"),
    ({"schedule": "* * * *"}, "schedule", "must be five fields"),
    ({"schedule": "0 * * * * *"}, "schedule", "must be five fields"),
    ({"schedule": "99 * * * *"}, "schedule", "has a bad minute"),
    ({"time_zone": "Europe/Atlantis"}, "time_zone", "'Europe/Atlantis'"),
    ({"time_zone": "../etc/passwd"}, "time_zone", "is no time zone"),
    ({"end_time": datetime(2020, 1, 1, tzinfo=UTC)}, "end_time", "in the future"),
    ({"end_time": Timestamp(seconds=1 << 50)}, "end_time", "is not a time"),
    ({"metadata": {"json": "[]"}}, "metadata", "JSON object"),
    ({"spec": {"assistant_id": ""}}, "spec.assistant_id", "is required"),
    ({"spec": {"command": {"goto": [{"node": "a"}]}}}, "spec.command", "must be unset"),
    ({"spec": {"checkpoint": {"checkpoint_id": "a"}}}, "spec.checkpoint", "must be unset"),
    ({"spec": {"start_delay": timedelta(seconds=1)}}, "spec.start_delay", "must be unset"),
    ({"spec": {"on_disconnect": 2}}, "spec.on_disconnect", "must be unset"),
    ({"request_id": "x" * 129}, "request_id", "128"),
]


async def test_what_a_cron_cannot_be_is_refused_by_name(served: Served) -> None:
    for request, field, why in REFUSED:
        failure = await failure_of(served.crons.CreateCron(wanted(**request)))
        assert (failure.code, failure.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert why in failure.fields[field]


MISSING: list[tuple[dict[str, Any], str]] = [
    ({"assistant_id": new_id()}, "ASSISTANT_NOT_FOUND"),
    ({"assistant_id": "nobody"}, "ASSISTANT_NOT_FOUND"),
    ({"assistant_version": 9}, "ASSISTANT_VERSION_NOT_FOUND"),
    ({"thread_id": new_id()}, "THREAD_NOT_FOUND"),
]


async def test_what_a_cron_names_must_be_there(served: Served) -> None:
    for spec, reason in MISSING:
        failure = await failure_of(served.crons.CreateCron(wanted(spec=spec)))
        assert (failure.code, failure.reason) == ("NOT_FOUND", reason)


async def test_a_thread_can_be_made_together_with_its_cron(served: Served) -> None:
    thread_id = new_id()
    spec = {"thread_id": thread_id, "if_thread_missing": core_pb2.IF_THREAD_MISSING_CREATE}
    cron = await create(served, spec=spec)
    assert cron.thread_id == thread_id
    await served.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))


async def test_a_repeated_create_gives_the_same_cron(served: Served) -> None:
    first, again = [await create(served, request_id="r", **FULL) for _ in range(2)]
    assert first == again
    other = wanted(request_id="r", schedule="0 0 2 1 *")
    failure = await failure_of(served.crons.CreateCron(other))
    assert (failure.code, failure.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


# Firing.


async def test_a_cron_that_fires_makes_a_run_and_goes_on(served: Served) -> None:
    cron = await create(served, **FULL)
    fired = await fire(served, cron)
    assert fired.next_fire_time == cron.next_fire_time
    assert fired.last_fire_time.ToDatetime(UTC) < datetime.now(UTC)
    assert not fired.HasField("last_error")
    request = runs_pb2.JoinRunRequest(run_id=fired.last_run_id)
    answer = await served.runs.JoinRun(request)
    assert answer.run.cron_id == cron.cron_id
    assert answer.run.state == core_pb2.RUN_STATE_SUCCEEDED
    assert answer.run.metadata.json == '{"of":"run"}'
    assert answer.run.thread_id != "", "kept, on a thread of its own"
    assert '"hi"' in answer.output.json


async def test_the_runs_of_a_cron_can_be_listed_and_cancelled(served: Served) -> None:
    cron, other = await create(served), await create(served)
    one, two = [(await fire(served, cron)).last_run_id for _ in range(2)]
    await fire(served, other)
    await served.runs.CreateRun(runs_pb2.CreateRunRequest(spec={"assistant_id": "echo"}))
    listed = await served.runs.ListRuns(runs_pb2.ListRunsRequest(cron_id=cron.cron_id))
    assert [run.run_id for run in listed.runs] == [two, one]
    request = runs_pb2.CancelRunsRequest(cron_id=cron.cron_id, wait=True)
    await served.runs.CancelRuns(request)
    failure = await failure_of(served.runs.ListRuns(runs_pb2.ListRunsRequest(cron_id="not an id")))
    assert "cron_id" in failure.fields


async def test_a_run_s_graph_is_told_which_cron_it_is_for(served: Served) -> None:
    cron = await create(served, spec={"assistant_id": "tells", "input": {"json": "{}"}})
    fired = await fire(served, cron)
    answer = await served.runs.JoinRun(runs_pb2.JoinRunRequest(run_id=fired.last_run_id))
    told = json.loads(answer.output.json)["told"]
    assert told["configurable"]["cron_id"] == told["metadata"]["cron_id"] == cron.cron_id


async def test_a_cron_on_a_thread_runs_there_under_its_strategy(served: Served) -> None:
    thread_id = await thread(served)
    later = {"assistant_id": "echo", "thread_id": thread_id, "start_delay": timedelta(days=1)}
    await served.runs.CreateRun(runs_pb2.CreateRunRequest(spec=later))
    spec = {"thread_id": thread_id, "multitask_strategy": core_pb2.MULTITASK_STRATEGY_REJECT}
    cron = await create(served, spec=spec)
    fired = await fire(served, cron)
    assert fired.last_error.reason == errors_pb2.ERROR_REASON_THREAD_BUSY
    assert "has a run in flight" in fired.last_error.message
    assert fired.last_run_id == ""
    assert fired.next_fire_time == cron.next_fire_time, "it goes on"
    await served.runs.CancelRuns(runs_pb2.CancelRunsRequest(thread_id=thread_id, wait=True))
    again = await fire(served, cron)
    assert not again.HasField("last_error")
    answer = await served.runs.JoinRun(runs_pb2.JoinRunRequest(run_id=again.last_run_id))
    assert answer.run.thread_id == thread_id


async def test_a_cron_goes_with_its_thread(served: Served) -> None:
    thread_id = await thread(served)
    cron = await create(served, spec={"thread_id": thread_id})
    await served.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))
    await missing(served, cron)


async def test_a_cron_goes_with_its_assistant(served: Served) -> None:
    made = await served.assistants.CreateAssistant(
        assistants_pb2.CreateAssistantRequest(graph_id="echo")
    )
    assistant_id = made.assistant.assistant_id
    cron = await create(served, spec={"assistant_id": assistant_id})
    await served.assistants.DeleteAssistant(
        assistants_pb2.DeleteAssistantRequest(assistant_id=assistant_id)
    )
    await missing(served, cron)


async def missing(served: Served, cron: wire.Cron) -> None:
    failures: list[Failure] = [
        await failure_of(call)
        for call in (
            served.crons.GetCron(wire.GetCronRequest(cron_id=cron.cron_id)),
            served.crons.UpdateCron(wire.UpdateCronRequest(cron_id=cron.cron_id)),
            served.crons.DeleteCron(wire.DeleteCronRequest(cron_id=cron.cron_id)),
        )
    ]
    assert {(failure.code, failure.reason) for failure in failures} == {
        ("NOT_FOUND", "CRON_NOT_FOUND")
    }


async def test_a_deleted_cron_is_gone_and_its_runs_stay(served: Served) -> None:
    cron = await create(served)
    run_id = (await fire(served, cron)).last_run_id
    await served.crons.DeleteCron(wire.DeleteCronRequest(cron_id=cron.cron_id))
    await missing(served, cron)
    run = (await served.runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id))).run
    assert run.cron_id == cron.cron_id


# Changes.


async def test_a_change_leaves_what_it_does_not_name(served: Served) -> None:
    cron = await create(served, **FULL)
    changed = await update(
        served,
        cron,
        spec={"input": {"json": "{}"}, "context": {"json": '{"a":1}'}},
        metadata={"json": '{"of":null,"new":1}'},
    )
    assert changed.spec.input.json == "{}"
    assert changed.spec.context.json == '{"a":1}'
    assert changed.metadata.json == '{"new":1}'
    assert changed.update_time.ToDatetime() > cron.update_time.ToDatetime()
    for same in ("schedule", "time_zone", "enabled", "end_time", "next_fire_time", "create_time"):
        assert getattr(changed, same) == getattr(cron, same)
    for same in ("assistant_id", "metadata", "stream_modes", "on_completion"):
        assert getattr(changed.spec, same) == getattr(cron.spec, same)
    assert await update(served, cron) == changed, "a change of nothing is none"


async def test_a_new_schedule_zone_or_switch_gives_a_new_next_time(served: Served) -> None:
    cron = await create(served, schedule="0 0 1 1 *")
    moved = await update(served, cron, schedule="0 12 1 1 *")
    assert moved.next_fire_time.seconds == cron.next_fire_time.seconds + 12 * 3600
    moved = await update(served, cron, time_zone="Europe/Berlin")
    assert moved.next_fire_time.seconds == cron.next_fire_time.seconds + 11 * 3600
    off = await update(served, cron, enabled=False)
    assert (off.enabled, off.HasField("next_fire_time")) == (False, False)
    assert await update(served, cron, enabled=True) != off
    assert (await get(served, cron)).next_fire_time == moved.next_fire_time
    assert (await update(served, cron, "time_zone")).time_zone == "UTC"


async def test_an_end_can_be_moved_and_taken_away(served: Served) -> None:
    cron = await create(served, schedule="0 0 1 1 *")
    soon = datetime.now(UTC) + timedelta(seconds=5)
    ended = await update(served, cron, end_time=soon)
    assert not ended.HasField("next_fire_time")
    endless = await update(served, cron, "end_time")
    assert not endless.HasField("end_time")
    assert endless.next_fire_time == cron.next_fire_time
    past = datetime(2020, 1, 1, tzinfo=UTC)
    assert "in the future" in (await refused(served, cron, end_time=past))["end_time"]


async def test_a_named_field_that_is_unset_gets_its_default(served: Served) -> None:
    cron = await create(served, spec={**SPEC, "stream_subgraphs": True})
    changed = await update(
        served, cron, "spec.input", "spec.stream_subgraphs", "spec.stream_modes", "enabled"
    )
    assert not changed.spec.HasField("input")
    assert not changed.spec.stream_subgraphs
    assert [*changed.spec.stream_modes] == [core_pb2.STREAM_MODE_VALUES]
    assert changed.enabled
    assert changed.spec.metadata == cron.spec.metadata


async def test_labels_that_are_named_and_unset_go(served: Served) -> None:
    cron = await create(served, metadata={"json": '{"team": "a"}'})
    assert (await update(served, cron, "enabled")).metadata == cron.metadata
    assert (await update(served, cron, "metadata")).metadata.json == "{}"


UNCHANGEABLE: list[tuple[list[str], dict[str, Any], str]] = [
    ([], {"schedule": "x"}, "schedule"),
    (["schedule"], {}, "schedule"),
    ([], {"time_zone": "Mars"}, "time_zone"),
    ([], {"spec": {"assistant_id": "echo"}}, "spec.assistant_id"),
    (["spec.thread_id"], {}, "spec.thread_id"),
    ([], {"spec": {"start_delay": timedelta(seconds=1)}}, "spec.start_delay"),
    ([], {"spec": {"interrupt_before": ["*", "a"]}}, "spec.interrupt_before"),
    (["spec"], {}, "update_mask.paths[0]"),
    (["enabled", "cron_id"], {}, "update_mask.paths[1]"),
    (["enabled"], {"schedule": "@daily"}, "schedule"),
    (["enabled"], {"spec": {"stream_subgraphs": True}}, "spec.stream_subgraphs"),
]


async def test_what_a_change_cannot_be_is_refused_by_name(served: Served) -> None:
    cron = await create(served)
    for mask, request, field in UNCHANGEABLE:
        assert field in await refused(served, cron, *mask, **request)
    assert await get(served, cron) == cron


async def test_a_version_that_is_asked_for_later_must_be_there_too(served: Served) -> None:
    cron = await create(served)
    changed = wire.UpdateCronRequest(cron_id=cron.cron_id, spec={"assistant_version": 7})
    failure = await failure_of(served.crons.UpdateCron(changed))
    assert failure.reason == "ASSISTANT_VERSION_NOT_FOUND"
    assert (await update(served, cron, spec={"assistant_version": 1})).spec.assistant_version == 1


# Lists.


async def test_crons_are_listed_by_what_they_are(served: Served) -> None:
    thread_id = await thread(served)
    one = await create(served, metadata={"json": '{"a":{"b":1},"c":2}'})
    two = await create(served, spec={"thread_id": thread_id})
    three = await create(served, spec={"assistant_id": "counter"}, enabled=False)

    async def listed(**request: Any) -> list[str]:
        answer = await served.crons.ListCrons(wire.ListCronsRequest(**request))
        return [cron.cron_id for cron in answer.crons]

    assert await listed() == [three.cron_id, two.cron_id, one.cron_id]
    assert await listed(thread_id=thread_id) == [two.cron_id]
    assert await listed(assistant_id="counter") == [three.cron_id]
    assert await listed(assistant_id=three.assistant_id.upper()) == [three.cron_id]
    assert await listed(enabled=False) == [three.cron_id]
    assert await listed(enabled=True) == [two.cron_id, one.cron_id]
    assert await listed(metadata={"json": '{"a":{"b":1}}'}) == [one.cron_id]
    assert await listed(thread_id=new_id()) == []


ORDERS = wire.CronOrder.keys()[1:]


async def test_crons_come_in_every_order_a_page_at_a_time(served: Served) -> None:
    thread_id = await thread(served)
    soon = datetime.now(UTC) + timedelta(days=800)
    drafts: list[dict[str, Any]] = [
        {"schedule": "0 0 2 1 *"},
        {"schedule": "0 0 1 1 *", "end_time": soon},
        {"enabled": False, "spec": {"thread_id": thread_id}},
        {"spec": {"assistant_id": "counter"}},
        {"schedule": "0 0 3 1 *", "end_time": soon + timedelta(days=1)},
    ]
    for draft in drafts:
        await create(served, **draft)
    for order in ORDERS:
        found = await pages(served, order)
        field, _, direction = order.removeprefix("CRON_ORDER_").lower().rpartition("_")
        keys = [key_of(cron, field) for cron in found]
        assert len({*keys}) == len(drafts)
        assert keys == sorted(keys, reverse=direction == "desc")


async def pages(served: Served, order: str) -> list[wire.Cron]:
    request = wire.ListCronsRequest(page_size=2, count_total=True)
    request.order = wire.CronOrder.Value(order)
    found: list[wire.Cron] = []
    while True:
        answer = await served.crons.ListCrons(request)
        assert answer.total_size == 5
        found += answer.crons
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def key_of(cron: wire.Cron, field: str) -> Any:
    value = getattr(cron, field)
    if isinstance(value, str):
        return value, cron.cron_id
    return value.ToNanoseconds() if cron.HasField(field) else 1 << 80, cron.cron_id


async def test_crons_are_counted_only_if_asked(served: Served) -> None:
    await create(served)
    answer = await served.crons.ListCrons(wire.ListCronsRequest())
    assert not answer.HasField("total_size")


async def test_a_webhook_that_is_not_called_is_refused(served: Served) -> None:
    request = wanted(spec={"webhook": "http://169.254.169.254/"})
    failure = await failure_of(served.crons.CreateCron(request))
    assert list(failure.fields) == ["spec.webhook"]
    cron = await create(served)
    changed = core_pb2.RunSpec(webhook="https://user@example.com/")
    assert list(await refused(served, cron, "spec.webhook", spec=changed)) == ["spec.webhook"]
    named = core_pb2.RunSpec(webhook="https://example.com/")
    assert (await update(served, cron, "spec.webhook", spec=named)).spec.webhook == named.webhook


async def test_only_the_fields_that_are_asked_for_are_listed(served: Served) -> None:
    cron = await create(served, **FULL)
    request = wire.ListCronsRequest(read_mask={"paths": ["cron_id", "spec.input"]})
    (listed,) = (await served.crons.ListCrons(request)).crons
    assert listed == wire.Cron(cron_id=cron.cron_id, spec={"input": cron.spec.input})
    wrong = wire.ListCronsRequest(read_mask={"paths": ["nothing"]})
    assert "read_mask.paths[0]" in (await failure_of(served.crons.ListCrons(wrong))).fields
