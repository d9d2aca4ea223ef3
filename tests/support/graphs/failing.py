"""Graphs that fail in each place where a graph can, and one whose state nothing can keep."""

import asyncio
import threading
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

SECRET = "postgres://admin:hunter2@db.internal"
"""What exceptions say here, unless the input has other words for them."""


class Failure(TypedDict, total=False):
    kind: str
    """What the node raises."""
    message: str


class OwnError(Exception):
    """An exception that no server has heard of."""


def fail(state: Failure) -> Failure:
    message = state.get("message", SECRET)
    match state.get("kind"):
        case "own":
            raise OwnError(message)
        case "connection":
            raise ConnectionError(message)
        case "plain":
            raise Exception(message)
        case "group":
            raise ExceptionGroup(message, [OwnError(message), ValueError(message)])
        case "chained":
            raise OwnError(message) from ValueError(message)
        case "repr":
            raise Unprintable(message)
    raise ValueError(message)


class Unprintable(ValueError):
    """An exception that cannot even be put into words."""

    def __str__(self) -> str:
        raise RuntimeError(f"no words for {self.args}")

    __repr__ = __str__


raises = StateGraph(Failure).add_node("fail", fail).add_edge(START, "fail").compile()


class Attempted(TypedDict, total=False):
    attempts: int
    """How often the node must run until it does not fail."""
    message: str


fails_in_subgraph = StateGraph(Failure).add_node("outer", raises).add_edge(START, "outer").compile()


async def wait_for_ever(state: Failure) -> Failure:
    await asyncio.Event().wait()
    return {}


fails_in_parallel = (
    StateGraph(Failure)
    .add_node("fail", fail)
    .add_node("wait_for_ever", wait_for_ever)
    .add_edge(START, "fail")
    .add_edge(START, "wait_for_ever")
    .compile()
)


@task
def fail_in_task(message: str) -> str:
    raise ValueError(message)


@entrypoint()
async def fails_in_function(message: str) -> str:
    return await fail_in_task(message)


def fails_in_factory(config: RunnableConfig) -> CompiledStateGraph[Any, Any, Any, Any]:
    raise OwnError(SECRET)


tries: dict[str, int] = {}


def fail_at_first(state: Attempted, config: RunnableConfig) -> Attempted:
    run_id = config["configurable"]["run_id"]
    tries[run_id] = tries.get(run_id, 0) + 1
    if tries[run_id] < state.get("attempts", 1):
        raise ConnectionError(state.get("message", "not yet"))
    return {"message": f"at try {tries.pop(run_id)}"}


retries = (
    StateGraph(Attempted)
    .add_node(
        "fail_at_first",
        fail_at_first,
        retry_policy=RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False),
    )
    .add_edge(START, "fail_at_first")
    .compile()
)


class Held(TypedDict, total=False):
    held: Any


def hold_a_lock(state: Held) -> Held:
    return {"held": threading.Lock()}


holds_a_lock = (
    StateGraph(Held).add_node("hold_a_lock", hold_a_lock).add_edge(START, "hold_a_lock").compile()
)
