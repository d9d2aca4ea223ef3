"""What following a run and waiting for its end come down to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from runwire.client.convert import failure_of, run_of, value_of
from runwire.client.errors import RunCancelledError, RunFailedError, RunNotFoundError
from runwire.client.parts import Parts, as_v2, with_interrupts
from runwire.client.reasons import ErrorReason
from runwire.client.reconnect import persist
from runwire.v1 import core_pb2, runs_pb2

if TYPE_CHECKING:
    from runwire.client.channel import Connection
    from runwire.client.streams import RunEvents


async def stream_parts(
    events: RunEvents,
    parts: Parts,
    on_run: Callable[[core_pb2.Run], None],
    version: str,
) -> AsyncGenerator[Any, None]:
    """Give a run's events as `parts` makes them, in one of the two forms that langgraph_sdk has.

    `on_run` is told what the run is before the first part.
    """
    async with aclosing(events.read()) as read:
        async for event in read:
            if event.HasField("run"):
                on_run(event.run)
            for part in parts.of(event):
                if version == "v1":
                    yield part
                elif (shaped := as_v2(part)) is not None:
                    yield shaped


async def join_run(
    connection: Connection, run_id: str, headers: Mapping[str, str] | None
) -> runs_pb2.JoinRunResponse:
    """Return a run when it has ended. Raises `NotFoundError`."""
    request = runs_pb2.JoinRunRequest(run_id=run_id)
    return await persist(
        connection,
        lambda: connection.call(connection.services.runs.JoinRun, request, headers, waits=True),
    )


def output_of(
    response: runs_pb2.RunWaitResponse | runs_pb2.JoinRunResponse, *, raise_error: bool
) -> Any:
    """Return the output of a run that has ended, with its open interrupts as `__interrupt__`.

    If it failed: why, as `__error__`. With `raise_error`, raises `RunFailedError` for such a run
    and `RunCancelledError` for a cancelled one.
    """
    run = response.run
    if run.HasField("error"):
        if raise_error:
            raise RunFailedError(f"{run.error.type}: {run.error.message}", run_of(run))
        return {"__error__": failure_of(run.error)}
    if raise_error and run.state == core_pb2.RUN_STATE_CANCELLED:
        raise RunCancelledError(run_of(run))
    return with_interrupts(value_of(response.output), response.interrupts)


def check_thread(run: core_pb2.Run, thread_id: str | None) -> None:
    """Raise `RunNotFoundError` if the run is not on the thread that its caller takes it for."""
    if thread_id is not None and thread_id != run.thread_id:
        raise RunNotFoundError(
            f"thread {thread_id} has no run {run.run_id}",
            code="NOT_FOUND",
            reason=ErrorReason.RUN_NOT_FOUND,
            metadata={"run_id": run.run_id, "thread_id": thread_id},
        )
