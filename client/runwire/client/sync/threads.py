# Made from ../threads.py by client/make_sync.py: change that one.
"""Threads: conversations, and their states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from google.protobuf.field_mask_pb2 import FieldMask

from runwire.client.arguments import (
    IF_EXISTS,
    PRUNE_STRATEGIES,
    build_checkpoint,
    build_ttl,
    choice,
    new_request_id,
    one_checkpoint,
    payload_or_none,
    refuse,
)
from runwire.client.convert import (
    checkpoint_of,
    prune_outcomes_of,
    state_of,
    storage_of,
    thread_of,
    value_of,
)
from runwire.client.specs import build_superstep, stream_modes
from runwire.client.sync.endless import FROM_THE_BEGINNING, THREAD_MODES, thread_parts
from runwire.client.sync.paging import chosen, collect, mask_of, order_of
from runwire.v1 import threads_pb2

if TYPE_CHECKING:
    from langgraph_sdk import schema as sdk

    from runwire.client.schema import (
        PruneOutcomes,
        Thread,
        ThreadState,
        ThreadStorage,
        ThreadStreamPart,
    )
    from runwire.client.sync.channel import Connection

_PAGE_LIMIT = 500
_STATES_PAGE_LIMIT = 1000

_STATUSES = {
    "idle": threads_pb2.THREAD_STATE_IDLE,
    "busy": threads_pb2.THREAD_STATE_BUSY,
    "interrupted": threads_pb2.THREAD_STATE_INTERRUPTED,
    "error": threads_pb2.THREAD_STATE_FAILED,
}

_ORDERS = {
    ("created_at", "desc"): threads_pb2.THREAD_ORDER_CREATE_TIME_DESC,
    ("created_at", "asc"): threads_pb2.THREAD_ORDER_CREATE_TIME_ASC,
    ("updated_at", "desc"): threads_pb2.THREAD_ORDER_UPDATE_TIME_DESC,
    ("updated_at", "asc"): threads_pb2.THREAD_ORDER_UPDATE_TIME_ASC,
    ("state_updated_at", "desc"): threads_pb2.THREAD_ORDER_STATE_UPDATE_TIME_DESC,
    ("state_updated_at", "asc"): threads_pb2.THREAD_ORDER_STATE_UPDATE_TIME_ASC,
    ("thread_id", "desc"): threads_pb2.THREAD_ORDER_THREAD_ID_DESC,
    ("thread_id", "asc"): threads_pb2.THREAD_ORDER_THREAD_ID_ASC,
    ("status", "desc"): threads_pb2.THREAD_ORDER_STATE_DESC,
    ("status", "asc"): threads_pb2.THREAD_ORDER_STATE_ASC,
}


class SyncThreadsClient:
    """What can be done with threads. `headers` are sent as metadata with the call."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(
        self,
        thread_id: str,
        *,
        include: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Thread:
        """Return a thread, with its `ttl` if it has one, included or not. Raises
        `NotFoundError`."""
        refuse(params=params, include=[part for part in include or () if part != "ttl"])
        response = self._connection.call(
            self._connection.services.threads.GetThread,
            threads_pb2.GetThreadRequest(thread_id=thread_id),
            headers,
        )
        return thread_of(response.thread)

    def create(
        self,
        *,
        metadata: sdk.Json = None,
        thread_id: str | None = None,
        if_exists: sdk.OnConflictBehavior | None = None,
        supersteps: Sequence[dict[str, Sequence[dict[str, Any]]]] | None = None,
        graph_id: str | None = None,
        ttl: int | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        request_id: str | None = None,
    ) -> Thread:
        """Create a thread. `graph_id` becomes a part of its metadata.

        `supersteps` are what its state begins with: each a dict with `updates`, and each of those
        one with `values` or a `command`, and `as_node`, the node that counts as their source. They
        need a `graph_id`, here or in the metadata: its graph applies them. If it does not take
        one, there is no thread, and `ConflictError` tells which.

        `ttl` is for how many minutes it is kept when nothing happens on it, or a dict with that as
        `ttl` and a `strategy`, "delete" or "keep_latest"; 0 is for ever, None the server's default.

        `request_id` makes the call repeatable: with the same id and the same arguments it answers
        with the same thread; the client makes one for its own retries. Raises `AlreadyExistsError`
        if `thread_id` is taken, unless `if_exists` is "do_nothing".
        """
        refuse(params=params)
        labels = {**(metadata or {}), **({"graph_id": graph_id} if graph_id else {})}
        request = threads_pb2.CreateThreadRequest(
            thread_id=thread_id,
            metadata=payload_or_none(labels or None, "metadata"),
            if_exists=choice("if_exists", if_exists, IF_EXISTS),
            request_id=request_id or new_request_id(),
            ttl=build_ttl(ttl),
            supersteps=[build_superstep(superstep) for superstep in supersteps or ()],
        )
        response = self._connection.call(
            self._connection.services.threads.CreateThread, request, headers
        )
        return thread_of(response.thread)

    @overload
    def update(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, Any],
        ttl: int | Mapping[str, Any] | None = None,
        return_minimal: Literal[False] = False,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Thread: ...

    @overload
    def update(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, Any],
        ttl: int | Mapping[str, Any] | None = None,
        return_minimal: bool,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Thread | None: ...

    def update(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, Any],
        ttl: int | Mapping[str, Any] | None = None,
        return_minimal: bool = False,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Thread | None:
        """Merge metadata into a thread's, key by key; None removes a key. `ttl` as with `create`,
        counted from now; None leaves it as it is. Return the thread, None with `return_minimal`.
        Raises `NotFoundError`."""
        refuse(params=params)
        request = threads_pb2.UpdateThreadRequest(
            thread_id=thread_id,
            metadata=payload_or_none(metadata, "metadata"),
            ttl=build_ttl(ttl),
        )
        response = self._connection.call(
            self._connection.services.threads.UpdateThread, request, headers
        )
        return None if return_minimal else thread_of(response.thread)

    def delete(
        self,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        cancel_runs: bool = True,
    ) -> None:
        """Delete a thread with its runs and checkpoints.

        Runs on it that have not ended are cancelled first, as langgraph_sdk's users expect; with
        `cancel_runs=False` they keep the thread from being deleted. Raises `NotFoundError`, and in
        that case `ConflictError`.
        """
        refuse(params=params)
        self._connection.call(
            self._connection.services.threads.DeleteThread,
            threads_pb2.DeleteThreadRequest(thread_id=thread_id, cancel_runs=cancel_runs),
            headers,
        )

    def copy(
        self,
        thread_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        new_thread_id: str | None = None,
        request_id: str | None = None,
    ) -> Thread:
        """Copy a thread with its history, so that the copy can go on, or be resumed, as the thread
        could; runs are not copied. Return the copy.

        `new_thread_id` is its id; the server makes one if None. `request_id` is as with `create`.
        Raises `NotFoundError`, and `AlreadyExistsError` if the id is taken.
        """
        refuse(params=params)
        request = threads_pb2.CopyThreadRequest(
            thread_id=thread_id,
            new_thread_id=new_thread_id,
            request_id=request_id or new_request_id(),
        )
        response = self._connection.call(
            self._connection.services.threads.CopyThread, request, headers
        )
        return thread_of(response.thread)

    def prune(
        self,
        thread_ids: Sequence[str],
        *,
        strategy: sdk.PruneStrategy = "delete",
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> PruneOutcomes:
        """Delete threads, or with "keep_latest" their histories alone. Return how many that were,
        and of each whether it was. At most 500 threads at a time.

        One whose runs have not ended, or that is not there, is left alone.
        """
        refuse(params=params)
        if not thread_ids:
            return {"pruned_count": 0, "results": []}
        request = threads_pb2.PruneThreadsRequest(
            thread_ids=thread_ids, strategy=choice("strategy", strategy, PRUNE_STRATEGIES)
        )
        response = self._connection.call(
            self._connection.services.threads.PruneThreads, request, headers
        )
        return prune_outcomes_of(response)

    def search(
        self,
        *,
        metadata: sdk.Json = None,
        values: sdk.Json = None,
        ids: Sequence[str] | None = None,
        status: sdk.ThreadStatus | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: sdk.ThreadSortBy | None = None,
        sort_order: sdk.SortOrder | None = None,
        select: list[sdk.ThreadSelectField] | None = None,
        extract: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> list[Thread]:
        """Return the threads that pass all filters, newest first unless said otherwise.

        At most 500 `ids`; with an empty list of them there is nothing to find. `metadata` and
        `values` must be contained in a thread's: objects and lists within them may hold more.

        `extract` maps names to paths, such as "values.messages[-1].content", of which the results
        are in each thread's `extracted`; None for a path that leads to nothing.
        """
        refuse(params=params)
        if ids is not None and not ids:
            return []
        state = choice("status", status, _STATUSES)
        request = threads_pb2.ListThreadsRequest(
            thread_ids=ids,
            states=() if state is None else (state,),
            metadata=payload_or_none(metadata or None, "metadata"),
            values=payload_or_none(values or None, "values"),
            order=order_of(sort_by, sort_order, _ORDERS),
            extract=extract,
            read_mask=_mask_of(select),
        )

        def fetch(size: int, token: str) -> tuple[Sequence[threads_pb2.Thread], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.threads.ListThreads, request, headers
            )
            return response.threads, response.next_page_token

        found, _ = collect(fetch, limit, offset, page_limit=_PAGE_LIMIT)
        return [_extracted(thread, select, extract) for thread in found]

    def count(
        self,
        *,
        metadata: sdk.Json = None,
        values: sdk.Json = None,
        status: sdk.ThreadStatus | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> int:
        """Return how many threads pass all filters, which are as with `search`."""
        refuse(params=params)
        state = choice("status", status, _STATUSES)
        request = threads_pb2.ListThreadsRequest(
            states=() if state is None else (state,),
            metadata=payload_or_none(metadata or None, "metadata"),
            values=payload_or_none(values or None, "values"),
            read_mask=FieldMask(paths=["thread_id"]),
            page_size=1,
            count_total=True,
        )
        response = self._connection.call(
            self._connection.services.threads.ListThreads, request, headers
        )
        return response.total_size

    def get_storage(
        self, thread_id: str, *, headers: Mapping[str, str] | None = None
    ) -> ThreadStorage:
        """Return what a thread takes up in the server's database: checkpoints, pending writes,
        runs and events. Not in langgraph_sdk. Raises `NotFoundError`."""
        response = self._connection.call(
            self._connection.services.threads.GetThreadStorage,
            threads_pb2.GetThreadStorageRequest(thread_id=thread_id),
            headers,
        )
        return storage_of(response.storage)

    def get_state(
        self,
        thread_id: str,
        checkpoint: sdk.Checkpoint | None = None,
        checkpoint_id: str | None = None,
        *,
        subgraphs: bool = False,
        select: list[sdk.ThreadStateSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> ThreadState:
        """Return a thread's state at a checkpoint, the newest unless one is named.

        With `subgraphs`, its tasks carry the states of the subgraphs that they run. Raises
        `NotFoundError`.
        """
        refuse(params=params)
        request = threads_pb2.GetThreadStateRequest(
            thread_id=thread_id,
            checkpoint=one_checkpoint(checkpoint, checkpoint_id),
            include_subgraphs=subgraphs,
            read_mask=mask_of(threads_pb2.StateSnapshot, select),
        )
        response = self._connection.call(
            self._connection.services.threads.GetThreadState, request, headers
        )
        return cast("ThreadState", chosen(state_of(response.state, thread_id), select))

    def update_state(
        self,
        thread_id: str,
        values: dict[str, Any] | Sequence[dict[str, Any]] | None,
        *,
        as_node: str | None = None,
        checkpoint: sdk.Checkpoint | None = None,
        checkpoint_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        assistant_id: str | None = None,
    ) -> sdk.ThreadUpdateStateResponse:
        """Add a checkpoint to a thread, as if a node had returned `values`; return its name.

        `assistant_id` says which graph is to take the update, on a thread that none has run on yet.
        Not repeated by the client when the connection breaks. Raises `NotFoundError`, and
        `ConflictError` while runs on the thread have not ended or if the graph refuses the update.
        """
        refuse(params=params)
        request = threads_pb2.UpdateThreadStateRequest(
            thread_id=thread_id,
            values=payload_or_none(values, "values"),
            as_node=as_node,
            checkpoint=one_checkpoint(checkpoint, checkpoint_id),
            assistant_id=assistant_id,
        )
        response = self._connection.call(
            self._connection.services.threads.UpdateThreadState, request, headers
        )
        return {"checkpoint": checkpoint_of(response.checkpoint)}

    def join_stream(
        self,
        thread_id: str,
        *,
        last_event_id: str | None = None,
        stream_mode: sdk.ThreadStreamMode | Sequence[sdk.ThreadStreamMode] = "run_modes",
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        run_stream_mode: sdk.StreamMode | Sequence[sdk.StreamMode] | None = None,
    ) -> Iterator[ThreadStreamPart]:
        """Return the parts of all that happens on a thread, as it happens; they do not end.

        `stream_mode`: "run_modes" is every part of every run's stream, "lifecycle" tells of each
        run when it is created and whenever its state changes, "state_update" of each update of the
        thread's state; several of them come together. `run_stream_mode` narrows the first to some
        modes; messages come as pieces ("messages-tuple") unless it has "messages".

        Goes on after `last_event_id`, the id of a part of such a stream; without one with what
        happens from now on, with "-" from the beginning of what is kept. The client joins again by
        itself when its server is lost. While the parts are read, raises `NotFoundError`, also when
        the thread is deleted, and `OutOfRangeError` for a `last_event_id` that is too old.
        """
        refuse(params=params)
        names = [stream_mode] if isinstance(stream_mode, str) else stream_mode
        request = threads_pb2.ThreadStreamRequest(
            thread_id=thread_id,
            modes=[choice("stream_mode", name, THREAD_MODES) for name in dict.fromkeys(names)],
            stream_modes=stream_modes(run_stream_mode) if run_stream_mode else (),
            resume_token="" if last_event_id == FROM_THE_BEGINNING else last_event_id,
            live_only=not last_event_id,
        )
        return thread_parts(self._connection, request, run_stream_mode, headers)

    def get_history(
        self,
        thread_id: str,
        *,
        limit: int = 10,
        before: str | sdk.Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
        checkpoint: sdk.Checkpoint | None = None,
        select: list[sdk.ThreadStateSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> list[ThreadState]:
        """Return a thread's states, the newest first: those older than `before`, those whose
        metadata holds `metadata`, those of the subgraph that `checkpoint` names. Raises
        `NotFoundError`."""
        refuse(params=params)
        request = threads_pb2.ListThreadStatesRequest(
            thread_id=thread_id,
            checkpoint=build_checkpoint(checkpoint, "checkpoint"),
            before=build_checkpoint(before, "before"),
            metadata=payload_or_none(metadata or None, "metadata"),
            read_mask=mask_of(threads_pb2.StateSnapshot, select),
        )

        def fetch(size: int, token: str) -> tuple[Sequence[threads_pb2.StateSnapshot], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.threads.ListThreadStates, request, headers
            )
            return response.states, response.next_page_token

        found, _ = collect(fetch, limit, 0, page_limit=_STATES_PAGE_LIMIT)
        return [chosen(state_of(state, thread_id), select) for state in found]


def _mask_of(select: Sequence[str] | None) -> FieldMask | None:
    """Return what the server has to tell of threads of which these fields are wanted: its words for
    them differ, so that only what can be large is left out."""
    if not select or "values" in select:
        return None
    fields = threads_pb2.Thread.DESCRIPTOR.fields
    return FieldMask(paths=[field.name for field in fields if field.name != "values"])


def _extracted(
    thread: threads_pb2.Thread, select: Sequence[str] | None, extract: Mapping[str, str] | None
) -> Thread:
    """Return the wanted fields of a thread, and all that was to be extracted from it."""
    result = chosen(thread_of(thread), select)
    if extract:
        found = {name: value_of(part) for name, part in thread.extracted.items()}
        result["extracted"] = {name: found.get(name) for name in extract}
    return cast("Thread", result)
