"""A SQLite database in memory, for tests of what happens on an open connection."""

from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from runwire.server.storage.json_compare import json_compare
from runwire.server.storage.json_contains import json_contains
from runwire.server.storage.tables import metadata
from runwire.server.storage.vector_distance import add_distance


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
        add_distance(driver)
        driver.create_function("json_contains", 2, json_contains, deterministic=True)
        driver.create_function("json_compare", -1, json_compare, deterministic=True)

    metadata.create_all(engine)
    return engine
