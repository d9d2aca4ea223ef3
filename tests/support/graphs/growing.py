"""Graphs whose state lies in more than their newest checkpoint."""

import operator
from typing import Annotated, Any

from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


def extend(state: list[Any], writes: Any) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class Deltas(TypedDict, total=False):
    items: Annotated[list[Any], DeltaChannel(extend, list, snapshot_frequency=7)]


# Its list is stored whole only now and then, and rebuilt from what was written since.
deltas = (
    StateGraph(Deltas)
    .add_node("add", lambda state: {"items": [len(state.get("items", []))]})
    .add_node("ask", lambda state: {"items": [interrupt("more?")]})
    .add_edge(START, "add")
    .add_edge("add", "ask")
    .compile()
)


class Calls(TypedDict, total=False):
    calls: Annotated[int, operator.add]


class Seen(TypedDict, total=False):
    seen: int


async def call(state: Seen) -> Seen:
    counted = await counts.ainvoke({"calls": 1})
    return {"seen": counted["calls"]}


# A graph within, which remembers from one run to the next how often it was called.
counts = (
    StateGraph(Calls)
    .add_node("count", lambda state: {"calls": 0})
    .add_edge(START, "count")
    .compile(checkpointer=True)
)
counts_within = StateGraph(Seen).add_node("call", call).add_edge(START, "call").compile()


# The same as a node: its checkpoints are in one place for all calls.
remembering = (
    StateGraph(Calls)
    .add_node("count", lambda state: {"calls": 1})
    .add_edge(START, "count")
    .compile(checkpointer=True)
)
keeps_below = StateGraph(Calls).add_node("below", remembering).add_edge(START, "below").compile()
