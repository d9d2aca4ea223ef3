# Made from ../assistants.py by client/make_sync.py: change that one.
"""Assistants: graphs with configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from google.protobuf.field_mask_pb2 import FieldMask

from runwire.client.arguments import (
    IF_EXISTS,
    build_config,
    choice,
    new_request_id,
    payload_or_none,
    refuse,
)
from runwire.client.convert import assistant_of, assistant_version_of
from runwire.client.drawings import graph_of, schemas_of
from runwire.client.sync.paging import chosen, collect, mask_of, order_of
from runwire.v1 import assistants_pb2

if TYPE_CHECKING:
    from langgraph_sdk import schema as sdk

    from runwire.client.schema import Assistant, AssistantVersion, GraphSchema, Subgraphs
    from runwire.client.sync.channel import Connection

_PAGE_LIMIT = 500

_ORDERS = {
    ("created_at", "desc"): assistants_pb2.ASSISTANT_ORDER_CREATE_TIME_DESC,
    ("created_at", "asc"): assistants_pb2.ASSISTANT_ORDER_CREATE_TIME_ASC,
    ("updated_at", "desc"): assistants_pb2.ASSISTANT_ORDER_UPDATE_TIME_DESC,
    ("updated_at", "asc"): assistants_pb2.ASSISTANT_ORDER_UPDATE_TIME_ASC,
    ("name", "asc"): assistants_pb2.ASSISTANT_ORDER_NAME_ASC,
    ("name", "desc"): assistants_pb2.ASSISTANT_ORDER_NAME_DESC,
    ("assistant_id", "asc"): assistants_pb2.ASSISTANT_ORDER_ASSISTANT_ID_ASC,
    ("assistant_id", "desc"): assistants_pb2.ASSISTANT_ORDER_ASSISTANT_ID_DESC,
    ("graph_id", "asc"): assistants_pb2.ASSISTANT_ORDER_GRAPH_ID_ASC,
    ("graph_id", "desc"): assistants_pb2.ASSISTANT_ORDER_GRAPH_ID_DESC,
}


class SyncAssistantsClient:
    """What can be done with assistants.

    A graph's id stands for that graph's default assistant, but in `delete`. `headers` are sent as
    metadata with the call.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(
        self,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Assistant:
        """Return an assistant at its latest version. Raises `NotFoundError`."""
        refuse(params=params)
        response = self._connection.call(
            self._connection.services.assistants.GetAssistant,
            assistants_pb2.GetAssistantRequest(assistant_id=assistant_id),
            headers,
        )
        return assistant_of(response.assistant)

    def create(
        self,
        graph_id: str | None,
        config: sdk.Config | None = None,
        *,
        context: sdk.Context | None = None,
        metadata: sdk.Json = None,
        assistant_id: str | None = None,
        if_exists: sdk.OnConflictBehavior | None = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        description: str | None = None,
        params: sdk.QueryParamTypes | None = None,
        request_id: str | None = None,
    ) -> Assistant:
        """Create an assistant. Its name is the graph's id if none is given.

        `request_id` makes the call repeatable: with the same id and the same arguments it answers
        with the same assistant; the client makes one for its own retries. Raises `NotFoundError`
        for an unknown graph, `AlreadyExistsError` if `assistant_id` is taken, unless `if_exists` is
        "do_nothing".
        """
        refuse(params=params)
        request = assistants_pb2.CreateAssistantRequest(
            assistant_id=assistant_id,
            graph_id=graph_id,
            name=name,
            description=description,
            config=build_config(config) if config else None,
            context=payload_or_none(context, "context"),
            metadata=payload_or_none(metadata, "metadata"),
            if_exists=choice("if_exists", if_exists, IF_EXISTS),
            request_id=request_id or new_request_id(),
        )
        response = self._connection.call(
            self._connection.services.assistants.CreateAssistant, request, headers
        )
        return assistant_of(response.assistant)

    def update(
        self,
        assistant_id: str,
        *,
        graph_id: str | None = None,
        config: sdk.Config | None = None,
        context: sdk.Context | None = None,
        metadata: sdk.Json = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        description: str | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Assistant:
        """Change an assistant, which makes a new version; what is not given stays as it is.

        Metadata is merged key by key (None removes a key); config and context replace the old ones
        as a whole. Raises `NotFoundError`, and `ConflictError` if a graph's default assistant
        would move to another graph.
        """
        refuse(params=params)
        request = assistants_pb2.UpdateAssistantRequest(
            assistant_id=assistant_id,
            graph_id=graph_id,
            name=name,
            description=description,
            config=None if config is None else build_config(config),
            context=payload_or_none(context, "context"),
            metadata=payload_or_none(metadata, "metadata"),
        )
        response = self._connection.call(
            self._connection.services.assistants.UpdateAssistant, request, headers
        )
        return assistant_of(response.assistant)

    def delete(
        self,
        assistant_id: str,
        *,
        delete_threads: bool = False,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
        cancel_runs: bool = True,
    ) -> None:
        """Delete an assistant with its versions.

        Its runs that have not ended are cancelled first, as langgraph_sdk's users expect; with
        `cancel_runs=False` they keep it from being deleted. `delete_threads` cancels them anyway,
        and deletes the threads on which it has run, and no other assistant. A call that fails half
        way can be repeated. Raises `NotFoundError`, and `ConflictError` for a graph's default
        assistant, or if there are runs that are not to be cancelled or come again and again.
        """
        refuse(params=params)
        self._connection.call(
            self._connection.services.assistants.DeleteAssistant,
            assistants_pb2.DeleteAssistantRequest(
                assistant_id=assistant_id,
                cancel_runs=cancel_runs,
                delete_threads=delete_threads,
            ),
            headers,
        )

    def get_graph(
        self,
        assistant_id: str,
        *,
        xray: int | bool = False,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the nodes and edges of an assistant's graph, and as `mermaid` a text that draws
        them.

        `xray` shows the nodes of subgraphs in the place of these: so many levels deep, or all if
        True. Raises `NotFoundError`.
        """
        refuse(params=params)
        request = assistants_pb2.GetAssistantGraphRequest(assistant_id=assistant_id)
        if xray is True:
            request.xray_all = True
        else:
            request.xray_depth = int(xray)
        response = self._connection.call(
            self._connection.services.assistants.GetAssistantGraph, request, headers
        )
        return graph_of(response)

    def get_schemas(
        self,
        assistant_id: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> GraphSchema:
        """Return the JSON schemas of what an assistant's graph takes and gives, None for those that
        it has not or that cannot be made: then `errors` says why. Raises `NotFoundError`."""
        refuse(params=params)
        response = self._connection.call(
            self._connection.services.assistants.GetAssistantSchemas,
            assistants_pb2.GetAssistantSchemasRequest(assistant_id=assistant_id),
            headers,
        )
        return schemas_of(response.schemas, response.graph_id)

    def get_subgraphs(
        self,
        assistant_id: str,
        namespace: str | None = None,
        recurse: bool = False,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Subgraphs:
        """Return the JSON schemas of the graphs within an assistant's graph, by their namespaces
        ("node", "node|node"): of all its nodes' or of the one of a `namespace`; `recurse`: also of
        those within these. Raises `NotFoundError`."""
        refuse(params=params)
        response = self._connection.call(
            self._connection.services.assistants.ListAssistantSubgraphs,
            assistants_pb2.ListAssistantSubgraphsRequest(
                assistant_id=assistant_id, namespace=namespace, recurse=recurse
            ),
            headers,
        )
        return {item.namespace: schemas_of(item.schemas, "") for item in response.subgraphs}

    @overload
    def search(
        self,
        *,
        metadata: sdk.Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: sdk.AssistantSortBy | None = None,
        sort_order: sdk.SortOrder | None = None,
        select: list[sdk.AssistantSelectField] | None = None,
        response_format: Literal["array"] = "array",
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> list[Assistant]: ...

    @overload
    def search(
        self,
        *,
        metadata: sdk.Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: sdk.AssistantSortBy | None = None,
        sort_order: sdk.SortOrder | None = None,
        select: list[sdk.AssistantSelectField] | None = None,
        response_format: Literal["object"],
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> sdk.AssistantsSearchResponse: ...

    def search(
        self,
        *,
        metadata: sdk.Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        limit: int = 10,
        offset: int = 0,
        sort_by: sdk.AssistantSortBy | None = None,
        sort_order: sdk.SortOrder | None = None,
        select: list[sdk.AssistantSelectField] | None = None,
        response_format: Literal["array", "object"] = "array",
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> list[Assistant] | sdk.AssistantsSearchResponse:
        """Return the assistants that pass all filters, newest first unless said otherwise.

        With `response_format` "object", the result also tells the `offset` to go on at, as `next`.
        """
        refuse(params=params)
        if response_format not in ("array", "object"):
            raise ValueError(f"response_format: {response_format!r} is not one of array, object")
        request = assistants_pb2.ListAssistantsRequest(
            graph_id=graph_id,
            name=name,
            metadata=payload_or_none(metadata or None, "metadata"),
            order=order_of(sort_by, sort_order, _ORDERS),
            read_mask=mask_of(assistants_pb2.Assistant, select),
        )

        def fetch(size: int, token: str) -> tuple[Sequence[assistants_pb2.Assistant], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.assistants.ListAssistants, request, headers
            )
            return response.assistants, response.next_page_token

        found, more = collect(fetch, limit, offset, page_limit=_PAGE_LIMIT)
        shown = [chosen(assistant_of(assistant), select) for assistant in found]
        if response_format == "array":
            return shown
        return {"assistants": shown, "next": str(offset + limit) if more else None}

    def count(
        self,
        *,
        metadata: sdk.Json = None,
        graph_id: str | None = None,
        name: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> int:
        """Return how many assistants pass all filters."""
        refuse(params=params)
        request = assistants_pb2.ListAssistantsRequest(
            graph_id=graph_id,
            name=name,
            metadata=payload_or_none(metadata or None, "metadata"),
            page_size=1,
            read_mask=FieldMask(paths=["assistant_id"]),
            count_total=True,
        )
        response = self._connection.call(
            self._connection.services.assistants.ListAssistants, request, headers
        )
        return response.total_size

    def get_versions(
        self,
        assistant_id: str,
        metadata: sdk.Json = None,
        limit: int = 10,
        offset: int = 0,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> list[AssistantVersion]:
        """Return an assistant's versions whose metadata contains `metadata`, the highest first.
        Raises `NotFoundError`."""
        refuse(params=params)
        request = assistants_pb2.ListAssistantVersionsRequest(
            assistant_id=assistant_id, metadata=payload_or_none(metadata or None, "metadata")
        )

        def fetch(size: int, token: str) -> tuple[Sequence[assistants_pb2.AssistantVersion], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.assistants.ListAssistantVersions, request, headers
            )
            return response.versions, response.next_page_token

        found, _ = collect(fetch, limit, offset, page_limit=_PAGE_LIMIT)
        return [assistant_version_of(version) for version in found]

    def set_latest(
        self,
        assistant_id: str,
        version: int,
        *,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Assistant:
        """Make an assistant again what it was at a version, in every part; return it. Raises
        `NotFoundError`, also if the server does not have that version's graph."""
        refuse(params=params)
        response = self._connection.call(
            self._connection.services.assistants.SetLatestAssistantVersion,
            assistants_pb2.SetLatestAssistantVersionRequest(
                assistant_id=assistant_id, version=version
            ),
            headers,
        )
        return assistant_of(response.assistant)
