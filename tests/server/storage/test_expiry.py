"""When a thread is looked at again: never later than its TTL passes."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, select
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import at

from runwire.server.model.ids import new_id
from runwire.server.model.threads import PruneStrategy, ThreadState, ThreadTtl
from runwire.server.storage import expiry, threads
from runwire.server.storage.tables import threads as table
from runwire.server.storage.threads import Remains

KEEP = ThreadTtl(timedelta(seconds=10), PruneStrategy.KEEP_LATEST)


def add(connection: Connection, seconds: float = 0, ttl: ThreadTtl | None = KEEP) -> str:
    return threads.add_thread(connection, new_id(), {}, at(seconds), ttl).thread_id


def check_time(connection: Connection, thread_id: str) -> datetime | None:
    query = select(table.c.ttl_check_time).where(table.c.thread_id == thread_id)
    time: datetime | None = connection.scalar(query)
    return time


def test_threads_are_looked_at_in_the_order_in_which_they_are_due(connection: Connection) -> None:
    made = [add(connection, seconds) for seconds in (2, 0, 1)]
    add(connection, 0, ttl=None)
    add(connection, 0, ttl=ThreadTtl(timedelta(0)))
    assert expiry.list_due(connection, at(9.9), limit=9) == []
    assert expiry.list_due(connection, at(12), limit=9) == [made[1], made[2], made[0]]
    assert expiry.list_due(connection, at(11), limit=9) == [made[1], made[2]]
    assert expiry.list_due(connection, at(12), limit=1) == [made[1]]


def test_a_thread_is_due_until_it_is_put_off(connection: Connection) -> None:
    thread_id = add(connection)
    assert not expiry.is_due(connection, thread_id, at(9))
    assert expiry.is_due(connection, thread_id, at(10))
    expiry.look_again(connection, thread_id, at(20))
    assert not expiry.is_due(connection, thread_id, at(19))
    assert expiry.is_due(connection, thread_id, at(20))
    assert not expiry.is_due(connection, new_id(), at(99))


@pytest.mark.parametrize("busy", [False, True])
def test_what_happens_on_a_thread_makes_its_ttl_count_again(
    connection: Connection, busy: bool
) -> None:
    thread_id = add(connection)
    expiry.look_again(connection, thread_id, None)
    threads.set_metadata(connection, thread_id, {"a": 1}, at(1))
    assert check_time(connection, thread_id) is None, "there is nothing more to take than before"
    if busy:
        threads.set_state(connection, thread_id, busy=True, now=at(2))
    else:
        remains = Remains(rest_state=ThreadState.IDLE, values="{}")
        threads.leave(connection, thread_id, remains, at(2), busy=False)
    assert check_time(connection, thread_id) == at(2)


def test_what_happens_before_that_moves_nothing(connection: Connection) -> None:
    thread_id, for_ever = add(connection), add(connection, ttl=None)
    for each in (thread_id, for_ever):
        threads.set_state(connection, each, busy=True, now=at(2))
        remains = Remains(rest_state=ThreadState.IDLE)
        threads.leave(connection, each, remains, at(3), busy=False)
    assert check_time(connection, thread_id) == at(10)
    assert check_time(connection, for_ever) is None


def test_due_threads_are_found_by_their_index(memory: Connection, filled: Connection) -> None:
    (step,) = sqlite_plans(memory, lambda c: expiry.list_due(c, at(0), limit=9))
    assert "ix_threads_ttl" in step
    found = postgres_plans(filled, lambda c: expiry.list_due(c, at(10**9), limit=9))
    assert "ix_threads_ttl" in found[1], found
    assert "Sort" not in str(found)
