"""Events on the wire: what each kind of event becomes, and how large ones travel."""

from datetime import UTC, datetime, timedelta

import pytest

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
    ToolCallChunk,
)
from runwire.server.model.runs import (
    Cancel,
    CancelAction,
    CancelCause,
    Interrupt,
    RunError,
    RunState,
    StreamMode,
)
from runwire.server.rpc.events import encode_event, encode_heartbeat
from runwire.server.rpc.frames import MESSAGE_BYTES, frames
from runwire.server.rpc.selection import MODES, Selection, joined
from runwire.v1 import core_pb2, events_pb2, runs_pb2

RUN = "0192f0c3-2b3c-7d4e-8f5a-6b7c8d9e0f1a"
TIME = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)
ASKED = (Interrupt(interrupt_id="i", value='"go on?"'),)

DATA_FIELDS = {
    StreamMode.VALUES: "values",
    StreamMode.UPDATES: "updates",
    StreamMode.CUSTOM: "custom",
    StreamMode.CHECKPOINTS: "checkpoint",
    StreamMode.DEBUG: "debug",
    StreamMode.EVENTS: "langchain_event",
}


def encode(body: EventBody, namespace: tuple[str, ...] = ()) -> bytes:
    return encode_event(RUN, EventId(1, 42), TIME, Event(body, namespace))


def parsed(data: bytes) -> list[events_pb2.RunEvent]:
    return list(runs_pb2.RunStreamResponse.FromString(data).events)


def one(body: EventBody, namespace: tuple[str, ...] = ()) -> events_pb2.RunEvent:
    (event,) = parsed(encode(body, namespace))
    return event


def test_an_event_says_where_it_belongs() -> None:
    event = one(Data(StreamMode.CUSTOM, "1"), ("outer:1", "inner:2"))
    assert event.id == "1-42"
    assert event.run_id == RUN
    assert list(event.namespace) == ["outer:1", "inner:2"]
    assert event.create_time.ToDatetime(UTC) == TIME


@pytest.mark.parametrize(("mode", "field"), DATA_FIELDS.items())
def test_data_goes_into_the_field_of_its_mode(mode: StreamMode, field: str) -> None:
    event = one(Data(mode, '{"a":1}'))
    assert event.WhichOneof("event") == field
    assert getattr(event, field).data.json == '{"a":1}'
    assert MODES[field] is mode


def test_values_come_with_their_interrupts() -> None:
    event = one(Data(StreamMode.VALUES, "{}", ASKED))
    (interrupt,) = event.values.interrupts
    assert (interrupt.interrupt_id, interrupt.value.json) == ("i", '"go on?"')


def test_a_token_is_small() -> None:
    event = one(Message("m", "AIMessageChunk", True, "hi"))
    assert event.message == events_pb2.MessageEvent(
        message_id="m", type="AIMessageChunk", delta=True, text="hi"
    )
    assert len(encode(Message("m", "AIMessageChunk", True, "hi"))) < 100


def test_a_message_keeps_everything() -> None:
    chunks = (ToolCallChunk("find", '{"q', "call", 0), ToolCallChunk("", '":1}', "", None))
    event = one(Message("m", "ai", False, "t", chunks, (1, 2, 3), '{"x":1}', '{"node":"n"}'))
    first, second = event.message.tool_call_chunks
    assert (first.index, first.id, first.name, first.args) == (0, "call", "find", '{"q')
    assert not second.HasField("index")
    usage = event.message.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (1, 2, 3)
    assert event.message.extra.json == '{"x":1}'
    assert event.message.metadata.json == '{"node":"n"}'


def test_what_a_message_lacks_is_unset() -> None:
    message = one(Message("m", "ai", False, "")).message
    assert [field.name for field, _ in message.ListFields()] == ["message_id", "type"]


def test_an_index_that_fits_no_field_is_left_out() -> None:
    event = one(Message("m", "ai", True, "", (ToolCallChunk("", "", "", 2**40),)))
    assert not event.message.tool_call_chunks[0].HasField("index")


def test_a_task_starts_and_ends() -> None:
    start = one(TaskStarted("t", "node", "[1]", ("start",))).task
    assert (start.task_id, start.name, start.start.input.json) == ("t", "node", "[1]")
    assert list(start.start.triggers) == ["start"]
    end = one(TaskEnded("t", "node", "", '{"a":1}', ASKED)).task
    assert end.result.result.json == '{"a":1}'
    assert end.result.interrupts[0].interrupt_id == "i"
    failed = one(TaskEnded("t", "node", "ValueError: no", "null")).task
    assert failed.result.error == "ValueError: no"
    assert not failed.result.HasField("result")


def test_attempts_and_ends_are_told() -> None:
    started = one(AttemptStarted(2, True)).attempt_started
    assert (started.attempt, started.resumed_from_checkpoint) == (2, True)
    error = RunError(type="ValueError", message="no", node="n", attempt=2, error_id="e")
    failed = one(RunEnded(RunState.FAILED, TIME, error)).run_ended
    assert failed.state == core_pb2.RUN_STATE_FAILED
    assert failed.error.message == "no"
    assert not failed.HasField("cancel")
    cancel = Cancel(
        action=CancelAction.ROLLBACK,
        cause=CancelCause.MULTITASK,
        request_time=TIME - timedelta(seconds=1),
        abandoned=True,
    )
    cancelled = one(RunEnded(RunState.CANCELLED, TIME, cancel=cancel)).run_ended
    assert cancelled.cancel.action == core_pb2.CANCEL_ACTION_ROLLBACK
    assert cancelled.cancel.cause == core_pb2.CANCEL_CAUSE_MULTITASK
    assert cancelled.cancel.abandoned
    assert cancelled.end_time.ToDatetime(UTC) == TIME


def test_a_heartbeat_has_no_id() -> None:
    (event,) = parsed(encode_heartbeat(RUN))
    assert event.WhichOneof("event") == "heartbeat"
    assert (event.id, event.run_id) == ("", RUN)
    assert event.HasField("create_time")


@pytest.mark.parametrize(
    "body",
    [
        Message(
            "m\ud800", "ai", True, "half a pair: \udc00", (ToolCallChunk("", "\ud800", "", 0),)
        ),
        TaskEnded(
            "t", "n", "OSError: \udcff", "null", (Interrupt(interrupt_id="\ud800", value="1"),)
        ),
        RunEnded(RunState.FAILED, TIME, RunError(type="E", message="\ud800")),
        Data(StreamMode.CUSTOM, '"\ud800"'),
    ],
)
def test_lone_surrogates_are_replaced(body: EventBody) -> None:
    event = one(body, ("n\ud800",))
    assert event.namespace[0] == "n?"
    assert "?" in str(event)


LARGE = Data(StreamMode.VALUES, '"' + "é" * (5 * MESSAGE_BYTES // 2) + '"', ASKED)


def test_a_large_event_travels_in_parts_that_join_to_it() -> None:
    data = encode(LARGE, ("n",))
    pieces = list(frames(data))
    assert len(pieces) == 6
    assert all(len(piece) < MESSAGE_BYTES for piece in pieces)
    parts = parsed(data)
    assert {(part.id, part.run_id) for part in parts} == {("1-42", RUN)}
    assert [part.part.last for part in parts] == [False] * 5 + [True]
    whole = joined(parts)
    assert (whole.id, list(whole.namespace)) == ("1-42", ["n"])
    assert whole.values.data.json == LARGE.json
    assert whole.values.interrupts[0].interrupt_id == "i"


@pytest.mark.parametrize("below", [2_000, 1_100, 1_000, 900, 1, 0, -1])
def test_every_message_is_below_the_limit_at_any_size(below: int) -> None:
    data = encode(Data(StreamMode.CUSTOM, '"' + "x" * (MESSAGE_BYTES - below) + '"'))
    assert all(len(piece) < MESSAGE_BYTES for piece in frames(data))
    assert len(joined(parsed(data)).custom.data.json) == MESSAGE_BYTES - below + 2


BODIES: list[EventBody] = [
    AttemptStarted(1, False),
    *(Data(mode, '{"mode":1}') for mode in DATA_FIELDS),
    Message("m", "ai", True, "t", extra='{"a":1}'),
    TaskStarted("t", "n", '{"in":1}', ()),
    TaskEnded("t", "n", "", '{"out":1}', ASKED),
    LARGE,
    RunEnded(RunState.SUCCEEDED, TIME),
]


def test_without_wishes_the_bytes_stay_the_same() -> None:
    entries = [encode(body) for body in BODIES]
    assert Selection().apply(entries) is entries


@pytest.mark.parametrize("mode", StreamMode)
def test_only_wanted_modes_pass_and_what_has_no_mode(mode: StreamMode) -> None:
    entries = [encode(body) for body in BODIES]
    chosen = Selection([mode]).apply(entries)
    assert chosen[0] == entries[0]
    assert chosen[-1] == entries[-1]
    assert all(entry in entries for entry in chosen), "as they were, large ones too"
    kinds = [joined(parsed(entry)).WhichOneof("event") or "" for entry in chosen[1:-1]]
    assert kinds
    assert {MODES[kind] for kind in kinds} == {mode}


def test_values_are_shown_in_every_kind_of_event() -> None:
    for entry, body in zip(
        Selection(as_values=True).apply([encode(body) for body in BODIES]), BODIES, strict=True
    ):
        event = joined(parsed(entry))
        assert event.id == "1-42"
        if body is not LARGE:
            assert "json" not in str(event)
    assert all(len(piece) < MESSAGE_BYTES for piece in frames(entry))


def test_a_large_event_that_is_shown_as_a_value_is_still_sent_in_parts() -> None:
    (entry,) = Selection(as_values=True).apply([encode(LARGE)])
    assert all(len(piece) < MESSAGE_BYTES for piece in frames(entry))
    event = joined(parsed(entry))
    assert event.values.data.value.string_value == LARGE.json[1:-1]
