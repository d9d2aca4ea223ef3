"""Queries on what items of the store mean: a vector for each text of an item that is indexed.

Their tables are there only where the store has an index: PostgreSQL needs the extension pgvector.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Float,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from runwire.server.model.items import (
    Condition,
    Item,
    ItemPlace,
    Namespace,
    StoreIndex,
    Vector,
)
from runwire.server.storage import locks
from runwire.server.storage.database import DatabaseUnusable
from runwire.server.storage.items import item_of, joined, matching
from runwire.server.storage.tables import metadata, store_items
from runwire.server.storage.vector_distance import NAME, packed

EXTENSION = "vector"
"""What PostgreSQL calls pgvector."""

# By the convention of all tables, but not among them: they are made where they are needed.
_metadata = MetaData(naming_convention=metadata.naming_convention)


class _PgVector(UserDefinedType[str]):
    """pgvector's type: it takes and gives vectors as text."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "vector"


class VectorColumn(TypeDecorator[Vector]):
    """A vector; it is compared in the database and never read."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(
            _PgVector() if dialect.name == "postgresql" else LargeBinary()
        )

    def process_bind_param(self, value: Vector | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return f"[{','.join(map(repr, value))}]"
        return packed(value)


store_index = Table(
    "store_index",
    _metadata,
    # What the vectors were made by: two that differ in it cannot be compared.
    Column("dims", Integer, nullable=False),
    Column("embed", store_items.c.key.type, nullable=False),
)

store_vectors = Table(
    "store_vectors",
    _metadata,
    Column("namespace", store_items.c.namespace.type, primary_key=True),
    Column("key", store_items.c.key.type, primary_key=True),
    # Where in the item's value the text is; of several texts of one path each has its number.
    Column("path", store_items.c.key.type, primary_key=True),
    Column("vector", VectorColumn, nullable=False),
    ForeignKeyConstraint(
        ["namespace", "key"],
        [store_items.c.namespace, store_items.c.key],
        ondelete="CASCADE",
        name="fk_store_vectors_item",
    ),
)


def prepare(connection: Connection, index: StoreIndex) -> None:
    """Make the tables if they are not there. Raises `DatabaseUnusable`, in words for the operator,
    where there can be none, or where they hold vectors that another embedding made."""
    locks.hold_name(connection, "store index")
    if connection.dialect.name == "postgresql":
        _add_extension(connection)
    _metadata.create_all(connection)
    made = connection.execute(select(store_index)).one_or_none()
    if made is None:
        connection.execute(insert(store_index).values(dims=index.dims, embed=index.embed))
    elif (made.dims, made.embed) != (index.dims, index.embed):
        raise DatabaseUnusable(
            f"the store's index was made by {made.embed} with {made.dims} dimensions, and "
            f"langgraph.json says {index.embed} with {index.dims}: go back to that, or drop the "
            "tables store_vectors and store_index, after which items are found by their meaning "
            "once they are put again"
        )


def compares_slowly(connection: Connection) -> bool:
    """Return whether vectors are compared by Python, for want of an extension of the database."""
    return connection.dialect.name == "sqlite" and not connection.scalar(text(_HAS_SQLITE_VEC))


_HAS_SQLITE_VEC = "SELECT true FROM pragma_function_list WHERE name = 'vec_version'"


def _add_extension(connection: Connection) -> None:
    named = {"name": EXTENSION}
    if connection.scalar(text("SELECT true FROM pg_extension WHERE extname = :name"), named):
        return
    trusted = connection.scalar(text(_TRUSTED), named)
    if trusted is None:
        raise DatabaseUnusable(
            "store.index needs the extension vector (pgvector), which this PostgreSQL server does "
            "not have: install it there, or take store.index out of langgraph.json"
        )
    if not connection.scalar(text(_MAY_CREATE), {"trusted": trusted}):
        raise DatabaseUnusable(
            "store.index needs the extension vector, which this user may not create: have it "
            "created in the database, with CREATE EXTENSION vector"
        )
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))


_TRUSTED = "SELECT bool_or(trusted) FROM pg_available_extension_versions WHERE name = :name"
_MAY_CREATE = """
SELECT rolsuper OR (:trusted AND has_database_privilege(current_database(), 'CREATE'))
FROM pg_roles WHERE rolname = current_user
"""


def put_vectors(connection: Connection, place: ItemPlace, vectors: Mapping[str, Vector]) -> None:
    """Store what an item means, by path, in place of what it meant before."""
    here = {"name": joined(place.namespace), "at": place.key}
    connection.execute(_delete, here)
    if vectors:
        rows = [{**here, "where": path, "what": vector} for path, vector in vectors.items()]
        connection.execute(_insert, rows)


def nearest_items(
    connection: Connection,
    wanted: Vector,
    prefix: Namespace,
    conditions: Sequence[Condition],
    now: datetime,
    *,
    limit: int,
    offset: int,
) -> list[Item]:
    """Return the items below `prefix` that meet the conditions and have vectors, those nearest to
    the one that is wanted first, by their nearest vector.

    All of them are looked at: an approximate index would miss some of what a filter leaves over.
    """
    nearness = func.max(1 - _distance(wanted, connection.dialect)).label("score")
    ranked = (
        matching(select(store_items, nearness), prefix, conditions, now)
        .join(
            store_vectors,
            (store_vectors.c.namespace == store_items.c.namespace)
            & (store_vectors.c.key == store_items.c.key),
        )
        .group_by(store_items.c.namespace, store_items.c.key)
        .order_by(nearness.desc(), store_items.c.namespace, store_items.c.key)
    )
    return [
        item_of(row, score=row.score)
        for row in connection.execute(ranked.limit(limit).offset(offset))
    ]


def _distance(wanted: Vector, dialect: Dialect) -> ColumnElement[float]:
    given = bindparam("wanted_vector", wanted, VectorColumn)
    if dialect.name == "postgresql":
        return store_vectors.c.vector.op("<=>", return_type=Float())(cast(given, _PgVector))
    return sqlalchemy.Function(NAME, store_vectors.c.vector, given, type_=Float())


_delete = delete(store_vectors).where(
    store_vectors.c.namespace == bindparam("name"), store_vectors.c.key == bindparam("at")
)
_insert = insert(store_vectors).values(
    namespace=bindparam("name"),
    key=bindparam("at"),
    path=bindparam("where"),
    vector=bindparam("what", type_=VectorColumn),
)
