"""A process that reads a run's stream with nothing but gRPC: one that a test can stop.

`python -m tests.support.slow_reader <address> <run id>` prints a line when it has its first event,
and the number of custom events at the end. Each has an `index`; one that is out of order ends it.
"""

import asyncio
import json
import sys

import grpc

from runwire.v1 import runs_pb2
from runwire.v1.runs_pb2_grpc import RunServiceStub

SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536))
"""Options of a channel that takes little more than is asked for."""


async def read(address: str, run_id: str) -> None:
    count = 0
    async with grpc.aio.insecure_channel(address, options=SMALL_WINDOW) as channel:
        request = runs_pb2.JoinRunStreamRequest(run_id=run_id)
        async for response in RunServiceStub(channel).JoinRunStream(request):
            for event in response.events:
                if event.HasField("run"):
                    sys.stdout.write("reading\n")
                    sys.stdout.flush()
                elif event.HasField("custom"):
                    assert json.loads(event.custom.data.json)["index"] == count
                    count += 1
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    asyncio.run(read(*sys.argv[1:]))
