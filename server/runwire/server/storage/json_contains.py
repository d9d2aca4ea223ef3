"""JSON containment, as PostgreSQL's `@>` has it, for SQLite, and the operator for both."""

import json
from typing import Any

import orjson
from sqlalchemy import Boolean, ColumnElement, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from runwire.server.storage.json_text import JsonText


class contains(GenericFunction[bool]):  # noqa: N801 - SQLAlchemy names functions by their class
    """`contains(column, text)`: whether the JSON column holds all that the JSON text says."""

    type = Boolean()
    inherit_cache = True
    name = "json_contains"

    def __init__(self, document: ColumnElement[Any], wanted: str) -> None:
        super().__init__(document, literal(wanted, JsonText()))


@compiles(contains, "postgresql")
def _as_operator(element: ColumnElement[bool], compiler: SQLCompiler, **options: Any) -> str:
    document, wanted = element.clauses
    left, right = compiler.process(document, **options), compiler.process(wanted, **options)
    return f"(CAST({left} AS JSONB) @> CAST({right} AS JSONB))"


def json_contains(document: str | None, wanted: str) -> bool:
    """Return whether `document` contains `wanted`, both JSON text."""
    return document is not None and _holds(_loaded(document), orjson.loads(wanted))


def _loaded(document: str) -> Any:
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError:  # it knows no half characters
        return json.loads(document)


def _holds(document: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(document, dict) and all(
            key in document and _holds(document[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(document, list) and all(
            any(_holds(item, value) for item in document) for value in wanted
        )
    # True == 1 in Python, but not in JSON.
    return isinstance(document, bool) == isinstance(wanted, bool) and bool(document == wanted)
