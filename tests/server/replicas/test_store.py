"""One store, on several servers."""

import asyncio
import math
import random
from functools import partial

import pytest
from langgraph.store.base import GetOp, PutOp

from runwire.server.graphs.store import RunwireStore
from runwire.server.model.items import ItemPlace, StoreIndex
from runwire.server.storage import items, vectors
from runwire.server.storage.clock import current_time
from runwire.server.storage.database import Connection
from runwire.server.storage.opening import database_at


async def test_servers_write_the_same_items_at_once_and_neither_fails(postgres_url: str) -> None:
    """First puts of the same keys, batches in opposite orders, reads that begin the time anew, and
    deletes."""
    async with database_at(postgres_url) as one, database_at(postgres_url) as other:
        stores = [RunwireStore(one), RunwireStore(other)]
        keys = [str(number) for number in range(10)]

        async def write(store: RunwireStore, number: int) -> None:
            some = random.Random(number).sample(keys, 5)
            ops = [PutOp(("n",), key, {"by": number}, ttl=60) for key in some]
            await store.abatch([*ops, *(GetOp(("n",), key) for key in keys)])
            await store.abatch([GetOp(("n",), key) for key in reversed(some)])
            if number % 5 == 0:
                await store.abatch([PutOp(("n",), key, None) for key in some[:2]])

        await asyncio.gather(*(write(stores[n % 2], n) for n in range(60)))
        await stores[0].abatch([PutOp(("n",), key, {"last": True}) for key in keys])
        found = await stores[1].asearch(("n",), limit=99)
        assert [item.value for item in found] == [{"last": True}] * len(keys)


async def test_servers_that_start_together_make_one_index_and_keep_it_whole(
    postgres_url: str,
) -> None:
    index = StoreIndex(dims=3, embed="./letters.py:embed")
    async with database_at(postgres_url) as one, database_at(postgres_url) as other:
        databases = [one, other]
        await asyncio.gather(
            *(each.write(lambda c: vectors.prepare(c, index)) for each in databases * 3)
        )

        def put(connection: Connection, number: int) -> None:
            place = ItemPlace(("n",), str(number % 4))
            now = current_time(connection)
            if number % 7 == 0:
                items.delete_item(connection, place)
            else:
                items.put_item(connection, place, {"by": number}, now)
                meaning = {str(n): (1.0, float(number), float(n)) for n in range(number % 3 + 1)}
                vectors.put_vectors(connection, place, meaning)

        await asyncio.gather(
            *(databases[n % 2].write(partial(put, number=n)) for n in range(1, 81))
        )
        found = await one.read(
            lambda c: vectors.nearest_items(
                c, (1.0, 0.0, 0.0), (), [], current_time(c), limit=99, offset=0
            )
        )
        stored = await one.read(lambda c: items.search_items(c, (), [], current_time(c), limit=99))
        assert sorted(item.key for item in found) == sorted(item.key for item in stored)
        for item in found:
            # The vectors are those of the value, whoever wrote it last.
            assert item.score == pytest.approx(1 / math.hypot(1, item.value["by"]), abs=1e-5)
