"""Graphs that are other graphs, or go another way, with another configuration."""

import operator
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class Passed(TypedDict, total=False):
    passed: Annotated[list[str], operator.add]


def chain(config: RunnableConfig) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the nodes that `configurable` names, one after the other."""
    nodes = config.get("configurable", {}).get("nodes", ["only"])
    if not nodes:
        raise ValueError("configurable.nodes names no node")
    builder = StateGraph(Passed)
    for before, node in zip([START, *nodes], nodes, strict=False):
        builder.add_node(node, lambda state, node=node: {"passed": [node]})
        builder.add_edge(before, node)
    return builder.compile()


class Direction(TypedDict, total=False):
    way: str


def turn(state: Passed, runtime: Runtime[Direction], config: RunnableConfig) -> str:
    context = runtime.context or {}
    return context.get("way") or config["configurable"].get("way") or "left"


turns = (
    StateGraph(Passed, context_schema=Direction)
    .add_node("start", lambda state: {"passed": ["start"]})
    .add_node("left", lambda state: {"passed": ["left"]})
    .add_node("right", lambda state: {"passed": ["right"]})
    .add_edge(START, "start")
    .add_conditional_edges("start", turn, ["left", "right"])
    .compile()
)
