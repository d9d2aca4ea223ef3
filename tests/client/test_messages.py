"""Messages: what arrives is what LangChain had, and pieces come together as LangChain's do."""

import json
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from operator import add
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
)

from runwire.client.messages import Messages, message_of
from runwire.server.graphs.messages import MessageEvents
from runwire.server.model.events import Event, EventId
from runwire.server.rpc.events import encode_event
from runwire.v1 import runs_pb2
from runwire.v1.events_pb2 import MessageEvent

METADATA = {"langgraph_node": "speak"}


def sent(messages: list[Any]) -> list[MessageEvent]:
    """Return messages as a server sends them."""
    events, now = MessageEvents(), datetime.now(UTC)
    serialized = b"".join(
        encode_event("run", EventId(1, index), now, Event(events.event(message, METADATA)))
        for index, message in enumerate(messages)
    )
    response = runs_pb2.RunStreamResponse.FromString(serialized)
    return [event.message for event in response.events]


def assembled(chunks: list[AIMessageChunk]) -> list[dict[str, Any]]:
    messages = Messages()
    return [messages.assemble(event) for event in sent(chunks)]


def as_langchain_does(chunks: list[AIMessageChunk]) -> list[dict[str, Any]]:
    return [message_chunk_to_message(so_far).model_dump() for so_far in accumulate(chunks, add)]


def chunk(content: Any = "", **more: Any) -> AIMessageChunk:
    return AIMessageChunk(content=content, id="m", **more)


def call(args: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": None, "args": args, "id": None, "index": index, **more}


USAGE = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}
DETAILS = {"input_token_details": {"cache_read": 2}, "output_token_details": {"reasoning": 1}}

WHOLE: list[BaseMessage] = [
    HumanMessage("hello", id="1", name="Ada"),
    SystemMessage("be brief", id="2", additional_kwargs={"a": [1, {"b": None}]}),
    AIMessage("hi", id="3", response_metadata={"model_name": "m"}, usage_metadata=USAGE),
    AIMessage("", id="4", tool_calls=[{"name": "add", "args": {"x": 1}, "id": "c"}]),
    AIMessage([{"type": "text", "text": "look"}, {"type": "image", "url": "u"}], id="5"),
    ToolMessage("2", id="6", tool_call_id="c", artifact={"raw": [2]}, status="error"),
    ToolMessage("2", id="7", tool_call_id="c"),
    HumanMessage("ünïcode \u2028 \x00", id="8"),
]

PIECES = [
    chunk("a", usage_metadata={**USAGE, **DETAILS}, response_metadata={"model_name": "m"}),
    chunk("", chunk_position="last", additional_kwargs={"refusal": "no"}),
    chunk([{"type": "text", "text": "a", "index": 0}]),
    chunk(tool_call_chunks=[call('{"x": [1, "tw', name="add", id="c")]),
    chunk(tool_call_chunks=[call("not json", name="add", id="c"), call("", 1, name="b", id="d")]),
]


@pytest.mark.parametrize("message", [*WHOLE, *PIECES], ids=lambda message: message.type)
def test_a_message_arrives_as_it_was(message: BaseMessage) -> None:
    (event,) = sent([message])
    assert message_of(event) == message.model_dump()


TEXT = ["The ", "", "answer", " is", " 42."]
TOOL_CALLS = [
    chunk("thinking"),
    chunk(tool_call_chunks=[call("", name="add", id="c1")]),
    *(chunk(tool_call_chunks=[call(letter)]) for letter in '{"x": 1, "y": {"z": "w"}}'),
    chunk(tool_call_chunks=[call("", 1, name="subtract", id="c2")]),
    chunk(tool_call_chunks=[call("{}", 1)]),
]
BLOCKS = [
    chunk([{"type": "thinking", "thinking": "hm", "index": 0}]),
    chunk([{"type": "thinking", "thinking": "…", "index": 0}]),
    chunk([{"type": "text", "text": "so", "index": 1}]),
    chunk([{"type": "text", "text": " be it", "index": 1}, {"type": "text", "text": "!"}]),
]
STREAMS = {
    "text": [chunk(text) for text in TEXT],
    "usage": [chunk("a"), chunk(usage_metadata={**USAGE, **DETAILS}), chunk(usage_metadata=USAGE)],
    "tool calls": TOOL_CALLS,
    "blocks": BLOCKS,
    "text, then blocks": [chunk("first "), *BLOCKS],
    "blocks, then text": [*BLOCKS, chunk("last")],
    "function call": [
        chunk(additional_kwargs={"function_call": {"name": "add", "arguments": '{"x"'}}),
        chunk(additional_kwargs={"function_call": {"arguments": ": 1}"}}),
    ],
    "what the last piece brings": [chunk("a"), chunk(response_metadata={"finish_reason": "stop"})],
}


@pytest.mark.parametrize("chunks", STREAMS.values(), ids=STREAMS.keys())
def test_pieces_come_together_as_langchain_puts_them(chunks: list[AIMessageChunk]) -> None:
    assert assembled(chunks) == as_langchain_does(chunks)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), json_values), st.data())
def test_arguments_are_read_as_far_as_they_have_come(args: Any, data: st.DataObject) -> None:
    text = json.dumps(args, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    chunks = [
        chunk(tool_call_chunks=[call(piece, name="f" if number == 0 else None, id="c")])
        for number, piece in enumerate(pieces)
    ]
    shown = assembled(chunks)
    assert shown[-1]["tool_calls"][0]["args"] == args
    for message in shown:
        so_far = (message["tool_calls"] + message["invalid_tool_calls"])[0]["args"]
        assert set(so_far) <= set(args)


def test_what_has_been_shown_does_not_change_afterwards() -> None:
    first, *_ = shown = assembled([*TOOL_CALLS, *BLOCKS])
    assert first["content"] == "thinking"
    assert shown[1]["tool_calls"][0]["args"] == {}


def test_pieces_without_the_ones_before_them_begin_there() -> None:
    events = sent(STREAMS["text"])
    messages = Messages()
    assert messages.assemble(events[2])["content"] == "answer"
    assert messages.metadata(events[2]) == {}


def test_metadata_is_remembered_for_each_message() -> None:
    events = sent([chunk("a"), AIMessageChunk(content="b", id="n"), chunk("c")])
    messages = Messages()
    assert [messages.metadata(event) for event in events] == [METADATA] * 3
    messages.metadata(events[0])["mine"] = 1
    assert messages.metadata(events[2]) == METADATA
    messages.forget()
    assert messages.metadata(events[2]) == {}
