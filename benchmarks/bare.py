"""Bare grpc.aio servers that answer as ours does and store nothing. Which one is the first
argument: `replay DIRECTORY` sends what a real server was recorded to send, in the very same
messages; `made-up` makes the events itself, at the pace of the graph that would; `graphs`
executes the graph in its own loop. The last two send in one message all that is ready.

`durable DATABASE` does store: the least that makes a run survive its server, and no more.
"""

import asyncio
import itertools
import json
import signal
import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple
from uuid import uuid4

import grpc
import orjson
import uvloop

from runwire.v1 import core_pb2, events_pb2, payload_pb2, runs_pb2

Context = grpc.aio.ServicerContext[Any, bytes]
BATCH = 64
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


class Durable(Graphs):
    """Keeps user code out of gRPC's loop, and a run in SQLite from before it executes until after
    its end, with nothing around it: no library between it and the database, no checks, no events,
    no log, nobody who could follow the run or cancel it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._writes: SimpleQueue[tuple[str, tuple[Any, ...], Callable[[], object]]] = SimpleQueue()
        self._runner = uvloop.new_event_loop()
        Thread(target=self._runner.run_forever, daemon=True).start()
        Thread(target=self._keep_writing, args=(path,), daemon=True).start()

    async def run_wait(self, request: runs_pb2.RunWaitRequest, context: Context) -> bytes:
        """Store a run, execute it in the other loop, store its end and answer."""
        run_id = str(uuid4())
        loop = asyncio.get_running_loop()
        stored, done = loop.create_future(), loop.create_future()
        graph_id, given = request.spec.assistant_id, request.spec.input.json
        insert = "INSERT INTO runs VALUES (?, ?, ?, 'running', NULL)"
        self._write(insert, (run_id, graph_id, given), partial(_set, loop, stored, None))
        await stored
        execution = self._execute(run_id, graph_id, given, partial(_set, loop, done))
        self._runner.call_soon_threadsafe(self._runner.create_task, execution)
        return runs_pb2.RunWaitResponse(
            run=core_pb2.Run(run_id=run_id, state=core_pb2.RUN_STATE_SUCCEEDED),
            output=payload_pb2.Payload(json=await done),
        ).SerializeToString()

    async def _execute(
        self, run_id: str, graph_id: str, given: str, tell: Callable[[str], object]
    ) -> None:
        output = json.dumps(await self._graphs[graph_id].ainvoke(json.loads(given)))
        update = "UPDATE runs SET state = 'succeeded', output = ? WHERE run_id = ?"
        self._write(update, (output, run_id), partial(tell, output))

    def _write(self, statement: str, values: tuple[Any, ...], then: Callable[[], object]) -> None:
        self._writes.put((statement, values, then))

    def _keep_writing(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE runs (run_id PRIMARY KEY, graph_id, input, state, output)")
        while True:
            batch = [self._writes.get()]
            while len(batch) < BATCH and not self._writes.empty():
                batch.append(self._writes.get())
            connection.execute("BEGIN IMMEDIATE")
            for statement, values, _ in batch:
                connection.execute(statement, values)
            connection.execute("COMMIT")
            for _, _, then in batch:
                then()


def _set(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], value: Any) -> None:
    loop.call_soon_threadsafe(future.set_result, value)


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
    if kind == "durable":
        return Durable(Path(*arguments))
    return Graphs() if kind == "graphs" else MadeUp()


def main(kind: str, *arguments: str) -> None:
    """Serve as what `kind` says, in the loop that such a server would choose."""
    run = uvloop.run if kind == "durable" else asyncio.run
    run(_serve(_servicer(kind, *arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
