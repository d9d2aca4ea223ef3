"""Everything that a configuration file may name: graphs, builders and factories of all kinds."""

import asyncio
import operator
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk.runtime import ServerRuntime
from typing_extensions import TypedDict

Graph = CompiledStateGraph[Any, Any, Any, Any]


class Made(TypedDict, total=False):
    made_by: str
    log: Annotated[list[str], operator.add]


def make(made_by: str, *log: str) -> StateGraph[Any, Any, Any, Any]:
    """Return a graph that says who made it."""
    builder = StateGraph(Made)
    builder.add_node("say", lambda state: {"made_by": made_by, "log": list(log)})
    builder.add_edge(START, "say")
    return builder


uncompiled = make("builder")


@task
async def double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


@entrypoint()
async def functional(numbers: list[int], *, previous: list[int] | None = None) -> list[int]:
    """Double every number, after those of the thread's last run."""
    doubled = await asyncio.gather(*(double(number) for number in numbers))
    return (previous or []) + list(doubled)


@task
def double_sync(number: int) -> int:
    return number * 2


@entrypoint()
def functional_sync(numbers: list[int]) -> list[int]:
    futures = [double_sync(number) for number in numbers]
    return [future.result() for future in futures]


def factory() -> Graph:
    return make("factory").compile()


def factory_of_config(config: RunnableConfig) -> Graph:
    name = config.get("configurable", {}).get("name", "nobody")
    return make(f"factory for {name}").compile()


def factory_of_runtime(runtime: ServerRuntime[Any]) -> Graph:
    return make(f"factory for {runtime.access_context}").compile()


async def factory_async(config: RunnableConfig, runtime: ServerRuntime[Any]) -> Graph:
    await asyncio.sleep(0)
    return make("async factory").compile()


opened: list[str] = []
"""What is open now; a run tells how many it saw, so that a leak shows."""


@contextmanager
def factory_context(config: RunnableConfig) -> Iterator[Graph]:
    opened.append("sync")
    try:
        yield make("context manager", f"open: {opened.count('sync')}").compile()
    finally:
        opened.remove("sync")


@asynccontextmanager
async def factory_async_context(runtime: ServerRuntime[Any]) -> AsyncIterator[Graph]:
    opened.append("async")
    await asyncio.sleep(0)
    try:
        yield make("async context manager", f"open: {opened.count('async')}").compile()
    finally:
        opened.remove("async")
