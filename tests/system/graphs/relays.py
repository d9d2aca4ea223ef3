"""Graphs that have the next server do their work, and on the last one work for long.

`NEXT_SERVER` in the environment is the next server's address; the last one has none. `directory` in
an input is where the last one writes down what happens to it.
"""

import asyncio
import json
import operator
import os
import time
from pathlib import Path
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from runwire.client import get_client, get_sync_client

NEXT = os.environ.get("NEXT_SERVER")


class Work(TypedDict, total=False):
    directory: str
    question: str
    answers: Annotated[list[str], operator.add]


def note(state: Work, what: str, **more: Any) -> None:
    line = json.dumps({"what": what, "time": time.monotonic(), **more}) + "\n"
    with (Path(state["directory"]) / "ledger").open("a", encoding="utf-8") as ledger:
        ledger.write(line)


async def work(state: Work, config: RunnableConfig) -> Work:
    configurable = config["configurable"]
    shown = {key: value for key, value in configurable.items() if isinstance(value, str)}
    note(state, "begun", configurable=shown)
    try:
        await asyncio.sleep(60)
    finally:
        note(state, "stopped")
    return {}


def ask(state: Work) -> Work:
    return {"answers": [interrupt(state["question"])]}


def on_next(graph_id: str) -> RemoteGraph:
    clients: dict[str, Any] = {
        "client": get_client(NEXT or ""),
        "sync_client": get_sync_client(NEXT or ""),
    }
    return RemoteGraph(graph_id, **clients)


def relay_on_thread(state: Work, config: RunnableConfig) -> Work:
    """Wait for the next server in code that cannot be interrupted."""
    on_next("relay_sync").invoke(state, config)
    return {}


def wait_on_thread(state: Work) -> Work:
    """Wait for the next server's run without following it."""
    with get_sync_client(NEXT or "") as client:
        client.runs.wait(None, "relay_waiting", input=state)
    return {}


async def call_itself(state: Work, config: RunnableConfig) -> Work:
    """Wait for a run on the thread of this one; `question` is this server's address."""
    async with get_client(state["question"]) as client:
        here: Any = client
        await RemoteGraph("asks", client=here).ainvoke(state, config)
    return {}


def graph_of(node: Any) -> Any:
    return StateGraph(Work).add_node("node", node).add_edge(START, "node").compile()


relay = graph_of(on_next("relay") if NEXT else work)
relay_sync = graph_of(relay_on_thread if NEXT else work)
relay_waiting = graph_of(wait_on_thread if NEXT else work)
calls_itself = graph_of(call_itself)
asks = graph_of(on_next("asks") if NEXT else ask)
