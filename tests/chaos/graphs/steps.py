"""Graphs of a few supersteps that keep a ledger, so that what happened can be told from outside.

A line of JSON for each begin and end of a superstep, with the run, the attempt, the process, and
the time on the machine's monotonic clock, which all processes share.
"""

import asyncio
import json
import operator
import os
import signal
import time
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

EVENTS_AT_ONCE = 10
LOOK_SECONDS = 0.005


class Steps(TypedDict, total=False):
    """`steps` supersteps of `seconds` each, with `events` custom events in each; each adds
    `<label>.<its number>` to `done`, which adds up over the runs of a thread. None ends before the
    file `gate` is there, if there is to be one."""

    label: str
    ledger: str
    steps: int
    left: int
    seconds: float
    events: int
    gate: str
    done: Annotated[list[str], operator.add]


def note(state: Steps, config: RunnableConfig, what: str) -> None:
    """Write a line into the ledger. One write, so that lines of several processes never mix."""
    configurable, metadata = config.get("configurable", {}), config.get("metadata", {})
    line = {
        "what": what,
        "label": state["label"],
        "step": number_of(state),
        "run": configurable.get("run_id"),
        "thread": configurable.get("thread_id"),
        "attempt": metadata.get("run_attempt"),
        "pid": os.getpid(),
        "at": time.monotonic(),
    }
    text = json.dumps(line) + "\n"
    descriptor = os.open(state["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def number_of(state: Steps) -> int:
    return state["steps"] - state["left"]


def is_shut(state: Steps) -> bool:
    gate = state.get("gate")
    return bool(gate) and not os.path.exists(gate)  # noqa: PTH110 - looked at often


def result(state: Steps, config: RunnableConfig) -> Steps:
    note(state, config, "end")
    return {"done": [f"{state['label']}.{number_of(state)}"], "left": state["left"] - 1}


async def step(state: Steps, config: RunnableConfig) -> Steps:
    note(state, config, "begin")
    try:
        write = get_stream_writer()
        for number in range(state["events"]):
            write({"step": number_of(state), "number": number})
            if number % EVENTS_AT_ONCE == EVENTS_AT_ONCE - 1:
                await asyncio.sleep(0)
        await asyncio.sleep(state["seconds"])
        while is_shut(state):  # noqa: ASYNC110 - who opens it is another process
            await asyncio.sleep(LOOK_SECONDS)
    except asyncio.CancelledError:
        note(state, config, "stopped")
        raise
    return result(state, config)


def step_sync(state: Steps, config: RunnableConfig) -> Steps:
    note(state, config, "begin")
    write = get_stream_writer()
    for number in range(state["events"]):
        write({"step": number_of(state), "number": number})
    time.sleep(state["seconds"])
    while is_shut(state):
        time.sleep(LOOK_SECONDS)
    return result(state, config)


def kill(state: Steps, config: RunnableConfig) -> Steps:
    """Take the whole server down."""
    note(state, config, "begin")
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def more(state: Steps) -> str:
    return "step" if state["left"] > 0 else END


def graph_of(node: Any) -> Any:
    builder = StateGraph(Steps).add_node("step", node).add_edge(START, "step")
    return builder.add_conditional_edges("step", more, ["step", END]).compile()


steps = graph_of(step)
steps_sync = graph_of(step_sync)
kills = graph_of(kill)
