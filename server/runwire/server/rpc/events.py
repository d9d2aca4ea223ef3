"""Events on the wire. Each is serialized once, where it is produced, and never again: what the
log keeps and what subscribers get are these bytes."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, assert_never

from runwire.server.model.events import (
    AttemptStarted,
    Data,
    Event,
    EventBody,
    EventId,
    Message,
    RunEnded,
    TaskEnded,
    TaskStarted,
)
from runwire.server.model.queues import QueuePosition
from runwire.server.model.runs import Run, StreamMode
from runwire.server.rpc import enums
from runwire.server.rpc.frames import MESSAGE_BYTES, framed
from runwire.server.rpc.resources import (
    cancel_message,
    error_message,
    interrupt_messages,
    position_message,
    run_message,
)
from runwire.v1 import events_pb2

_PART_BYTES = MESSAGE_BYTES - 1024
"""What one part carries: the rest of its message is its id and the like."""

_INT32_END = 2**31


def encode_event(run_id: str, event_id: EventId, time: datetime, event: Event) -> bytes:
    """Return an event as a serialized RunStreamResponse; one that is too large for a message as
    several, one after the other. Never fails on what a graph has put into an event."""
    try:
        wire = _event_message(run_id, event_id, time, event)
    except UnicodeEncodeError:
        wire = _event_message(run_id, event_id, time, _without_surrogates(event))
    return encode_wire(wire)


def encode_wire(wire: events_pb2.RunEvent) -> bytes:
    """Return an event's message in the way of `encode_event`."""
    data = wire.SerializeToString()
    return framed(data) if len(data) < _PART_BYTES else _in_parts(wire, data)


def snapshot_event(
    run: Run, position: QueuePosition | None = None, place: EventId | None = None
) -> events_pb2.RunEvent:
    """Return the event with which every stream of a run begins. `position` is what comes before the
    run while it is pending; `place` is that of a stream that leaves out what is before it."""
    message = run_message(run)
    if position is not None:
        message.queue_position.CopyFrom(position_message(position))
    wire = events_pb2.RunEvent(run_id=run.run_id, create_time=datetime.now(UTC), run=message)
    if place is not None:
        wire.id = str(place)
    return wire


def encode_heartbeat(run_id: str) -> bytes:
    """Return the event that says nothing but that the stream lives, serialized."""
    wire = events_pb2.RunEvent(
        run_id=run_id, create_time=datetime.now(UTC), heartbeat=events_pb2.Heartbeat()
    )
    return framed(wire.SerializeToString())


def _event_message(
    run_id: str, event_id: EventId, time: datetime, event: Event
) -> events_pb2.RunEvent:
    wire = events_pb2.RunEvent(id=str(event_id), run_id=run_id)
    # Twice as fast as to let protobuf convert the datetime.
    wire.create_time.seconds = int(time.timestamp())
    wire.create_time.nanos = time.microsecond * 1000
    if event.namespace:
        wire.namespace.extend(event.namespace)
    _fill_body(wire, event.body)
    return wire


def _fill_body(wire: events_pb2.RunEvent, body: EventBody) -> None:
    match body:
        case Message():
            _fill_message(wire.message, body)
        case Data():
            _DATA_FILLERS[body.mode](wire, body)
        case TaskStarted():
            _fill_task_start(wire.task, body)
        case TaskEnded():
            _fill_task_result(wire.task, body)
        case AttemptStarted():
            wire.attempt_started.attempt = body.attempt
            wire.attempt_started.resumed_from_checkpoint = body.resumed
        case RunEnded():
            _fill_run_ended(wire, body)
        case _:
            assert_never(body)


def _fill_values(wire: events_pb2.RunEvent, body: Data) -> None:
    wire.values.data.json = body.json
    if body.interrupts:
        wire.values.interrupts.extend(interrupt_messages(body.interrupts))


def _filler(name: str) -> Callable[[events_pb2.RunEvent, Data], None]:
    def fill(wire: events_pb2.RunEvent, body: Data) -> None:
        getattr(wire, name).data.json = body.json

    return fill


_DATA_FILLERS: dict[StreamMode, Callable[[events_pb2.RunEvent, Data], None]] = {
    StreamMode.VALUES: _fill_values,
    StreamMode.UPDATES: _filler("updates"),
    StreamMode.CUSTOM: _filler("custom"),
    StreamMode.CHECKPOINTS: _filler("checkpoint"),
    StreamMode.DEBUG: _filler("debug"),
    StreamMode.EVENTS: _filler("langchain_event"),
}


def _fill_message(wire: events_pb2.MessageEvent, body: Message) -> None:
    wire.message_id = body.message_id
    wire.type = body.type
    wire.delta = body.delta
    wire.text = body.text
    for chunk in body.tool_call_chunks:
        added = wire.tool_call_chunks.add(name=chunk.name, args=chunk.args, id=chunk.id)
        if chunk.index is not None and -_INT32_END <= chunk.index < _INT32_END:
            added.index = chunk.index
    if body.usage is not None:
        usage = wire.usage
        usage.input_tokens, usage.output_tokens, usage.total_tokens = body.usage
    if body.extra:
        wire.extra.json = body.extra
    if body.metadata:
        wire.metadata.json = body.metadata


def _fill_task_start(wire: events_pb2.TaskEvent, body: TaskStarted) -> None:
    wire.task_id = body.task_id
    wire.name = body.name
    wire.start.input.json = body.input
    wire.start.triggers.extend(body.triggers)


def _fill_task_result(wire: events_pb2.TaskEvent, body: TaskEnded) -> None:
    wire.task_id = body.task_id
    wire.name = body.name
    wire.result.error = body.error
    if not body.error:
        wire.result.result.json = body.result
    wire.result.interrupts.extend(interrupt_messages(body.interrupts))


def _fill_run_ended(wire: events_pb2.RunEvent, body: RunEnded) -> None:
    ended = events_pb2.RunEnded(
        state=enums.RUN_STATES.number(body.state),
        error=error_message(body.error),
        cancel=cancel_message(body.cancel),
        end_time=body.end_time,
    )
    wire.run_ended.CopyFrom(ended)


def _in_parts(wire: events_pb2.RunEvent, data: bytes) -> bytes:
    """Return a serialized event as the parts that carry it."""
    parts = []
    for start in range(0, len(data), _PART_BYTES):
        piece = events_pb2.EventPart(
            data=data[start : start + _PART_BYTES], last=start + _PART_BYTES >= len(data)
        )
        part = events_pb2.RunEvent(
            id=wire.id, run_id=wire.run_id, create_time=wire.create_time, part=piece
        )
        parts.append(framed(part.SerializeToString()))
    return b"".join(parts)


def _without_surrogates(value: Any) -> Any:
    """Return an event, or a part of one, whose texts can be encoded: Python lets texts hold lone
    surrogates, UTF-8 does not."""
    if isinstance(value, StreamMode):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return tuple(map(_without_surrogates, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(
            value, **{name: _without_surrogates(held) for name, held in fields.items()}
        )
    return value
