"""A server on a real socket that does what a test tells it: its runs are scripts, and its
connections break where the test wants them to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import (  # type: ignore[import-untyped]  # has no stubs
    code_pb2,
    error_details_pb2,
    status_pb2,
)
from grpc_status import rpc_status

from runwire.client import Reconnect, RunwireClient, get_client
from runwire.v1 import core_pb2, events_pb2, payload_pb2, runs_pb2, runs_pb2_grpc

RUN_ID = "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
THREAD_ID = "0192f0c2-11aa-7e3b-9c4d-5e6f7a8b9c0d"

QUICK = Reconnect(first_pause=0.01, longest_pause=0.05, give_up_after=5)

Context = grpc.aio.ServicerContext[Any, Any]


def json_payload(text: str) -> payload_pb2.Payload:
    """Return JSON text as it travels."""
    return payload_pb2.Payload(json=text)


def event(event_id: str = "", **content: Any) -> events_pb2.RunEvent:
    """Return an event of the scripted run."""
    return events_pb2.RunEvent(id=event_id, run_id=RUN_ID, **content)


def custom(event_id: str, text: str) -> events_pb2.RunEvent:
    """Return an event with JSON text in it."""
    return event(event_id, custom=events_pb2.CustomEvent(data=json_payload(text)))


def started(attempt: int) -> events_pb2.RunEvent:
    """Return the first event of an attempt."""
    begun = events_pb2.AttemptStarted(attempt=attempt, resumed_from_checkpoint=attempt > 1)
    return event(f"{attempt}-1", attempt_started=begun)


def ended(
    event_id: str, state: core_pb2.RunState = core_pb2.RUN_STATE_SUCCEEDED, **more: Any
) -> events_pb2.RunEvent:
    """Return the last event of the run."""
    return event(event_id, run_ended=events_pb2.RunEnded(state=state, **more))


def in_parts(whole: events_pb2.RunEvent, size: int) -> list[events_pb2.RunEvent]:
    """Return an event as the pieces that a large one travels in."""
    data = whole.SerializeToString()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [
        event(whole.id, part=events_pb2.EventPart(data=piece, last=number == len(pieces)))
        for number, piece in enumerate(pieces, start=1)
    ]


def failure(
    code: grpc.StatusCode, reason: str, message: str, *details: Any, **metadata: str
) -> Any:
    """Return a status as a Runwire server gives it."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="runwire.dev", metadata=metadata)
    packed = [AnyMessage() for _ in (info, *details)]
    for target, detail in zip(packed, (info, *details), strict=True):
        target.Pack(detail)
    number = code_pb2.Code.Value(code.name)
    return rpc_status.to_status(status_pb2.Status(code=number, message=message, details=packed))


DRAINING = failure(grpc.StatusCode.UNAVAILABLE, "DRAINING", "this server is shutting down")

Cut = Callable[[Context], Any]


async def drain(context: Context) -> None:
    """End a call as a server that shuts down does."""
    await context.abort_with_status(DRAINING)


class ScriptedRuns(runs_pb2_grpc.RunServiceServicer):
    """One run whose log is `log`. `cuts` says how the connections to its stream break: the first
    one after as many events as its number says, and so on; when there are no more, none breaks.
    `cut_at_end` is how they break behind the last event of the log.

    `place` is the event after which everything is new. `calls` are the requests that came, in
    order.
    """

    place = ""

    def __init__(
        self,
        log: Sequence[events_pb2.RunEvent] = (),
        cuts: Iterable[int] = (),
        cut: Cut = drain,
        cut_at_end: Cut | None = None,
    ) -> None:
        self.log = log
        self.cuts = iter(cuts)
        self.cut = cut
        self.cut_at_end = cut_at_end
        self.calls: list[Any] = []
        self.answers: list[Any] = []
        self.answered = 0
        self.run = core_pb2.Run(
            run_id=RUN_ID, thread_id=THREAD_ID, state=core_pb2.RUN_STATE_RUNNING, attempt=1
        )

    async def RunStream(
        self, request: runs_pb2.RunStreamRequest, context: Context
    ) -> AsyncIterator[runs_pb2.RunStreamResponse]:
        self.calls.append(request)
        async for response in self._stream(0, context):
            yield response

    async def JoinRunStream(
        self, request: runs_pb2.JoinRunStreamRequest, context: Context
    ) -> AsyncIterator[runs_pb2.JoinRunStreamResponse]:
        self.calls.append(request)
        ids = [entry.id for entry in self.log]
        place = self.place if request.live_only else ""
        after = request.after_event_id or place
        start = len(ids) - ids[::-1].index(after) if after else 0
        async for response in self._stream(start, context, place):
            yield runs_pb2.JoinRunStreamResponse(events=response.events)

    async def _stream(
        self, start: int, context: Context, place: str = ""
    ) -> AsyncIterator[runs_pb2.RunStreamResponse]:
        left = next(self.cuts, None)
        if left == 0:
            await self.cut(context)
        yield runs_pb2.RunStreamResponse(events=[event(place, run=self.run)])
        for entry in self.log[start:]:
            if left is not None:
                left -= 1
                if left <= 0:
                    await self.cut(context)
            yield runs_pb2.RunStreamResponse(events=[entry])
        if self.cut_at_end is not None:
            await self.cut_at_end(context)

    async def _answer(self, request: Any, context: Context) -> Any:
        """Give the next of `answers`, the last one for ever; a status among them is a failure."""
        self.calls.append(request)
        answer = self.answers[min(self.answered, len(self.answers) - 1)]
        self.answered += 1
        if isinstance(answer, grpc.Status):
            await context.abort_with_status(answer)
        return answer

    CreateRun = BatchCreateRuns = RunWait = JoinRun = GetRun = ListRuns = _answer
    CancelRun = CancelRuns = DeleteRun = _answer


@asynccontextmanager
async def serve(
    servicer: ScriptedRuns,
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    options: Sequence[tuple[str, Any]] = (),
) -> AsyncIterator[str]:
    """Give the address at which `servicer` is to be called."""
    server = grpc.aio.server(options=options)
    runs_pb2_grpc.add_RunServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    try:
        yield f"{host}:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def client_of(servicer: ScriptedRuns, **settings: Any) -> AsyncIterator[RunwireClient]:
    """Give a client of a scripted server, in a hurry when it loses it."""
    async with (
        serve(servicer) as address,
        get_client(address, **{"reconnect": QUICK, **settings}) as client,
    ):
        yield client


async def break_off(context: Context) -> None:
    """End a call as a proxy does that knows nothing of Runwire: without a word."""
    await context.abort(grpc.StatusCode.UNAVAILABLE, "upstream reset")


async def hang(context: Context) -> None:
    """Say nothing any more."""
    await asyncio.Event().wait()
