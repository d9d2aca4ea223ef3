"""Bare grpc.aio servers that answer RunStream and RunWait as our server does, and do nothing else.

`graphs`: the handler executes the graph in the server's own loop and stores nothing.
`replay DIRECTORY`: no graph; sends what a real server was recorded to send. The call's metadata
`replay` names the recording, and how: RECORDED, in the very same messages, or READY, for which a
task makes one event per turn of the loop, and whatever is there goes in one message.
"""

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc

from benchmarks.cases import READY, RECORDED
from runwire.v1 import core_pb2, events_pb2, payload_pb2, runs_pb2

Context = grpc.aio.ServicerContext[Any, bytes]


class Recordings:
    """Streams that a real server sent, as messages and as single events."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cycles: dict[tuple[str, str], Iterator[list[bytes]]] = {}

    def next(self, how: str, name: str) -> list[bytes]:
        """Return one recorded stream."""
        if (how, name) not in self._cycles:
            recorded = json.loads((self._directory / f"{name}.json").read_text())
            streams = [[bytes.fromhex(message) for message in stream] for stream in recorded]
            if how == READY:
                streams = [
                    [event for message in stream for event in _split(message)] for stream in streams
                ]
            self._cycles[how, name] = itertools.cycle(streams)
        return next(self._cycles[how, name])


def _split(message: bytes) -> list[bytes]:
    events = runs_pb2.RunStreamResponse.FromString(message).events
    return [runs_pb2.RunStreamResponse(events=[event]).SerializeToString() for event in events]


class Replay:
    """Sends recordings."""

    def __init__(self, directory: Path) -> None:
        self._recordings = Recordings(directory)

    async def run_stream(self, _request: runs_pb2.RunStreamRequest, context: Context) -> None:
        """Send the recording that the call asks for."""
        wanted = dict(context.invocation_metadata() or ())["replay"]
        how, _, name = str(wanted).partition(": ")
        messages = self._recordings.next(how, name)
        if how == RECORDED:
            for message in messages:
                await context.write(message)
        else:
            await write_when_ready(context, _one_per_turn(messages))


async def _one_per_turn(events: list[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event
        await asyncio.sleep(0)


async def write_when_ready(context: Context, events: AsyncIterator[bytes]) -> None:
    """Write serialized events, all that are ready in one message."""
    ready: list[bytes] = []
    more = asyncio.Event()

    async def produce() -> None:
        try:
            async for event in events:
                ready.append(event)
                more.set()
        finally:
            more.set()

    producing = asyncio.create_task(produce())
    while not producing.done() or ready:
        await more.wait()
        more.clear()
        if ready:
            message = b"".join(ready)
            ready.clear()
            await context.write(message)
    await producing


class Graphs:
    """Executes graphs, and keeps nothing."""

    def __init__(self) -> None:
        from benchmarks import graphs, in_process  # the replaying server need not have LangGraph

        self._graphs = {name: builder.compile() for name, builder in graphs.BUILDERS.items()}
        self._modes = in_process.MODES

    async def run_wait(self, request: runs_pb2.RunWaitRequest, _context: Context) -> bytes:
        """Execute a graph and answer with its output."""
        graph = self._graphs[request.spec.assistant_id]
        output = await graph.ainvoke(json.loads(request.spec.input.json))
        return runs_pb2.RunWaitResponse(
            run=core_pb2.Run(state=core_pb2.RUN_STATE_SUCCEEDED),
            output=payload_pb2.Payload(json=json.dumps(output)),
        ).SerializeToString()

    async def run_stream(self, request: runs_pb2.RunStreamRequest, context: Context) -> None:
        """Execute a graph and send what it streams."""
        async with aclosing(self._events(request.spec)) as events:
            await write_when_ready(context, events)

    async def _events(self, spec: core_pb2.RunSpec) -> AsyncGenerator[bytes]:
        mode = self._modes[spec.assistant_id]
        graph = self._graphs[spec.assistant_id]
        parts: AsyncIterator[Any] = graph.astream(json.loads(spec.input.json), stream_mode=mode)
        index = 0
        async for part in parts:
            index += 1
            event = events_pb2.RunEvent(
                id=f"1-{index}", run_id="01a2020a-2682-74d8-8d36-9c3de5d27e87"
            )
            event.create_time.GetCurrentTime()
            if mode == "custom":
                event.custom.data.json = json.dumps(part)
            else:
                event.message.message_id = part[0].id
                event.message.type = part[0].type
                event.message.text = part[0].content
            yield runs_pb2.RunStreamResponse(events=[event]).SerializeToString()


async def _serve(servicer: Replay | Graphs) -> None:
    methods: dict[str, Any] = {
        "RunStream": grpc.unary_stream_rpc_method_handler(
            servicer.run_stream, runs_pb2.RunStreamRequest.FromString
        )
    }
    if isinstance(servicer, Graphs):
        methods["RunWait"] = grpc.unary_unary_rpc_method_handler(
            servicer.run_wait, runs_pb2.RunWaitRequest.FromString
        )
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler("runwire.v1.RunService", methods)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps({"port": port}), flush=True)
    await stop.wait()
    await server.stop(0.5)


if __name__ == "__main__":
    asyncio.run(_serve(Replay(Path(sys.argv[2])) if sys.argv[1] == "replay" else Graphs()))
