"""A run's stream in each of its modes."""

from itertools import pairwise
from typing import Any

import pytest
from tests.support.callers import Client, collect, data_in, question

SUM = question("What is 6 * 7?")
ANSWER = "I looked it up. 6 * 7 = 42."


@pytest.fixture
def stream(client: Client, thread_id: str) -> Any:
    """A function that streams a question to the end."""

    async def stream(mode: Any, **options: Any) -> list[Any]:
        return await collect(
            client.runs.stream(
                thread_id,
                "chat",
                input=SUM,
                context={"token_delay": 0},
                stream_mode=mode,
                **options,
            )
        )

    return stream


async def test_values_are_the_whole_conversation_after_each_step(stream: Any) -> None:
    values = data_in(await stream("values"), "values")

    assert [len(value["messages"]) for value in values] == [1, 2, 3, 4]
    assert values[-1]["messages"][-1]["content"] == ANSWER


async def test_updates_are_what_each_node_adds(stream: Any) -> None:
    updates = data_in(await stream("updates"), "updates")

    assert [list(update) for update in updates] == [["model"], ["tools"], ["model"]]
    [called] = updates[0]["model"]["messages"]
    assert called["tool_calls"][0]["args"] == {"left": 6, "operator": "*", "right": 7}


async def test_message_pieces_are_tokens_with_the_node_they_come_from(stream: Any) -> None:
    pieces = data_in(await stream("messages-tuple"), "messages")

    tokens = [piece for piece, _ in pieces if piece["type"] == "AIMessageChunk"]
    assert "".join(token["content"] for token in tokens) == ANSWER
    assert len(tokens) > 8
    assert {metadata["langgraph_node"] for _, metadata in pieces} == {"model", "tools"}


async def test_messages_grow_until_they_are_complete(stream: Any) -> None:
    parts = await stream("messages")

    partial = [message["content"] for [message] in data_in(parts, "messages/partial")]
    assert partial[-1] == ANSWER
    grown = [text for text in partial if text]
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown))


async def test_debug_tells_each_task_and_checkpoint_with_its_step(stream: Any) -> None:
    told = data_in(await stream("debug"), "debug")

    tasks = [event["payload"]["name"] for event in told if event["type"] == "task"]
    assert tasks == ["model", "tools", "model"]
    assert {event["type"] for event in told} == {"checkpoint", "task", "task_result"}


async def test_events_are_the_callbacks_of_models_and_tools(stream: Any) -> None:
    told = {event["event"] for event in data_in(await stream("events"), "events")}

    assert {"on_chat_model_stream", "on_tool_start", "on_tool_end"} <= told


async def test_several_modes_come_in_one_stream_each_under_its_name(stream: Any) -> None:
    parts = await stream(["updates", "messages-tuple", "values"])

    kinds = [part.event for part in parts]
    assert (kinds[0], kinds[-1]) == ("metadata", "end")
    assert set(kinds[1:-1]) == {"updates", "messages", "values"}
    assert parts[-1].data["status"] == "success"


async def test_parts_of_a_subgraph_have_their_place_behind_their_name(
    client: Client, thread_id: str
) -> None:
    parts = await collect(
        client.runs.stream(
            thread_id,
            "research",
            input={"question": "How do tides work?"},
            context={"search_seconds": 0, "read_seconds": 0},
            stream_mode=["updates", "custom"],
            stream_subgraphs=True,
        )
    )

    searched = [part for part in parts if part.event.startswith("custom|search:")]
    within = [part for part in parts if part.event.startswith("updates|search:")]
    above = [name for update in data_in(parts, "updates") for name in update]
    assert {part.data["topic"] for part in searched} == {"tides", "work"}
    assert {name for part in within for name in part.data} == {"search_topic"}
    assert above == ["plan", "search", "read", "summarise"]


async def test_a_reader_that_comes_late_or_again_reads_the_same(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "chat", input=SUM, stream_mode="updates")

    live = await collect(client.runs.join_stream(thread_id, run["run_id"]))
    again = await collect(client.runs.join_stream(thread_id, run["run_id"]))
    rest = await collect(
        client.runs.join_stream(thread_id, run["run_id"], last_event_id=live[2].id)
    )

    assert again[1:] == live[1:]
    assert rest[1:] == live[3:]
