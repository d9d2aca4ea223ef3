"""Graphs of many supersteps that write down what they do, so that what a crash repeats shows.

`directory` in an input is where the ledger is: a line of JSON for each begin and end of a
superstep, with the time on the machine's monotonic clock, which all processes share.
"""

import asyncio
import json
import operator
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

LOOK_SECONDS = 0.005


class Chain(TypedDict, total=False):
    """`left` supersteps of `seconds` each; each adds `<label>.<its number>` to `done`, which adds
    up over the runs of a thread. Superstep `wait_at` waits until `open` is in the directory."""

    label: str
    directory: str
    steps: int
    left: int
    seconds: float
    wait_at: int
    done: Annotated[list[str], operator.add]


def note(state: Chain, config: RunnableConfig, what: str, step: int) -> None:
    """Write a line into the ledger. One write, so that lines of several processes never mix."""
    configurable = config.get("configurable", {})
    line = {
        "what": what,
        "label": state["label"],
        "step": step,
        "pid": os.getpid(),
        "time": time.monotonic(),
        "run_id": configurable.get("run_id"),
        "thread_id": configurable.get("thread_id"),
    }
    with (Path(state["directory"]) / "ledger").open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps(line) + "\n")


def number_of(state: Chain) -> int:
    return state["steps"] - state["left"]


def waits(state: Chain) -> bool:
    is_gate = state.get("wait_at", -1) == number_of(state)
    return is_gate and not (Path(state["directory"]) / "open").exists()


def result(state: Chain, config: RunnableConfig) -> Chain:
    note(state, config, "end", number_of(state))
    return {"done": [f"{state['label']}.{number_of(state)}"], "left": state["left"] - 1}


async def link(state: Chain, config: RunnableConfig) -> Chain:
    note(state, config, "begin", number_of(state))
    get_stream_writer()({"label": state["label"], "step": number_of(state)})
    while waits(state):  # noqa: ASYNC110 - the test is another process
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(state.get("seconds", 0))
    return result(state, config)


def link_sync(state: Chain, config: RunnableConfig) -> Chain:
    note(state, config, "begin", number_of(state))
    get_stream_writer()({"label": state["label"], "step": number_of(state)})
    while waits(state):
        time.sleep(LOOK_SECONDS)
    time.sleep(state.get("seconds", 0))
    return result(state, config)


def more(state: Chain) -> str:
    return "link" if state["left"] > 0 else END


def chain_of(node: Any) -> Any:
    builder = StateGraph(Chain).add_node("link", node).add_edge(START, "link")
    return builder.add_conditional_edges("link", more, ["link", END]).compile()


chain = chain_of(link)
chain_sync = chain_of(link_sync)


chain_in_subgraph = StateGraph(Chain).add_node("inner", chain).add_edge(START, "inner").compile()


@task
async def link_task(state: Chain, config: RunnableConfig) -> Chain:
    return await link(state, config)


@entrypoint()
async def functional_chain(state: Chain) -> list[str]:
    done: list[str] = []
    while state["left"] > 0:
        change = await link_task(state)
        done += change["done"]
        state = {**state, "left": change["left"]}
    return done


async def quick_branch(state: Chain, config: RunnableConfig) -> Chain:
    note(state, config, "quick", 0)
    return {"done": [f"{state['label']}.quick"]}


async def slow_branch(state: Chain, config: RunnableConfig) -> Chain:
    note(state, config, "slow", 0)
    while waits(state):  # noqa: ASYNC110 - the test is another process
        await asyncio.sleep(LOOK_SECONDS)
    return {"done": [f"{state['label']}.slow"], "left": 0}


# The quick one has ended long before its superstep has: it must not execute again.
chain_with_branches = (
    StateGraph(Chain)
    .add_node("quick_branch", quick_branch)
    .add_node("slow_branch", slow_branch)
    .add_edge(START, "quick_branch")
    .add_edge(START, "slow_branch")
    .compile()
)


async def kill(state: Chain, config: RunnableConfig) -> Chain:
    """Take the whole server down, unless `spared` is in the directory."""
    note(state, config, "kill", 0)
    if not (Path(state["directory"]) / "spared").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return {"done": ["spared"]}


kills = StateGraph(Chain).add_node("kill", kill).add_edge(START, "kill").compile()


async def ask(state: Chain, config: RunnableConfig) -> Chain:
    return {"done": [interrupt("go on?")]}


asks = (
    StateGraph(Chain)
    .add_node("ask", ask)
    .add_node("link", link)
    .add_edge(START, "ask")
    .add_edge("ask", "link")
    .add_conditional_edges("link", more, ["link", END])
    .compile()
)
