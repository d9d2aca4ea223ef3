"""LangGraph's store in Runwire's database: what graphs keep across threads."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from runwire.server.graphs.embedding import Embedder, Meanings, Texts
from runwire.server.model import items as model
from runwire.server.model.attempts import Attempt, current_writer
from runwire.server.model.errors import AttemptLost
from runwire.server.model.items import ItemPlace, Match, StoreTtl
from runwire.server.storage import items, namespaces, ownership, vectors
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database

Found = tuple[Result, list[model.Item]]
"""What an operation answers, and the items of it whose time begins anew."""

Read = Callable[[Connection], Found]

_FOR_EVER = StoreTtl()


@dataclass(frozen=True, slots=True)
class _Put:
    """What becomes of an item; a `value` of None deletes it."""

    value: dict[str, Any] | None
    ttl: timedelta | None
    texts: Mapping[str, str] = field(default_factory=dict)
    """What of it is found by its meaning, by path."""


class RunwireStore(BaseStore):
    """The store of every graph. Bound to no event loop: usable from any loop or thread.

    A batch is one transaction: what it reads is what was there before, and of several writes to
    one key the last counts. Writes of a run's code raise `AttemptLost` when the attempt no longer
    owns its run. Values are JSON objects of at most 3 MiB. Namespaces have at most 64 labels
    without control characters, and take up at most 2000 bytes together with the key. An item that
    has expired is not there.
    """

    supports_ttl = True

    def __init__(
        self, database: Database, *, ttl: StoreTtl = _FOR_EVER, embedder: Embedder | None = None
    ) -> None:
        """`ttl`: what counts for items of which nobody says for how long they are kept. `embedder`:
        without it a search with a `query` is refused, and `index` has no effect."""
        self._database = database
        self._embedder = embedder
        self.ttl_config = _config_of(ttl)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations in one transaction and return their results, in their order.

        Raises `InvalidNamespaceError`, and `ValueError` for what the store cannot do.
        """
        batch = _Batch(list(ops), self._embedder)
        if self._embedder is not None and batch.has_texts:
            batch.meanings = self._embedder.embed(batch.texts)
        run = self._database.write_blocking if batch.puts else self._database.read_blocking
        results, read = run(batch.execute)
        if read:
            self._database.write_blocking(partial(_refresh, read))
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do as `batch` does."""
        batch = _Batch(list(ops), self._embedder)
        if self._embedder is not None and batch.has_texts:
            batch.meanings = await self._embedder.aembed(batch.texts)
        run = self._database.write if batch.puts else self._database.read
        results, read = await run(batch.execute)
        if read:
            await self._database.write(partial(_refresh, read))
        return results


def _config_of(ttl: StoreTtl) -> TTLConfig:
    minutes = None if ttl.default is None else ttl.default / timedelta(minutes=1)
    return TTLConfig(refresh_on_read=ttl.refresh_on_read, default_ttl=minutes, omit_expired=True)


class _Batch:
    """Checked operations. What `texts` they have has its `meanings` before they are executed: to
    embed takes long, and a transaction is not to."""

    def __init__(self, ops: Sequence[Op], embedder: Embedder | None) -> None:
        for op in ops:
            _check_place(op)
        self._is_indexed = embedder is not None
        self.reads = [None if isinstance(op, PutOp) else self._reading(op) for op in ops]
        self.puts = {
            ItemPlace(op.namespace, op.key): _checked(op, embedder)
            for op in ops
            if isinstance(op, PutOp)
        }
        self.texts = Texts(
            [text for put in self.puts.values() for text in put.texts.values()],
            [op.query for op in ops if isinstance(op, SearchOp) and op.query],
        )
        self.meanings = Meanings()
        self._writer = current_writer.get()

    @property
    def has_texts(self) -> bool:
        """Whether there is anything to embed."""
        return bool(self.texts.documents or self.texts.queries)

    def execute(self, connection: Connection) -> tuple[list[Result], list[ItemPlace]]:
        """Return the results, and the items whose time has to begin anew after that."""
        found = [(None, []) if read is None else read(connection) for read in self.reads]
        read = {item.place for _, refreshed in found for item in refreshed}
        if self.puts:
            self._write(connection)
        return [result for result, _ in found], sorted(read - self.puts.keys())

    def _write(self, connection: Connection) -> None:
        writer = self._writer
        if isinstance(writer, Attempt) and not ownership.owns_run(connection, writer):
            raise AttemptLost(writer.run_id, writer.number)
        now = current_time(connection)
        # In one order, whatever the caller's: two batches never wait for each other in a ring.
        for place in sorted(self.puts):
            put = self.puts[place]
            if put.value is None:
                items.delete_item(connection, place)
            else:
                items.put_item(connection, place, put.value, now, put.ttl)
                if self._is_indexed:
                    vectors.put_vectors(connection, place, self.meanings.of(put.texts))

    def _reading(self, op: GetOp | SearchOp | ListNamespacesOp) -> Read:
        match op:
            case GetOp():
                return partial(_get, op)
            case SearchOp():
                _check_page(op.limit, op.offset)
                conditions = model.read_filter(op.filter or {})
                if not op.query:
                    return partial(_search, op, conditions)
                if not self._is_indexed:
                    raise ValueError(
                        "this store has no embedding configured and cannot search by meaning:"
                        " leave out query, and use filter"
                    )
                return partial(self._search_by_meaning, op, conditions)
            case ListNamespacesOp():
                _check_page(op.limit, op.offset)
                if op.max_depth is not None and op.max_depth < 1:
                    raise ValueError("max_depth must be at least 1")
                matches = [_match(one) for one in op.match_conditions or ()]
                return partial(_list_namespaces, op, matches)

    def _search_by_meaning(
        self, op: SearchOp, conditions: Sequence[model.Condition], connection: Connection
    ) -> Found:
        wanted = self.meanings.queries.get(op.query or "")
        if wanted is None:
            return [], []
        found = vectors.nearest_items(
            connection,
            wanted,
            op.namespace_prefix,
            conditions,
            current_time(connection),
            limit=op.limit,
            offset=op.offset,
        )
        return _shown(op, found)


def _refresh(places: Sequence[ItemPlace], connection: Connection) -> None:
    items.refresh_items(connection, places, current_time(connection))


def _check_place(op: Op) -> None:
    validate_op_namespace(op)
    match op:
        case GetOp() | PutOp():
            _check(op.namespace, op.key)
        case SearchOp():
            _check(op.namespace_prefix)
        case ListNamespacesOp():
            for condition in op.match_conditions or ():
                _check(condition.path)


def _check(namespace: Sequence[str], key: str | None = None) -> None:
    labels = tuple(namespace)
    if key is not None and not labels:
        raise InvalidNamespaceError("a namespace has at least one label")
    for label in labels:
        if wrong := model.wrong_label(label):
            raise InvalidNamespaceError(f"the label {label!r} of {labels} {wrong}")
    if key is not None and (wrong := model.wrong_key(key)):
        raise ValueError(f"the key {key!r} {wrong}")
    if wrong := model.wrong_size(labels, key or ""):
        raise InvalidNamespaceError(f"the namespace {wrong}")


def _checked(op: PutOp, embedder: Embedder | None) -> _Put:
    if op.value is None:
        return _Put(None, None)
    try:
        size = len(orjson.dumps(op.value))
    except TypeError as error:
        raise ValueError(f"the value of {op.key!r} is not JSON: {error}") from error
    if size > model.MAX_VALUE_BYTES:
        limit = model.MAX_VALUE_BYTES
        raise ValueError(f"the value of {op.key!r} is {size} bytes, at most {limit} are taken")
    value = dict(op.value)
    texts: dict[str, str] = {}
    if embedder is not None and op.index is not False:
        texts = embedder.texts_of(value, op.index)
    return _Put(value, _checked_ttl(op.ttl), texts)


def _checked_ttl(minutes: float | None) -> timedelta | None:
    if minutes is None:
        return None
    if not 0 < minutes <= model.LONGEST_TTL / timedelta(minutes=1):
        raise ValueError(f"ttl: must be more than 0 minutes and at most {model.LONGEST_TTL}")
    return timedelta(minutes=minutes)


def _check_page(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise ValueError("limit and offset must not be negative")


def _match(condition: MatchCondition) -> Match:
    if condition.match_type not in ("prefix", "suffix"):
        raise ValueError(f"unknown match type {condition.match_type!r}")
    return Match(tuple(condition.path), at_end=condition.match_type == "suffix")


def _get(op: GetOp, connection: Connection) -> Found:
    place = ItemPlace(op.namespace, op.key)
    found = items.get_item(connection, place, current_time(connection))
    if found is None:
        return None, []
    return Item(**_described(found)), _refreshed(op, [found])


def _search(op: SearchOp, conditions: Sequence[model.Condition], connection: Connection) -> Found:
    found = items.search_items(
        connection,
        op.namespace_prefix,
        conditions,
        current_time(connection),
        limit=op.limit,
        offset=op.offset,
    )
    return _shown(op, found)


def _shown(op: SearchOp, found: Sequence[model.Item]) -> Found:
    shown = [SearchItem(**_described(item), score=item.score) for item in found]
    return shown, _refreshed(op, found)


def _refreshed(op: GetOp | SearchOp, found: Iterable[model.Item]) -> list[model.Item]:
    return [item for item in found if op.refresh_ttl and item.expire_time is not None]


def _described(item: model.Item) -> Mapping[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.create_time,
        "updated_at": item.update_time,
    }


def _list_namespaces(
    op: ListNamespacesOp, matches: Sequence[Match], connection: Connection
) -> Found:
    found = namespaces.list_namespaces(
        connection,
        matches,
        current_time(connection),
        max_depth=op.max_depth,
        limit=op.offset + op.limit,
    )
    return found[op.offset :], []
