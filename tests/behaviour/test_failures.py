"""Runs that fail, what their callers are told of it, and user code of every shape."""

import json
import logging
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from tests.support.callers import Client, Stubs, collect, data_in, data_of, follow, of_json
from tests.support.graphs.failing import SECRET

from runwire.client import ConflictError, RunFailedError, ServerError
from runwire.v1 import core_pb2, runs_pb2, threads_pb2

EVERY_MODE = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug", "events"]


async def failure(
    client: Client, thread_id: str | None, graph_id: str, **options: Any
) -> dict[str, Any]:
    """Return why a run failed."""
    with pytest.raises(RunFailedError) as caught:
        await client.runs.wait(thread_id, graph_id, **{"input": {}, **options})
    error = caught.value.run["error"]
    assert error is not None
    return dict(error)


# ------------------------------------------------------------------- what is told


async def test_a_failure_names_type_message_node_and_attempt_wherever_it_is_told(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "fails", input={"message": "no more paper"})
    parts = await collect(client.runs.join_stream(thread_id, run["run_id"]))
    told = {
        "error": "ValueError",
        "message": "no more paper",
        "node": "fail",
        "attempt": 1,
        "error_id": None,
    }

    shown = await client.runs.get(thread_id, run["run_id"])
    assert (shown["state"], shown["status"]) == ("failed", "error")
    assert shown["error"] == told
    assert (parts[-1].event, parts[-1].data) == ("error", told)
    assert (await client.runs.list(thread_id))[0]["error"] == told
    assert (await client.threads.get(thread_id))["error"] == told
    assert await client.runs.join(thread_id, run["run_id"]) == {"__error__": told}
    ended = (await follow(stubs, run["run_id"]))[-1].run_ended
    assert ended.state == core_pb2.RUN_STATE_FAILED
    assert (
        ended.error
        == (await stubs.runs.GetRun(runs_pb2.GetRunRequest(run_id=run["run_id"]))).run.error
    )
    assert not ended.HasField("cancel")


async def test_what_a_failed_run_did_before_stays_on_its_thread(
    client: Client, thread_id: str
) -> None:
    await failure(client, thread_id, "fails", input={"message": "oh"})

    state = await client.threads.get_state(thread_id)
    assert state["values"]["done"] == ["prepare"]
    assert state["next"] == ["fail"]
    assert state["tasks"][0]["error"] is not None
    assert (await client.threads.get(thread_id))["values"]["done"] == ["prepare"]


async def test_a_failed_run_is_taken_up_again_where_it_failed(
    client: Client, thread_id: str
) -> None:
    await failure(client, thread_id, "fails", input={})

    await client.threads.update_state(thread_id, {"kind": "none"}, as_node="prepare")
    output = await client.runs.wait(thread_id, "fails")

    assert output["done"][-1] == "fail"
    assert (await client.threads.get(thread_id))["status"] == "idle"


@pytest.mark.parametrize(
    ("graph_id", "options", "kind", "node"),
    [
        ("fails_in_subgraph", {}, "ValueError", "fail"),
        ("fails_in_parallel", {}, "ValueError", "fail"),
        ("fails_in_function", {"input": "oh"}, "ValueError", "fail_in_task"),
        ("fails_in_factory", {}, "OwnError", None),
        ("fails", {"input": {"kind": "exit"}}, "GraphExited", None),
        ("counter", {"input": {"count": "not a number"}}, "TypeError", None),
        ("counter", {"input": ["not", "an", "object"]}, "InvalidUpdateError", None),
        ("counter", {"context": {"unknown": 1}}, None, None),
        ("steps", {"input": {"steps": 99}, "config": {"recursion_limit": 2}},
         "GraphRecursionError", None),
    ],
)  # fmt: skip
async def test_a_failure_anywhere_ends_the_run_and_names_what_it_can(
    client: Client, graph_id: str, options: dict[str, Any], kind: str | None, node: str | None
) -> None:
    if kind is None:
        output = await client.runs.wait(None, graph_id, input={}, **options)
        assert output["count"] == 1
        return
    error = await failure(client, None, graph_id, **options)

    assert error["error"] == kind
    assert error["attempt"] == 1
    assert error["node"] == node or node is None


async def test_a_node_s_own_retries_are_its_own_business(client: Client, thread_id: str) -> None:
    output = await client.runs.wait(thread_id, "retries", input={"attempts": 3})
    error = await failure(client, thread_id, "retries", input={"attempts": 4})

    assert output["message"] == "at try 3"
    assert (error["error"], error["node"], error["attempt"]) == (
        "ConnectionError",
        "fail_at_first",
        1,
    )


async def test_the_server_goes_on_after_a_graph_that_wants_to_end_it(client: Client) -> None:
    for _ in range(3):
        await failure(client, None, "fails", input={"kind": "exit"})

    assert (await client.runs.wait(None, "echo", input={"text": "alive"}))["answer"] == "alive"


# ------------------------------------------------------------------- secrets


@pytest.mark.parametrize("kind", ["own", "connection", "plain", "group", "chained"])
@pytest.mark.parametrize("graph_id", ["raises", "fails_in_subgraph", "fails_in_parallel"])
async def test_a_secret_in_an_exception_never_reaches_a_client(
    client: Client,
    stubs: Stubs,
    thread_id: str,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    graph_id: str,
) -> None:
    with caplog.at_level(logging.ERROR):
        run = await client.runs.create(
            thread_id,
            graph_id,
            input={"kind": kind},
            stream_mode=EVERY_MODE,
            stream_subgraphs=True,
        )
        events = await follow(stubs, run["run_id"])
    by_run = runs_pb2.GetRunRequest(run_id=run["run_id"])
    answers = [
        *events,
        await stubs.runs.JoinRun(runs_pb2.JoinRunRequest(run_id=run["run_id"])),
        await stubs.runs.ListRuns(runs_pb2.ListRunsRequest(thread_id=thread_id)),
        await stubs.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id)),
        await stubs.threads.ListThreads(threads_pb2.ListThreadsRequest(thread_ids=[thread_id])),
        await stubs.threads.GetThreadState(
            threads_pb2.GetThreadStateRequest(thread_id=thread_id, include_subgraphs=True)
        ),
        await stubs.threads.ListThreadStates(
            threads_pb2.ListThreadStatesRequest(thread_id=thread_id)
        ),
    ]

    told = [json.dumps(json.loads(MessageToJson(answer))) for answer in answers]
    assert [text for text in told if SECRET in text] == []
    error = (await stubs.runs.GetRun(by_run)).run.error
    assert error.type
    assert error.error_id
    assert "log" in error.message
    assert error.node == "fail"
    [logged] = [record for record in caplog.records if record.message == "a run failed"]
    assert logged.__dict__["error_id"] == error.error_id
    assert SECRET in str(logged.exc_info)


async def test_an_exception_that_cannot_be_put_into_words_is_still_told(
    client: Client, thread_id: str
) -> None:
    parts = await collect(
        client.runs.stream(thread_id, "raises", input={"kind": "repr"}, stream_mode=EVERY_MODE)
    )

    assert parts[-1].data["error"] == "Unprintable"
    assert (await client.threads.get_state(thread_id))["tasks"][0]["name"] == "fail"
    assert SECRET not in str(parts)


async def test_a_secret_in_a_factory_s_exception_stays_inside(
    client: Client, stubs: Stubs, thread_id: str
) -> None:
    error = await failure(client, thread_id, "fails_in_factory")
    calls = (
        client.assistants.get_schemas("fails_in_factory"),
        client.assistants.get_graph("fails_in_factory"),
        client.assistants.get_subgraphs("fails_in_factory"),
    )

    assert error["error"] == "OwnError"
    assert error["error_id"]
    assert SECRET not in json.dumps(error)
    for call in calls:
        with pytest.raises(ServerError) as caught:
            await call
        assert caught.value.reason == "INTERNAL"
        assert caught.value.metadata["error_id"]
        assert SECRET not in str(caught.value)
    with pytest.raises(ConflictError) as not_shown:
        await client.threads.update_state(thread_id, {}, assistant_id="fails_in_factory")
    assert not_shown.value.reason == "STATE_NOT_SHOWN"
    assert not_shown.value.message.endswith(": OwnError")


async def test_a_very_long_message_is_cut(client: Client) -> None:
    error = await failure(client, None, "fails", input={"message": "x" * 100_000})

    assert len(error["message"]) <= 1000


# ------------------------------------------------------------------- every shape of code


@pytest.mark.parametrize(
    ("graph_id", "graph_input", "expected"),
    [
        ("functional", [1, 2, 3], [2, 4, 6]),
        ("functional_sync", [1, 2, 3], [2, 4, 6]),
        ("uncompiled", {}, {"made_by": "builder", "log": []}),
        ("factory", {}, {"made_by": "factory", "log": []}),
        ("factory_of_config", {}, {"made_by": "factory for Ada", "log": []}),
        ("factory_of_runtime", {}, {"made_by": "factory for threads.create_run", "log": []}),
        ("factory_async", {}, {"made_by": "async factory", "log": []}),
        ("factory_context", {}, {"made_by": "context manager", "log": ["open: 1"]}),
        ("factory_async_context", {}, {"made_by": "async context manager", "log": ["open: 1"]}),
        ("nested", {}, {"seen": ["before", "before", "inner"]}),
    ],
)
async def test_graphs_of_every_shape_run_and_stream(
    client: Client, thread_id: str, graph_id: str, graph_input: Any, expected: Any
) -> None:
    options: Any = {"input": graph_input, "config": {"configurable": {"name": "Ada"}}}

    waited = await client.runs.wait(None, graph_id, **options)
    parts = await collect(
        client.runs.stream(thread_id, graph_id, stream_mode=["values", "updates"], **options)
    )

    assert waited == expected
    assert data_in(parts, "values")[-1] == expected
    assert data_in(parts, "updates")
    assert parts[-1].data["state"] == "succeeded"


async def test_sync_and_async_nodes_of_one_graph_run_side_by_side(client: Client) -> None:
    output = await client.runs.wait(None, "branches", input={})

    assert sorted(output["seen"][:2]) == ["left", "right"]
    assert output["seen"][2:] == ["join"]


async def test_a_function_remembers_what_it_returned_on_its_thread(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "functional", input=[1])

    assert await client.runs.wait(thread_id, "functional", input=[2]) == [2, 4]
    assert (await client.threads.get(thread_id))["values"] == [2, 4]


async def test_a_factory_s_resources_are_closed_after_each_run(client: Client) -> None:
    for _ in range(3):
        output = await client.runs.wait(None, "factory_async_context", input={})
        assert output["log"] == ["open: 1"]


# ------------------------------------------------------------------- values


async def test_values_that_json_has_no_words_for_are_still_told(
    client: Client, thread_id: str
) -> None:
    parts = await collect(
        client.runs.stream(
            thread_id, "odd_values", input={}, stream_mode=["custom", "values", "updates"]
        )
    )

    [custom] = data_in(parts, "custom")
    values = data_in(parts, "values")[-1]
    assert custom == {"thing": "Thing()", "huge": 2**80}
    assert sorted(values["numbers"]) == [1, 2, 3]
    assert values["data"] == "AP8="
    assert values["not_a_number"] is None
    assert values["large"] == 2**62
    state = await client.threads.get_state(thread_id)
    assert state["values"] == values


async def test_a_value_that_no_checkpoint_can_hold_fails_the_run_and_not_its_thread(
    client: Client, thread_id: str
) -> None:
    error = await failure(client, thread_id, "holds_a_lock")

    assert error["error"] == "TypeError"
    assert "lock" in error["message"]
    assert (await client.threads.get(thread_id))["status"] == "error"
    assert (await client.runs.wait(thread_id, "echo", input={"text": "on"}))["answer"] == "on"


async def test_a_value_that_no_checkpoint_can_hold_does_no_harm_without_a_thread(
    client: Client,
) -> None:
    output = await client.runs.wait(None, "holds_a_lock", input={})

    assert "lock" in output["held"]


async def test_numbers_and_texts_come_back_exactly(client: Client, stubs: Stubs) -> None:
    text = 'é \U0001f600 \x00 "quoted" </script>'
    odd = {"text": text, "n": 2**63, "m": -(2**63), "f": 0.1, "e": 1e308, "z": -0.0, "d": {"": []}}
    run = await client.runs.create(None, "listens", input={"text": text}, metadata=odd)
    spec = core_pb2.RunSpec(assistant_id="echo", input=of_json({"text": text}))
    answer = await stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))

    assert run["metadata"] == odd
    assert data_of(answer.output) == {"text": text, "answer": text}
