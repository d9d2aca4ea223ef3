"""Graphs that pause and wait for an answer."""

import asyncio
import operator
from typing import Annotated, Any

from langgraph.config import get_stream_writer
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Questions(TypedDict, total=False):
    question: str
    answers: Annotated[list[Any], operator.add]


def prepare(state: Questions) -> Questions:
    return {"answers": ["prepared"]}


def ask(state: Questions) -> Questions:
    return {"answers": [interrupt({"question": state.get("question", "go on?")})]}


async def ask_too(state: Questions) -> Questions:
    return {"answers": [interrupt({"question": "and you?"})]}


asks = (
    StateGraph(Questions)
    .add_node("prepare", prepare)
    .add_node("ask", ask)
    .add_edge(START, "prepare")
    .add_edge("prepare", "ask")
    .compile()
)


class Decision(TypedDict):
    approved: bool


def ask_for_decision(state: Questions) -> Questions:
    return {"answers": [interrupt({"question": "approved?"}, response_schema=Decision)]}


asks_for_decision = (
    StateGraph(Questions).add_node("ask", ask_for_decision).add_edge(START, "ask").compile()
)

# Both questions are open at the same time.
asks_twice = (
    StateGraph(Questions)
    .add_node("ask", ask)
    .add_node("ask_too", ask_too)
    .add_edge(START, "ask")
    .add_edge(START, "ask_too")
    .compile()
)

asks_in_subgraph = StateGraph(Questions).add_node("inner", asks).add_edge(START, "inner").compile()

# Nothing asks here: it is for runs with interrupt_before and interrupt_after.
two_steps = (
    StateGraph(Questions)
    .add_node("first", lambda state: {"answers": ["first"]})
    .add_node("second", lambda state: {"answers": ["second"]})
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)


async def ask_and_dawdle(state: Questions) -> Questions:
    answer = interrupt({"question": state.get("question", "go on?")})
    get_stream_writer()("at work")
    await asyncio.sleep(60)
    return {"answers": [answer]}


asks_and_dawdles = (
    StateGraph(Questions)
    .add_node("ask_and_dawdle", ask_and_dawdle)
    .add_edge(START, "ask_and_dawdle")
    .compile()
)


async def wait_long(state: Questions) -> Questions:
    get_stream_writer()("at work")
    await asyncio.sleep(60)
    return {"answers": ["waited"]}


asks_then_waits = (
    StateGraph(Questions)
    .add_node("ask", ask)
    .add_node("wait_long", wait_long)
    .add_edge(START, "ask")
    .add_edge("ask", "wait_long")
    .compile()
)


@entrypoint()
async def functional_asks(drink: str) -> str:
    return f"{drink} with {interrupt(f'what with {drink}?')}"
