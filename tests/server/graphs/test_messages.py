"""Chat messages as events."""

import json
import sys
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessageChunk,
    HumanMessage,
    ToolMessage,
)

from runwire.server.graphs.messages import MessageEvents
from runwire.server.model.events import Message, ToolCallChunk


def event(message: BaseMessage) -> Message:
    return MessageEvents().event(message, {})


def extra(message: BaseMessage) -> Any:
    return json.loads(event(message).extra or "{}")


def test_a_token_is_a_delta_with_nothing_but_its_text() -> None:
    made = event(AIMessageChunk(content="hel", id="m1"))

    assert made == Message("m1", "AIMessageChunk", True, "hel", metadata="{}")


def test_a_whole_message_is_not_a_delta() -> None:
    made = event(HumanMessage("hello", id="m1"))

    assert (made.type, made.delta, made.text, made.extra) == ("human", False, "hello", "")


def test_metadata_comes_with_the_first_event_of_each_message() -> None:
    events = MessageEvents()
    metadata = {"langgraph_node": "speak", "__pregel_private": object()}

    told = [
        events.event(AIMessageChunk(content="x", id=message_id), metadata).metadata
        for message_id in ("a", "a", "b", "a", "b")
    ]

    assert told == ['{"langgraph_node":"speak"}', "", '{"langgraph_node":"speak"}', "", ""]


def test_a_message_without_an_id_gets_one() -> None:
    assert len(event(HumanMessage("x")).message_id) == 36


def test_pieces_of_tool_calls_are_typed() -> None:
    chunk = AIMessageChunk(
        content="",
        id="m1",
        tool_call_chunks=[
            {"name": "add", "args": "", "id": "c1", "index": 0, "type": "tool_call_chunk"},
            {"name": None, "args": '{"x', "id": None, "index": 1, "type": "tool_call_chunk"},
            {"name": None, "args": None, "id": None, "index": None, "type": "tool_call_chunk"},
        ],
    )

    made = event(chunk)

    assert made.tool_call_chunks == (
        ToolCallChunk("add", "", "c1", 0),
        ToolCallChunk("", '{"x', "", 1),
        ToolCallChunk("", "", "", None),
    )
    assert made.extra == ""


def test_the_tool_calls_of_a_whole_message_are_chunks_that_are_complete() -> None:
    message = AIMessage("", tool_calls=[{"name": "add", "args": {"x": 1}, "id": "c1"}])

    assert event(message).tool_call_chunks == (ToolCallChunk("add", '{"x":1}', "c1", 0),)
    assert extra(message)["tool_calls"] == [
        {"name": "add", "args": {"x": 1}, "id": "c1", "type": "tool_call"}
    ]


def test_usage_is_typed_and_its_details_are_extra() -> None:
    plain = AIMessageChunk(
        content="", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    )
    detailed = AIMessage(
        "",
        usage_metadata={
            "input_tokens": 1,
            "output_tokens": 2,
            "total_tokens": 3,
            "input_token_details": {"cache_read": 1},
        },
    )

    assert (event(plain).usage, extra(plain)) == ((1, 2, 3), {})
    assert event(detailed).usage == (1, 2, 3)
    assert extra(detailed) == {"usage_metadata": {"input_token_details": {"cache_read": 1}}}


@pytest.mark.parametrize(
    ("content", "text", "kept"),
    [
        ([], "", False),
        ([{"type": "text", "text": "a"}, "b"], "ab", False),
        ([{"type": "text", "text": "a", "index": 0}], "a", True),
        ([{"type": "text", "text": "a"}, {"type": "image", "url": "u"}], "a", True),
        ([{"type": "text", "text": "a", "annotations": [1]}], "a", True),
    ],
)
def test_content_of_blocks_is_text_and_kept_whole_if_it_is_more(
    content: list[Any], text: str, kept: bool
) -> None:
    message = AIMessage(content, id="m1")

    assert event(message).text == text
    assert extra(message) == ({"content": content} if kept else {})


def test_whatever_else_a_message_holds_is_extra() -> None:
    message = AIMessageChunk(
        content="x",
        id="m1",
        name="bot",
        additional_kwargs={"reasoning_content": "hm"},
        response_metadata={"model_name": "m"},
        chunk_position="last",
        own_field=5,
    )

    assert extra(message) == {
        "name": "bot",
        "additional_kwargs": {"reasoning_content": "hm"},
        "response_metadata": {"model_name": "m"},
        "chunk_position": "last",
        "own_field": 5,
    }


def test_fields_of_other_kinds_of_message_are_extra() -> None:
    tool = ToolMessage("4", tool_call_id="c1", id="m1", artifact=[], status="error")

    assert extra(tool) == {"tool_call_id": "c1", "artifact": [], "status": "error"}
    assert extra(ToolMessage("4", tool_call_id="c1")) == {"tool_call_id": "c1"}
    assert extra(ChatMessageChunk(content="x", role="critic")) == {"role": "critic"}


def test_a_token_costs_little() -> None:
    events = MessageEvents()
    chunk = AIMessageChunk(content="hello ", id="m1")
    events.event(chunk, {})
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        events.event(chunk, {})
    finally:
        sys.setprofile(None)

    assert 0 < calls < 40, "functions that are called, whatever a machine takes for them"
