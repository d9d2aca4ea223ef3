"""The service of threads over a real socket."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.server.rpc.conftest import Served
from tests.support.statuses import failure_of

from runwire.server.model.ids import new_id
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1 import threads_pb2 as wire
from runwire.v1.assistants_pb2 import CreateAssistantRequest


async def create(served: Served, **request: Any) -> wire.Thread:
    return (await served.threads.CreateThread(wire.CreateThreadRequest(**request))).thread


async def run(served: Served, thread_id: str, assistant_id: str = "counter", **spec: Any) -> Any:
    wanted = {
        "assistant_id": assistant_id,
        "thread_id": thread_id,
        "input": {"json": "{}"},
        "if_thread_missing": "IF_THREAD_MISSING_CREATE",
        **spec,
    }
    return await served.runs.RunWait(runs_pb2.RunWaitRequest(spec=wanted))


async def state(served: Served, thread_id: str, **request: Any) -> wire.StateSnapshot:
    answer = await served.threads.GetThreadState(
        wire.GetThreadStateRequest(thread_id=thread_id, **request)
    )
    return answer.state


class TestResources:
    """Threads as resources."""

    async def test_a_new_thread_is_idle_and_empty(self, served: Served) -> None:
        thread = await create(served, metadata={"json": '{"user": "é"}'})
        assert thread.state == wire.THREAD_STATE_IDLE
        assert thread.metadata.json == '{"user":"é"}'
        assert not thread.HasField("values")
        assert thread.create_time.ToDatetime(UTC) == thread.update_time.ToDatetime(UTC)
        got = await served.threads.GetThread(wire.GetThreadRequest(thread_id=thread.thread_id))
        assert got.thread == thread

    async def test_a_thread_may_be_given_its_id_once(self, served: Served) -> None:
        thread_id = new_id()
        assert (await create(served, thread_id=thread_id.upper())).thread_id == thread_id
        request = wire.CreateThreadRequest(thread_id=thread_id)
        failure = await failure_of(served.threads.CreateThread(request))
        assert (failure.code, failure.reason) == ("ALREADY_EXISTS", "THREAD_EXISTS")
        existing = await create(
            served, thread_id=thread_id, if_exists=core_pb2.IF_EXISTS_RETURN_EXISTING
        )
        assert existing.thread_id == thread_id

    async def test_a_repeated_create_gives_the_same_thread(self, served: Served) -> None:
        first, again = [await create(served, request_id="r") for _ in range(2)]
        assert first == again
        request = wire.CreateThreadRequest(request_id="r", metadata={"json": "{}"})
        failure = await failure_of(served.threads.CreateThread(request))
        assert failure.reason == "REQUEST_ID_REUSED"

    async def test_metadata_is_merged_and_null_removes(self, served: Served) -> None:
        thread = await create(served, metadata={"json": '{"a": 1, "b": 2}'})
        request = wire.UpdateThreadRequest(
            thread_id=thread.thread_id, metadata={"json": '{"b": null, "c": {"d": null}}'}
        )
        changed = (await served.threads.UpdateThread(request)).thread
        assert changed.metadata.json == '{"a":1,"c":{"d":null}}'
        assert changed.update_time.ToDatetime() > thread.update_time.ToDatetime()

    async def test_threads_are_listed_in_the_order_and_pages_asked_for(
        self, served: Served
    ) -> None:
        made = [(await create(served)).thread_id for _ in range(5)]
        await served.threads.UpdateThread(
            wire.UpdateThreadRequest(thread_id=made[1], metadata={"json": '{"a": 1}'})
        )
        orders = {
            "THREAD_ORDER_UNSPECIFIED": made[::-1],
            "THREAD_ORDER_CREATE_TIME_DESC": made[::-1],
            "THREAD_ORDER_CREATE_TIME_ASC": made,
            "THREAD_ORDER_UPDATE_TIME_ASC": [made[0], *made[2:], made[1]],
            "THREAD_ORDER_UPDATE_TIME_DESC": [made[1], *made[:1:-1], made[0]],
            "THREAD_ORDER_STATE_UPDATE_TIME_ASC": made,
            "THREAD_ORDER_STATE_UPDATE_TIME_DESC": made[::-1],
            "THREAD_ORDER_THREAD_ID_ASC": sorted(made),
            "THREAD_ORDER_THREAD_ID_DESC": sorted(made, reverse=True),
            "THREAD_ORDER_STATE_ASC": sorted(made),
            "THREAD_ORDER_STATE_DESC": sorted(made, reverse=True),
        }
        for order, wanted in orders.items():
            request, found = wire.ListThreadsRequest(order=order, page_size=2), []
            for _ in range(3):
                page = await served.threads.ListThreads(request)
                found += [thread.thread_id for thread in page.threads]
                request.page_token = page.next_page_token
            assert found == wanted, order
            assert not page.next_page_token

    async def test_a_list_is_filtered(self, served: Served) -> None:
        marked = await create(served, metadata={"json": '{"a": {"b": 1, "c": 2}}'})
        await create(served)
        for filters in (
            {"metadata": {"json": '{"a": {"b": 1}}'}},
            {"thread_ids": [marked.thread_id.upper(), new_id()]},
            {"thread_ids": [marked.thread_id], "states": ["THREAD_STATE_IDLE"]},
        ):
            page = await served.threads.ListThreads(wire.ListThreadsRequest(**filters))
            assert list(page.threads) == [marked]
        busy = wire.ListThreadsRequest(states=["THREAD_STATE_BUSY"])
        assert not (await served.threads.ListThreads(busy)).threads

    async def test_a_list_has_the_fields_that_are_asked_for(self, served: Served) -> None:
        await run(served, new_id(), "asks")
        everything = (await served.threads.ListThreads(wire.ListThreadsRequest())).threads[0]
        assert everything.HasField("values")
        for paths in ([], ["*"], ["thread_id", "*"]):
            request = wire.ListThreadsRequest(read_mask={"paths": paths})
            assert (await served.threads.ListThreads(request)).threads[0] == everything
        for path in wire.Thread.DESCRIPTOR.fields_by_name:
            request = wire.ListThreadsRequest(read_mask={"paths": [path]})
            (thread,) = (await served.threads.ListThreads(request)).threads
            wanted = wire.Thread()
            FieldMask(paths=[path]).MergeMessage(everything, wanted)
            assert thread == wanted
        request = wire.ListThreadsRequest(read_mask={"paths": ["values.json", "what"]})
        failure = await failure_of(served.threads.ListThreads(request))
        assert failure.fields == {"read_mask.paths[1]": "Thread has no 'what'"}

    async def test_parts_of_threads_are_extracted(self, served: Served) -> None:
        thread = await create(served, metadata={"json": '{"user": {"name": "Ada"}}'})
        await run(served, thread.thread_id, "asks", input={"json": '{"question": "why?"}'})
        paths = {
            "last": "values.answers[-1]",
            "asked": "interrupts[0].value.question",
            "who": "metadata.user",
            "beyond": "values.answers[7]",
        }
        wanted = {"last": '"prepared"', "asked": '"why?"', "who": '{"name":"Ada"}'}
        request = wire.ListThreadsRequest(extract=paths, read_mask={"paths": ["extracted"]})
        (lean,) = (await served.threads.ListThreads(request)).threads
        assert {name: part.json for name, part in lean.extracted.items()} == wanted
        assert [field.name for field, _ in lean.ListFields()] == ["extracted"]
        request.ClearField("read_mask")
        (full,) = (await served.threads.ListThreads(request)).threads
        assert full.extracted == lean.extracted
        assert full.HasField("values")

    async def test_a_path_that_is_none_is_named(self, served: Served) -> None:
        cases = {
            "extract.a": {"a": "value.b"},
            'extract["b c"]': {"b c": "values[x]"},
            "extract.long": {"long": f"values.{'x' * 250}"},
            "extract key": {"": "values"},
            "extract": {f"name{number}": "values" for number in range(11)},
        }
        for field, paths in cases.items():
            call = served.threads.ListThreads(wire.ListThreadsRequest(extract=paths))
            assert list((await failure_of(call)).fields) == [field]

    async def test_all_that_pass_are_counted_if_that_is_asked_for(self, served: Served) -> None:
        for number in range(5):
            await create(served, metadata={"json": '{"odd": %s}' % ("true" if number % 2 else "0")})
        request = wire.ListThreadsRequest(page_size=2)
        assert not (await served.threads.ListThreads(request)).HasField("total_size")
        request.count_total = True
        page = await served.threads.ListThreads(request)
        assert (len(page.threads), page.total_size) == (2, 5)
        request.page_token = page.next_page_token
        assert (await served.threads.ListThreads(request)).total_size == 5
        request = wire.ListThreadsRequest(metadata={"json": '{"odd": true}'}, count_total=True)
        assert (await served.threads.ListThreads(request)).total_size == 2
        request.metadata.json = '{"odd": 1}'
        page = await served.threads.ListThreads(request)
        assert page.HasField("total_size")
        assert page.total_size == 0

    async def test_threads_are_found_by_what_their_state_holds(self, served: Served) -> None:
        await create(served)  # it has no values, and bothers nobody
        thread_id = new_id()
        await run(served, thread_id, "asks", input={"json": '{"question": "why?"}'})
        for values, found in {
            '{"answers": ["prepared"]}': [thread_id],
            '{"question": "why?", "answers": []}': [thread_id],
            '{"answers": ["because"]}': [],
            '{"answers": "prepared"}': [],
        }.items():
            page = await served.threads.ListThreads(
                wire.ListThreadsRequest(values={"json": values})
            )
            assert [thread.thread_id for thread in page.threads] == found, values

    async def test_threads_are_found_by_their_times(self, served: Served) -> None:
        old, new = await create(served), await create(served)
        request = wire.ListThreadsRequest(create_time={"end_time": new.create_time})
        assert list((await served.threads.ListThreads(request)).threads) == [old]
        request = wire.ListThreadsRequest(create_time={"start_time": new.create_time})
        assert list((await served.threads.ListThreads(request)).threads) == [new]
        request = wire.ListThreadsRequest(
            update_time={"start_time": new.update_time, "end_time": old.update_time},
            state_update_time={"start_time": {"seconds": 2**60}},
        )
        failure = await failure_of(served.threads.ListThreads(request))
        assert list(failure.fields) == ["update_time.end_time", "state_update_time.start_time"]

    async def test_a_deleted_thread_is_gone_with_its_runs(self, served: Served) -> None:
        thread_id = new_id()
        run_id = (await run(served, thread_id)).run.run_id
        await served.threads.DeleteThread(wire.DeleteThreadRequest(thread_id=thread_id))
        for call in (
            served.threads.GetThread(wire.GetThreadRequest(thread_id=thread_id)),
            served.threads.GetThreadState(wire.GetThreadStateRequest(thread_id=thread_id)),
            served.threads.ListThreadStates(wire.ListThreadStatesRequest(thread_id=thread_id)),
            served.threads.UpdateThread(wire.UpdateThreadRequest(thread_id=thread_id)),
            served.threads.DeleteThread(wire.DeleteThreadRequest(thread_id=thread_id)),
        ):
            failure = await failure_of(call)
            assert failure.reason == "THREAD_NOT_FOUND"
            assert failure.variables == {"thread_id": thread_id}
        failure = await failure_of(served.runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id)))
        assert failure.reason == "RUN_NOT_FOUND"

    async def test_a_thread_may_begin_with_a_state(self, served: Served) -> None:
        steps = [
            {"updates": [{"values": {"json": '{"question": "why?"}'}, "as_node": "__start__"}]},
            {"updates": [{"command": {"update": {"json": '{"answers": [1]}'}}, "as_node": "ask"}]},
        ]
        named = {"assistant_id": "asks"}
        made_for = {"metadata": {"json": '{"graph_id": "asks"}'}}
        for how in (named, made_for):
            thread = await create(served, supersteps=steps, **how)
            assert thread.values.json == '{"question":"why?","answers":[1]}'
            assert thread.state == wire.THREAD_STATE_IDLE
            assert (await state(served, thread.thread_id)).values.json == thread.values.json

    async def test_a_refused_superstep_is_told_and_leaves_no_thread(self, served: Served) -> None:
        thread_id = new_id()
        step = {"updates": [{"values": {"json": "{}"}, "as_node": "nobody"}]}
        request = wire.CreateThreadRequest(
            thread_id=thread_id, supersteps=[step], assistant_id="asks"
        )
        failure = await failure_of(served.threads.CreateThread(request))
        assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "STATE_UPDATE_REFUSED")
        assert failure.variables == {"field": "supersteps[0].updates[0]"}
        get = wire.GetThreadRequest(thread_id=thread_id)
        assert (await failure_of(served.threads.GetThread(get))).reason == "THREAD_NOT_FOUND"
        request.assistant_id = "nobody"
        failure = await failure_of(served.threads.CreateThread(request))
        assert failure.reason == "ASSISTANT_NOT_FOUND"

    async def test_what_is_wrong_with_a_superstep_is_named(self, served: Served) -> None:
        update = {"values": {"json": "{}"}, "as_node": "ask"}
        cases: dict[str, dict[str, Any]] = {
            "assistant_id": {"supersteps": [{"updates": [update]}]},
            "assistant_id ": {"assistant_id": "asks"},
            "supersteps[1].updates": {"supersteps": [{"updates": [update]}, {}]},
            "supersteps[0].updates[1].as_node": {
                "supersteps": [{"updates": [update, {"values": {"json": "{}"}}]}]
            },
            "supersteps[0].updates[0].values": {
                "supersteps": [
                    {"updates": [{**update, "command": {"goto": [{"node": "ask"}]}}]},
                ]
            },
            "supersteps[0].updates[0].values.a": {
                "supersteps": [{"updates": [{"values": {"json": '{"a": NaN}'}}]}]
            },
            "supersteps[0].updates[0].command.resume": {
                "supersteps": [{"updates": [{"command": {"resume": {"json": "1"}}}]}]
            },
            "supersteps[0].updates[0].command.goto[0].node": {
                "supersteps": [{"updates": [{"command": {"goto": [{}]}}]}]
            },
            "supersteps": {"supersteps": [{"updates": [update] * 501}] * 2},
        }
        for field, request in cases.items():
            named = {} if field == "assistant_id" else {"assistant_id": "asks"}
            call = served.threads.CreateThread(wire.CreateThreadRequest(**{**named, **request}))
            assert list((await failure_of(call)).fields) == [field.strip()], field

    async def test_a_busy_thread_is_deleted_with_its_runs_if_that_is_asked_for(
        self, served: Served
    ) -> None:
        thread_id = (await create(served)).thread_id
        delayed = runs_pb2.CreateRunRequest(
            spec={
                "assistant_id": "counter",
                "thread_id": thread_id,
                "start_delay": timedelta(minutes=5),
            }
        )
        await served.runs.CreateRun(delayed)
        request = wire.DeleteThreadRequest(thread_id=thread_id)
        failure = await failure_of(served.threads.DeleteThread(request))
        assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "THREAD_BUSY")
        request.cancel_runs = True
        await served.threads.DeleteThread(request)
        failure = await failure_of(served.threads.DeleteThread(request))
        assert failure.reason == "THREAD_NOT_FOUND"

    async def test_a_copy_shows_what_its_source_shows(self, served: Served) -> None:
        thread_id, copy_id = new_id(), new_id()
        await run(served, thread_id, "asks")
        source = (await served.threads.GetThread(wire.GetThreadRequest(thread_id=thread_id))).thread
        request = wire.CopyThreadRequest(
            thread_id=thread_id, new_thread_id=copy_id.upper(), request_id="copy"
        )
        made, again = [(await served.threads.CopyThread(request)).thread for _ in range(2)]
        assert made == again
        assert made.state == wire.THREAD_STATE_INTERRUPTED
        for field in ("create_time", "update_time", "state_update_time"):
            getattr(made, field).CopyFrom(getattr(source, field))
        made.thread_id = thread_id
        assert made == source

    async def test_what_cannot_be_copied_is_told(self, served: Served) -> None:
        thread_id, other = (await create(served)).thread_id, (await create(served)).thread_id
        cases = {
            ("NOT_FOUND", "THREAD_NOT_FOUND"): {"thread_id": new_id()},
            ("ALREADY_EXISTS", "THREAD_EXISTS"): {"thread_id": thread_id, "new_thread_id": other},
        }
        for (code, reason), request in cases.items():
            call = served.threads.CopyThread(wire.CopyThreadRequest(**request))
            failure = await failure_of(call)
            assert (failure.code, failure.reason) == (code, reason)

    async def test_of_each_pruned_thread_the_answer_tells(self, served: Served) -> None:
        thread_id, missing = (await create(served)).thread_id, new_id()
        request = wire.PruneThreadsRequest(thread_ids=[missing, thread_id.upper()])
        first, second = (await served.threads.PruneThreads(request)).results
        assert first == wire.PruneThreadResult(
            thread_id=missing,
            reason="ERROR_REASON_THREAD_NOT_FOUND",
            message=f"no thread has the id '{missing}'",
        )
        assert second == wire.PruneThreadResult(thread_id=thread_id)

    async def test_what_is_wrong_is_named(self, served: Served) -> None:
        threads = served.threads
        cases = {
            "thread_id": threads.CreateThread(wire.CreateThreadRequest(thread_id="x")),
            "if_exists": threads.CreateThread(wire.CreateThreadRequest(if_exists=9)),
            "metadata": threads.CreateThread(wire.CreateThreadRequest(metadata={"json": "1"})),
            "metadata.a": threads.UpdateThread(
                wire.UpdateThreadRequest(thread_id=new_id(), metadata={"json": '{"a": NaN}'})
            ),
            "states[0]": threads.ListThreads(wire.ListThreadsRequest(states=[0])),
            "order": threads.ListThreads(wire.ListThreadsRequest(order=77)),
            "page_size": threads.ListThreads(wire.ListThreadsRequest(page_size=-1)),
            "page_token": threads.ListThreads(wire.ListThreadsRequest(page_token="x")),
            "thread_ids": threads.ListThreads(wire.ListThreadsRequest(thread_ids=["x"] * 501)),
            "thread_ids[1]": threads.ListThreads(
                wire.ListThreadsRequest(thread_ids=[new_id(), ""])
            ),
            "new_thread_id": threads.CopyThread(
                wire.CopyThreadRequest(thread_id=new_id(), new_thread_id="x")
            ),
            "thread_ids ": threads.PruneThreads(wire.PruneThreadsRequest()),
            "strategy": threads.PruneThreads(
                wire.PruneThreadsRequest(thread_ids=[new_id()], strategy=9)
            ),
            "checkpoint.thread_id": threads.GetThreadState(
                wire.GetThreadStateRequest(
                    thread_id=new_id(), checkpoint=core_pb2.CheckpointRef(thread_id=new_id())
                )
            ),
        }
        for field, call in cases.items():
            assert list((await failure_of(call)).fields) == [field.strip()]

    async def test_a_large_label_is_refused(self, served: Served) -> None:
        request = wire.CreateThreadRequest(metadata={"json": '{"a": "%s"}' % ("x" * 70_000)})
        failure = await failure_of(served.threads.CreateThread(request))
        assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
        assert failure.variables["field"] == "metadata"
        assert not failure.retries


class TestStates:
    """The states of threads."""

    async def test_a_thread_without_checkpoints_has_a_state_without_values(
        self, served: Served
    ) -> None:
        thread = await create(served)
        assert await state(served, thread.thread_id) == wire.StateSnapshot()

    async def test_a_state_is_told_in_full(self, served: Served) -> None:
        thread_id = new_id()
        done = await run(served, thread_id)
        now = await state(served, thread_id)
        assert now.values.json == done.output.json == '{"count":1,"log":["?"]}'
        assert not now.next
        assert now.checkpoint.thread_id == thread_id
        assert now.checkpoint.checkpoint_id > now.parent_checkpoint.checkpoint_id > ""
        assert done.run.run_id in now.metadata.json
        assert now.HasField("create_time")

    async def test_an_open_question_is_told(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id, "asks")
        now = await state(served, thread_id)
        assert list(now.next) == ["ask"]
        (task,) = now.tasks
        assert (task.name, task.error) == ("ask", "")
        assert list(task.interrupts) == list(now.interrupts)
        assert now.interrupts[0].value.json == '{"question":"go on?"}'
        answer = await served.threads.GetThread(wire.GetThreadRequest(thread_id=thread_id))
        assert answer.thread.state == wire.THREAD_STATE_INTERRUPTED
        assert list(answer.thread.interrupts) == list(now.interrupts)

    async def test_states_of_subgraphs_come_if_asked_for(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id, "asks_in_subgraph")
        for include in (False, True):
            now = await state(served, thread_id, include_subgraphs=include)
            assert now.tasks[0].HasField("state") is include
        assert list(now.tasks[0].state.next) == ["ask"]

    async def test_an_older_state_can_be_had_by_its_checkpoint(self, served: Served) -> None:
        thread_id = new_id()
        first, second = [await run(served, thread_id) for _ in range(2)]
        assert second.output.json != first.output.json
        history = await served.threads.ListThreadStates(
            wire.ListThreadStatesRequest(thread_id=thread_id)
        )
        old = next(s for s in history.states if s.values.json == first.output.json)
        assert await state(served, thread_id, checkpoint=old.checkpoint) == old
        failure = await failure_of(
            state(served, thread_id, checkpoint={"checkpoint_id": "1f0a2b3c-nope"})
        )
        assert failure.reason == "CHECKPOINT_NOT_FOUND"

    async def test_the_history_comes_in_pages(self, served: Served) -> None:
        thread_id = new_id()
        for _ in range(2):
            await run(served, thread_id)
        whole = await served.threads.ListThreadStates(
            wire.ListThreadStatesRequest(thread_id=thread_id)
        )
        assert not whole.next_page_token
        request, found = wire.ListThreadStatesRequest(thread_id=thread_id, page_size=2), []
        while True:
            page = await served.threads.ListThreadStates(request)
            found += list(page.states)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert found == list(whole.states)
        assert len(found) >= 5

    async def test_the_history_is_filtered(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id)
        await served.threads.UpdateThreadState(
            wire.UpdateThreadStateRequest(thread_id=thread_id, values={"json": '{"count": 5}'})
        )
        updates = await served.threads.ListThreadStates(
            wire.ListThreadStatesRequest(
                thread_id=thread_id, metadata={"json": '{"source": "update"}'}
            )
        )
        (update,) = updates.states
        assert update.values.json == '{"count":6,"log":["?"]}'
        older = await served.threads.ListThreadStates(
            wire.ListThreadStatesRequest(thread_id=thread_id, before=update.checkpoint)
        )
        assert older.states[0].checkpoint == update.parent_checkpoint
        only = await served.threads.ListThreadStates(
            wire.ListThreadStatesRequest(thread_id=thread_id, checkpoint=update.parent_checkpoint)
        )
        assert [s.checkpoint for s in only.states] == [update.parent_checkpoint]

    async def test_states_hold_the_fields_that_are_asked_for(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id)
        whole = await state(served, thread_id)
        part = await state(served, thread_id, read_mask={"paths": ["next", "checkpoint"]})
        assert part == wire.StateSnapshot(next=whole.next, checkpoint=whole.checkpoint)
        assert await state(served, thread_id, read_mask={"paths": ["*"]}) == whole
        request = wire.ListThreadStatesRequest(thread_id=thread_id, page_size=1)
        first = await served.threads.ListThreadStates(request)
        request.page_token = first.next_page_token
        request.read_mask.paths[:] = ["metadata"]
        second = await served.threads.ListThreadStates(request)
        [fields] = [[field.name for field, _ in item.ListFields()] for item in second.states]
        assert fields == ["metadata"]

    async def test_what_names_no_state_is_refused_by_its_field(self, served: Served) -> None:
        thread_id, threads = new_id(), served.threads
        await run(served, thread_id)
        mask = {"paths": ["next", "colour"]}
        calls = {
            "read_mask.paths[1]": (
                state(served, thread_id, read_mask=mask),
                threads.ListThreadStates(
                    wire.ListThreadStatesRequest(thread_id=thread_id, read_mask=mask)
                ),
            ),
            "before.checkpoint_id": (
                threads.ListThreadStates(
                    wire.ListThreadStatesRequest(
                        thread_id=thread_id, before={"checkpoint_ns": "inner:1"}
                    )
                ),
                threads.ListThreadStates(
                    wire.ListThreadStatesRequest(
                        thread_id=thread_id, before={"checkpoint_id": "zzz"}
                    )
                ),
            ),
            "checkpoint.thread_id": (state(served, thread_id, checkpoint={"thread_id": new_id()}),),
        }
        for field, those in calls.items():
            for call in those:
                assert field in (await failure_of(call)).fields

    async def test_a_state_that_is_not_shown_says_why(self, served: Served) -> None:
        thread_id = new_id()
        nodes = {"configurable": {"json": '{"nodes": ["a"]}'}}
        none = {"configurable": {"json": '{"nodes": []}'}}
        made = await served.assistants.CreateAssistant(
            CreateAssistantRequest(graph_id="chain", config=none)
        )
        answer = await run(served, thread_id, made.assistant.assistant_id, config=nodes)
        shown = await state(served, thread_id)
        await served.runs.DeleteRun(runs_pb2.DeleteRunRequest(run_id=answer.run.run_id))
        page = await served.threads.ListThreadStates(
            wire.ListThreadStatesRequest(thread_id=thread_id, page_size=1)
        )
        [found] = page.states
        assert found.not_shown
        assert not found.HasField("values")
        assert (found.metadata, found.checkpoint.checkpoint_id) == (
            shown.metadata,
            shown.checkpoint.checkpoint_id,
        )
        failure = await failure_of(state(served, thread_id))
        assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "STATE_NOT_SHOWN")

    async def test_an_update_answers_with_the_checkpoint_it_made(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id)
        request = wire.UpdateThreadStateRequest(
            thread_id=thread_id, values={"json": '{"count": 5}'}, as_node="count"
        )
        made = (await served.threads.UpdateThreadState(request)).checkpoint
        now = await state(served, thread_id)
        assert now.checkpoint == made
        assert now.values.json == '{"count":6,"log":["?"]}'

    async def test_an_update_that_the_graph_does_not_take_is_refused(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id)
        request = wire.UpdateThreadStateRequest(
            thread_id=thread_id, values={"json": "{}"}, as_node="nope"
        )
        failure = await failure_of(served.threads.UpdateThreadState(request))
        assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "STATE_UPDATE_REFUSED")
        assert failure.variables["thread_id"] == thread_id

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ('{"count": 5}', "values"),
            ('"text"', "values"),
            ("5", "values"),
            ('[{"count": 5}]', "values[0]"),
            ('[[{"count": 5}, "count"], [1]]', "values[1]"),
            ('[[{"count": 5}, 7]]', "values[0]"),
        ],
    )
    async def test_a_copy_takes_nothing_but_pairs(
        self, served: Served, values: str, field: str
    ) -> None:
        thread_id = new_id()
        await run(served, thread_id)
        before = await state(served, thread_id)
        request = wire.UpdateThreadStateRequest(
            thread_id=thread_id, values={"json": values}, as_node="__copy__"
        )
        failure = await failure_of(served.threads.UpdateThreadState(request))
        assert (failure.code, [*failure.fields]) == ("INVALID_ARGUMENT", [field])
        assert await state(served, thread_id) == before

    async def test_an_empty_thread_needs_to_be_told_its_graph(self, served: Served) -> None:
        thread_id = (await create(served)).thread_id
        request = wire.UpdateThreadStateRequest(
            thread_id=thread_id, values={"json": '{"count": 5}'}, as_node="count"
        )
        failure = await failure_of(served.threads.UpdateThreadState(request))
        assert failure.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
        request.assistant_id = "counter"
        await served.threads.UpdateThreadState(request)
        assert (await state(served, thread_id)).values.json == '{"count":5,"log":[]}'

    async def test_a_busy_thread_is_left_alone(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id)
        slow = {
            "assistant_id": "slow_async",
            "thread_id": thread_id,
            "input": {"json": '{"seconds": 30}'},
        }
        await served.runs.CreateRun(runs_pb2.CreateRunRequest(spec=slow))
        update = wire.UpdateThreadStateRequest(thread_id=thread_id, values={"json": "{}"})
        for call in (
            served.threads.UpdateThreadState(update),
            served.threads.DeleteThread(wire.DeleteThreadRequest(thread_id=thread_id)),
        ):
            failure = await failure_of(call)
            assert (failure.code, failure.reason) == ("FAILED_PRECONDITION", "THREAD_BUSY")
        reject = {**slow, "multitask_strategy": "MULTITASK_STRATEGY_REJECT"}
        failure = await failure_of(served.runs.CreateRun(runs_pb2.CreateRunRequest(spec=reject)))
        assert (failure.code, failure.reason) == ("ABORTED", "THREAD_BUSY")

    async def test_values_come_as_values_if_asked_for(self, served: Served) -> None:
        thread_id = new_id()
        await run(served, thread_id)
        answer = await served.threads.GetThreadState(
            wire.GetThreadStateRequest(thread_id=thread_id),
            metadata=(("runwire-payload", "value"),),
        )
        assert answer.state.values.value.struct_value.fields["count"].number_value == 1


@pytest.mark.parametrize("text", ['{"a": 1e999}', "[" * 70 + "]" * 70])
async def test_an_update_is_checked_before_anything_is_done(served: Served, text: str) -> None:
    request = wire.UpdateThreadStateRequest(thread_id=new_id(), values={"json": text})
    failure = await failure_of(served.threads.UpdateThreadState(request))
    (field,) = failure.fields
    assert field.startswith("values")
