"""Requests about the states of threads, from the wire."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from runwire.server.model.threads import CheckpointRef
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.paging import STATES, PageRequest, read_page
from runwire.server.rpc.read_masks import read_mask
from runwire.server.rpc.specs import read_checkpoint
from runwire.v1 import threads_pb2 as wire

COPY = "__copy__"
"""In place of a node's name: the update is a copy of a checkpoint, with changes or without."""


@dataclass(frozen=True, slots=True)
class StateRequest:
    """Which state is asked for, and what of it."""

    thread_id: str
    checkpoint: CheckpointRef | None
    mask: FieldMask | None


@dataclass(frozen=True, slots=True)
class StateUpdateRequest:
    """Which update is asked for."""

    thread_id: str
    values: Any
    checkpoint: CheckpointRef | None


@dataclass(frozen=True, slots=True)
class StatesQuery:
    """Which states are asked for, and what of them."""

    thread_id: str
    checkpoint: CheckpointRef | None
    before: CheckpointRef | None
    metadata: dict[str, Any]
    page: PageRequest
    mask: FieldMask | None


def read_place(request: wire.GetThreadStateRequest, fields: Fields) -> StateRequest:
    """Read which state is asked for."""
    thread_id = fields.required_id("thread_id", request.thread_id)
    return StateRequest(
        thread_id=thread_id,
        checkpoint=read_checkpoint(request.checkpoint, thread_id, fields, "checkpoint"),
        mask=read_mask(request.read_mask, wire.StateSnapshot, fields),
    )


def read_update(request: wire.UpdateThreadStateRequest, fields: Fields) -> StateUpdateRequest:
    """Read which update is asked for."""
    thread_id = fields.required_id("thread_id", request.thread_id)
    values = fields.data("values", request.values)
    if request.as_node == COPY:
        check_copy("values", values, fields)
    return StateUpdateRequest(
        thread_id=thread_id,
        values=values,
        checkpoint=read_checkpoint(request.checkpoint, thread_id, fields, "checkpoint"),
    )


def check_copy(field: str, values: Any, fields: Fields) -> None:
    """Refuse what cannot be applied to a copy: LangGraph leaves it out without a word."""
    if values is None:
        return
    if not isinstance(values, list):
        fields.refuse(field, f"must be unset, or a list of pairs [update, node], for {COPY}")
        return
    for index, item in enumerate(values):
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[1], str)):
            fields.refuse(f"{field}[{index}]", "must be a pair [update, node]")


def read_states_query(request: wire.ListThreadStatesRequest, fields: Fields) -> StatesQuery:
    """Read which states are asked for."""
    thread_id = fields.required_id("thread_id", request.thread_id)
    if request.HasField("before"):
        # One that is not there any more is as good a place as one that is.
        fields.required_id("before.checkpoint_id", request.before.checkpoint_id)
    return StatesQuery(
        thread_id=thread_id,
        checkpoint=read_checkpoint(request.checkpoint, thread_id, fields, "checkpoint"),
        before=read_checkpoint(request.before, thread_id, fields, "before"),
        metadata=fields.metadata("metadata", request.metadata),
        page=read_page(request, fields, STATES),
        mask=read_mask(request.read_mask, wire.StateSnapshot, fields),
    )
