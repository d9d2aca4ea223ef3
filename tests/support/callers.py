"""What tests do again and again as callers of a server."""

import asyncio
import json
from collections.abc import AsyncIterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import grpc

from runwire.client import StreamPart
from runwire.v1 import runs_pb2
from runwire.v1.assistants_pb2_grpc import AssistantServiceStub
from runwire.v1.events_pb2 import RunEvent
from runwire.v1.payload_pb2 import Payload
from runwire.v1.runs_pb2_grpc import RunServiceStub
from runwire.v1.store_pb2_grpc import StoreServiceStub
from runwire.v1.threads_pb2_grpc import ThreadServiceStub
from runwire.v1.webhooks_pb2_grpc import WebhookServiceStub

Client: TypeAlias = Any
"""A `RunwireClient`. Its results are langgraph_sdk's typed dicts, with many parts that may be None;
tests take them as plain data."""

MISSING_ID = "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
"""A UUID that nothing has."""


class Stubs(NamedTuple):
    """The generated stubs of all services."""

    assistants: AssistantServiceStub
    threads: ThreadServiceStub
    runs: RunServiceStub
    store: StoreServiceStub
    webhooks: WebhookServiceStub

    def method(self, name: str) -> Any:
        """Return a call by its method's name, which no two services share."""
        return next(getattr(stub, name) for stub in self if hasattr(stub, name))


def stubs_on(channel: grpc.aio.Channel) -> Stubs:
    """Return the stubs on a channel."""
    return Stubs(
        AssistantServiceStub(channel),
        ThreadServiceStub(channel),
        RunServiceStub(channel),
        StoreServiceStub(channel),
        WebhookServiceStub(channel),
    )


def of_json(value: Any) -> Payload:
    """Return data as it travels."""
    return Payload(json=json.dumps(value))


def data_of(payload: Payload) -> Any:
    """Return the data that travelled."""
    return json.loads(payload.json)


def question(text: str) -> dict[str, Any]:
    """Return what a chat takes: one message from a person."""
    return {"messages": [{"role": "user", "content": text}]}


async def collect(parts: AsyncIterable[Any]) -> list[Any]:
    """Return a stream's parts when it has ended."""
    return [part async for part in parts]


def data_in(parts: list[StreamPart], kind: str) -> list[Any]:
    """Return the data of the parts of one kind."""
    return [part.data for part in parts if part.event == kind]


async def start(
    client: Client, thread_id: str | None, graph_id: str, **options: Any
) -> dict[str, Any]:
    """Start a run of a waiting graph in the background; return it when its node is at work."""
    run = await client.runs.create(thread_id, graph_id, **{"stream_mode": "custom", **options})
    await at_work(client, run["run_id"])
    return dict(run)


async def at_work(client: Client, run_id: str) -> None:
    """Return when a run of a waiting graph, which has the stream mode "custom", has started."""
    parts: Any = client.runs.join_stream(None, run_id)
    async with aclosing(parts):
        async for part in parts:
            if part.event.partition("|")[0] == "custom":
                return
    raise AssertionError(f"run {run_id} ended before it was at work")


def open_gate(directory: Path) -> None:
    """Let the runs of the graphs `gate` and `gate_sync` that wait in `directory` go on."""
    (directory / "open").touch()


def ledger(directory: Path) -> list[dict[str, Any]]:
    """Return what the waiting graphs wrote down in `directory`."""
    file = directory / "ledger"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def noted(directory: Path, what: str) -> None:
    """Return when a waiting graph has written that into its ledger."""
    while what not in [line["what"] for line in ledger(directory)]:  # noqa: ASYNC110 - a file
        await asyncio.sleep(0.005)


async def follow(stubs: Stubs, run_id: str, **request: Any) -> list[RunEvent]:
    """Return the events of a run to its end, large ones put together."""
    call = stubs.runs.JoinRunStream(runs_pb2.JoinRunStreamRequest(run_id=run_id, **request))
    return whole([event async for response in call for event in response.events])


def whole(events: list[RunEvent]) -> list[RunEvent]:
    """Return events, those that came in parts put together."""
    joined, data = [], b""
    for event in events:
        if not event.HasField("part"):
            joined.append(event)
            continue
        data += event.part.data
        if event.part.last:
            joined.append(RunEvent.FromString(data))
            data = b""
    assert not data
    return joined


def kinds(events: list[RunEvent]) -> list[str]:
    """Return what kinds events are of."""
    return [event.WhichOneof("event") or "" for event in events]
