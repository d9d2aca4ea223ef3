"""The service of runs: converts, calls, converts back."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from functools import partial

from runwire.server.core.cancels import CancelResult
from runwire.server.core.run_changes import RunChanges
from runwire.server.core.runs import Created, Runs
from runwire.server.model.events import EventId, LogEntry
from runwire.server.model.runs import Run
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.rpc import run_requests as read
from runwire.server.rpc.calls import Context, send_metadata, wants_values
from runwire.server.rpc.disconnects import Disconnects
from runwire.server.rpc.events import encode_heartbeat, snapshot_event
from runwire.server.rpc.frames import pack
from runwire.server.rpc.payloads import of_optional
from runwire.server.rpc.principals import current_principal
from runwire.server.rpc.read_masks import masked
from runwire.server.rpc.requests import read_request
from runwire.server.rpc.resources import (
    full_run_message,
    interrupt_messages,
    position_message,
    run_message,
)
from runwire.server.rpc.run_changes import write_changes
from runwire.server.rpc.selection import Selection
from runwire.server.rpc.streams import HEARTBEAT, EventStream
from runwire.server.rpc.surroundings import surrounded
from runwire.v1 import runs_pb2 as wire
from runwire.v1 import runs_pb2_grpc

QUICK_SECONDS = 0.1
"""A run that ends sooner is not announced to who waits for it: a message of its own for that would
be a tenth of what such a run costs."""


class RunServicer(runs_pb2_grpc.RunServiceServicer):
    """Answers for `runwire.v1.RunService`."""

    def __init__(
        self,
        runs: Runs,
        changes: RunChanges,
        disconnects: Disconnects,
        *,
        webhooks: UrlPolicy,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        """`heartbeat` is how long a stream may be silent, `webhooks` which of them are taken."""
        self._runs = runs
        self._read_start = partial(read.read_start, webhooks=webhooks)
        self._read_batch = partial(read.read_batch, webhooks=webhooks)
        self._changes = changes
        self._disconnects = disconnects
        self._silence = heartbeat.total_seconds()

    async def CreateRun(
        self, request: wire.CreateRunRequest, context: Context
    ) -> wire.CreateRunResponse:
        """Create a run."""
        start = await read_request(request, self._read_start)
        specs = surrounded(start.specs, context)
        created = await self._runs.create(specs, start.key, current_principal())
        return wire.CreateRunResponse(run=run_message(created.runs[0]), replayed=created.replayed)

    async def BatchCreateRuns(
        self, request: wire.BatchCreateRunsRequest, context: Context
    ) -> wire.BatchCreateRunsResponse:
        """Create many runs."""
        start = await read_request(request, self._read_batch)
        specs = surrounded(start.specs, context)
        created = await self._runs.create(specs, start.key, current_principal())
        return wire.BatchCreateRunsResponse(
            runs=[run_message(run) for run in created.runs], replayed=created.replayed
        )

    async def RunStream(  # type: ignore[override]  # writes to its call itself
        self, request: wire.RunStreamRequest, context: Context
    ) -> None:
        """Create a run and stream its events."""
        start = await read_request(request, self._read_start)
        specs = surrounded(start.specs, context, awaited=True)
        creation = self._runs.begin(specs, start.key, current_principal())
        with self._disconnects.watching(creation, start.specs[0].on_disconnect) as creating:
            created = await creating
            run = created.runs[0]
            await _tell_run(context, run, replayed=created.replayed)
            events = self._runs.follow(run.run_id, after=None)
            await self._stream(context, run, events, Selection(as_values=wants_values(context)))

    async def RunWait(self, request: wire.RunWaitRequest, context: Context) -> wire.RunWaitResponse:
        """Create a run and wait for its end."""
        start = await read_request(request, self._read_start)
        specs = surrounded(start.specs, context, awaited=True)
        creation = self._runs.begin(specs, start.key, current_principal())
        with self._disconnects.watching(creation, start.specs[0].on_disconnect) as creating:
            created = await creating
            run = await self._wait(context, created)
        return wire.RunWaitResponse(
            run=run_message(run),
            output=of_optional(run.output),
            interrupts=interrupt_messages(run.interrupts),
            replayed=created.replayed,
        )

    async def _wait(self, context: Context, created: Created) -> Run:
        """Wait for a run's end; tell who waits for long which run it is."""
        run = created.runs[0]
        try:
            async with asyncio.timeout(QUICK_SECONDS):
                return await self._runs.wait(run.run_id)
        except TimeoutError:
            await _tell_run(context, run, replayed=created.replayed)
            return await self._runs.wait(run.run_id)

    async def JoinRunStream(  # type: ignore[override]  # writes to its call itself
        self, request: wire.JoinRunStreamRequest, context: Context
    ) -> None:
        """Stream the events of a run that exists."""
        join = await read_request(request, read.read_join)
        run = await self._runs.get(join.run_id)
        with self._disconnects.watching_join(run, join.on_disconnect):
            # Found out before the snapshot is sent: what follows that is not left out.
            place = await self._runs.place(run.run_id) if join.live_only else None
            events = self._runs.follow(run.run_id, after=place or join.after)
            selection = Selection(join.modes, as_values=wants_values(context))
            await self._stream(context, run, events, selection, place)

    async def JoinRun(self, request: wire.JoinRunRequest, context: Context) -> wire.JoinRunResponse:
        """Wait for the end of a run that exists."""
        run = await self._runs.wait(await read_request(request, read.read_id))
        return wire.JoinRunResponse(
            run=run_message(run),
            output=of_optional(run.output),
            interrupts=interrupt_messages(run.interrupts),
        )

    async def GetRun(self, request: wire.GetRunRequest, context: Context) -> wire.GetRunResponse:
        """Return a run with what it was asked to do."""
        run, position = await self._runs.look(await read_request(request, read.read_id))
        message = full_run_message(run)
        if position is not None:
            message.queue_position.CopyFrom(position_message(position))
        return wire.GetRunResponse(run=message)

    async def ListRuns(
        self, request: wire.ListRunsRequest, context: Context
    ) -> wire.ListRunsResponse:
        """Return a page of runs."""
        query = await read_request(request, read.read_query)
        page = await self._runs.list(
            query.wanted,
            query.order,
            limit=query.page.limit,
            cursor=query.page.cursor,
            count_total=request.count_total,
        )
        show = full_run_message if query.with_spec else run_message
        return wire.ListRunsResponse(
            runs=[masked(show(run), query.mask) for run in page.items],
            next_page_token=query.page.next_token(page.next),
            total_size=page.total,
        )

    async def DeleteRun(
        self, request: wire.DeleteRunRequest, context: Context
    ) -> wire.DeleteRunResponse:
        """Delete the record of a run."""
        await self._runs.delete(await read_request(request, read.read_id))
        return wire.DeleteRunResponse()

    async def CancelRun(
        self, request: wire.CancelRunRequest, context: Context
    ) -> wire.CancelRunResponse:
        """Cancel a run."""
        run_id, action = await read_request(request, read.read_cancel)
        run = await self._runs.cancel(run_id, action, wait=request.wait)
        return wire.CancelRunResponse(run=run_message(run))

    async def CancelRuns(
        self, request: wire.CancelRunsRequest, context: Context
    ) -> wire.CancelRunsResponse:
        """Cancel many runs."""
        cancellation = await read_request(request, read.read_cancellation)
        page = await self._runs.cancel_some(
            cancellation.wanted,
            cancellation.action,
            wait=request.wait,
            limit=cancellation.page.limit,
            cursor=cancellation.page.cursor,
        )
        return wire.CancelRunsResponse(
            results=[_result_message(result) for result in page.items],
            next_page_token=cancellation.page.next_token(page.next),
        )

    async def WatchRuns(  # type: ignore[override]  # writes to its call itself
        self, request: wire.WatchRunsRequest, context: Context
    ) -> None:
        """Stream the changes of runs."""
        watch = await read_request(request, read.read_watch)
        told = self._changes.watch(watch.wanted, watch.place, unfinished=watch.unfinished)
        await write_changes(context, told, self._silence)

    async def _stream(
        self,
        context: Context,
        run: Run,
        events: AsyncGenerator[list[LogEntry], None],
        selection: Selection,
        place: EventId | None = None,
    ) -> None:
        """Write a snapshot of a run, then its events. `place` is where they begin if that is not
        where the caller said, so that it can come back to it."""
        # A cancelled call lets go of the run's log here and now.
        closing = aclosing(events)
        heartbeat = partial(encode_heartbeat, run.run_id)
        async with EventStream(context, heartbeat, self._silence) as stream, closing:
            position = await self._runs.position(run)
            await stream.write(selection.encode(snapshot_event(run, position, place)))
            async for entries in events:
                for message in pack(selection.apply([entry.data for entry in entries])):
                    await stream.write(message)


async def _tell_run(context: Context, run: Run, *, replayed: bool) -> None:
    """Send a call's initial metadata: who loses the call before its first message can still find
    the run."""
    metadata = [("runwire-run-id", run.run_id), ("runwire-replayed", str(replayed).lower())]
    if run.thread_id:
        metadata.append(("runwire-thread-id", run.thread_id))
    await send_metadata(context, metadata)


def _result_message(result: CancelResult) -> wire.CancelRunResult:
    if result.error is None:
        run = run_message(result.run) if result.run else None
        return wire.CancelRunResult(run_id=result.run_id, run=run)
    return wire.CancelRunResult(
        run_id=result.run_id,
        reason=f"ERROR_REASON_{result.error.reason}",
        message=result.error.message,
    )
