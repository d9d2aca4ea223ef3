"""Requests about the states of threads, from the wire."""

from dataclasses import dataclass
from typing import Any

from runwire.server.model.threads import CheckpointRef
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.paging import STATES, PageRequest, read_page
from runwire.server.rpc.specs import read_checkpoint
from runwire.v1 import threads_pb2 as wire


@dataclass(frozen=True, slots=True)
class StateUpdateRequest:
    thread_id: str
    values: Any
    checkpoint: CheckpointRef | None


@dataclass(frozen=True, slots=True)
class StatesQuery:
    thread_id: str
    checkpoint: CheckpointRef | None
    before: CheckpointRef | None
    metadata: dict[str, Any]
    page: PageRequest


def read_place(
    request: wire.GetThreadStateRequest, fields: Fields
) -> tuple[str, CheckpointRef | None]:
    thread_id = fields.required_id("thread_id", request.thread_id)
    return thread_id, read_checkpoint(request.checkpoint, thread_id, fields, "checkpoint")


def read_update(request: wire.UpdateThreadStateRequest, fields: Fields) -> StateUpdateRequest:
    thread_id = fields.required_id("thread_id", request.thread_id)
    return StateUpdateRequest(
        thread_id=thread_id,
        values=fields.data("values", request.values),
        checkpoint=read_checkpoint(request.checkpoint, thread_id, fields, "checkpoint"),
    )


def read_states_query(request: wire.ListThreadStatesRequest, fields: Fields) -> StatesQuery:
    thread_id = fields.required_id("thread_id", request.thread_id)
    return StatesQuery(
        thread_id=thread_id,
        checkpoint=read_checkpoint(request.checkpoint, thread_id, fields, "checkpoint"),
        before=read_checkpoint(request.before, thread_id, fields, "before"),
        metadata=fields.metadata("metadata", request.metadata),
        page=read_page(request, fields, STATES),
    )
