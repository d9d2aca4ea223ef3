"""Graphs that say much while they run."""

import asyncio
from typing import Annotated, Any

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AnyMessage
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
    written: int


async def write_events(state: Events) -> Events:
    write = get_stream_writer()
    text = "x" * state.get("size", 0)
    for index in range(state.get("count", 3)):
        if delay := state.get("delay", 0):
            await asyncio.sleep(delay)
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
