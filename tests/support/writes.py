"""Transactions on one small table, for tests of how transactions are run."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import Connection, func, insert, select

from runwire.server.storage.database import Database
from runwire.server.storage.tables import store_items


def adding(key: str, size: int = 0) -> Callable[[Connection], str]:
    """Return a transaction that adds an item and returns its key."""

    def add(connection: Connection) -> str:
        now = func.now()
        values = {"namespace": "n", "key": key, "value": {"data": "x" * size}}
        connection.execute(insert(store_items).values(**values, create_time=now, update_time=now))
        return key

    return add


def all_keys(connection: Connection) -> list[str]:
    return list(connection.scalars(select(store_items.c.key).order_by(store_items.c.key)))


def add_and_fail(connection: Connection) -> None:
    adding("of the one that fails")(connection)
    raise LookupError("as intended")


@asynccontextmanager
async def held(database: Database) -> AsyncIterator[None]:
    """Keep the writer busy during the block, so that writes queue up."""
    started, go_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        started.set()
        go_on.wait()

    holding = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(started.wait)
    try:
        yield
    finally:
        go_on.set()
        await holding
