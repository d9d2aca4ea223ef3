"""Graphs that say much, or do not listen."""

import asyncio
import time
from pathlib import Path

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Talk(TypedDict, total=False):
    directory: str
    name: str
    count: int
    size: int
    """Characters in each event."""
    every: int
    """After so many events others get their turn."""
    seconds: float
    """How long that turn is."""
    said: int


async def talk(state: Talk) -> Talk:
    write = get_stream_writer()
    text, every = "x" * state.get("size", 0), state.get("every", 10)
    for index in range(state["count"]):
        write({"index": index, "text": text})
        if index % every == every - 1:
            await asyncio.sleep(state.get("seconds", 0))
    return {"said": state["count"]}


talks = StateGraph(Talk).add_node("talk", talk).add_edge(START, "talk").compile()


def sleep_hard(state: Talk) -> None:
    """Sleep where nothing can stop it, unless `open` is in the directory. A file called `name`
    shows that it has begun."""
    directory = Path(state["directory"])
    (directory / state["name"]).touch()
    if not (directory / "open").exists():
        time.sleep(state["seconds"])


def stay(state: Talk) -> Talk:
    sleep_hard(state)
    return {}


never_stops = StateGraph(Talk).add_node("stay", stay).add_edge(START, "stay").compile()


async def block(state: Talk) -> Talk:
    """Block the loop that all runs share."""
    sleep_hard(state)
    return {}


blocks_loop = StateGraph(Talk).add_node("block", block).add_edge(START, "block").compile()
