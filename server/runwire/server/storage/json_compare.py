"""Comparing one entry of a JSON object, or of objects within it, with a value, in SQL."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import Boolean, ColumnElement, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from runwire.server.storage.json_text import JsonKey, JsonText

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


class compare(GenericFunction[bool]):  # noqa: N801 - SQLAlchemy names functions by their class
    """`compare(column, path, operator, text)`: whether the entry at `path` of the JSON column
    compares with the value of the JSON text as the operator says."""

    type = Boolean()
    inherit_cache = True
    name = "json_compare"

    def __init__(
        self, document: ColumnElement[Any], path: Sequence[str], operator: str, operand: str
    ) -> None:
        right = literal(operand, JsonText())
        steps = (literal(step, JsonKey()) for step in path)
        super().__init__(document, literal(operator), right, *steps)


_ON_POSTGRESQL = """
(CASE
    WHEN {name} IN ('$eq', '$ne') THEN ({value} = {other}) = ({name} = '$eq')
    WHEN jsonb_typeof({value}) <> jsonb_typeof({other}) THEN false
    WHEN jsonb_typeof({value}) = 'number' THEN
        CASE {name}
            WHEN '$gt' THEN {value} > {other}
            WHEN '$gte' THEN {value} >= {other}
            WHEN '$lt' THEN {value} < {other}
            ELSE {value} <= {other}
        END
    WHEN jsonb_typeof({value}) = 'string' THEN
        CASE {name}
            WHEN '$gt' THEN {text} > {other_text}
            WHEN '$gte' THEN {text} >= {other_text}
            WHEN '$lt' THEN {text} < {other_text}
            ELSE {text} <= {other_text}
        END
    ELSE false
END)
"""


@compiles(compare, "postgresql")
def _as_case(element: ColumnElement[bool], compiler: SQLCompiler, **options: Any) -> str:
    clauses = (compiler.process(each, **options) for each in element.clauses)
    document, name, operand, *steps = clauses
    # A text is a step into an object only: of a list it finds nothing.
    entry = " -> ".join(
        [f"CAST({document} AS JSONB)", *(f"CAST({step} AS TEXT)" for step in steps)]
    )
    value = f"COALESCE({entry}, 'null')"
    other = f"CAST({operand} AS JSONB)"
    return _ON_POSTGRESQL.format(
        name=name,
        value=value,
        other=other,
        # A language's order of strings is not everybody's: by their characters' numbers.
        text=f"({value} #>> '{{}}') COLLATE \"C\"",
        other_text=f"({other} #>> '{{}}') COLLATE \"C\"",
    )


def json_compare(document: str, name: str, operand: str, *path: str) -> bool:
    """Return whether the entry of `document` at `path` compares with `operand`, by the operator
    `name`.

    Both are JSON text. An entry that is missing is null. Only numbers with numbers and strings
    with strings have an order; of anything else neither is greater.
    """
    value, other = orjson.loads(document), orjson.loads(operand)
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if name in ("$eq", "$ne"):
        return _equal(value, other) is (name == "$eq")
    kind = _kind(value)
    return kind is not None and kind is _kind(other) and _ORDERS[name](value, other)


def _kind(value: Any) -> type | None:
    """Return what a value has an order among, or None."""
    if isinstance(value, str):
        return str
    # True is 1 in Python, but not in JSON.
    return float if isinstance(value, int | float) and not isinstance(value, bool) else None


def _equal(value: Any, other: Any) -> bool:
    if isinstance(value, dict):
        same_keys = isinstance(other, dict) and value.keys() == other.keys()
        return same_keys and all(_equal(item, other[key]) for key, item in value.items())
    if isinstance(value, list):
        same_length = isinstance(other, list) and len(value) == len(other)
        return same_length and all(map(_equal, value, other))
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)
