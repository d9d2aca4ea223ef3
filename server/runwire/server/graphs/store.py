"""LangGraph's store in Runwire's database: what graphs keep across threads."""

from collections.abc import Callable, Iterable, Sequence
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
    validate_op_namespace,
)

from runwire.server.model.attempts import Attempt, current_writer
from runwire.server.model.errors import AttemptLost
from runwire.server.storage import items, ownership
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.items import Condition, Namespace
from runwire.server.storage.json_compare import OPERATORS

Read = Callable[[Connection], Result]


class RunwireStore(BaseStore):
    """The store of every graph. Bound to no event loop: usable from any loop or thread.

    A batch is one transaction: what it reads is what was there before, and of several writes to
    one key the last counts. Writes of a run's code raise `AttemptLost` when the attempt no longer
    owns its run. Values are JSON objects. Items do not expire, and are found by their namespaces
    and entries: no embedding is configured, so a search with a `query` is refused. Namespaces and
    keys are texts without U+0000 and lone surrogates, together at most 2000 bytes.
    """

    supports_ttl = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations in one transaction and return their results, in their order.

        Raises `InvalidNamespaceError`, and `ValueError` for what the store cannot do.
        """
        transaction, writes = _transaction(list(ops))
        run = self._database.write_blocking if writes else self._database.read_blocking
        return run(transaction)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do as `batch` does."""
        transaction, writes = _transaction(list(ops))
        run = self._database.write if writes else self._database.read
        return await run(transaction)


def _transaction(ops: Sequence[Op]) -> tuple[Callable[[Connection], list[Result]], bool]:
    """Return what executes checked operations, and whether it writes."""
    for op in ops:
        _check_place(op)
    reads = [None if isinstance(op, PutOp) else _reading(op) for op in ops]
    puts = {(op.namespace, op.key): _checked(op) for op in ops if isinstance(op, PutOp)}
    writer = current_writer.get()

    def execute(connection: Connection) -> list[Result]:
        results = [None if read is None else read(connection) for read in reads]
        if puts and isinstance(writer, Attempt) and not ownership.owns_run(connection, writer):
            raise AttemptLost(writer.run_id, writer.number)
        now = current_time(connection)
        # In one order, whatever the caller's: two batches never wait for each other in a ring.
        for _, op in sorted(puts.items()):
            if op.value is None:
                items.delete_item(connection, op.namespace, op.key)
            else:
                items.put_item(connection, op.namespace, op.key, dict(op.value), now)
        return results

    return execute, bool(puts)


def _check_place(op: Op) -> None:
    validate_op_namespace(op)
    try:
        if isinstance(op, GetOp | PutOp):
            items.check_place(op.namespace, op.key)
        elif isinstance(op, SearchOp):
            items.joined(op.namespace_prefix)
        else:
            for condition in op.match_conditions or ():
                items.joined(tuple(condition.path))
    except ValueError as error:
        raise InvalidNamespaceError(str(error)) from error


def _checked(op: PutOp) -> PutOp:
    if op.ttl is not None:
        raise NotImplementedError("items of this store do not expire: leave out ttl")
    if op.value is not None:
        try:
            orjson.dumps(op.value)
        except TypeError as error:
            raise ValueError(f"the value of {op.key!r} is not JSON: {error}") from error
    return op


def _reading(op: GetOp | SearchOp | ListNamespacesOp) -> Read:
    match op:
        case GetOp():
            return partial(_get, op)
        case SearchOp():
            _check_page(op.limit, op.offset)
            if op.query:
                raise ValueError(
                    "this store has no embedding configured and cannot search by meaning:"
                    " leave out query, and use filter"
                )
            return partial(_search, op, _conditions(op.filter or {}))
        case ListNamespacesOp():
            _check_page(op.limit, op.offset)
            return partial(_list_namespaces, op)


def _check_page(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise ValueError("limit and offset must not be negative")


def _conditions(wanted: dict[str, Any]) -> list[Condition]:
    conditions = []
    for key, value in wanted.items():
        compared = isinstance(value, dict) and any(part.startswith("$") for part in value)
        for operator, operand in value.items() if compared else [("$eq", value)]:
            if operator not in OPERATORS:
                known = ", ".join(sorted(OPERATORS))
                raise ValueError(f"unknown operator {operator!r} in filter; known: {known}")
            conditions.append(Condition(key, operator, orjson.dumps(operand).decode()))
    return conditions


def _get(op: GetOp, connection: Connection) -> Result:
    found = items.get_item(connection, op.namespace, op.key)
    return None if found is None else Item(**_described(found))


def _search(op: SearchOp, conditions: Sequence[Condition], connection: Connection) -> Result:
    found = items.search_items(
        connection, op.namespace_prefix, conditions, limit=op.limit, offset=op.offset
    )
    return [SearchItem(**_described(item)) for item in found]


def _described(item: items.Item) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.create_time,
        "updated_at": item.update_time,
    }


def _list_namespaces(op: ListNamespacesOp, connection: Connection) -> Result:
    conditions = op.match_conditions or ()
    found = {
        namespace[: op.max_depth]
        for namespace in items.list_namespaces(connection, _common_prefix(conditions))
        if all(_matches(namespace, condition) for condition in conditions)
    }
    return sorted(found)[op.offset : op.offset + op.limit]


def _common_prefix(conditions: Iterable[MatchCondition]) -> Namespace:
    """Return labels that a namespace must begin with, for the database to look there only."""
    for condition in conditions:
        if condition.match_type == "prefix" and "*" not in condition.path:
            return tuple(condition.path)
    return ()


def _matches(namespace: Namespace, condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    if condition.match_type == "prefix":
        labels = namespace[: len(path)]
    elif condition.match_type == "suffix":
        labels = namespace[len(namespace) - len(path) :]
    else:
        raise ValueError(f"unknown match type {condition.match_type!r}")
    return all(wanted in ("*", label) for wanted, label in zip(path, labels, strict=True))
