"""`byte_length`: how many bytes a text has, in the words of each database."""

from typing import Any

from sqlalchemy import Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class byte_length(FunctionElement[int]):  # noqa: N801 - a function, as SQL sees it
    """The bytes of a text, which are more than its characters."""

    type = Integer()
    inherit_cache = True


@compiles(byte_length)
def _octets(element: byte_length, compiler: Any, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(byte_length, "sqlite")
def _blob(element: byte_length, compiler: Any, **options: Any) -> str:
    # SQLite has octet_length since 3.43 only.
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"
