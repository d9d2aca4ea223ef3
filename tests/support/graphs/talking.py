"""Graphs that say much while they run."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessageChunk, AnyMessage, BaseMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict


class Events(TypedDict, total=False):
    count: int
    size: int
    """Characters in each event."""
    delay: float
    """Seconds before each event."""
    one_by_one: str
    """A directory where each event but the first waits for a file with its index as its name."""
    written: int


async def write_events(state: Events) -> Events:
    write = get_stream_writer()
    text = "x" * state.get("size", 0)
    for index in range(state.get("count", 3)):
        if delay := state.get("delay", 0):
            await asyncio.sleep(delay)
        if index and (directory := state.get("one_by_one")):
            while not (Path(directory) / str(index)).exists():  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.002)
        write({"index": index, "text": text})
    return {"written": state.get("count", 3)}


custom_events = (
    StateGraph(Events)
    .add_node("write_events", write_events)
    .add_edge(START, "write_events")
    .compile()
)


class Big(TypedDict, total=False):
    size: int
    blob: str


def grow(state: Big) -> Big:
    """Leave a state of `size` characters, and say as much."""
    blob = "y" * state.get("size", 0)
    get_stream_writer()(blob)
    return {"blob": blob}


big_events = StateGraph(Big).add_node("grow", grow).add_edge(START, "grow").compile()


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    say: str
    """What the fake model answers, a character a token."""
    delay: float
    """Seconds before each token."""


async def speak(state: Talk) -> Any:
    said = state.get("say", "hello")
    model = FakeListChatModel(responses=[said], sleep=state.get("delay") or None)
    return {"messages": [await model.ainvoke(state.get("messages") or "say it")]}


messages = StateGraph(Talk).add_node("speak", speak).add_edge(START, "speak").compile()

talks_in_subgraph = StateGraph(Talk).add_node("inner", messages).add_edge(START, "inner").compile()


def call_piece(
    index: int, args: str | None, name: str | None = None, call_id: str | None = None
) -> AIMessageChunk:
    piece = ToolCallChunk(name=name, args=args, id=call_id, index=index, type="tool_call_chunk")
    return AIMessageChunk(content="", tool_call_chunks=[piece])


USAGE = UsageMetadata(
    input_tokens=11, output_tokens=7, total_tokens=18, input_token_details={"cache_read": 4}
)

TOOL_CALLS = [
    AIMessageChunk(content="Let me "),
    AIMessageChunk(content="see."),
    call_piece(0, "", "look_up", "call_a"),
    call_piece(0, '{"city": "Par'),
    call_piece(1, None, "add", "call_b"),
    call_piece(0, 'is"}'),
    call_piece(1, '{"left": 6, "right": 7}'),
    AIMessageChunk(content="", additional_kwargs={"reasoning": "first "}),
    AIMessageChunk(content="", additional_kwargs={"reasoning": "this"}),
    AIMessageChunk(
        content="", response_metadata={"model_name": "tiny", "finish_reason": "tool_calls"}
    ),
    AIMessageChunk(content="", usage_metadata=USAGE, chunk_position="last"),
]

BLOCKS = [
    AIMessageChunk(content=[{"type": "thinking", "thinking": "hm", "index": 0}]),
    AIMessageChunk(content=[{"type": "thinking", "thinking": "m…", "index": 0}]),
    AIMessageChunk(content=[{"type": "text", "text": "It is ", "index": 1}]),
    AIMessageChunk(content=[{"type": "text", "text": "sunny.", "index": 1}]),
    AIMessageChunk(content=[], chunk_position="last"),
]


class Recorded(BaseChatModel):
    """A model that says what it was told to say, piece by piece."""

    pieces: list[AIMessageChunk]

    @property
    def _llm_type(self) -> str:
        return "recorded"

    def _generate(self, *arguments: Any, **options: Any) -> ChatResult:
        raise NotImplementedError("streams only")

    async def _astream(
        self, messages: list[BaseMessage], *arguments: Any, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self.pieces:
            yield ChatGenerationChunk(message=piece.model_copy())


async def call_tools(state: Talk) -> Any:
    return {"messages": [await Recorded(pieces=TOOL_CALLS).ainvoke("?")]}


def answer_calls(state: Talk) -> Any:
    return {"messages": [ToolMessage("sunny", tool_call_id="call_a", id="tool-message")]}


async def conclude(state: Talk) -> Any:
    return {"messages": [await Recorded(pieces=BLOCKS).ainvoke("?")]}


# Every kind of piece that messages come in.
recorded = (
    StateGraph(Talk)
    .add_node("call_tools", call_tools)
    .add_node("answer_calls", answer_calls)
    .add_node("conclude", conclude)
    .add_edge(START, "call_tools")
    .add_edge("call_tools", "answer_calls")
    .add_edge("answer_calls", "conclude")
    .compile()
)
