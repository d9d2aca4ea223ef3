# Made from ../store.py by client/make_sync.py: change that one.
"""The store: items that outlive threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from google.protobuf.duration_pb2 import Duration

from runwire.client.arguments import labels, payload, payload_or_none, refuse
from runwire.client.convert import time_of, value_of
from runwire.client.errors import NotFoundError
from runwire.client.sync.paging import collect
from runwire.v1 import store_pb2

if TYPE_CHECKING:
    from langgraph_sdk import schema as sdk

    from runwire.client.schema import Item, SearchItem, SearchItemsResponse
    from runwire.client.sync.channel import Connection

_ITEMS_LIMIT = 100
_NAMESPACES_LIMIT = 1000


class SyncStoreClient:
    """What can be done with the store's items, which graphs have as LangGraph's store.

    A namespace is a list of labels. `headers` are sent as metadata with the call.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_item(
        self,
        namespace: Sequence[str],
        /,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        ttl: float | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> None:
        """Store an item; one that is there gets the new value.

        `index`: paths of the value that a search by meaning looks at, False for none of it; None
        for what the server's configuration says. `ttl`: minutes, 0 for ever; None for the server's
        default. Raises `InvalidArgumentError`, `ResourceExhaustedError` for a value of more than 3
        MiB.
        """
        refuse(params=params)
        request = store_pb2.PutItemRequest(
            namespace=labels(namespace, "namespace"),
            key=key,
            value=payload(value, "value"),
            ttl=_duration(ttl),
            index_paths=index or None,
            unindexed=index is False,
        )
        self._connection.call(self._connection.services.store.PutItem, request, headers)

    def get_item(
        self,
        namespace: Sequence[str],
        /,
        key: str,
        *,
        refresh_ttl: bool | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> Item | None:
        """Return an item, None if it is not there.

        `refresh_ttl`: whether its time to live begins anew; None for what the server's
        configuration says.
        """
        refuse(params=params)
        request = store_pb2.GetItemRequest(
            namespace=labels(namespace, "namespace"), key=key, refresh_ttl=refresh_ttl
        )
        try:
            response = self._connection.call(
                self._connection.services.store.GetItem, request, headers
            )
        except NotFoundError:
            return None
        return _item_of(response.item)

    def delete_item(
        self,
        namespace: Sequence[str],
        /,
        key: str,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> None:
        """Delete an item, if it is there."""
        refuse(params=params)
        request = store_pb2.DeleteItemRequest(namespace=labels(namespace, "namespace"), key=key)
        self._connection.call(self._connection.services.store.DeleteItem, request, headers)

    def search_items(
        self,
        namespace_prefix: Sequence[str],
        /,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        query: str | None = None,
        refresh_ttl: bool | None = None,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> SearchItemsResponse:
        """Return items of the namespaces that begin with `namespace_prefix`, last put first.

        `filter` asks for entries of their values: `{"score": {"$gte": 3}, "colour": "red"}`. With a
        `query` the items that are nearest to its meaning come first, each with its `score`; raises
        `ConflictError` if the server's store has no index. `refresh_ttl` is as with `get_item`.
        """
        refuse(params=params)
        request = store_pb2.SearchItemsRequest(
            namespace_prefix=labels(namespace_prefix, "namespace_prefix"),
            filter=payload_or_none(filter or None, "filter"),
            query=query,
            refresh_ttl=refresh_ttl,
        )

        def fetch(size: int, token: str) -> tuple[Sequence[SearchItem], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.store.SearchItems, request, headers
            )
            return [_found_item_of(found) for found in response.items], response.next_page_token

        found, _ = collect(fetch, limit, offset, page_limit=_ITEMS_LIMIT)
        return {"items": found}

    def list_namespaces(
        self,
        prefix: list[str] | None = None,
        suffix: list[str] | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
        headers: Mapping[str, str] | None = None,
        params: sdk.QueryParamTypes | None = None,
    ) -> sdk.ListNamespaceResponse:
        """Return the namespaces that have items, in order, cut to `max_depth` labels.

        Of `prefix` and `suffix`, "*" stands for any label.
        """
        refuse(params=params)
        request = store_pb2.ListNamespacesRequest(
            prefix=prefix, suffix=suffix, max_depth=max_depth or 0
        )

        def fetch(size: int, token: str) -> tuple[Sequence[list[str]], str]:
            request.page_size, request.page_token = size, token
            response = self._connection.call(
                self._connection.services.store.ListNamespaces, request, headers
            )
            return [[*found.labels] for found in response.namespaces], response.next_page_token

        found, _ = collect(fetch, limit, offset, page_limit=_NAMESPACES_LIMIT)
        return {"namespaces": found}


def _duration(minutes: float | None) -> Duration | None:
    if minutes is None:
        return None
    duration = Duration()
    duration.FromTimedelta(timedelta(minutes=minutes))
    return duration


def _item_of(item: store_pb2.Item) -> Item:
    return cast(
        "Item",
        {
            "namespace": [*item.namespace],
            "key": item.key,
            "value": value_of(item.value),
            "created_at": time_of(item, "create_time"),
            "updated_at": time_of(item, "update_time"),
            "expires_at": time_of(item, "expire_time"),
        },
    )


def _found_item_of(found: store_pb2.FoundItem) -> SearchItem:
    score = found.score if found.HasField("score") else None
    return {**_item_of(found.item), "score": score}
