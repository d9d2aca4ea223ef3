"""Callers that write down what they ask and what they are told, and never give up."""

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.events_pb2 import RunEvent
from runwire.v1.runs_pb2_grpc import RunServiceStub
from tests.chaos.history import History
from tests.support.callers import of_json
from tests.support.statuses import Failure

T = TypeVar("T")

PATIENCE_SECONDS = 600.0
"""How long a call is repeated: a server that dies over and over is away for most of that."""

CALL_SECONDS = 30.0
"""How long the answer to one try is waited for: a server that is halted never gives one."""

UNCLEAR = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN"})
"""What a caller is told, by its own end of the connection too, when nobody knows what became of
the call."""

OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)
"""A caller has a connection of its own, and is quick to make another."""


class Caller:
    """A caller at an address, which may lead to any server. `async with` it."""

    def __init__(self, history: History, name: str, address: str) -> None:
        self._history = history
        self.name = name
        self._address = address
        self._channel = grpc.aio.insecure_channel(address, OPTIONS)
        self._stub = RunServiceStub(self._channel)

    async def __aenter__(self) -> "Caller":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def create(
        self,
        label: str,
        ledger: str,
        *,
        thread: str = "",
        graph: str = "steps",
        steps: int = 6,
        seconds: float = 0.02,
        events: int = 1,
        gate: str = "",
        request: bool = True,
        expects: str = "SUCCEEDED",
        **spec: Any,
    ) -> core_pb2.Run:
        """Create a run that is called `label`, as often as it takes. `request`: with a request id,
        so that it is made once; without one it is only tried once."""
        run_input = {
            "label": label,
            "ledger": ledger,
            "steps": steps,
            "left": steps,
            "seconds": seconds,
            "events": events,
            "gate": gate,
        }
        sent = runs_pb2.CreateRunRequest(
            spec=core_pb2.RunSpec(
                assistant_id=graph,
                thread_id=thread,
                if_thread_missing=core_pb2.IF_THREAD_MISSING_CREATE if thread else 0,
                input=of_json(run_input),
                metadata=of_json({"label": label}),
                stream_modes=[core_pb2.STREAM_MODE_CUSTOM],
                **spec,
            ),
            request_id=label if request else "",
        )
        asked = {
            "label": label,
            "thread": thread,
            "request": sent.request_id,
            "steps": steps,
            "expects": expects,
        }
        response = await self._persist(
            "create",
            asked,
            lambda: self._stub.CreateRun(sent, timeout=CALL_SECONDS),
            lambda response: {"run": response.run.run_id, "replayed": response.replayed},
            tries=None if request else 1,
        )
        return response.run

    async def cancel(self, run_id: str, *, wait: bool = False) -> str:
        """Cancel a run; return the state that it is in then, or why that was refused."""
        sent = runs_pb2.CancelRunRequest(run_id=run_id, wait=wait)
        try:
            response = await self._persist(
                "cancel",
                {"run": run_id, "wait": wait},
                lambda: self._stub.CancelRun(sent, timeout=CALL_SECONDS),
                lambda response: {"run": run_id, "state": state_of(response.run)},
            )
        except grpc.aio.AioRpcError as error:
            return Failure(error).reason
        return state_of(response.run)

    async def join(self, run_id: str) -> core_pb2.Run:
        """Return a run once it has ended."""
        sent = runs_pb2.JoinRunRequest(run_id=run_id)
        response = await self._persist(
            "join",
            {"run": run_id},
            lambda: self._stub.JoinRun(sent, timeout=CALL_SECONDS),
            lambda response: {"run": run_id, "state": state_of(response.run)},
        )
        return response.run

    async def read(self, run_id: str) -> list[RunEvent]:
        """Read a run from its first event to its last, over as many connections as that takes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        events: list[RunEvent] = []
        while not (events and events[-1].HasField("run_ended")):
            after = events[-1].id if events else ""
            op = self._history.invoke("read", caller=self.name, run=run_id, after=after)
            try:
                await self._read_on(run_id, op, events)
            except grpc.aio.AioRpcError as error:
                self._fail(op, error)
                if error.code().name not in UNCLEAR or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                self._history.add("ok", op=op)
        return events

    async def _read_on(self, run_id: str, op: int, events: list[RunEvent]) -> None:
        after = events[-1].id if events else ""
        sent = runs_pb2.JoinRunStreamRequest(run_id=run_id, after_event_id=after)
        call: Any = self._stub.JoinRunStream(sent)
        try:
            async for response in call:
                new = [event for event in response.events if event.id]
                events += new
                self._history.add(
                    "read", op=op, reader=self.name, run=run_id, events=[*map(told, new)]
                )
        finally:
            call.cancel()

    async def _persist(
        self,
        name: str,
        asked: dict[str, Any],
        call: Callable[[], Awaitable[T]],
        answer: Callable[[T], dict[str, Any]],
        *,
        tries: int | None = None,
    ) -> T:
        """Make a call, again and again while nobody knows what became of it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            op = self._history.invoke(name, caller=self.name, **asked)
            try:
                response = await call()
            except grpc.aio.AioRpcError as error:
                self._fail(op, error)
                tries = None if tries is None else tries - 1
                is_over = tries == 0 or time.monotonic() > deadline
                if error.code().name not in UNCLEAR or is_over:
                    raise
                await asyncio.sleep(0.05)
            else:
                self._history.add("ok", op=op, **answer(response))
                return response

    def _fail(self, op: int, error: grpc.aio.AioRpcError) -> None:
        failure = Failure(error)
        self._history.add(
            "fail", op=op, code=failure.code, reason=failure.reason, message=failure.message
        )


def state_of(run: core_pb2.Run) -> str:
    """Return a run's state by its short name."""
    return core_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_")


def told(event: RunEvent) -> list[str]:
    """Return what a history says of an event: its id, its kind, and the checksum of it all."""
    kind = event.WhichOneof("event") or ""
    if event.HasField("run_ended"):
        state = core_pb2.RunState.Name(event.run_ended.state).removeprefix("RUN_STATE_")
        kind = f"run_ended:{state}"
    return [event.id, kind, f"{zlib.crc32(event.SerializeToString(deterministic=True)):08x}"]
