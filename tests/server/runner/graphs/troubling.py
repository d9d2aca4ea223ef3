"""Graphs that get in the way of whoever executes them."""

import asyncio
import json
import sys
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from runwire.server.model.attempts import current_writer


def join(left: list[Any], right: list[Any]) -> list[Any]:
    return [*left, *right]


class State(TypedDict, total=False):
    directory: str
    seconds: float
    count: int
    done: Annotated[list[Any], join]


def touch(state: State, name: str) -> None:
    if directory := state.get("directory"):
        (Path(directory) / name).touch()


def graph(**nodes: Any) -> Any:
    """Return a graph whose nodes all begin at once."""
    builder = StateGraph(State)
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(START, name)
    return builder.compile()


async def raise_cancelled(state: State) -> State:
    raise asyncio.CancelledError("by the node itself")


def raise_cancelled_sync(state: State) -> State:
    raise asyncio.CancelledError("by the node itself")


async def cancel_itself(state: State) -> State:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)
    return {}


async def leave(state: State) -> State:
    sys.exit(7)


def leave_sync(state: State) -> State:
    sys.exit(7)


raises_cancelled = graph(node=raise_cancelled)
raises_cancelled_sync = graph(node=raise_cancelled_sync)
cancels_itself = graph(node=cancel_itself)
exits = graph(node=leave)
exits_sync = graph(node=leave_sync)


async def turn_into_failure(state: State) -> State:
    touch(state, "started")
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        raise RuntimeError("turned into a failure") from None
    return {}


async def swallow_one(state: State) -> State:
    """Go on after the first cancel as if nothing had been."""
    touch(state, "started")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        touch(state, "swallowed")
    return {"done": ["swallow_one"]}


async def after(state: State) -> State:
    touch(state, "after")
    return {"done": ["after"]}


turns_cancel_into_failure = graph(node=turn_into_failure)
swallows_one = (
    StateGraph(State)
    .add_node("swallow_one", swallow_one)
    .add_node("after", after)
    .add_edge(START, "swallow_one")
    .add_edge("swallow_one", "after")
    .compile()
)


async def clean_up_slowly(state: State) -> State:
    touch(state, "started")
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(state.get("seconds", 0.2))
        touch(state, "cleaned")
    return {}


cleans_up_slowly = graph(node=clean_up_slowly)


def wait_for_open(state: State, config: RunnableConfig) -> State:
    touch(state, "started")
    while not (Path(state["directory"]) / "open").exists():
        time.sleep(0.005)
    touch(state, "ended")
    return {"done": ["sync"]}


async def sleep(state: State) -> State:
    await asyncio.sleep(state.get("seconds", 0))
    return {"done": ["async"]}


mixed = graph(sync=wait_for_open, asynchronous=sleep)

colour: ContextVar[str] = ContextVar("colour", default="none")


async def set_colour(state: State) -> State:
    colour.set("green")
    seen = await asyncio.to_thread(lambda: [colour.get(), current_writer.get().run_id])
    return {"done": seen}


def tell_writer(state: State, config: RunnableConfig) -> State:
    writer = current_writer.get()
    assert writer is not None
    return {"done": [writer.run_id == config["configurable"]["run_id"], writer.number]}


sees_context = graph(node=set_colour)
tells_writer = graph(node=tell_writer)


async def chatter(state: State) -> State:
    write = get_stream_writer()
    for number in range(state.get("count", 0)):
        write("x" * 1000 + str(number))
        if number % 50 == 0:
            await asyncio.sleep(0)
    return {}


async def chatter_until_told(state: State) -> State:
    write = get_stream_writer()
    touch(state, "started")
    while not (Path(state["directory"]) / "open").exists():
        write("x")
        await asyncio.sleep(0.005)
    return {"done": ["chatter"]}


chatters = graph(node=chatter)
chatters_until_told = graph(node=chatter_until_told)


def write(state: State, config: RunnableConfig, what: str) -> None:
    line = json.dumps({"what": what, "run_id": config["configurable"]["run_id"]}) + "\n"
    with (Path(state["directory"]) / "ledger").open("a", encoding="utf-8") as ledger:
        ledger.write(line)


async def work(state: State, config: RunnableConfig) -> State:
    write(state, config, "started")
    try:
        await asyncio.sleep(state.get("seconds", 0))
    finally:
        write(state, config, "ended")
    return {}


def work_sync(state: State, config: RunnableConfig) -> State:
    write(state, config, "started")
    time.sleep(state.get("seconds", 0))
    write(state, config, "ended")
    return {}


works = graph(node=work)
works_sync = graph(node=work_sync)
