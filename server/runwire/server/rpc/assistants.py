"""The service of assistants: converts, calls, converts back."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from runwire.server.core.assistants import AssistantChange, AssistantDraft, Assistants
from runwire.server.model.requests import Order, RequestKey
from runwire.server.rpc import enums, payloads
from runwire.server.rpc.calls import Context
from runwire.server.rpc.drawings import edge_message, node_message, schemas_message
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.paging import PageRequest, read_page
from runwire.server.rpc.read_masks import masked, read_mask
from runwire.server.rpc.requests import read_key, read_request
from runwire.server.rpc.resources import assistant_message, assistant_version_message
from runwire.server.rpc.specs import read_config
from runwire.server.storage.assistants import AssistantFilter
from runwire.v1 import assistants_pb2 as wire
from runwire.v1 import assistants_pb2_grpc

NAME_CHARACTERS = 512
"""The longest name of an assistant: PostgreSQL has room for 2704 bytes in a row of an index."""

DESCRIPTION_CHARACTERS = 16_384


class AssistantServicer(assistants_pb2_grpc.AssistantServiceServicer):
    """Answers for `runwire.v1.AssistantService`."""

    def __init__(self, assistants: Assistants) -> None:
        self._assistants = assistants

    async def CreateAssistant(
        self, request: wire.CreateAssistantRequest, context: Context
    ) -> wire.CreateAssistantResponse:
        """Create an assistant, or return one that exists."""
        draft, key = await read_request(request, _read_draft)
        assistant, _ = await self._assistants.create(draft, key)
        return wire.CreateAssistantResponse(assistant=assistant_message(assistant))

    async def GetAssistant(
        self, request: wire.GetAssistantRequest, context: Context
    ) -> wire.GetAssistantResponse:
        """Return an assistant."""
        assistant_id = await read_request(request, _read_id)
        assistant = await self._assistants.get(assistant_id)
        return wire.GetAssistantResponse(assistant=assistant_message(assistant))

    async def ListAssistants(
        self, request: wire.ListAssistantsRequest, context: Context
    ) -> wire.ListAssistantsResponse:
        """Return a page of assistants."""
        query = await read_request(request, _read_query)
        page = await self._assistants.list(
            query.wanted,
            query.order,
            limit=query.page.limit,
            cursor=query.page.cursor,
            count_total=request.count_total,
        )
        return wire.ListAssistantsResponse(
            assistants=[masked(assistant_message(found), query.mask) for found in page.items],
            next_page_token=query.page.next_token(page.next),
            total_size=page.total,
        )

    async def UpdateAssistant(
        self, request: wire.UpdateAssistantRequest, context: Context
    ) -> wire.UpdateAssistantResponse:
        """Make a new version of an assistant."""
        assistant_id, change = await read_request(request, _read_change)
        assistant = await self._assistants.update(assistant_id, change)
        return wire.UpdateAssistantResponse(assistant=assistant_message(assistant))

    async def ListAssistantVersions(
        self, request: wire.ListAssistantVersionsRequest, context: Context
    ) -> wire.ListAssistantVersionsResponse:
        """Return a page of an assistant's versions."""
        query = await read_request(request, _read_versions_query)
        page = await self._assistants.list_versions(
            query.assistant_id, query.metadata, limit=query.page.limit, cursor=query.page.cursor
        )
        return wire.ListAssistantVersionsResponse(
            versions=[assistant_version_message(version) for version in page.items],
            next_page_token=query.page.next_token(page.next),
        )

    async def SetLatestAssistantVersion(
        self, request: wire.SetLatestAssistantVersionRequest, context: Context
    ) -> wire.SetLatestAssistantVersionResponse:
        """Make a version of an assistant its latest one."""
        assistant_id, version = await read_request(request, _read_version)
        assistant = await self._assistants.set_latest(assistant_id, version)
        return wire.SetLatestAssistantVersionResponse(assistant=assistant_message(assistant))

    async def DeleteAssistant(
        self, request: wire.DeleteAssistantRequest, context: Context
    ) -> wire.DeleteAssistantResponse:
        """Delete an assistant."""
        assistant_id = await read_request(request, _read_id)
        await self._assistants.delete(
            assistant_id, cancel_runs=request.cancel_runs, delete_threads=request.delete_threads
        )
        return wire.DeleteAssistantResponse()

    async def GetAssistantGraph(
        self, request: wire.GetAssistantGraphRequest, context: Context
    ) -> wire.GetAssistantGraphResponse:
        """Return an assistant's graph as nodes and edges."""
        assistant_id, depth = await read_request(request, _read_xray)
        graph_id, drawing = await self._assistants.drawing(assistant_id, depth)
        return wire.GetAssistantGraphResponse(
            graph_id=graph_id,
            nodes=[node_message(node) for node in drawing.nodes],
            edges=[edge_message(edge) for edge in drawing.edges],
            mermaid=drawing.mermaid,
        )

    async def GetAssistantSchemas(
        self, request: wire.GetAssistantSchemasRequest, context: Context
    ) -> wire.GetAssistantSchemasResponse:
        """Return the schemas of an assistant's graph."""
        assistant_id = await read_request(request, _read_id)
        graph_id, schemas = await self._assistants.schemas(assistant_id)
        return wire.GetAssistantSchemasResponse(graph_id=graph_id, schemas=schemas_message(schemas))

    async def ListAssistantSubgraphs(
        self, request: wire.ListAssistantSubgraphsRequest, context: Context
    ) -> wire.ListAssistantSubgraphsResponse:
        """Return the graphs within an assistant's graph."""
        assistant_id = await read_request(request, _read_id)
        found = await self._assistants.subgraphs(
            assistant_id, request.namespace, recurse=request.recurse
        )
        return wire.ListAssistantSubgraphsResponse(
            subgraphs=[
                wire.AssistantSubgraph(namespace=namespace, schemas=schemas_message(schemas))
                for namespace, schemas in found.items()
            ]
        )


@dataclass(frozen=True, slots=True)
class _Query:
    wanted: AssistantFilter
    order: Order
    page: PageRequest
    mask: FieldMask | None


@dataclass(frozen=True, slots=True)
class _VersionsQuery:
    assistant_id: str
    metadata: dict[str, Any]
    page: PageRequest


def _read_draft(
    request: wire.CreateAssistantRequest, fields: Fields
) -> tuple[AssistantDraft, RequestKey | None]:
    if_exists = fields.word("if_exists", request.if_exists, enums.IF_EXISTS, enums.IfExists.FAIL)
    draft = AssistantDraft(
        assistant_id=fields.optional_id("assistant_id", request.assistant_id),
        graph_id=fields.required("graph_id", request.graph_id),
        name=_read_name(request, fields),
        description=_read_description(request, fields),
        config=read_config(request.config, fields, "config"),
        context=fields.object("context", request.context),
        metadata=fields.metadata("metadata", request.metadata),
        return_existing=if_exists is enums.IfExists.RETURN_EXISTING,
    )
    return draft, read_key("AssistantService/CreateAssistant", request, fields)


def _read_name(
    request: wire.CreateAssistantRequest | wire.UpdateAssistantRequest, fields: Fields
) -> str:
    return fields.short("name", request.name, NAME_CHARACTERS)


def _read_description(
    request: wire.CreateAssistantRequest | wire.UpdateAssistantRequest, fields: Fields
) -> str:
    return fields.short("description", request.description, DESCRIPTION_CHARACTERS)


def _read_id(
    request: wire.GetAssistantRequest
    | wire.DeleteAssistantRequest
    | wire.GetAssistantSchemasRequest
    | wire.ListAssistantSubgraphsRequest,
    fields: Fields,
) -> str:
    return fields.assistant("assistant_id", request.assistant_id)


def _read_xray(request: wire.GetAssistantGraphRequest, fields: Fields) -> tuple[str, int | None]:
    """Read how deep to look; None: to the end."""
    assistant_id = fields.assistant("assistant_id", request.assistant_id)
    if request.xray_depth < 0:
        fields.refuse("xray_depth", "must not be negative")
    return assistant_id, None if request.xray_all else request.xray_depth


def _read_query(request: wire.ListAssistantsRequest, fields: Fields) -> _Query:
    wanted = AssistantFilter(
        graph_id=request.graph_id,
        name=request.name,
        metadata=fields.metadata("metadata", request.metadata),
    )
    order = fields.order(request.order, enums.ASSISTANT_ORDERS)
    mask = read_mask(request.read_mask, wire.Assistant, fields)
    return _Query(wanted, order, read_page(request, fields), mask)


def _read_versions_query(
    request: wire.ListAssistantVersionsRequest, fields: Fields
) -> _VersionsQuery:
    return _VersionsQuery(
        assistant_id=fields.assistant("assistant_id", request.assistant_id),
        metadata=fields.metadata("metadata", request.metadata),
        page=read_page(request, fields),
    )


def _read_version(
    request: wire.SetLatestAssistantVersionRequest, fields: Fields
) -> tuple[str, int]:
    assistant_id = fields.assistant("assistant_id", request.assistant_id)
    if request.version < 1:
        fields.refuse("version", "must be at least 1")
    return assistant_id, request.version


def _read_change(
    request: wire.UpdateAssistantRequest, fields: Fields
) -> tuple[str, AssistantChange]:
    if request.HasField("graph_id"):
        fields.required("graph_id", request.graph_id)
    has_config, has_metadata = request.HasField("config"), payloads.is_set(request.metadata)
    change = AssistantChange(
        graph_id=request.graph_id if request.HasField("graph_id") else None,
        name=_read_name(request, fields) if request.HasField("name") else None,
        description=(
            _read_description(request, fields) if request.HasField("description") else None
        ),
        config=read_config(request.config, fields, "config") if has_config else None,
        context=fields.object("context", request.context),
        metadata=fields.metadata("metadata", request.metadata) if has_metadata else None,
    )
    return fields.assistant("assistant_id", request.assistant_id), change
