"""The store: items that outlive threads. Graphs have the same ones through LangGraph's store."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from runwire.server.core.local import LocalRunner
from runwire.server.graphs.embedding import Embedder, Meanings, Texts
from runwire.server.model.errors import (
    EmbeddingFailed,
    InvalidField,
    ItemNotFound,
    SearchNotConfigured,
)
from runwire.server.model.ids import new_id
from runwire.server.model.items import (
    Condition,
    Item,
    ItemPlace,
    Match,
    Namespace,
    StoreTtl,
    TextsError,
)
from runwire.server.model.requests import Page
from runwire.server.storage import items, namespaces, vectors
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.items import Mark

_logger = logging.getLogger(__name__)

_SLOW = (
    "searches of the store by meaning are slower than they could be: install sqlite-vec (the extra"
    " semantic), for a Python whose sqlite3 can load extensions"
)

PAGE_BYTES = 3 * 1024 * 1024
"""After so many bytes of values a page of items ends: its answer is to fit into one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDraft:
    """An item to store. `ttl`: None for the default, 0 for ever. `index_paths`: what of it is found
    by its meaning, None for the default; nothing if it is `unindexed`."""

    place: ItemPlace
    value: dict[str, Any]
    ttl: timedelta | None = None
    index_paths: Sequence[str] | None = None
    unindexed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemQuery:
    """Items to look for: below `prefix`, with these entries, and near to what `query` means. With
    `refresh` their time begins anew; None for the default."""

    prefix: Namespace = ()
    conditions: Sequence[Condition] = ()
    query: str = ""
    refresh: bool | None = None


class Store:
    """What can be done with the store's items."""

    def __init__(
        self,
        database: Database,
        runner: LocalRunner,
        *,
        ttl: StoreTtl,
        embedder: Embedder | None = None,
    ) -> None:
        """`embedder`: makes items that can be found by their meaning."""
        self._database = database
        self._runner = runner
        self._ttl = ttl
        self._embedder = embedder

    async def load(self) -> None:
        """Make ready what items are found by their meaning with, if anything is. Raises
        `ConfigError`, `DatabaseUnusable`."""
        if self._embedder is not None:
            await self._embedder.load()
            index = self._embedder.index
            await self._database.write(lambda connection: vectors.prepare(connection, index))
            if await self._database.read(vectors.compares_slowly):
                _logger.warning(_SLOW)

    async def put(self, draft: ItemDraft) -> Item:
        """Store an item and return it; one that is there gets the new value. Raises
        `InvalidField`, `EmbeddingFailed`."""
        ttl = self._ttl.default if draft.ttl is None else draft.ttl or None
        texts = await self._texts_of(draft)
        meanings = await self._embed(Texts(documents=list(texts.values())))

        def put(connection: Connection) -> Item:
            now = current_time(connection)
            item = items.put_item(connection, draft.place, draft.value, now, ttl)
            if self._embedder is not None:
                vectors.put_vectors(connection, draft.place, meanings.of(texts))
            return item

        return await self._database.write(put)

    async def _texts_of(self, draft: ItemDraft) -> dict[str, str]:
        """Return what of an item is found by its meaning."""
        embedder = self._embedder
        if embedder is None or draft.unindexed:
            return {}
        try:
            # Not on the loop that answers calls: a value may be large, and paths lead to it often.
            return await asyncio.to_thread(embedder.texts_of, draft.value, draft.index_paths)
        except TextsError as error:
            field = "value" if draft.index_paths is None else "index_paths"
            raise InvalidField(field, str(error)) from None

    async def _embed(self, texts: Texts) -> Meanings:
        embedder = self._embedder
        if embedder is None or not (texts.documents or texts.queries):
            return Meanings()
        try:
            return await self._runner.call(lambda: embedder.aembed(texts))
        except Exception as error:
            # It is the user's code that failed: what it says may be for nobody's eyes.
            failure = EmbeddingFailed(new_id())
            _logger.exception("the store's embedding failed", extra=dict(failure.variables))
            raise failure from error

    async def get(self, place: ItemPlace, *, refresh: bool | None = None) -> Item:
        """Return an item, whose time begins anew unless it is not to `refresh`. Raises
        `ItemNotFound`."""

        def get(connection: Connection) -> Item | None:
            return items.get_item(connection, place, current_time(connection))

        found = await self._database.read(get)
        if found is None:
            raise ItemNotFound(place.namespace, place.key)
        return (await self._refreshed([found], refresh))[0]

    async def delete(self, place: ItemPlace) -> None:
        """Delete an item, if it is there."""
        await self._database.write(lambda connection: items.delete_item(connection, place))

    async def search(self, wanted: ItemQuery, *, limit: int, cursor: str | None) -> Page[Item]:
        """Return the items that are `wanted`, a page at a time: last updated first, or with a query
        the nearest first. Raises `SearchNotConfigured`, `EmbeddingFailed`."""
        if wanted.query:
            return await self._search_by_meaning(wanted, limit, int(cursor or 0))
        after = None if cursor is None else _mark_of(cursor)

        def search(connection: Connection) -> list[Item]:
            return items.search_items(
                connection,
                wanted.prefix,
                wanted.conditions,
                current_time(connection),
                limit=limit + 1,
                after=after,
            )

        found = await self._database.read(search)
        shown = found[: _fitting(found[:limit])]
        following = _cursor_of(shown[-1]) if len(shown) < len(found) else None
        return Page(await self._refreshed(shown, wanted.refresh), following)

    async def _search_by_meaning(self, wanted: ItemQuery, limit: int, offset: int) -> Page[Item]:
        if self._embedder is None:
            raise SearchNotConfigured
        meaning = (await self._embed(Texts(queries=[wanted.query]))).queries.get(wanted.query)
        if meaning is None:
            return Page([], None)

        def search(connection: Connection) -> list[Item]:
            return vectors.nearest_items(
                connection,
                meaning,
                wanted.prefix,
                wanted.conditions,
                current_time(connection),
                limit=limit + 1,
                offset=offset,
            )

        found = await self._database.read(search)
        shown = found[: _fitting(found[:limit])]
        following = str(offset + len(shown)) if len(shown) < len(found) else None
        return Page(await self._refreshed(shown, wanted.refresh), following)

    async def list_namespaces(
        self,
        matches: Sequence[Match],
        *,
        max_depth: int | None,
        limit: int,
        cursor: str | None,
    ) -> Page[Namespace]:
        """Return the namespaces that have items and for which all of `matches` hold, cut to
        `max_depth` labels, a page at a time."""

        def list_some(connection: Connection) -> list[Namespace]:
            return namespaces.list_namespaces(
                connection,
                matches,
                current_time(connection),
                max_depth=max_depth,
                limit=limit + 1,
                after=None if cursor is None else tuple(orjson.loads(cursor)),
            )

        found = await self._database.read(list_some)
        shown = found[:limit]
        more = len(shown) < len(found)
        return Page(shown, orjson.dumps(shown[-1]).decode() if more else None)

    async def _refreshed(self, found: list[Item], refresh: bool | None) -> list[Item]:
        """Return items as they are when their time has begun anew, if it is to."""
        refreshes = self._ttl.refresh_on_read if refresh is None else refresh
        places = [item.place for item in found if item.expire_time is not None]
        if not refreshes or not places:
            return found
        times = await self._database.write(
            lambda connection: items.refresh_items(connection, places, current_time(connection))
        )
        return [
            replace(item, expire_time=times.get(item.place, item.expire_time)) for item in found
        ]


def _fitting(found: Sequence[Item]) -> int:
    """Return how many of the items fit into a page: one at least."""
    size = 0
    for index, item in enumerate(found):
        size += len(orjson.dumps(item.value))
        if size > PAGE_BYTES and index:
            return index
    return len(found)


def _cursor_of(item: Item) -> str:
    return orjson.dumps([item.update_time.isoformat(), item.namespace, item.key]).decode()


def _mark_of(cursor: str) -> Mark:
    time, namespace, key = orjson.loads(cursor)
    return Mark(datetime.fromisoformat(time), tuple(namespace), key)
