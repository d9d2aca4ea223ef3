import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from runwire.v1 import core_pb2 as _core_pb2
from runwire.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AssistantOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ASSISTANT_ORDER_UNSPECIFIED: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_CREATE_TIME_DESC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_CREATE_TIME_ASC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_UPDATE_TIME_DESC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_UPDATE_TIME_ASC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_NAME_ASC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_NAME_DESC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_ASSISTANT_ID_ASC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_ASSISTANT_ID_DESC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_GRAPH_ID_ASC: _ClassVar[AssistantOrder]
    ASSISTANT_ORDER_GRAPH_ID_DESC: _ClassVar[AssistantOrder]
ASSISTANT_ORDER_UNSPECIFIED: AssistantOrder
ASSISTANT_ORDER_CREATE_TIME_DESC: AssistantOrder
ASSISTANT_ORDER_CREATE_TIME_ASC: AssistantOrder
ASSISTANT_ORDER_UPDATE_TIME_DESC: AssistantOrder
ASSISTANT_ORDER_UPDATE_TIME_ASC: AssistantOrder
ASSISTANT_ORDER_NAME_ASC: AssistantOrder
ASSISTANT_ORDER_NAME_DESC: AssistantOrder
ASSISTANT_ORDER_ASSISTANT_ID_ASC: AssistantOrder
ASSISTANT_ORDER_ASSISTANT_ID_DESC: AssistantOrder
ASSISTANT_ORDER_GRAPH_ID_ASC: AssistantOrder
ASSISTANT_ORDER_GRAPH_ID_DESC: AssistantOrder

class Assistant(_message.Message):
    __slots__ = ("assistant_id", "graph_id", "name", "description", "config", "context", "metadata", "version", "create_time", "update_time")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    graph_id: str
    name: str
    description: str
    config: _core_pb2.RunConfig
    context: _payload_pb2.Payload
    metadata: _payload_pb2.Payload
    version: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, assistant_id: _Optional[str] = ..., graph_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., config: _Optional[_Union[_core_pb2.RunConfig, _Mapping]] = ..., context: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., version: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AssistantVersion(_message.Message):
    __slots__ = ("assistant_id", "version", "graph_id", "name", "description", "config", "context", "metadata", "create_time")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    version: int
    graph_id: str
    name: str
    description: str
    config: _core_pb2.RunConfig
    context: _payload_pb2.Payload
    metadata: _payload_pb2.Payload
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, assistant_id: _Optional[str] = ..., version: _Optional[int] = ..., graph_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., config: _Optional[_Union[_core_pb2.RunConfig, _Mapping]] = ..., context: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateAssistantRequest(_message.Message):
    __slots__ = ("assistant_id", "graph_id", "name", "description", "config", "context", "metadata", "if_exists", "request_id")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IF_EXISTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    graph_id: str
    name: str
    description: str
    config: _core_pb2.RunConfig
    context: _payload_pb2.Payload
    metadata: _payload_pb2.Payload
    if_exists: _core_pb2.IfExists
    request_id: str
    def __init__(self, assistant_id: _Optional[str] = ..., graph_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., config: _Optional[_Union[_core_pb2.RunConfig, _Mapping]] = ..., context: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., if_exists: _Optional[_Union[_core_pb2.IfExists, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateAssistantResponse(_message.Message):
    __slots__ = ("assistant",)
    ASSISTANT_FIELD_NUMBER: _ClassVar[int]
    assistant: Assistant
    def __init__(self, assistant: _Optional[_Union[Assistant, _Mapping]] = ...) -> None: ...

class GetAssistantRequest(_message.Message):
    __slots__ = ("assistant_id",)
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    def __init__(self, assistant_id: _Optional[str] = ...) -> None: ...

class GetAssistantResponse(_message.Message):
    __slots__ = ("assistant",)
    ASSISTANT_FIELD_NUMBER: _ClassVar[int]
    assistant: Assistant
    def __init__(self, assistant: _Optional[_Union[Assistant, _Mapping]] = ...) -> None: ...

class ListAssistantsRequest(_message.Message):
    __slots__ = ("graph_id", "name", "metadata", "page_size", "page_token", "order", "read_mask", "count_total")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    COUNT_TOTAL_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    name: str
    metadata: _payload_pb2.Payload
    page_size: int
    page_token: str
    order: AssistantOrder
    read_mask: _field_mask_pb2.FieldMask
    count_total: bool
    def __init__(self, graph_id: _Optional[str] = ..., name: _Optional[str] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., order: _Optional[_Union[AssistantOrder, str]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., count_total: _Optional[bool] = ...) -> None: ...

class ListAssistantsResponse(_message.Message):
    __slots__ = ("assistants", "next_page_token", "total_size")
    ASSISTANTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    assistants: _containers.RepeatedCompositeFieldContainer[Assistant]
    next_page_token: str
    total_size: int
    def __init__(self, assistants: _Optional[_Iterable[_Union[Assistant, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., total_size: _Optional[int] = ...) -> None: ...

class UpdateAssistantRequest(_message.Message):
    __slots__ = ("assistant_id", "graph_id", "name", "description", "config", "context", "metadata")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    graph_id: str
    name: str
    description: str
    config: _core_pb2.RunConfig
    context: _payload_pb2.Payload
    metadata: _payload_pb2.Payload
    def __init__(self, assistant_id: _Optional[str] = ..., graph_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., config: _Optional[_Union[_core_pb2.RunConfig, _Mapping]] = ..., context: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class UpdateAssistantResponse(_message.Message):
    __slots__ = ("assistant",)
    ASSISTANT_FIELD_NUMBER: _ClassVar[int]
    assistant: Assistant
    def __init__(self, assistant: _Optional[_Union[Assistant, _Mapping]] = ...) -> None: ...

class ListAssistantVersionsRequest(_message.Message):
    __slots__ = ("assistant_id", "metadata", "page_size", "page_token")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    metadata: _payload_pb2.Payload
    page_size: int
    page_token: str
    def __init__(self, assistant_id: _Optional[str] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAssistantVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[AssistantVersion]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[AssistantVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SetLatestAssistantVersionRequest(_message.Message):
    __slots__ = ("assistant_id", "version")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    version: int
    def __init__(self, assistant_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class SetLatestAssistantVersionResponse(_message.Message):
    __slots__ = ("assistant",)
    ASSISTANT_FIELD_NUMBER: _ClassVar[int]
    assistant: Assistant
    def __init__(self, assistant: _Optional[_Union[Assistant, _Mapping]] = ...) -> None: ...

class DeleteAssistantRequest(_message.Message):
    __slots__ = ("assistant_id", "cancel_runs", "delete_threads")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RUNS_FIELD_NUMBER: _ClassVar[int]
    DELETE_THREADS_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    cancel_runs: bool
    delete_threads: bool
    def __init__(self, assistant_id: _Optional[str] = ..., cancel_runs: _Optional[bool] = ..., delete_threads: _Optional[bool] = ...) -> None: ...

class DeleteAssistantResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetAssistantSchemasRequest(_message.Message):
    __slots__ = ("assistant_id",)
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    def __init__(self, assistant_id: _Optional[str] = ...) -> None: ...

class GetAssistantSchemasResponse(_message.Message):
    __slots__ = ("graph_id", "schemas")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    schemas: GraphSchemas
    def __init__(self, graph_id: _Optional[str] = ..., schemas: _Optional[_Union[GraphSchemas, _Mapping]] = ...) -> None: ...

class GraphSchemas(_message.Message):
    __slots__ = ("input_schema", "output_schema", "state_schema", "config_schema", "context_schema", "errors")
    class ErrorsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    STATE_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    CONFIG_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    input_schema: _payload_pb2.Payload
    output_schema: _payload_pb2.Payload
    state_schema: _payload_pb2.Payload
    config_schema: _payload_pb2.Payload
    context_schema: _payload_pb2.Payload
    errors: _containers.ScalarMap[str, str]
    def __init__(self, input_schema: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., output_schema: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., state_schema: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., config_schema: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., context_schema: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., errors: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListAssistantSubgraphsRequest(_message.Message):
    __slots__ = ("assistant_id", "namespace", "recurse")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RECURSE_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    namespace: str
    recurse: bool
    def __init__(self, assistant_id: _Optional[str] = ..., namespace: _Optional[str] = ..., recurse: _Optional[bool] = ...) -> None: ...

class ListAssistantSubgraphsResponse(_message.Message):
    __slots__ = ("subgraphs",)
    SUBGRAPHS_FIELD_NUMBER: _ClassVar[int]
    subgraphs: _containers.RepeatedCompositeFieldContainer[AssistantSubgraph]
    def __init__(self, subgraphs: _Optional[_Iterable[_Union[AssistantSubgraph, _Mapping]]] = ...) -> None: ...

class AssistantSubgraph(_message.Message):
    __slots__ = ("namespace", "schemas")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SCHEMAS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    schemas: GraphSchemas
    def __init__(self, namespace: _Optional[str] = ..., schemas: _Optional[_Union[GraphSchemas, _Mapping]] = ...) -> None: ...

class GetAssistantGraphRequest(_message.Message):
    __slots__ = ("assistant_id", "xray_depth", "xray_all")
    ASSISTANT_ID_FIELD_NUMBER: _ClassVar[int]
    XRAY_DEPTH_FIELD_NUMBER: _ClassVar[int]
    XRAY_ALL_FIELD_NUMBER: _ClassVar[int]
    assistant_id: str
    xray_depth: int
    xray_all: bool
    def __init__(self, assistant_id: _Optional[str] = ..., xray_depth: _Optional[int] = ..., xray_all: _Optional[bool] = ...) -> None: ...

class GetAssistantGraphResponse(_message.Message):
    __slots__ = ("graph_id", "nodes", "edges", "mermaid")
    GRAPH_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    MERMAID_FIELD_NUMBER: _ClassVar[int]
    graph_id: str
    nodes: _containers.RepeatedCompositeFieldContainer[GraphNode]
    edges: _containers.RepeatedCompositeFieldContainer[GraphEdge]
    mermaid: str
    def __init__(self, graph_id: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[GraphNode, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[GraphEdge, _Mapping]]] = ..., mermaid: _Optional[str] = ...) -> None: ...

class GraphNode(_message.Message):
    __slots__ = ("node_id", "name", "type", "data", "metadata")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    name: str
    type: str
    data: _payload_pb2.Payload
    metadata: _payload_pb2.Payload
    def __init__(self, node_id: _Optional[str] = ..., name: _Optional[str] = ..., type: _Optional[str] = ..., data: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., metadata: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ...) -> None: ...

class GraphEdge(_message.Message):
    __slots__ = ("source", "target", "conditional", "label")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CONDITIONAL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    source: str
    target: str
    conditional: bool
    label: str
    def __init__(self, source: _Optional[str] = ..., target: _Optional[str] = ..., conditional: _Optional[bool] = ..., label: _Optional[str] = ...) -> None: ...
