"""One store, on several servers."""

import asyncio
import random

from langgraph.store.base import GetOp, PutOp

from runwire.server.graphs.store import RunwireStore
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
