"""The service of threads: converts, calls, converts back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from runwire.server.core.prunes import PruneResult
from runwire.server.core.states import States
from runwire.server.core.thread_streams import ThreadStreams, Told
from runwire.server.core.threads import Threads
from runwire.server.model.extraction import ValuePath, parse_path
from runwire.server.model.requests import Order, RequestKey
from runwire.server.model.threads import PruneStrategy, Superstep, ThreadTtl
from runwire.server.rpc import enums
from runwire.server.rpc.calls import Context, wants_values
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.json_limits import shown_path
from runwire.server.rpc.paging import PageRequest, read_page
from runwire.server.rpc.read_masks import masked, read_mask, shows
from runwire.server.rpc.requests import read_key, read_request
from runwire.server.rpc.resources import (
    checkpoint_message,
    state_message,
    storage_message,
    thread_message,
)
from runwire.server.rpc.states import read_place, read_states_query, read_update
from runwire.server.rpc.streams import HEARTBEAT, EventStream
from runwire.server.rpc.supersteps import read_supersteps
from runwire.server.rpc.thread_streams import ThreadMessages, read_stream
from runwire.server.storage.threads import ThreadFilter
from runwire.v1 import threads_pb2 as wire
from runwire.v1 import threads_pb2_grpc

MAX_IDS = 500

MAX_PATHS = 10
NAME_CHARACTERS = 64
PATH_CHARACTERS = 256
"""What may be extracted from threads."""


class ThreadServicer(threads_pb2_grpc.ThreadServiceServicer):
    """Answers for `runwire.v1.ThreadService`."""

    def __init__(
        self,
        threads: Threads,
        states: States,
        streams: ThreadStreams,
        *,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        self._threads = threads
        self._states = states
        self._streams = streams
        self._silence = heartbeat.total_seconds()

    async def CreateThread(
        self, request: wire.CreateThreadRequest, context: Context
    ) -> wire.CreateThreadResponse:
        """Create a thread, or return one that exists."""
        draft = await read_request(request, _read_draft)
        thread, _ = await self._threads.create(
            draft.thread_id,
            draft.metadata,
            return_existing=draft.return_existing,
            request=draft.key,
            ttl=draft.ttl,
            supersteps=draft.supersteps,
            assistant_id=draft.assistant_id,
        )
        return wire.CreateThreadResponse(thread=thread_message(thread))

    async def GetThread(
        self, request: wire.GetThreadRequest, context: Context
    ) -> wire.GetThreadResponse:
        """Return a thread."""
        thread = await self._threads.get(await read_request(request, _read_id))
        return wire.GetThreadResponse(thread=thread_message(thread))

    async def ListThreads(
        self, request: wire.ListThreadsRequest, context: Context
    ) -> wire.ListThreadsResponse:
        """Return a page of threads."""
        query = await read_request(request, _read_query)
        page = await self._threads.list(
            query.wanted,
            query.order,
            limit=query.page.limit,
            cursor=query.page.cursor,
            paths=query.paths,
            with_values=shows(query.mask, "values"),
            count_total=request.count_total,
        )
        return wire.ListThreadsResponse(
            threads=[masked(thread_message(thread), query.mask) for thread in page.items],
            next_page_token=query.page.next_token(page.next),
            total_size=page.total,
        )

    async def UpdateThread(
        self, request: wire.UpdateThreadRequest, context: Context
    ) -> wire.UpdateThreadResponse:
        """Change a thread's metadata, or its TTL."""
        change = await read_request(request, _read_change)
        thread = await self._threads.update(change.thread_id, change.metadata, change.ttl)
        return wire.UpdateThreadResponse(thread=thread_message(thread))

    async def DeleteThread(
        self, request: wire.DeleteThreadRequest, context: Context
    ) -> wire.DeleteThreadResponse:
        """Delete a thread."""
        thread_id = await read_request(request, _read_id)
        await self._threads.delete(thread_id, cancel_runs=request.cancel_runs)
        return wire.DeleteThreadResponse()

    async def CopyThread(
        self, request: wire.CopyThreadRequest, context: Context
    ) -> wire.CopyThreadResponse:
        """Copy a thread with its history."""
        wanted = await read_request(request, _read_copy)
        thread = await self._threads.copy(
            wanted.thread_id, wanted.new_thread_id, request=wanted.key
        )
        return wire.CopyThreadResponse(thread=thread_message(thread))

    async def PruneThreads(
        self, request: wire.PruneThreadsRequest, context: Context
    ) -> wire.PruneThreadsResponse:
        """Delete threads, or their histories."""
        thread_ids, strategy = await read_request(request, _read_prune)
        results = await self._threads.prune(thread_ids, strategy)
        return wire.PruneThreadsResponse(results=[_prune_message(result) for result in results])

    async def GetThreadState(
        self, request: wire.GetThreadStateRequest, context: Context
    ) -> wire.GetThreadStateResponse:
        """Return the state of a thread."""
        wanted = await read_request(request, read_place)
        state = await self._states.get(
            wanted.thread_id, wanted.checkpoint, include_subgraphs=request.include_subgraphs
        )
        message = state_message(wanted.thread_id, state)
        return wire.GetThreadStateResponse(state=masked(message, wanted.mask))

    async def UpdateThreadState(
        self, request: wire.UpdateThreadStateRequest, context: Context
    ) -> wire.UpdateThreadStateResponse:
        """Add a checkpoint to a thread."""
        update = await read_request(request, read_update)
        made = await self._states.update(
            update.thread_id,
            update.values,
            as_node=request.as_node,
            checkpoint=update.checkpoint,
            assistant_id=request.assistant_id,
        )
        return wire.UpdateThreadStateResponse(checkpoint=checkpoint_message(update.thread_id, made))

    async def ListThreadStates(
        self, request: wire.ListThreadStatesRequest, context: Context
    ) -> wire.ListThreadStatesResponse:
        """Return a page of a thread's states."""
        query = await read_request(request, read_states_query)
        page = await self._states.list(
            query.thread_id,
            checkpoint=query.checkpoint,
            before=query.before,
            metadata=query.metadata,
            limit=query.page.limit,
            cursor=query.page.cursor,
        )
        return wire.ListThreadStatesResponse(
            states=[
                masked(state_message(query.thread_id, state), query.mask) for state in page.items
            ],
            next_page_token=query.page.next_token(page.next),
        )

    async def ThreadStream(  # type: ignore[override]  # writes to its call itself
        self, request: wire.ThreadStreamRequest, context: Context
    ) -> None:
        """Stream what happens on a thread."""
        query = await read_request(request, read_stream)
        messages = ThreadMessages(query, as_values=wants_values(context))
        async with EventStream(context, messages.heartbeat, self._silence) as stream:

            async def tell(told: Told) -> None:
                for message in messages.of(told):
                    await stream.write(message)

            await self._streams.follow(
                query.thread_id, query.modes, query.place, tell, live_only=request.live_only
            )

    async def GetThreadStorage(
        self, request: wire.GetThreadStorageRequest, context: Context
    ) -> wire.GetThreadStorageResponse:
        """Return what a thread takes up."""
        storage = await self._threads.get_storage(await read_request(request, _read_id))
        return wire.GetThreadStorageResponse(storage=storage_message(storage))


@dataclass(frozen=True, slots=True)
class _Draft:
    thread_id: str | None
    metadata: dict[str, Any]
    return_existing: bool
    key: RequestKey | None
    ttl: ThreadTtl | None
    supersteps: Sequence[Superstep]
    assistant_id: str


@dataclass(frozen=True, slots=True)
class _Change:
    thread_id: str
    metadata: dict[str, Any]
    ttl: ThreadTtl | None


@dataclass(frozen=True, slots=True)
class _Copy:
    thread_id: str
    new_thread_id: str | None
    key: RequestKey | None


@dataclass(frozen=True, slots=True)
class _Query:
    wanted: ThreadFilter
    order: Order
    page: PageRequest
    paths: dict[str, ValuePath]
    mask: FieldMask | None


def _read_draft(request: wire.CreateThreadRequest, fields: Fields) -> _Draft:
    if_exists = fields.word("if_exists", request.if_exists, enums.IF_EXISTS, enums.IfExists.FAIL)
    metadata = fields.metadata("metadata", request.metadata)
    return _Draft(
        thread_id=fields.optional_id("thread_id", request.thread_id),
        metadata=metadata,
        return_existing=if_exists is enums.IfExists.RETURN_EXISTING,
        key=read_key("ThreadService/CreateThread", request, fields),
        ttl=_read_ttl(request, fields),
        supersteps=read_supersteps(request.supersteps, fields),
        assistant_id=_read_assistant(request, metadata, fields),
    )


def _read_assistant(
    request: wire.CreateThreadRequest, metadata: dict[str, Any], fields: Fields
) -> str:
    if not request.supersteps:
        if request.assistant_id:
            fields.refuse("assistant_id", "must be empty without supersteps")
        return ""
    made_for = metadata.get("graph_id")
    named = request.assistant_id or (made_for if isinstance(made_for, str) else "")
    return fields.assistant("assistant_id", named)


def _read_ttl(
    request: wire.CreateThreadRequest | wire.UpdateThreadRequest, fields: Fields
) -> ThreadTtl | None:
    if not request.HasField("ttl"):
        return None
    duration = fields.duration("ttl.duration", request.ttl.duration)
    strategy = fields.word(
        "ttl.strategy", request.ttl.strategy, enums.PRUNE_STRATEGIES, PruneStrategy.DELETE
    )
    if request.ttl.strategy and not request.ttl.HasField("duration"):
        fields.refuse("ttl.duration", "is required with ttl.strategy")
    return ThreadTtl(duration, strategy)


def _read_id(
    request: (wire.GetThreadRequest | wire.DeleteThreadRequest | wire.GetThreadStorageRequest),
    fields: Fields,
) -> str:
    return fields.required_id("thread_id", request.thread_id)


def _read_copy(request: wire.CopyThreadRequest, fields: Fields) -> _Copy:
    return _Copy(
        thread_id=fields.required_id("thread_id", request.thread_id),
        new_thread_id=fields.optional_id("new_thread_id", request.new_thread_id),
        key=read_key("ThreadService/CopyThread", request, fields),
    )


def _read_prune(
    request: wire.PruneThreadsRequest, fields: Fields
) -> tuple[list[str], PruneStrategy]:
    if not request.thread_ids:
        fields.refuse("thread_ids", "is required")
    thread_ids = fields.ids("thread_ids", request.thread_ids, at_most=MAX_IDS)
    strategy = fields.word(
        "strategy", request.strategy, enums.PRUNE_STRATEGIES, PruneStrategy.DELETE
    )
    return thread_ids, strategy


def _prune_message(result: PruneResult) -> wire.PruneThreadResult:
    if result.error is None:
        return wire.PruneThreadResult(thread_id=result.thread_id)
    return wire.PruneThreadResult(
        thread_id=result.thread_id,
        reason=f"ERROR_REASON_{result.error.reason}",
        message=result.error.message,
    )


def _read_query(request: wire.ListThreadsRequest, fields: Fields) -> _Query:
    wanted = ThreadFilter(
        thread_ids=fields.ids("thread_ids", request.thread_ids, at_most=MAX_IDS),
        states=fields.words("states", request.states, enums.THREAD_STATES),
        metadata=fields.metadata("metadata", request.metadata),
        values=fields.metadata("values", request.values),
        created=fields.span("create_time", request.create_time),
        updated=fields.span("update_time", request.update_time),
        state_updated=fields.span("state_update_time", request.state_update_time),
    )
    order = fields.order(request.order, enums.THREAD_ORDERS)
    mask = read_mask(request.read_mask, wire.Thread, fields)
    return _Query(wanted, order, read_page(request, fields), _read_paths(request, fields), mask)


def _read_paths(request: wire.ListThreadsRequest, fields: Fields) -> dict[str, ValuePath]:
    paths: dict[str, ValuePath] = {}
    if not fields.fits("extract", request.extract, MAX_PATHS):
        return paths
    for name, text in request.extract.items():
        field = f"extract{shown_path([name])}"
        if not 0 < len(name) <= NAME_CHARACTERS:
            fields.refuse("extract key", f"must have from 1 to {NAME_CHARACTERS} characters")
        elif len(text) > PATH_CHARACTERS:
            fields.refuse(field, f"has more than {PATH_CHARACTERS} characters")
        else:
            try:
                paths[name] = parse_path(text)
            except ValueError as error:
                fields.refuse(field, str(error))
    return paths


def _read_change(request: wire.UpdateThreadRequest, fields: Fields) -> _Change:
    return _Change(
        metadata=fields.metadata("metadata", request.metadata),
        thread_id=fields.required_id("thread_id", request.thread_id),
        ttl=_read_ttl(request, fields),
    )
