# Made from ../runs.py by client/make_sync.py: change that one.
"""Runs: reading, cancelling and following them, and what `RunStarts` does to start them."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.field_mask_pb2 import FieldMask

from runwire.client.arguments import TimeSpan, choice, payload_or_none, refuse, time_range
from runwire.client.convert import RUN_STATUSES, cancel_outcome_of, run_of, word
from runwire.client.errors import ConflictError, NotFoundError
from runwire.client.parts import Parts
from runwire.client.specs import CANCEL_ACTIONS, stream_modes
from runwire.client.sync.endless import run_changes
from runwire.client.sync.following import check_thread, join_run, output_of, stream_parts
from runwire.client.sync.paging import chosen, collect, order_of
from runwire.client.sync.reconnect import persist
from runwire.client.sync.starts import RunStarts
from runwire.client.sync.streams import RunEvents
from runwire.v1 import core_pb2, runs_pb2

if TYPE_CHECKING:
    from langgraph_sdk import schema as sdk

    from runwire.client.schema import CancelOutcome, Run, RunChange, StreamPart

_PAGE_LIMIT = 500

_STATES: dict[str, list[core_pb2.RunState]] = {}
for _state, _status in RUN_STATUSES.items():
    _STATES.setdefault(_status, []).append(_state)

_EXACT_STATES = {word(core_pb2.RunState, state): state for state in RUN_STATUSES}

_IN_FLIGHT = {
    "pending": _STATES["pending"],
    "running": _STATES["running"],
    "all": _STATES["pending"] + _STATES["running"],
}


_ORDERS = {
    ("created_at", "asc"): runs_pb2.RUN_ORDER_CREATE_TIME_ASC,
    ("created_at", "desc"): runs_pb2.RUN_ORDER_CREATE_TIME_DESC,
    ("updated_at", "asc"): runs_pb2.RUN_ORDER_UPDATE_TIME_ASC,
    ("updated_at", "desc"): runs_pb2.RUN_ORDER_UPDATE_TIME_DESC,
    ("ended_at", "asc"): runs_pb2.RUN_ORDER_END_TIME_ASC,
    ("ended_at", "desc"): runs_pb2.RUN_ORDER_END_TIME_DESC,
}


class SyncRunsClient(RunStarts):
    """What can be done with runs.

    A run's id alone names it. Methods that langgraph_sdk gives a `thread_id` as well raise
    `NotFoundError` if the run is not on that thread; None, for stateless runs, is not compared.
    `headers` are sent as metadata with the call.
    """

    def list(
        self,
        thread_id: str | None,
        *,
        limit: int = 10,
        offset: int = 0,
        status: sdk.RunStatus | None = None,
        select: builtins.list[sdk.RunSelectField] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        assistant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        graph_id: str | None = None,
        principal: str | None = None,
        cron_id: str | None = None,
        run_ids: Sequence[str] | None = None,
        created: TimeSpan | None = None,
        started: TimeSpan | None = None,
        ended: TimeSpan | None = None,
        sort_by: Literal["created_at", "updated_at", "ended_at"] | None = None,
        sort_order: sdk.SortOrder | None = None,
    ) -> builtins.list[Run]:
        """Return the runs on a thread, on all threads and none if it is None, newest first.

        A status stands for all states that it is told for: "success" finds paused runs too.
        `created`, `started` and `ended` are pairs of moments, of which either may be None: from the
        first to before the second. Sorted by "ended_at" there are only runs that have ended. What a
        run was created with, `kwargs`, is there if `select` names it.
        """
        refuse(params=params)
        if run_ids is not None and not run_ids:
            return []
        request = runs_pb2.ListRunsRequest(
            thread_id=thread_id,
            assistant_id=assistant_id,
            states=choice("status", status, _STATES),
            metadata=payload_or_none(metadata or None, "metadata"),
            graph_id=graph_id,
            principal=principal,
            cron_id=cron_id,
            run_ids=run_ids,
            create_time=time_range(created),
            start_time=time_range(started),
            end_time=time_range(ended),
            order=order_of(sort_by, sort_order, _ORDERS),
            read_mask=FieldMask(paths=["*"]) if "kwargs" in (select or ()) else None,
        )

        def fetch(size: int, token: str) -> tuple[Sequence[core_pb2.Run], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.runs.ListRuns, request, headers
            )
            return response.runs, response.next_page_token

        found, _ = collect(fetch, limit, offset, page_limit=_PAGE_LIMIT)
        return [chosen(run_of(run), select) for run in found]

    def get(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Run:
        """Return a run; what it was created with is in its `kwargs`. Raises `NotFoundError`."""
        refuse(params=params)
        response = self._connection.call(
            self._connection.services.runs.GetRun,
            runs_pb2.GetRunRequest(run_id=run_id),
            headers,
        )
        check_thread(response.run, thread_id)
        return run_of(response.run)

    def cancel(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        wait: bool = False,
        action: sdk.CancelAction = "interrupt",
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> None:
        """Cancel a run; with `wait`, return only when it has stopped.

        With `action` "rollback", what it did to its thread is taken back, and the run itself is
        gone. Raises `NotFoundError`, and `ConflictError` if the run has ended.
        """
        if thread_id is not None:
            self.get(thread_id, run_id, headers=headers, params=params)
        refuse(params=params)
        request = runs_pb2.CancelRunRequest(
            run_id=run_id, action=choice("action", action, CANCEL_ACTIONS), wait=wait
        )
        is_repeated = False

        def cancel_run() -> None:
            nonlocal is_repeated
            try:
                self._connection.call(
                    self._connection.services.runs.CancelRun, request, headers, waits=wait
                )
            except (ConflictError, NotFoundError) as error:
                # Then it was the answer to the try before that got lost, and not the request.
                if not (is_repeated and _says_done(error, action)):
                    raise
            finally:
                is_repeated = True

        persist(self._connection, cancel_run)

    def cancel_many(
        self,
        *,
        thread_id: str | None = None,
        run_ids: Sequence[str] | None = None,
        status: sdk.BulkCancelRunsStatus | None = None,
        action: sdk.CancelAction = "interrupt",
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        assistant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        wait: bool = False,
    ) -> builtins.list[CancelOutcome]:
        """Cancel the runs that pass all filters; return what became of each.

        A run that cannot be cancelled fails nothing. At most 500 `run_ids`; with an empty list of
        them there is nothing to cancel. With `wait`, return only when all have stopped. Raises
        `InvalidArgumentError` without any filter.
        """
        refuse(params=params)
        if run_ids is not None and not run_ids:
            return []
        request = runs_pb2.CancelRunsRequest(
            run_ids=run_ids,
            thread_id=thread_id,
            assistant_id=assistant_id,
            metadata=payload_or_none(metadata or None, "metadata"),
            states=choice("status", status, _IN_FLIGHT),
            action=choice("action", action, CANCEL_ACTIONS),
            wait=wait,
        )
        outcomes: list[CancelOutcome] = []
        while True:
            response = self._connection.call(
                self._connection.services.runs.CancelRuns, request, headers, waits=wait
            )
            outcomes += map(cancel_outcome_of, response.results)
            request.page_token = response.next_page_token
            if not response.next_page_token:
                return outcomes

    def join(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Any:
        """Return a run's output when it has ended, as `wait` does without `raise_error`. Raises
        `NotFoundError`, also if the run is rolled back meanwhile."""
        refuse(params=params)
        response = join_run(self._connection, run_id, headers)
        check_thread(response.run, thread_id)
        return output_of(response, raise_error=False)

    def join_stream(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        cancel_on_disconnect: bool = False,
        stream_mode: sdk.StreamMode | Sequence[sdk.StreamMode] | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        last_event_id: str | None = None,
        live_only: bool = False,
    ) -> Iterator[StreamPart]:
        """Give the parts of an existing run's stream, as `stream` does: those after
        `last_event_id`, with `live_only` those from now on, otherwise all from the beginning.

        `stream_mode` narrows them to some of the modes that the run was created with; messages come
        as pieces ("messages-tuple") unless "messages" is asked for. Going away cancels the run only
        with `cancel_on_disconnect`. Raises `NotFoundError`, and `OutOfRangeError` for events that
        are no longer kept.
        """
        refuse(params=params)
        request = runs_pb2.JoinRunStreamRequest(
            run_id=run_id,
            after_event_id=last_event_id,
            live_only=live_only,
            stream_modes=stream_modes(stream_mode) if stream_mode else (),
            on_disconnect=core_pb2.ON_DISCONNECT_CANCEL if cancel_on_disconnect else None,
        )

        def on_run(run: core_pb2.Run) -> None:
            check_thread(run, thread_id)

        return stream_parts(
            RunEvents(self._connection, request, headers), Parts(stream_mode), on_run, "v1"
        )

    def watch(
        self,
        *,
        thread_id: str | None = None,
        assistant_id: str | None = None,
        states: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        resume_token: str | None = None,
        include_unfinished: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[RunChange]:
        """Give each run that passes all filters whenever it has changed; they do not end. Not in
        langgraph_sdk.

        `states` are exact, such as "cancelling" or "timed_out". What is told of a run is its state
        now: some that it has passed through may be left out, its last one never is. With
        `include_unfinished`, all runs that have not ended come first. Goes on after the change that
        had `resume_token`; what came just before it may come again. The client joins again by
        itself when its server is lost. Raises `OutOfRangeError` for a token that is too old.
        """
        names = [choice("states", state, _EXACT_STATES) for state in states or ()]
        request = runs_pb2.WatchRunsRequest(
            thread_id=thread_id,
            assistant_id=assistant_id,
            states=names,
            metadata=payload_or_none(metadata or None, "metadata"),
            resume_token=resume_token,
            include_unfinished=include_unfinished,
        )
        return run_changes(self._connection, request, headers)

    def delete(
        self,
        thread_id: str | None,
        run_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> None:
        """Delete the record of a run, with its events; what it did to its thread stays. Raises
        `NotFoundError`, and `ConflictError` if the run has not ended."""
        if thread_id is not None:
            self.get(thread_id, run_id, headers=headers, params=params)
        refuse(params=params)
        self._connection.call(
            self._connection.services.runs.DeleteRun,
            runs_pb2.DeleteRunRequest(run_id=run_id),
            headers,
        )


def _says_done(error: ConflictError | NotFoundError, action: sdk.CancelAction) -> bool:
    if action == "rollback":
        return error.reason == "RUN_ROLLED_BACK"
    return error.metadata.get("state") == "cancelled"
