"""Bare grpc.aio servers that answer as ours does and store nothing. Which one is the first
argument: `replay DIRECTORY` sends what a real server was recorded to send, in the very same
messages; `made-up` makes the events itself, at the pace of the graph that would; `graphs`
executes the graph in its own loop. The last two send in one message all that is ready.
"""

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import orjson

from runwire.v1 import core_pb2, events_pb2, payload_pb2, runs_pb2

Context = grpc.aio.ServicerContext[Any, bytes]
RUN_ID = "01a2020a-2682-74d8-8d36-9c3de5d27e87"


class Chunk(NamedTuple):
    """What is sent of a piece of a message."""

    id: str
    type: str
    content: str


class MadeUp:
    """Makes the events up: no LangGraph."""

    async def run_stream(self, request: runs_pb2.RunStreamRequest, context: Context) -> None:
        """Send a run's events, all that are ready in one message."""
        ready: list[bytes] = []
        more = asyncio.Event()

        async def produce() -> None:
            async with aclosing(self.parts(request.spec)) as parts:
                async for part in parts:
                    ready.append(serialize(part))
                    more.set()

        producing = asyncio.create_task(produce())
        producing.add_done_callback(lambda _: more.set())
        while not producing.done() or ready:
            await more.wait()
            more.clear()
            if ready:
                message = b"".join(ready)
                ready.clear()
                await context.write(message)
        await producing

    async def parts(self, spec: core_pb2.RunSpec) -> AsyncGenerator[Any]:
        """Yield what the graph would stream, and let others have their turn when it would."""
        wanted = json.loads(spec.input.json)
        for i in range(wanted["n"]):
            if spec.assistant_id == "tokens":
                yield {"i": i, "text": "twenty characters..."}
            else:
                yield Chunk(f"lc_run--{RUN_ID}", "AIMessageChunk", f"tok{i:04d} "), {}
            if wanted.get("pause", 0) >= 0:
                await asyncio.sleep(0)


def serialize(part: Any) -> bytes:
    """Return a part of a graph's stream as a serialized response."""
    event = events_pb2.RunEvent(id="1-1", run_id=RUN_ID)
    event.create_time.GetCurrentTime()
    if isinstance(part, dict):
        event.custom.data.json = orjson.dumps(part).decode()
    else:
        event.message.message_id = part[0].id
        event.message.type = part[0].type
        event.message.text = part[0].content
    return runs_pb2.RunStreamResponse(events=[event]).SerializeToString()


class Graphs(MadeUp):
    """Executes graphs."""

    def __init__(self) -> None:
        from benchmarks import graphs, in_process  # the others must not carry LangGraph

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

    async def parts(self, spec: core_pb2.RunSpec) -> AsyncGenerator[Any]:
        """Execute a graph and yield what it streams."""
        graph, mode = self._graphs[spec.assistant_id], self._modes[spec.assistant_id]
        parts: AsyncIterator[Any] = graph.astream(json.loads(spec.input.json), stream_mode=mode)
        async for part in parts:
            yield part


class Replay:
    """Sends recordings, of which the call's metadata names the one that is wanted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._streams: dict[str, Iterator[list[bytes]]] = {}

    async def run_stream(self, _request: runs_pb2.RunStreamRequest, context: Context) -> None:
        """Send a recorded stream, a message as one message."""
        name = str(dict(context.invocation_metadata() or ())["recording"])
        if name not in self._streams:
            recorded = json.loads((self._directory / f"{name}.json").read_text())
            self._streams[name] = itertools.cycle([bytes.fromhex(m) for m in s] for s in recorded)
        for message in next(self._streams[name]):
            await context.write(message)


async def _serve(servicer: MadeUp | Replay) -> None:
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


def _servicer(kind: str, *arguments: str) -> MadeUp | Replay:
    if kind == "replay":
        return Replay(Path(*arguments))
    return Graphs() if kind == "graphs" else MadeUp()


if __name__ == "__main__":
    asyncio.run(_serve(_servicer(*sys.argv[1:])))
