"""The service of the store: converts, calls, converts back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runwire.server.core.store import ItemDraft, ItemQuery, Store
from runwire.server.model import items
from runwire.server.model.errors import PayloadTooLarge
from runwire.server.model.items import FilterError, Item, ItemPlace, Match, Namespace
from runwire.server.rpc import paging, payloads
from runwire.server.rpc.calls import Context
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.json_limits import shown_path
from runwire.server.rpc.paging import PageRequest, read_page
from runwire.server.rpc.requests import read_request
from runwire.v1 import payload_pb2, store_pb2_grpc
from runwire.v1 import store_pb2 as wire

MAX_INDEX_PATHS = 100

RESERVED_ROOT = "langgraph"
"""The first label of namespaces that are LangGraph's own."""


class StoreServicer(store_pb2_grpc.StoreServiceServicer):
    """Answers for `runwire.v1.StoreService`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def PutItem(self, request: wire.PutItemRequest, context: Context) -> wire.PutItemResponse:
        """Store an item."""
        draft = await read_request(request, _read_draft)
        return wire.PutItemResponse(item=_item_message(await self._store.put(draft)))

    async def GetItem(self, request: wire.GetItemRequest, context: Context) -> wire.GetItemResponse:
        """Return an item."""
        place = await read_request(request, _read_place)
        item = await self._store.get(place, refresh=_read_refresh(request))
        return wire.GetItemResponse(item=_item_message(item))

    async def DeleteItem(
        self, request: wire.DeleteItemRequest, context: Context
    ) -> wire.DeleteItemResponse:
        """Delete an item, if it is there."""
        await self._store.delete(await read_request(request, _read_place))
        return wire.DeleteItemResponse()

    async def SearchItems(
        self, request: wire.SearchItemsRequest, context: Context
    ) -> wire.SearchItemsResponse:
        """Return a page of items."""
        search = await read_request(request, _read_search)
        page = await self._store.search(
            search.wanted, limit=search.page.limit, cursor=search.page.cursor
        )
        return wire.SearchItemsResponse(
            items=[
                wire.FoundItem(item=_item_message(item), score=item.score) for item in page.items
            ],
            next_page_token=search.page.next_token(page.next),
        )

    async def ListNamespaces(
        self, request: wire.ListNamespacesRequest, context: Context
    ) -> wire.ListNamespacesResponse:
        """Return a page of namespaces."""
        listing = await read_request(request, _read_listing)
        page = await self._store.list_namespaces(
            listing.matches,
            max_depth=listing.max_depth,
            limit=listing.page.limit,
            cursor=listing.page.cursor,
        )
        return wire.ListNamespacesResponse(
            namespaces=[wire.Namespace(labels=labels) for labels in page.items],
            next_page_token=listing.page.next_token(page.next),
        )


@dataclass(frozen=True, slots=True)
class _Search:
    wanted: ItemQuery
    page: PageRequest


@dataclass(frozen=True, slots=True)
class _Listing:
    matches: list[Match]
    max_depth: int | None
    page: PageRequest


def _item_message(item: Item) -> wire.Item:
    return wire.Item(
        namespace=item.namespace,
        key=item.key,
        value=payloads.of_data(item.value),
        create_time=item.create_time,
        update_time=item.update_time,
        expire_time=item.expire_time,
    )


def _read_draft(request: wire.PutItemRequest, fields: Fields) -> ItemDraft:
    place = _read_place(request, fields)
    if place.namespace[:1] == (RESERVED_ROOT,):
        fields.refuse("namespace[0]", f"is {RESERVED_ROOT!r}, which is LangGraph's own")
    if request.unindexed and request.index_paths:
        fields.refuse("unindexed", "cannot be set together with index_paths")
    if fields.fits("index_paths", request.index_paths, MAX_INDEX_PATHS):
        for index, path in enumerate(fields.names("index_paths", request.index_paths)):
            if wrong := items.wrong_path(path):
                fields.refuse(f"index_paths[{index}]", wrong)
    ttl = fields.duration("ttl", request.ttl) if request.HasField("ttl") else None
    return ItemDraft(
        place=place,
        value=_read_value(request.value, fields),
        ttl=ttl,
        index_paths=tuple(request.index_paths) or None,
        unindexed=request.unindexed,
    )


def _read_value(payload: payload_pb2.Payload, fields: Fields) -> dict[str, Any]:
    if not payloads.is_set(payload):
        fields.refuse("value", "is required")
    value = fields.object("value", payload) or {}
    size = len(orjson.dumps(value))
    if size > items.MAX_VALUE_BYTES:
        raise PayloadTooLarge("value", size, items.MAX_VALUE_BYTES)
    return value


def _read_place(
    request: wire.PutItemRequest | wire.GetItemRequest | wire.DeleteItemRequest, fields: Fields
) -> ItemPlace:
    namespace = _read_labels("namespace", request.namespace, fields)
    if not request.namespace:
        fields.refuse("namespace", "is required")
    if wrong := items.wrong_key(fields.required("key", request.key) or "?"):
        fields.refuse("key", wrong)
    elif wrong := items.wrong_size(namespace, request.key):
        fields.refuse("namespace", wrong)
    return ItemPlace(namespace, request.key)


def _read_labels(field: str, labels: Sequence[str], fields: Fields) -> Namespace:
    if not fields.fits(field, labels, items.MAX_LABELS):
        return ()
    for index, label in enumerate(labels):
        if wrong := items.wrong_label(label):
            fields.refuse(f"{field}[{index}]", wrong)
    return tuple(labels)


def _read_refresh(request: wire.GetItemRequest | wire.SearchItemsRequest) -> bool | None:
    return request.refresh_ttl if request.HasField("refresh_ttl") else None


def _read_search(request: wire.SearchItemsRequest, fields: Fields) -> _Search:
    prefix = _read_labels("namespace_prefix", request.namespace_prefix, fields)
    if wrong := items.wrong_size(prefix):
        fields.refuse("namespace_prefix", wrong)
    wanted = ItemQuery(
        prefix=prefix,
        conditions=_read_filter(request.filter, fields),
        query=request.query,
        refresh=_read_refresh(request),
    )
    return _Search(wanted, read_page(request, fields, paging.ITEMS))


def _read_filter(payload: payload_pb2.Payload, fields: Fields) -> list[items.Condition]:
    try:
        return items.read_filter(fields.object("filter", payload) or {})
    except FilterError as error:
        fields.refuse(f"filter{shown_path(error.path)}", error.description)
        return []


def _read_listing(request: wire.ListNamespacesRequest, fields: Fields) -> _Listing:
    matches = [
        Match(_read_labels("prefix", request.prefix, fields)),
        Match(_read_labels("suffix", request.suffix, fields), at_end=True),
    ]
    if request.max_depth < 0:
        fields.refuse("max_depth", "must not be negative")
    page = read_page(request, fields, paging.NAMESPACES)
    return _Listing(matches, request.max_depth or None, page)
