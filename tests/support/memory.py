"""A database in memory, for tests of what happens on an open connection."""

from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import Connection, event
from sqlalchemy.pool import StaticPool

from runwire.server.storage.json_contains import json_contains
from runwire.server.storage.tables import metadata


def open_memory() -> sqlalchemy.Engine:
    """Return a database in memory with all tables, set up as the server sets up its own."""
    engine = sqlalchemy.create_engine(
        "sqlite://",
        poolclass=StaticPool,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine, "connect")
    def prepare(driver: Any, record: Any) -> None:
        driver.execute("PRAGMA foreign_keys = ON")
        driver.create_function("json_contains", 2, json_contains, deterministic=True)

    metadata.create_all(engine)
    return engine


def plans(connection: Connection, query: Any) -> list[str]:
    """Return how SQLite carries out the statements of `query`, a function of a connection.

    It is asked with the statements' parameters as such: what it does for values that stand in the
    text of a statement says nothing.
    """
    asked: list[tuple[str, Any]] = []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        query(connection)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    driver: Any = connection.connection.driver_connection
    return [
        row[3]
        for statement, parameters in asked
        for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]
