"""Starting runs: in the background, and with somebody who follows or waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from runwire.client.arguments import choice, new_request_id, refuse
from runwire.client.convert import run_of
from runwire.client.errors import NotFoundError
from runwire.client.following import join_run, output_of, stream_parts
from runwire.client.nodes import Node, NodeParts, calling_node
from runwire.client.parts import Parts
from runwire.client.reconnect import persist
from runwire.client.specs import (
    AttendedRunOptions,
    RunOptions,
    StreamedRunOptions,
    build_command,
    build_spec,
)
from runwire.client.streams import RunEvents
from runwire.v1 import runs_pb2, threads_pb2

if TYPE_CHECKING:
    from langgraph_sdk import schema as sdk

    from runwire.client.channel import Connection
    from runwire.client.schema import Run, StreamPart
    from runwire.v1 import core_pb2

    OnRunCreated = Callable[[sdk.RunCreateMetadata], None]


class RunStarts:
    """The methods of `RunsClient` that start runs.

    `request_id` makes a call repeatable: with the same id and the same arguments it answers with
    the same runs; the client makes one for its own retries.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @overload
    def stream(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        on_run_created: OnRunCreated | None = None,
        request_id: str | None = None,
        version: Literal["v1"] = "v1",
        **options: Unpack[StreamedRunOptions],
    ) -> AsyncIterator[StreamPart]: ...

    @overload
    def stream(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        on_run_created: OnRunCreated | None = None,
        request_id: str | None = None,
        version: Literal["v2"],
        **options: Unpack[StreamedRunOptions],
    ) -> AsyncIterator[dict[str, Any]]: ...

    def stream(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        on_run_created: OnRunCreated | None = None,
        request_id: str | None = None,
        version: Literal["v1", "v2"] = "v1",
        **options: Unpack[StreamedRunOptions],
    ) -> AsyncIterator[StreamPart] | AsyncIterator[dict[str, Any]]:
        """Start a run, stateless if `thread_id` is None, and give the parts of its stream.

        The first part is `metadata`, which comes at once and names the run; another one comes with
        each further attempt, if a server dies. Then come parts of the kinds in `stream_mode`
        ("values" by default), and `end` with the run's final status, or `error` if it failed. A
        lost connection is made good: no part is lost or repeated. See `RunOptions` for the
        arguments, and the contract of RunStream for the errors.
        """
        refuse(params=params)
        choice("version", version, {"v1": 1, "v2": 2})
        modes = options.get("stream_mode") or "values"
        node = calling_node()
        parts = Parts(modes) if node is None else NodeParts(modes)
        request = runs_pb2.RunStreamRequest(
            spec=build_spec(thread_id, assistant_id, options, StreamedRunOptions),
            request_id=request_id or new_request_id(),
        )
        headers = self._connection.starting(headers, awaited=True)

        def on_run(run: core_pb2.Run) -> None:
            _tell(on_run_created, run)

        stream = partial(stream_parts, parts=parts, on_run=on_run, version=version)
        if node is None or not node.stands_in(options.get("config")):
            return stream(RunEvents(self._connection, request, headers))
        return self._stream_on(node, request, headers, stream)

    async def _stream_on(
        self,
        node: Node,
        request: runs_pb2.RunStreamRequest,
        headers: Mapping[str, str] | None,
        stream: Callable[[RunEvents], AsyncGenerator[Any, None]],
    ) -> AsyncGenerator[Any, None]:
        """Stream a run in the place of a node that goes on after a question. If the run's thread
        waits at one, that is where it goes on, with the answer that the node's run was given."""
        waiting = await self._questions(request.spec.thread_id, headers)
        if waiting and not request.spec.HasField("command"):
            request.spec.ClearField("input")
            if (answer := node.answers_to(waiting)) is not None:
                request.spec.command.CopyFrom(build_command({"resume": answer}))
        async with aclosing(stream(RunEvents(self._connection, request, headers))) as parts:
            async for part in parts:
                yield part

    async def _questions(self, thread_id: str, headers: Mapping[str, str] | None) -> list[str]:
        if not thread_id:
            return []
        request = threads_pb2.GetThreadRequest(thread_id=thread_id)
        try:
            response = await self._connection.call(
                self._connection.services.threads.GetThread, request, headers
            )
        except NotFoundError:
            return []
        return [interrupt.interrupt_id for interrupt in response.thread.interrupts]

    async def create(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        on_run_created: OnRunCreated | None = None,
        request_id: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Start a run in the background, stateless if `thread_id` is None, and return it.

        Raises `NotFoundError`, `ConflictError` if the thread is busy and `multitask_strategy` is
        "reject", `ResourceExhaustedError` if too many runs wait.
        """
        refuse(params=params)
        request = runs_pb2.CreateRunRequest(
            spec=build_spec(thread_id, assistant_id, options),
            request_id=request_id or new_request_id(),
        )
        response = await self._connection.call(
            self._connection.services.runs.CreateRun, request, self._connection.starting(headers)
        )
        _tell(on_run_created, response.run)
        return run_of(response.run)

    async def create_batch(
        self,
        payloads: Sequence[Mapping[str, Any]],
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        request_id: str | None = None,
    ) -> list[Run]:
        """Start up to 100 runs in the background, all or none, and return them in order.

        A payload holds `assistant_id`, `thread_id` unless the run is stateless, and what `create`
        takes besides. Raises what `create` does.
        """
        refuse(params=params)
        specs = []
        for run in payloads:
            options: dict[str, Any] = {**run}
            thread_id, assistant_id = options.pop("thread_id", None), options.pop("assistant_id")
            specs.append(build_spec(thread_id, assistant_id, options))
        request = runs_pb2.BatchCreateRunsRequest(
            specs=specs, request_id=request_id or new_request_id()
        )
        headers = self._connection.starting(headers)
        response = await self._connection.call(
            self._connection.services.runs.BatchCreateRuns, request, headers
        )
        return [run_of(run) for run in response.runs]

    async def wait(
        self,
        thread_id: str | None,
        assistant_id: str,
        *,
        raise_error: bool = True,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        on_run_created: OnRunCreated | None = None,
        request_id: str | None = None,
        **options: Unpack[AttendedRunOptions],
    ) -> Any:
        """Start a run, stateless if `thread_id` is None, and return its output when it has ended.

        Open interrupts are in it as `__interrupt__`. With `raise_error`, a run that failed or timed
        out raises `RunFailedError`, a cancelled one `RunCancelledError`; without, the first two
        give `{"__error__": …}`, the last one what it had come to. Outlives a lost connection. See
        `RunOptions` for the arguments.
        """
        refuse(params=params)
        request = runs_pb2.RunWaitRequest(
            spec=build_spec(thread_id, assistant_id, options, AttendedRunOptions),
            request_id=request_id or new_request_id(),
        )
        headers = self._connection.starting(headers, awaited=True)
        if on_run_created is not None:
            return await self._announce_and_wait(request, headers, on_run_created, raise_error)
        response = await persist(
            self._connection,
            lambda: self._connection.call(
                self._connection.services.runs.RunWait, request, headers, waits=True
            ),
        )
        return output_of(response, raise_error=raise_error)

    async def _announce_and_wait(
        self,
        request: runs_pb2.RunWaitRequest,
        headers: Mapping[str, str] | None,
        on_run_created: OnRunCreated,
        raise_error: bool,
    ) -> Any:
        # RunWait names its run only when that has ended; a stream names it at once.
        stream = runs_pb2.RunStreamRequest(spec=request.spec, request_id=request.request_id)
        run_id = ""
        async with aclosing(RunEvents(self._connection, stream, headers).read()) as events:
            async for event in events:
                if event.HasField("run"):
                    run_id = event.run.run_id
                    _tell(on_run_created, event.run)
        return output_of(await join_run(self._connection, run_id, headers), raise_error=raise_error)


def _tell(on_run_created: OnRunCreated | None, run: core_pb2.Run) -> None:
    if on_run_created is not None:
        on_run_created({"run_id": run.run_id, "thread_id": run.thread_id or None})
