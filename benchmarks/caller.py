"""The client process: drives whichever server it is pointed at by the generated stubs, so that
the client's side costs the same for all of them. Prints one JSON object."""

import asyncio
import json
import sys
import time
from pathlib import Path

import grpc

from benchmarks.jobs import Job, Measured, Meter, latency, repeat, take_turns
from runwire.v1 import core_pb2, payload_pb2, runs_pb2, runs_pb2_grpc, threads_pb2, threads_pb2_grpc

RUN_STREAM = "/runwire.v1.RunService/RunStream"
MODES = {"tokens": core_pb2.STREAM_MODE_CUSTOM, "messages": core_pb2.STREAM_MODE_MESSAGES}
IDLE_SECONDS = 0.02
CREATE_AT_ONCE = 32


class Caller:
    """Does one job over one connection."""

    def __init__(self, job: Job, channel: grpc.aio.Channel) -> None:
        self.job = job
        self.channel = channel
        self.runs = runs_pb2_grpc.RunServiceStub(channel)
        self.threads = threads_pb2_grpc.ThreadServiceStub(channel)

    def spec(self, thread_id: str = "") -> core_pb2.RunSpec:
        """Return the run that the job is about."""
        mode = MODES.get(self.job.graph)
        return core_pb2.RunSpec(
            assistant_id=self.job.graph,
            thread_id=thread_id,
            input=payload_pb2.Payload(json=json.dumps(self.job.input)),
            stream_modes=[mode] if mode else [],
        )

    async def wait(self) -> Measured:
        """RunWait, over and over."""
        request = runs_pb2.RunWaitRequest(spec=self.spec())

        async def once() -> int:
            _expect_success((await self.runs.RunWait(request)).run)
            return 1

        return await repeat(self.job, once)

    async def stream(self) -> Measured:
        """RunStream, over and over, to the end; events count."""
        request = runs_pb2.RunStreamRequest(spec=self.spec())
        metadata = (("recording", self.job.recording),)
        messages = 0

        async def once() -> int:
            nonlocal messages
            events = 0
            async for message in self.runs.RunStream(request, metadata=metadata):
                events += len(message.events)
                messages += 1
            if events < self.job.input["n"]:
                raise RuntimeError(f"a stream had {events} events only")
            return events

        measured = await repeat(self.job, once)
        return {**measured, "messages": messages}

    async def record(self) -> Measured:
        """Write down what the server really sends: for each caller, the messages of its last
        stream, as hexadecimal lines of a JSON array."""
        request = runs_pb2.RunStreamRequest(spec=self.spec()).SerializeToString()
        raw: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(RUN_STREAM)
        streams: list[list[str]] = []

        async def once() -> int:
            streams.append([message.hex() async for message in raw(request)])
            return 1

        measured = await repeat(self.job, once)
        path = Path(self.job.directory) / f"{self.job.recording}.json"
        await asyncio.to_thread(path.write_text, json.dumps(streams[-self.job.callers :]))
        return measured

    async def first_event(self) -> Measured:
        """How long an idle server takes to say something, and to say what the graph wrote."""
        request = runs_pb2.RunStreamRequest(spec=self.spec())
        snapshot, custom = [], []
        for _ in range(self.job.turns + 1):
            await asyncio.sleep(IDLE_SECONDS)
            start = time.perf_counter()
            seen: set[str | None] = set()
            async for message in self.runs.RunStream(request):
                now = time.perf_counter() - start
                kinds = {event.WhichOneof("event") for event in message.events}
                if not seen:
                    snapshot.append(now)
                if "custom" in kinds - seen:
                    custom.append(now)
                seen |= kinds
        return latency(snapshot[1:], "snapshot_") | latency(custom[1:], "graph_")

    async def turns(self) -> Measured:
        """RunWait on threads that grow with every turn."""
        threads = [
            (await self.threads.CreateThread(threads_pb2.CreateThreadRequest())).thread.thread_id
            for _ in range(self.job.callers)
        ]

        async def turn(thread: str, number: int) -> None:
            answer = await self.runs.RunWait(runs_pb2.RunWaitRequest(spec=self.spec(thread)))
            _expect_success(answer.run)
            if len(json.loads(answer.output.json)["messages"]) != 2 * number:
                raise RuntimeError(f"thread {thread} lost messages before turn {number}")

        return await take_turns(self.job, turn, threads)

    async def naps(self) -> Measured:
        """Many background runs at once; the time until all have ended."""
        creating = asyncio.Semaphore(CREATE_AT_ONCE)

        async def one() -> None:
            async with creating:
                request = runs_pb2.CreateRunRequest(spec=self.spec())
                run = (await self.runs.CreateRun(request)).run
            joined = await self.runs.JoinRun(runs_pb2.JoinRunRequest(run_id=run.run_id))
            _expect_success(joined.run)

        with Meter(self.job.pid) as meter:
            await asyncio.gather(*(one() for _ in range(self.job.callers)))
        return {"wall_s": meter.wall, **meter.rate(self.job.callers)}

    async def cancel(self) -> Measured:
        """From the call of CancelRun to its answer that the run is CANCELLED."""
        took = []
        for _ in range(self.job.turns):
            created = await self.runs.CreateRun(runs_pb2.CreateRunRequest(spec=self.spec()))
            await asyncio.sleep(2 * IDLE_SECONDS)
            request = runs_pb2.CancelRunRequest(run_id=created.run.run_id, wait=True)
            start = time.perf_counter()
            answer = await self.runs.CancelRun(request)
            took.append(time.perf_counter() - start)
            if answer.run.state != core_pb2.RUN_STATE_CANCELLED:
                raise RuntimeError("a cancelled run is not")
        return latency(took)


def _expect_success(run: core_pb2.Run) -> None:
    if run.state != core_pb2.RUN_STATE_SUCCEEDED:
        raise RuntimeError(f"a run ended otherwise: {run}")


async def _main() -> None:
    job = Job.from_json(sys.argv[1])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{job.port}") as channel:
        await channel.channel_ready()
        print(json.dumps(await getattr(Caller(job, channel), job.kind)()))


if __name__ == "__main__":
    asyncio.run(_main())
