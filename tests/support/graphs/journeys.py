"""A graph that goes where its input says: to an end, to a question, to a failure, or nowhere."""

import asyncio
import operator
from typing import Annotated

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Journey(TypedDict, total=False):
    way: str
    log: Annotated[list[str], operator.add]


def set_out(state: Journey) -> Journey:
    return {"log": ["out"]}


def ask(state: Journey) -> Journey:
    return {"log": [str(interrupt("where to?"))]}


def fail(state: Journey) -> Journey:
    raise ValueError("lost")


async def wait(state: Journey) -> Journey:
    get_stream_writer()("waiting")
    await asyncio.sleep(60)
    return {"log": ["waited"]}


below = (
    StateGraph(Journey)
    .add_node("go_down", lambda state: {"log": ["down"]})
    .add_node("ask", ask)
    .add_edge(START, "go_down")
    .add_edge("go_down", "ask")
    .compile()
)

WAYS = ["ask", "fail", "wait", "below"]

journeys = (
    StateGraph(Journey)
    .add_node("set_out", set_out)
    .add_node("ask", ask)
    .add_node("fail", fail)
    .add_node("wait", wait)
    .add_node("below", below)
    .add_node("arrive", lambda state: {"log": ["there"]})
    .add_edge(START, "set_out")
    .add_conditional_edges(
        "set_out",
        lambda state: way if (way := state.get("way")) in WAYS else "arrive",
        [*WAYS, "arrive"],
    )
    .add_edge("ask", "arrive")
    .add_edge("fail", "arrive")
    .add_edge("wait", "arrive")
    .add_edge("below", "arrive")
    .compile()
)
