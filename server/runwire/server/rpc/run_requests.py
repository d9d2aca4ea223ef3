"""Reading the requests of the service of runs."""

from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from runwire.server.model.changes import Place
from runwire.server.model.events import EventId
from runwire.server.model.requests import Order, RequestKey
from runwire.server.model.runs import CancelAction, OnDisconnect, RunSpec, StreamMode
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.rpc import enums
from runwire.server.rpc.fields import Fields, assistant_filter
from runwire.server.rpc.paging import CANCELS, PageRequest, read_page
from runwire.server.rpc.read_masks import read_mask
from runwire.server.rpc.requests import read_key
from runwire.server.rpc.resume import read_place
from runwire.server.rpc.specs import read_spec
from runwire.server.storage.runs import RunFilter
from runwire.v1 import core_pb2
from runwire.v1 import runs_pb2 as wire

MAX_SPECS = 100
MAX_IDS = 500


@dataclass(frozen=True, slots=True)
class Start:
    """Runs to create, and the key under which that may be repeated."""

    specs: list[RunSpec]
    key: RequestKey | None


@dataclass(frozen=True, slots=True)
class Join:
    """A run to follow: after an event, from now on, or from the beginning; some modes, or all.
    `on_disconnect` is what becomes of it if its follower leaves."""

    run_id: str
    after: EventId | None
    live_only: bool
    modes: tuple[StreamMode, ...]
    on_disconnect: OnDisconnect


@dataclass(frozen=True, slots=True)
class Query:
    """Runs to list, and which of their fields to show: all that are not large if there is no
    mask."""

    wanted: RunFilter
    order: Order
    page: PageRequest
    mask: FieldMask | None
    with_spec: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """Runs to watch: after a place, or from now on, or from those that are `unfinished` now."""

    wanted: RunFilter
    place: Place | None
    unfinished: bool


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Runs to cancel."""

    wanted: RunFilter
    action: CancelAction
    page: PageRequest


def read_start(
    request: wire.CreateRunRequest | wire.RunStreamRequest | wire.RunWaitRequest,
    fields: Fields,
    *,
    webhooks: UrlPolicy,
) -> Start:
    """Read a request that starts one run. `webhooks` says which of them are taken."""
    if not request.HasField("spec"):
        fields.refuse("spec", "is required")
    method = request.DESCRIPTOR.name.removesuffix("Request")
    key = read_key(f"RunService/{method}", request, fields)
    return Start([read_spec(request.spec, fields, "spec", webhooks=webhooks)], key)


def read_batch(
    request: wire.BatchCreateRunsRequest, fields: Fields, *, webhooks: UrlPolicy
) -> Start:
    """Read a request that starts many runs. `webhooks` says which of them are taken."""
    key = read_key("RunService/BatchCreateRuns", request, fields)
    if not 1 <= len(request.specs) <= MAX_SPECS:
        fields.refuse("specs", f"must be 1 to {MAX_SPECS}, not {len(request.specs)}")
        return Start([], key)
    specs = [
        read_spec(spec, fields, f"specs[{index}]", webhooks=webhooks)
        for index, spec in enumerate(request.specs)
    ]
    return Start(specs, key)


def read_id(
    request: wire.GetRunRequest | wire.DeleteRunRequest | wire.JoinRunRequest, fields: Fields
) -> str:
    """Read a request that names a run and says nothing else."""
    return fields.required_id("run_id", request.run_id)


def read_join(request: wire.JoinRunStreamRequest, fields: Fields) -> Join:
    """Read a request to follow a run."""
    after = EventId.parse(request.after_event_id)
    if request.after_event_id and after is None:
        fields.refuse("after_event_id", 'is not the id of an event, such as "1-42"')
    if request.after_event_id and request.live_only:
        fields.refuse("after_event_id", "must be empty if live_only is set")
    return Join(
        run_id=fields.required_id("run_id", request.run_id),
        after=after,
        live_only=request.live_only,
        modes=fields.words("stream_modes", request.stream_modes, enums.STREAM_MODES),
        on_disconnect=fields.word(
            "on_disconnect", request.on_disconnect, enums.ON_DISCONNECT, OnDisconnect.CONTINUE
        ),
    )


def read_query(request: wire.ListRunsRequest, fields: Fields) -> Query:
    """Read a request to list runs."""
    wanted = replace(
        _read_filter(request, fields),
        run_ids=fields.ids("run_ids", request.run_ids, at_most=MAX_IDS),
        graph_id=request.graph_id,
        principal=request.principal,
        created=fields.span("create_time", request.create_time),
        started=fields.span("start_time", request.start_time),
        ended=fields.span("end_time", request.end_time),
    )
    paths = request.read_mask.paths
    return Query(
        wanted,
        fields.order(request.order, enums.RUN_ORDERS),
        read_page(request, fields),
        read_mask(request.read_mask, core_pb2.Run, fields),
        with_spec=any(path == "*" or path.split(".")[0] == "spec" for path in paths),
    )


def read_watch(request: wire.WatchRunsRequest, fields: Fields) -> Watch:
    """Read a request to watch runs."""
    place = None
    if request.resume_token:
        place = read_place(request.resume_token)
        if place is None:
            fields.refuse("resume_token", "is not the resume_token of a message of WatchRuns")
        if request.include_unfinished:
            fields.refuse("include_unfinished", "must not be set if resume_token is")
    wanted = RunFilter(
        thread_id=fields.optional_id("thread_id", request.thread_id) or "",
        assistant_id=assistant_filter(request.assistant_id),
        states=fields.words("states", request.states, enums.RUN_STATES),
        metadata=fields.metadata("metadata", request.metadata),
    )
    return Watch(wanted, place, request.include_unfinished)


def read_cancel(request: wire.CancelRunRequest, fields: Fields) -> tuple[str, CancelAction]:
    """Read a request to cancel a run."""
    return fields.required_id("run_id", request.run_id), _read_action(request, fields)


def read_cancellation(request: wire.CancelRunsRequest, fields: Fields) -> Cancellation:
    """Read a request to cancel many runs. Metadata that is empty counts as no filter: it would
    let all runs pass."""
    run_ids = fields.ids("run_ids", request.run_ids, at_most=MAX_IDS)
    wanted = _read_filter(request, fields, run_ids)
    action = _read_action(request, fields)
    page = read_page(request, fields, CANCELS)
    fields.check()
    if wanted == RunFilter():
        fields.refuse("run_ids", "at least one filter must be set")
    return Cancellation(wanted, action, page)


def _read_action(request: Any, fields: Fields) -> CancelAction:
    default = CancelAction.INTERRUPT
    return fields.word("action", request.action, enums.CANCEL_ACTIONS, default)


def _read_filter(
    request: wire.ListRunsRequest | wire.CancelRunsRequest,
    fields: Fields,
    run_ids: list[str] | None = None,
) -> RunFilter:
    return RunFilter(
        run_ids=run_ids or (),
        thread_id=fields.optional_id("thread_id", request.thread_id) or "",
        assistant_id=assistant_filter(request.assistant_id),
        cron_id=fields.optional_id("cron_id", request.cron_id) or "",
        states=fields.words("states", request.states, enums.RUN_STATES),
        metadata=fields.metadata("metadata", request.metadata),
    )
