"""Connections that are cut anywhere: who joins again after the last event gets the log, whole."""

import asyncio
import json
import os
import random
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from tests.support.breaking import break_network
from tests.support.callers import whole
from tests.support.serving import ServerProcess
from tests.support.watching import check_log, get_run, read_log, say

from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import RunEvent
from runwire.v1.payload_pb2 import Payload
from runwire.v1.runs_pb2_grpc import RunServiceStub

STREAMS = 20
EVENTS = 1000

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
"""Options of a channel that shares no connection with others."""

CUT_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED)


@dataclass
class Reader:
    """Reads a run to its end, over as many connections as that takes."""

    address: str
    request: runs_pb2.RunStreamRequest
    events: list[RunEvent] = field(default_factory=list)
    run_id: str = ""
    connections: int = 0

    async def read(self) -> None:
        while not (self.events and self.events[-1].HasField("run_ended")):
            self.connections += 1
            try:
                await self._read_until_cut()
            except grpc.aio.AioRpcError as error:
                if error.code() not in CUT_CODES:
                    raise

    async def _read_until_cut(self) -> None:
        pieces: list[RunEvent] = []
        async with grpc.aio.insecure_channel(self.address, OWN_CONNECTION) as channel:
            responses: Any = self._open(RunServiceStub(channel))
            async for response in responses:
                for event in response.events:
                    self.run_id = self.run_id or event.run_id or event.run.run_id
                    pieces.append(event)
                    if event.HasField("part") and not event.part.last:
                        continue
                    self.events += [each for each in whole(pieces) if each.id]
                    pieces.clear()

    def _open(self, stub: RunServiceStub) -> Any:
        if not self.run_id:
            return stub.RunStream(self.request)
        after = self.events[-1].id if self.events else ""
        return stub.JoinRunStream(
            runs_pb2.JoinRunStreamRequest(run_id=self.run_id, after_event_id=after)
        )


def request_of(label: str, **run_input: int) -> runs_pb2.RunStreamRequest:
    spec = core_pb2.RunSpec(
        assistant_id="talks",
        input=Payload(json=json.dumps(run_input)),
        stream_modes=[core_pb2.STREAM_MODE_CUSTOM],
    )
    return runs_pb2.RunStreamRequest(spec=spec, request_id=label)


@pytest.mark.timeout(120)
async def test_what_arrives_over_many_cuts_is_the_log(server: ServerProcess) -> None:
    seed = int(os.environ.get("CUTS_SEED", random.randrange(10**6)))
    say(f"CUTS_SEED={seed}")
    chance = random.Random(seed)

    def bytes_of_a_life() -> int:
        # A message must get through before its reader gets on: now and then there is time for one
        # of the size that what is stored travels in.
        return chance.randint(1, 200_000 if chance.random() < 0.3 else 15_000)

    async with (
        break_network(server.address, bytes_of_a_life) as (often, _),
        break_network(server.address, lambda: chance.randint(1, 12_000_000)) as (seldom, _),
    ):
        readers = [
            Reader(often, request_of(f"small {number}", count=EVENTS, size=50, every=1))
            for number in range(STREAMS)
        ]
        readers += [
            Reader(seldom, request_of(f"large {number}", count=6, size=2_500_000))
            for number in range(2)
        ]
        await asyncio.gather(*(reader.read() for reader in readers))

    for reader in readers:
        log = whole(await read_log(server.address, reader.run_id))
        assert [event.id for event in reader.events] == [event.id for event in log]
        assert reader.events == log
        check_log(log, await get_run(server.address, reader.run_id))
    said = [sum(event.HasField("custom") for event in reader.events) for reader in readers]
    assert said == [EVENTS] * STREAMS + [6] * 2
    connections = sum(reader.connections for reader in readers)
    say(f"{len(readers)} streams over {connections} connections")
    assert connections > 3 * STREAMS
