import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from runwire.v1 import core_pb2 as _core_pb2
from runwire.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunEvent(_message.Message):
    __slots__ = ("id", "run_id", "namespace", "create_time", "run", "attempt_started", "values", "updates", "message", "custom", "task", "checkpoint", "debug", "langchain_event", "heartbeat", "run_ended", "part")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_STARTED_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DEBUG_FIELD_NUMBER: _ClassVar[int]
    LANGCHAIN_EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RUN_ENDED_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    id: str
    run_id: str
    namespace: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    run: _core_pb2.Run
    attempt_started: AttemptStarted
    values: ValuesEvent
    updates: UpdatesEvent
    message: MessageEvent
    custom: CustomEvent
    task: TaskEvent
    checkpoint: CheckpointEvent
    debug: DebugEvent
    langchain_event: LangchainEvent
    heartbeat: Heartbeat
    run_ended: RunEnded
    part: EventPart
    def __init__(self, id: _Optional[str] = ..., run_id: _Optional[str] = ..., namespace: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run: _Optional[_Union[_core_pb2.Run, _Mapping]] = ..., attempt_started: _Optional[_Union[AttemptStarted, _Mapping]] = ..., values: _Optional[_Union[ValuesEvent, _Mapping]] = ..., updates: _Optional[_Union[UpdatesEvent, _Mapping]] = ..., message: _Optional[_Union[MessageEvent, _Mapping]] = ..., custom: _Optional[_Union[CustomEvent, _Mapping]] = ..., task: _Optional[_Union[TaskEvent, _Mapping]] = ..., checkpoint: _Optional[_Union[CheckpointEvent, _Mapping]] = ..., debug: _Optional[_Union[DebugEvent, _Mapping]] = ..., langchain_event: _Optional[_Union[LangchainEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., run_ended: _Optional[_Union[RunEnded, _Mapping]] = ..., part: _Optional[_Union[EventPart, _Mapping]] = ...) -> None: ...

class AttemptStarted(_message.Message):
    __slots__ = ("attempt", "resumed_from_checkpoint")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FROM_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    resumed_from_checkpoint: bool
    def __init__(self, attempt: _Optional[int] = ..., resumed_from_checkpoint: _Optional[bool] = ...) -> None: ...

class ValuesEvent(_message.Message):
    __slots__ = ("data", "interrupts")
    DATA_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_FIELD_NUMBER: _ClassVar[int]
    data: _payload_pb2.Payload
    interrupts: _containers.RepeatedCompositeFieldContainer[_core_pb2.Interrupt]
    def __init__(self, data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., interrupts: _Optional[_Iterable[_Union[_core_pb2.Interrupt, _Mapping]]] = ...) -> None: ...

class UpdatesEvent(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _payload_pb2.Payload
    def __init__(self, data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class MessageEvent(_message.Message):
    __slots__ = ("message_id", "type", "delta", "text", "tool_call_chunks", "usage", "extra", "metadata")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    type: str
    delta: bool
    text: str
    tool_call_chunks: _containers.RepeatedCompositeFieldContainer[ToolCallChunk]
    usage: TokenUsage
    extra: _payload_pb2.Payload
    metadata: _payload_pb2.Payload
    def __init__(self, message_id: _Optional[str] = ..., type: _Optional[str] = ..., delta: _Optional[bool] = ..., text: _Optional[str] = ..., tool_call_chunks: _Optional[_Iterable[_Union[ToolCallChunk, _Mapping]]] = ..., usage: _Optional[_Union[TokenUsage, _Mapping]] = ..., extra: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class ToolCallChunk(_message.Message):
    __slots__ = ("index", "id", "name", "args")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    index: int
    id: str
    name: str
    args: str
    def __init__(self, index: _Optional[int] = ..., id: _Optional[str] = ..., name: _Optional[str] = ..., args: _Optional[str] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "total_tokens")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    total_tokens: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ...) -> None: ...

class CustomEvent(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _payload_pb2.Payload
    def __init__(self, data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class TaskEvent(_message.Message):
    __slots__ = ("task_id", "name", "start", "result")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    name: str
    start: TaskStart
    result: TaskResult
    def __init__(self, task_id: _Optional[str] = ..., name: _Optional[str] = ..., start: _Optional[_Union[TaskStart, _Mapping]] = ..., result: _Optional[_Union[TaskResult, _Mapping]] = ...) -> None: ...

class TaskStart(_message.Message):
    __slots__ = ("input", "triggers")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    TRIGGERS_FIELD_NUMBER: _ClassVar[int]
    input: _payload_pb2.Payload
    triggers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, input: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., triggers: _Optional[_Iterable[str]] = ...) -> None: ...

class TaskResult(_message.Message):
    __slots__ = ("error", "result", "interrupts")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTS_FIELD_NUMBER: _ClassVar[int]
    error: str
    result: _payload_pb2.Payload
    interrupts: _containers.RepeatedCompositeFieldContainer[_core_pb2.Interrupt]
    def __init__(self, error: _Optional[str] = ..., result: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., interrupts: _Optional[_Iterable[_Union[_core_pb2.Interrupt, _Mapping]]] = ...) -> None: ...

class CheckpointEvent(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _payload_pb2.Payload
    def __init__(self, data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class DebugEvent(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _payload_pb2.Payload
    def __init__(self, data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class LangchainEvent(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: _payload_pb2.Payload
    def __init__(self, data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RunEnded(_message.Message):
    __slots__ = ("state", "error", "cancel", "end_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    state: _core_pb2.RunState
    error: _core_pb2.RunError
    cancel: _core_pb2.RunCancel
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[_core_pb2.RunState, str]] = ..., error: _Optional[_Union[_core_pb2.RunError, _Mapping]] = ..., cancel: _Optional[_Union[_core_pb2.RunCancel, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class EventPart(_message.Message):
    __slots__ = ("data", "last")
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    last: bool
    def __init__(self, data: _Optional[bytes] = ..., last: _Optional[bool] = ...) -> None: ...
