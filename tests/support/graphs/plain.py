"""Graphs that end at once: what they are given, what they leave, how they fail."""

import operator
import os
from collections.abc import Mapping
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class Echo(TypedDict, total=False):
    text: str
    answer: str


def answer(state: Echo) -> Echo:
    return {"answer": state.get("text", "")}


echo = StateGraph(Echo).add_node("answer", answer).add_edge(START, "answer").compile()


class Counter(TypedDict, total=False):
    """`count` and `log` add up over the runs of a thread."""

    count: Annotated[int, operator.add]
    log: Annotated[list[str], operator.add]


class CounterContext(TypedDict, total=False):
    step: int
    """How much a run adds by itself, on top of its input; 1 by default."""
    name: str
    """What a run writes into the log."""


async def count(
    state: Counter, config: RunnableConfig, runtime: Runtime[CounterContext]
) -> Counter:
    context = runtime.context or {}
    name = context.get("name") or config.get("configurable", {}).get("name", "?")
    return {"count": context.get("step", 1), "log": [name]}


counter = (
    StateGraph(Counter, context_schema=CounterContext)
    .add_node("count", count)  # type: ignore[arg-type] # it has both a config and a runtime
    .add_edge(START, "count")
    .compile()
)


class Told(TypedDict, total=False):
    told: dict[str, Any]
    """What a node sees of the run that it belongs to, as plain data."""


async def tell(state: Told, config: RunnableConfig, runtime: Runtime[Any]) -> Told:
    server, execution = runtime.server_info, runtime.execution_info
    told = {
        "configurable": plain(config.get("configurable", {})),
        "metadata": plain(config.get("metadata", {})),
        "tags": list(config.get("tags") or []),
        "recursion_limit": config.get("recursion_limit"),
        "context": runtime.context,
        "assistant_id": server.assistant_id if server else None,
        "graph_id": server.graph_id if server else None,
        "run_id": execution.run_id if execution else None,
        "thread_id": execution.thread_id if execution else None,
        "has_store": runtime.store is not None,
        "colour": os.environ.get("SUPPORT_GRAPHS_COLOUR"),
    }
    return {"told": told}


def plain(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out LangGraph's own entries, which are objects and say nothing."""
    return {key: value for key, value in entries.items() if not key.startswith("__")}


tells = (
    StateGraph(Told)
    .add_node("tell", tell)  # type: ignore[arg-type] # it has both a config and a runtime
    .add_edge(START, "tell")
    .compile()
)


class Branches(TypedDict, total=False):
    seen: Annotated[list[str], operator.add]


def left(state: Branches) -> Branches:
    return {"seen": ["left"]}


async def right(state: Branches) -> Branches:
    return {"seen": ["right"]}


branches = (
    StateGraph(Branches)
    .add_node("left", left)
    .add_node("right", right)
    .add_node("join", lambda state: {"seen": ["join"]})
    .add_edge(START, "left")
    .add_edge(START, "right")
    .add_edge(["left", "right"], "join")
    .compile()
)


async def inner_node(state: Branches) -> Branches:
    return {"seen": ["inner"]}


inner = (
    StateGraph(Branches).add_node("inner_node", inner_node).add_edge(START, "inner_node").compile()
)

nested = (
    StateGraph(Branches)
    .add_node("before", lambda state: {"seen": ["before"]})
    .add_node("inner", inner)
    .add_edge(START, "before")
    .add_edge("before", "inner")
    .compile()
)


class Memory(TypedDict, total=False):
    remember: str
    found: list[str]


async def remember(state: Memory, runtime: Runtime[None]) -> Memory:
    store = runtime.store
    assert store is not None
    if text := state.get("remember"):
        await store.aput(("notes",), text, {"text": text})
    return {"found": sorted(item.key for item in await store.asearch(("notes",)))}


remembers = StateGraph(Memory).add_node("remember", remember).add_edge(START, "remember").compile()


class Thing:
    """What no serializer knows."""

    def __repr__(self) -> str:
        return "Thing()"


class Odd(TypedDict, total=False):
    """Values that JSON has no words for."""

    numbers: set[int]
    data: bytes
    not_a_number: float
    large: int
    """More than a double holds exactly."""


def be_odd(state: Odd) -> Odd:
    get_stream_writer()({"thing": Thing(), "huge": 2**80})
    return {"numbers": {1, 2, 3}, "data": b"\x00\xff", "not_a_number": float("nan"), "large": 2**62}


odd_values = StateGraph(Odd).add_node("be_odd", be_odd).add_edge(START, "be_odd").compile()


class Failure(TypedDict, total=False):
    kind: str
    """`value` raises ValueError, `own` an exception of the graph's, `exit` SystemExit; anything
    else does not fail."""
    message: str
    done: list[str]


class OwnError(Exception):
    """An exception that no server has heard of."""


def fail(state: Failure) -> Failure:
    message = state.get("message", "no reason")
    match state.get("kind", "value"):
        case "value":
            raise ValueError(message)
        case "own":
            raise OwnError(message)
        case "exit":
            raise SystemExit(message)
    return {"done": ["fail"]}


fails = (
    StateGraph(Failure)
    .add_node("prepare", lambda state: {"done": ["prepare"]})
    .add_node("fail", fail)
    .add_edge(START, "prepare")
    .add_edge("prepare", "fail")
    .add_edge("fail", END)
    .compile()
)
