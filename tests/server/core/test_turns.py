import asyncio
import gc

import pytest

from runwire.server.core.turns import Turns


async def test_holders_of_one_key_take_turns_in_their_order() -> None:
    turns, at_work, order = Turns(), 0, []

    async def work(number: int) -> None:
        nonlocal at_work
        async with turns.turn("key"):
            at_work += 1
            assert at_work == 1
            await asyncio.sleep(0)
            order.append(number)
            at_work -= 1

    await asyncio.gather(*(work(number) for number in range(10)))
    assert order == list(range(10))


async def test_other_keys_do_not_wait() -> None:
    turns = Turns()
    async with turns.turn("a"):
        await asyncio.wait_for(_take(turns, "b"), 60)


async def test_a_key_is_free_again_after_a_failure_and_after_a_cancel() -> None:
    turns = Turns()
    with pytest.raises(LookupError):
        async with turns.turn("key"):
            raise LookupError
    async with turns.turn("key"):
        waiting = asyncio.create_task(_take(turns, "key"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    await asyncio.wait_for(_take(turns, "key"), 60)


async def test_nothing_is_kept_for_a_key_that_nobody_holds() -> None:
    turns = Turns()
    await asyncio.gather(*(_take(turns, "key") for _ in range(3)))
    gc.collect()
    assert not turns._locks


async def _take(turns: Turns, key: str) -> None:
    async with turns.turn(key):
        pass
