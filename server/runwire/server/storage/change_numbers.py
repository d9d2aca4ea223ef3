"""The numbers that tell changes apart: what a reader has seen is known by them."""

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class next_change(FunctionElement[int]):  # noqa: N801 - SQL functions are written like this
    """`next_change()`: the number of a change that this transaction makes.

    In PostgreSQL it is the transaction's own, which costs nothing: numbers are given out at the
    first change and become visible at the commit, in any order, and a snapshot says which of them
    are not to be seen yet (see `changes.horizon`). SQLite has one writer, and there each number is
    greater than all before: also than those of rows that are gone, unless the clock was set back.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(next_change, "postgresql")
def _as_transaction(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)"


@compiles(next_change, "sqlite")
def _as_count(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return (
        "max(CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER),"
        " coalesce((SELECT max(change) FROM runs), 0) + 1,"
        " coalesce((SELECT max(change) FROM changes), 0) + 1)"
    )
