"""What a run's stream tells, mode by mode."""

import json
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from tests.support.callers import (
    Client,
    Stubs,
    collect,
    data_in,
    data_of,
    follow,
    kinds,
    of_json,
    whole,
)

from runwire.client import StreamPart
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import MessageEvent, RunEvent

MODES = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug", "events"]
MEBIBYTE = 1024 * 1024


async def streamed(
    client: Client, thread_id: str | None, graph_id: str, modes: str | Sequence[str], **options: Any
) -> list[StreamPart]:
    return await collect(
        client.runs.stream(thread_id, graph_id, stream_mode=modes, **{"input": {}, **options})
    )


async def events_of(stubs: Stubs, graph_id: str, *modes: int, **options: Any) -> list[RunEvent]:
    """Return what a new stateless run tells."""
    spec = core_pb2.RunSpec(
        assistant_id=graph_id, **{"input": of_json({}), "stream_modes": modes, **options}
    )
    call = stubs.runs.RunStream(runs_pb2.RunStreamRequest(spec=spec))
    return whole([event async for response in call for event in response.events])


# ------------------------------------------------------------------- one mode each


async def test_values_are_the_whole_state_after_each_superstep(
    client: Client, thread_id: str
) -> None:
    parts = await streamed(client, thread_id, "two_steps", "values", input={"question": "?"})

    assert data_in(parts, "values") == [
        {"question": "?", "answers": []},
        {"question": "?", "answers": ["first"]},
        {"question": "?", "answers": ["first", "second"]},
    ]


async def test_values_are_the_default(client: Client) -> None:
    parts = await collect(client.runs.stream(None, "echo", input={"text": "x"}))

    assert data_in(parts, "values") == [{"text": "x"}, {"text": "x", "answer": "x"}]


async def test_updates_are_what_each_node_returned(client: Client) -> None:
    parts = await streamed(client, None, "branches", "updates")

    updates = data_in(parts, "updates")
    assert sorted(updates[:2], key=str) == [
        {"left": {"seen": ["left"]}},
        {"right": {"seen": ["right"]}},
    ]
    assert updates[2:] == [{"join": {"seen": ["join"]}}]


async def test_custom_events_are_what_nodes_write(client: Client) -> None:
    parts = await streamed(client, None, "custom_events", "custom", input={"count": 2})

    assert data_in(parts, "custom") == [{"index": 0, "text": ""}, {"index": 1, "text": ""}]


async def test_tasks_tell_the_start_and_the_end_of_each_node(stubs: Stubs) -> None:
    events = await events_of(
        stubs, "echo", core_pb2.STREAM_MODE_TASKS, input=of_json({"text": "x"})
    )

    begun, ended = [event.task for event in events if event.HasField("task")]
    assert begun.task_id == ended.task_id
    assert begun.name == ended.name == "answer"
    assert data_of(begun.start.input) == {"text": "x"}
    assert list(begun.start.triggers) == ["branch:to:answer"]
    assert data_of(ended.result.result) == {"answer": "x"}
    assert not ended.result.error


async def test_the_task_of_a_node_that_fails_tells_why(stubs: Stubs) -> None:
    events = await events_of(
        stubs, "fails", core_pb2.STREAM_MODE_TASKS, input=of_json({"message": "oh no"})
    )

    last = [event.task for event in events if event.HasField("task")][-1]
    assert last.name == "fail"
    assert "oh no" in last.result.error
    assert not last.result.HasField("result")


async def test_checkpoints_are_told_as_they_are_made(client: Client, thread_id: str) -> None:
    parts = await streamed(client, thread_id, "echo", "checkpoints", input={"text": "x"})
    history = await client.threads.get_history(thread_id)

    told = data_in(parts, "checkpoints")
    ids = [each["config"]["configurable"]["checkpoint_id"] for each in told]
    assert ids == [state["checkpoint"]["checkpoint_id"] for state in reversed(history)]
    assert told[-1]["values"] == {"text": "x", "answer": "x"}
    assert told[-1]["metadata"]["step"] == 1
    assert [each["next"] for each in told] == [["__start__"], ["answer"], []]
    assert set(told[-1]["config"]["configurable"]) <= {
        "thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map"
    }  # fmt: skip


async def test_a_run_without_a_thread_makes_no_checkpoints(client: Client) -> None:
    parts = await streamed(client, None, "echo", ["checkpoints", "values"])

    assert data_in(parts, "checkpoints") == []


async def test_debug_tells_tasks_and_checkpoints_with_their_step(
    client: Client, thread_id: str
) -> None:
    parts = await streamed(client, thread_id, "echo", "debug", input={"text": "x"})

    told = data_in(parts, "debug")
    assert [(each["step"], each["type"]) for each in told] == [
        (-1, "checkpoint"),
        (0, "checkpoint"),
        (1, "task"),
        (1, "task_result"),
        (1, "checkpoint"),
    ]
    assert all(each["timestamp"] and each["payload"] for each in told)


async def test_events_are_langchain_s_callback_events(client: Client) -> None:
    parts = await streamed(client, None, "messages", "events", input={"say": "hi"})

    told = data_in(parts, "events")
    names = [each["event"] for each in told]
    assert names[0] == "on_chain_start"
    assert names[-1] == "on_chain_end"
    assert names.count("on_chat_model_stream") == 2
    tokens = [
        each["data"]["chunk"]["content"] for each in told if each["event"] == "on_chat_model_stream"
    ]
    assert "".join(tokens) == "hi"
    assert all(set(each) >= {"event", "name", "run_id", "tags", "metadata"} for each in told)


# ------------------------------------------------------------------- several modes


async def test_all_modes_at_once_tell_what_each_tells_alone(client: Client) -> None:
    alone = {}
    for mode in ("values", "updates", "custom", "tasks"):
        parts = await streamed(client, None, "custom_events", mode, input={"count": 2})
        alone[mode] = data_in(parts, mode)
    thread_id = (await client.threads.create())["thread_id"]
    parts = await streamed(client, thread_id, "custom_events", MODES, input={"count": 2})

    for mode in ("values", "updates", "custom"):
        assert data_in(parts, mode) == alone[mode], mode
    assert len(data_in(parts, "tasks")) == len(alone["tasks"])
    for mode in ("checkpoints", "debug", "events"):
        assert data_in(parts, mode), mode
    assert (parts[0].event, parts[-1].event) == ("metadata", "end")


async def test_all_modes_of_a_model_at_once(client: Client, thread_id: str) -> None:
    parts = await streamed(client, thread_id, "messages", MODES, input={"say": "hello"})

    assert data_in(parts, "values")[-1]["messages"][-1]["content"] == "hello"
    assert "".join(message[0]["content"] for message in piecewise(parts)) == "hello"


def piecewise(parts: list[StreamPart]) -> list[Any]:
    """Return messages, whichever of the two forms they came in."""
    whole_ones = [[data[0], {}] for data in data_in(parts, "messages/partial")[-1:]]
    return data_in(parts, "messages") or whole_ones


async def test_a_mode_given_twice_counts_once_for_the_client_and_is_refused_by_the_server(
    client: Client, stubs: Stubs
) -> None:
    parts = await streamed(client, None, "echo", ["values", "values"], input={"text": "x"})
    assert len(data_in(parts, "values")) == 2

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events_of(stubs, "echo", 1, 1)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# ------------------------------------------------------------------- subgraphs


async def test_subgraphs_are_silent_unless_asked_for(client: Client) -> None:
    parts = await streamed(client, None, "nested", "updates")

    assert {part.event for part in parts} == {"metadata", "updates", "end"}
    assert data_in(parts, "updates") == [
        {"before": {"seen": ["before"]}},
        {"inner": {"seen": ["before", "inner"]}},
    ]


@pytest.mark.parametrize("mode", ["values", "updates", "tasks", "debug"])
async def test_events_of_subgraphs_carry_their_namespace(client: Client, mode: str) -> None:
    parts = await streamed(client, None, "nested", mode, stream_subgraphs=True)

    namespaces = {part.event.partition("|")[2] for part in parts if part.event.startswith(mode)}
    [inner] = namespaces - {""}
    assert inner.startswith("inner:")
    assert "" in namespaces


async def test_the_namespace_is_a_list_from_the_outside_in(stubs: Stubs) -> None:
    events = await events_of(
        stubs, "talks_in_subgraph", core_pb2.STREAM_MODE_UPDATES, stream_subgraphs=True
    )

    namespaces = [list(event.namespace) for event in events if event.HasField("updates")]
    assert len(namespaces[0]) == 1
    assert namespaces[0][0].startswith("inner:")
    assert namespaces[-1] == []


async def test_tokens_of_a_model_in_a_subgraph_arrive_in_either_case(client: Client) -> None:
    for subgraphs, event in ((True, "messages|inner:"), (False, "messages")):
        parts = await streamed(
            client,
            None,
            "talks_in_subgraph",
            "messages-tuple",
            input={"say": "deep"},
            stream_subgraphs=subgraphs,
        )
        tokens = [part for part in parts if part.event.startswith("messages")]
        assert all(part.event.startswith(event) for part in tokens)
        assert "".join(part.data[0]["content"] for part in tokens) == "deep"


# ------------------------------------------------------------------- messages


def joined(pieces: list[MessageEvent]) -> dict[str, Any]:
    """Put a message together from its pieces as the contract tells any client to."""
    message: dict[str, Any] = {"content": "", "additional_kwargs": {}, "response_metadata": {}}
    calls: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        message["content"] += piece.text
        for chunk in piece.tool_call_chunks:
            call = calls.setdefault(chunk.index, {"name": "", "id": "", "args": ""})
            for name in call:
                call[name] += getattr(chunk, name)
        extra = data_of(piece.extra) if piece.HasField("extra") else {}
        for name, text in extra.get("additional_kwargs", {}).items():
            message["additional_kwargs"].setdefault(name, "")
            message["additional_kwargs"][name] += text
        message["response_metadata"].update(extra.get("response_metadata", {}))
        if piece.HasField("usage"):
            names = ("input_tokens", "output_tokens", "total_tokens")
            counts = {name: getattr(piece.usage, name) for name in names}
            message["usage_metadata"] = counts | extra.get("usage_metadata", {})
    message["tool_calls"] = [
        {**call, "args": json.loads(call["args"]), "type": "tool_call"} for call in calls.values()
    ]
    return message


async def recorded_events(stubs: Stubs) -> tuple[dict[str, list[MessageEvent]], list[Any]]:
    """Return a conversation as pieces by message id, and as the state that it left."""
    modes = (core_pb2.STREAM_MODE_MESSAGES, core_pb2.STREAM_MODE_VALUES)
    events = await events_of(stubs, "recorded", *modes)
    pieces: dict[str, list[MessageEvent]] = {}
    for event in events:
        if event.HasField("message"):
            pieces.setdefault(event.message.message_id, []).append(event.message)
    final = data_of([event.values for event in events if event.HasField("values")][-1].data)
    return pieces, final["messages"]


async def test_the_pieces_of_a_message_add_up_to_the_model_s_final_message(stubs: Stubs) -> None:
    pieces, [called, _, _] = await recorded_events(stubs)

    assert joined(pieces[called["id"]]) == {
        name: called[name]
        for name in (
            "content",
            "additional_kwargs",
            "response_metadata",
            "usage_metadata",
            "tool_calls",
        )
    }
    assert called["content"] == "Let me see."
    assert len(called["tool_calls"]) == 2


async def test_tokens_have_typed_fields(stubs: Stubs) -> None:
    pieces, [called, answered, concluded] = await recorded_events(stubs)

    tokens = pieces[called["id"]]
    assert {token.type for token in tokens} == {"AIMessageChunk"}
    assert all(token.delta for token in tokens)
    assert [token.text for token in tokens[:2]] == ["Let me ", "see."]
    first_call = tokens[2].tool_call_chunks[0]
    assert (first_call.index, first_call.id, first_call.name) == (0, "call_a", "look_up")
    assert tokens[-1].usage.total_tokens == 18
    [tool] = pieces[answered["id"]]
    assert (tool.type, tool.delta, tool.text) == ("tool", False, "sunny")
    assert data_of(tool.extra)["tool_call_id"] == "call_a"
    blocks = pieces[concluded["id"]]
    assert "".join(token.text for token in blocks) == "It is sunny."


async def test_a_message_s_metadata_come_once(stubs: Stubs) -> None:
    pieces, messages = await recorded_events(stubs)

    nodes = []
    for message in messages:
        first, *rest = pieces[message["id"]]
        nodes.append(data_of(first.metadata)["langgraph_node"])
        assert not any(piece.HasField("metadata") for piece in rest)
    assert nodes == ["call_tools", "answer_calls", "conclude"]


async def test_a_token_costs_little_more_than_its_text(stubs: Stubs) -> None:
    events = await events_of(
        stubs, "messages", core_pb2.STREAM_MODE_MESSAGES, input=of_json({"say": "x" * 100})
    )

    sizes = [event.ByteSize() for event in events if event.HasField("message")]
    assert max(sizes[1:-1]) < 200


@pytest.mark.parametrize("thread", [True, False])
async def test_the_client_gives_messages_whole_and_in_pieces(
    client: Client, thread_id: str, thread: bool
) -> None:
    on = thread_id if thread else None
    parts = await streamed(client, on, "recorded", ["messages", "messages-tuple", "values"])

    final = data_in(parts, "values")[-1]["messages"]
    shown: dict[str, Any] = {}
    for part in parts:
        if part.event in ("messages/partial", "messages/complete"):
            shown[part.data[0]["id"]] = part.data[0]
    assert list(shown.values()) == final
    pieces = data_in(parts, "messages")
    assert {metadata["langgraph_node"] for _, metadata in pieces} == {
        "call_tools", "answer_calls", "conclude"
    }  # fmt: skip


async def test_a_message_that_comes_with_the_input_is_not_told_again(
    client: Client, thread_id: str
) -> None:
    for say in ("one", "two"):
        parts = await streamed(
            client,
            thread_id,
            "messages",
            "messages-tuple",
            input={"messages": [{"role": "user", "content": "hi"}], "say": say},
        )
        assert "".join(message["content"] for message, _ in data_in(parts, "messages")) == say


# ------------------------------------------------------------------- large events


async def test_an_event_larger_than_a_message_arrives_in_parts_that_every_client_takes(
    stubs: Stubs,
) -> None:
    size = 6 * MEBIBYTE
    spec = core_pb2.RunSpec(
        assistant_id="big_events",
        input=of_json({"size": size}),
        stream_modes=[core_pb2.STREAM_MODE_CUSTOM, core_pb2.STREAM_MODE_VALUES],
    )
    call = stubs.runs.RunStream(runs_pb2.RunStreamRequest(spec=spec))
    responses = [response async for response in call]

    assert max(response.ByteSize() for response in responses) < MEBIBYTE
    events = [event for response in responses for event in response.events]
    parts = [event for event in events if event.HasField("part")]
    assert len(parts) > 12
    assert {event.run_id for event in parts} == {events[0].run_id}
    lasts = [event.id for event in parts if event.part.last]
    assert lasts == list(dict.fromkeys(event.id for event in parts))
    together = whole(events)
    assert kinds(together) == [
        "run", "attempt_started", "values", "custom", "values", "run_ended"
    ]  # fmt: skip
    assert data_of(together[3].custom.data) == "y" * size
    assert data_of(together[4].values.data)["blob"] == "y" * size
    assert [event.id for event in together[1:]] == [f"1-{number}" for number in range(1, 6)]


async def test_a_stored_large_event_can_be_read_again_and_joined_after(
    client: Client, stubs: Stubs
) -> None:
    run = await client.runs.create(
        None, "big_events", input={"size": 3 * MEBIBYTE}, stream_mode=["custom", "updates"]
    )
    await client.runs.join(None, run["run_id"])

    first, again = await follow(stubs, run["run_id"]), await follow(stubs, run["run_id"])
    after = await follow(stubs, run["run_id"], after_event_id="1-2")

    assert first[1:] == again[1:]
    assert kinds(first) == ["run", "attempt_started", "custom", "updates", "run_ended"]
    assert after[1:] == first[3:]


async def test_the_client_puts_large_events_together(client: Client) -> None:
    size = 5 * MEBIBYTE
    parts = await streamed(client, None, "big_events", "custom", input={"size": size})

    assert data_in(parts, "custom") == ["y" * size]


async def test_an_answer_that_is_too_large_for_its_caller_is_the_caller_s_limit_to_raise(
    client: Client, stubs: Stubs
) -> None:
    size = 5 * MEBIBYTE
    spec = core_pb2.RunSpec(assistant_id="big_events", input=of_json({"size": size}))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    output = await client.runs.wait(None, "big_events", input={"size": size})
    assert len(output["blob"]) == size


# ------------------------------------------------------------------- for people


async def test_payloads_come_as_plain_values_if_the_call_says_so(stubs: Stubs) -> None:
    spec = core_pb2.RunSpec(
        assistant_id="custom_events",
        input=of_json({"count": 1}),
        stream_modes=[core_pb2.STREAM_MODE_CUSTOM],
        metadata=of_json({"for": ["people"]}),
    )
    wish = (("runwire-payload", "value"),)
    call = stubs.runs.RunStream(runs_pb2.RunStreamRequest(spec=spec), metadata=wish)
    events = [event async for response in call for event in response.events]

    assert MessageToDict(events[0].run.metadata) == {"value": {"for": ["people"]}}
    assert events[2].custom.data.value.struct_value["index"] == 0
    spec.input.CopyFrom(events[2].custom.data)
    spec.assistant_id = "echo"
    answer = await stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec), metadata=wish)
    assert MessageToDict(answer.output) == {"value": {"text": "", "answer": ""}}


async def test_a_number_in_a_value_is_an_integer_if_it_has_no_fraction(stubs: Stubs) -> None:
    spec = core_pb2.RunSpec(assistant_id="counter")
    spec.input.value.struct_value["count"] = 5.0
    answer = await stubs.runs.RunWait(runs_pb2.RunWaitRequest(spec=spec))

    assert answer.output.json == '{"count":6,"log":["?"]}'
