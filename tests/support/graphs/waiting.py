"""Graphs that take their time, each in another way: what a cancel, a drain or a crash meets.

`directory` in an input is where a graph and a test meet, in one process or in two: the graph makes
`started` there, waits for `open`, and writes what it did into `ledger`, a line of JSON each. Who
follows a run in the stream mode "custom" is told "at work" as soon as it is.
"""

import asyncio
import json
import operator
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

LOOK_SECONDS = 0.005
"""How often a waiting graph looks for `open`."""


class Wait(TypedDict, total=False):
    seconds: float
    until_open: bool
    """Whether what cannot be stopped ends when `open` is there, instead of after `seconds`."""
    directory: str
    done: Annotated[list[str], operator.add]


def note(state: Wait, config: RunnableConfig, what: str, **more: Any) -> None:
    """Write a line into the ledger, if there is one. One write, so that lines never mix."""
    if directory := state.get("directory"):
        run_id = config.get("configurable", {}).get("run_id")
        line = json.dumps({"what": what, "pid": os.getpid(), "run_id": run_id, **more}) + "\n"
        with (Path(directory) / "ledger").open("a", encoding="utf-8") as ledger:
            ledger.write(line)


def start(state: Wait, config: RunnableConfig) -> None:
    get_stream_writer()("at work")
    if directory := state.get("directory"):
        (Path(directory) / "started").touch()
    note(state, config, "started")


def is_open(state: Wait) -> bool:
    return (Path(state["directory"]) / "open").exists()


LONGEST_SECONDS = 240.0
"""How long a test may take to make `open`, at most."""


def call_when_open(state: Wait, call: Callable[[], object]) -> None:
    """Have another thread look for `open`, and call."""

    def look() -> None:
        deadline = time.monotonic() + LONGEST_SECONDS
        while not is_open(state) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        call()

    threading.Thread(target=look, name="looks for open", daemon=True).start()


def sleep_in_c(state: Wait) -> None:
    """Sleep in C: no exception can be raised in this thread before it returns."""
    if not state.get("until_open"):
        time.sleep(state.get("seconds", 1))
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        call_when_open(state, lambda: theirs.send(b"\0"))
        ours.recv(1)


async def sleep(state: Wait, config: RunnableConfig) -> Wait:
    start(state, config)
    await asyncio.sleep(state.get("seconds", 1))
    note(state, config, "ended")
    return {"done": ["sleep"]}


def sleep_sync(state: Wait, config: RunnableConfig) -> Wait:
    start(state, config)
    sleep_in_c(state)
    note(state, config, "ended")
    return {"done": ["sleep_sync"]}


slow_async = StateGraph(Wait).add_node("sleep", sleep).add_edge(START, "sleep").compile()
slow_sync = (
    StateGraph(Wait).add_node("sleep_sync", sleep_sync).add_edge(START, "sleep_sync").compile()
)
slow_nested = StateGraph(Wait).add_node("inner", slow_async).add_edge(START, "inner").compile()

never_released = threading.Lock()
never_released.acquire()


def wait_for_lock(state: Wait, config: RunnableConfig) -> Wait:
    """Wait for a lock that nobody gives back, `seconds` at most, or until it is."""
    start(state, config)
    if state.get("until_open"):
        lock = threading.Lock()
        lock.acquire()
        call_when_open(state, lock.release)
        lock.acquire()
    else:
        never_released.acquire(timeout=state.get("seconds", 1))
    note(state, config, "ended")
    return {"done": ["wait_for_lock"]}


locked = (
    StateGraph(Wait)
    .add_node("wait_for_lock", wait_for_lock)
    .add_edge(START, "wait_for_lock")
    .compile()
)


async def block(state: Wait, config: RunnableConfig) -> Wait:
    """Do what an async node must not: block the loop that it runs on."""
    start(state, config)
    sleep_in_c(state)
    note(state, config, "ended")
    return {"done": ["block"]}


blocks_loop = StateGraph(Wait).add_node("block", block).add_edge(START, "block").compile()


async def refuse_to_stop(state: Wait, config: RunnableConfig) -> Wait:
    """Swallow every cancel until `seconds` have passed, or `open` is there."""
    start(state, config)
    end = time.monotonic() + state.get("seconds", 1)
    while not is_open(state) if state.get("until_open") else time.monotonic() < end:
        try:
            await asyncio.sleep(LOOK_SECONDS)
        except asyncio.CancelledError:
            note(state, config, "refused")
    note(state, config, "ended")
    return {"done": ["refuse_to_stop"]}


stubborn = (
    StateGraph(Wait)
    .add_node("refuse_to_stop", refuse_to_stop)
    .add_edge(START, "refuse_to_stop")
    .compile()
)


async def clean_up(state: Wait, config: RunnableConfig) -> Wait:
    """Wait, and clean up after a cancel, which takes a moment itself."""
    start(state, config)
    try:
        await asyncio.sleep(state.get("seconds", 1))
    finally:
        await asyncio.sleep(0.05)
        note(state, config, "cleaned up")
    return {"done": ["clean_up"]}


cleans_up = StateGraph(Wait).add_node("clean_up", clean_up).add_edge(START, "clean_up").compile()


async def wait_for_gate(state: Wait, config: RunnableConfig) -> Wait:
    start(state, config)
    while not is_open(state):  # noqa: ASYNC110 - the test may be another process
        await asyncio.sleep(LOOK_SECONDS)
    note(state, config, "ended")
    return {"done": ["wait_for_gate"]}


def wait_for_gate_sync(state: Wait, config: RunnableConfig) -> Wait:
    start(state, config)
    while not is_open(state):
        time.sleep(LOOK_SECONDS)
    note(state, config, "ended")
    return {"done": ["wait_for_gate_sync"]}


gate = (
    StateGraph(Wait)
    .add_node("wait_for_gate", wait_for_gate)
    .add_edge(START, "wait_for_gate")
    .compile()
)
gate_sync = (
    StateGraph(Wait)
    .add_node("wait_for_gate_sync", wait_for_gate_sync)
    .add_edge(START, "wait_for_gate_sync")
    .compile()
)


class Steps(Wait, total=False):
    """`steps` supersteps of `seconds` each; each appends its number to `done_steps`."""

    steps: int
    done_steps: Annotated[list[int], operator.add]


async def step(state: Steps, config: RunnableConfig) -> Steps:
    number = len(state.get("done_steps", []))
    if number == 0:
        start(state, config)
    note(state, config, "step", step=number)
    await asyncio.sleep(state.get("seconds", 0))
    return {"done_steps": [number]}


def more(state: Steps) -> str:
    return "step" if len(state["done_steps"]) < state.get("steps", 3) else END


steps = (
    StateGraph(Steps)
    .add_node("step", step)
    .add_edge(START, "step")
    .add_conditional_edges("step", more, ["step", END])
    .compile()
)
