from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError
from tests.support.records import a_run, add_run, at

from runwire.server.model.ids import new_id
from runwire.server.model.requests import Order, SortKey, TimeRange
from runwire.server.model.runs import Interrupt, RunError
from runwire.server.model.threads import PruneStrategy, Thread, ThreadState, ThreadTtl
from runwire.server.storage import threads
from runwire.server.storage.tables import threads as threads_table
from runwire.server.storage.threads import Remains, ThreadFilter

ERROR = RunError(type="E", message="m")
QUESTION = (Interrupt(interrupt_id="i", value="1"),)


def add(connection: Connection, seconds: float = 0, **metadata: object) -> Thread:
    return threads.add_thread(connection, new_id(), metadata, at(seconds))


def get(connection: Connection, thread: Thread) -> Thread:
    found = threads.get_thread(connection, thread.thread_id)
    assert found is not None
    return found


def test_a_new_thread_is_idle_and_empty(connection: Connection) -> None:
    thread = add(connection, 1, a=1)
    assert thread == get(connection, thread)
    assert thread == threads.lock_thread(connection, thread.thread_id)
    assert (thread.state, thread.values, thread.interrupts) == (ThreadState.IDLE, None, ())
    assert thread.create_time == thread.update_time == thread.state_update_time == at(1)
    assert threads.get_thread(connection, new_id()) is None


def test_an_id_is_taken_once(connection: Connection) -> None:
    thread = add(connection)
    with pytest.raises(IntegrityError):
        threads.add_thread(connection, thread.thread_id, {}, at(0))


@pytest.mark.parametrize("columns", [{"state": "asleep"}, {"rest_state": "busy"}])
def test_a_state_that_is_none_is_refused(connection: Connection, columns: dict[str, str]) -> None:
    add(connection)
    with pytest.raises(IntegrityError, match=r"(?i)check"):
        connection.execute(update(threads_table).values(**columns))


TTL = ThreadTtl(timedelta(seconds=10.000001), PruneStrategy.KEEP_LATEST)


def test_a_ttl_is_read_as_it_was_stored(connection: Connection) -> None:
    thread = threads.add_thread(connection, new_id(), {}, at(1), TTL)
    assert thread.ttl == TTL
    assert get(connection, thread) == thread
    assert thread.expire_time == at(11.000001)
    other = ThreadTtl(timedelta(days=365))
    threads.set_ttl(connection, thread.thread_id, other, at(2))
    assert get(connection, thread) == replace(thread, ttl=other, update_time=at(2))
    threads.set_ttl(connection, thread.thread_id, ThreadTtl(timedelta(0)), at(3))
    assert get(connection, thread).ttl is None
    assert get(connection, thread).expire_time is None


def test_a_thread_at_work_does_not_expire(connection: Connection) -> None:
    thread = threads.add_thread(connection, new_id(), {}, at(1), TTL)
    threads.set_state(connection, thread.thread_id, busy=True, now=at(2))
    assert get(connection, thread).expire_time is None
    threads.set_state(connection, thread.thread_id, busy=False, now=at(5))
    assert get(connection, thread).expire_time == at(15.000001)


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a strategy without a time": {"ttl_strategy": "delete"},
    "a time without a strategy": {"ttl_seconds": 1.0},
    "a strategy that is none": {"ttl_seconds": 1.0, "ttl_strategy": "forget"},
    "looked at without a TTL": {"ttl_check_time": at(1)},
    "to be deleted and never looked at": {"ttl_seconds": 1.0, "ttl_strategy": "delete"},
}


@pytest.mark.parametrize("columns", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_ttl_that_cannot_be_is_refused(connection: Connection, columns: dict[str, Any]) -> None:
    add(connection)
    with pytest.raises(IntegrityError, match=r"(?i)check"):
        connection.execute(update(threads_table).values(**columns))


def test_a_busy_thread_goes_back_to_what_its_last_run_left(connection: Connection) -> None:
    thread = add(connection)
    remains = Remains(rest_state=ThreadState.INTERRUPTED, values="{}", interrupts=QUESTION)
    threads.set_state(connection, thread.thread_id, busy=True, now=at(1))
    assert get(connection, thread).state is ThreadState.BUSY
    threads.leave(connection, thread.thread_id, remains, at(2), busy=True)
    assert get(connection, thread).state is ThreadState.BUSY, "others may be in flight"
    threads.set_state(connection, thread.thread_id, busy=False, now=at(3))
    assert get(connection, thread) == replace(
        thread,
        state=ThreadState.INTERRUPTED,
        values="{}",
        interrupts=QUESTION,
        update_time=at(3),
        state_update_time=at(3),
    )


def test_times_tell_of_changes_alone(connection: Connection) -> None:
    thread = add(connection)
    threads.set_state(connection, thread.thread_id, busy=False, now=at(1))
    assert get(connection, thread) == thread
    threads.set_state(connection, thread.thread_id, busy=True, now=at(2))
    threads.set_state(connection, thread.thread_id, busy=True, now=at(3))
    assert get(connection, thread).state_update_time == at(2)
    threads.set_metadata(connection, thread.thread_id, {"a": 1}, at(4))
    changed = get(connection, thread)
    assert (changed.update_time, changed.state_update_time) == (at(4), at(2))
    assert changed.metadata == {"a": 1}


def test_a_run_that_left_no_values_leaves_those_that_were_there(connection: Connection) -> None:
    thread = add(connection)
    values = Remains(rest_state=ThreadState.IDLE, values="1")
    threads.leave(connection, thread.thread_id, values, at(1), busy=False)
    failure = Remains(rest_state=ThreadState.FAILED)
    threads.leave(connection, thread.thread_id, failure, at(2), busy=False)
    assert get(connection, thread).state is ThreadState.FAILED
    assert get(connection, thread).values == "1"


def test_an_error_shows_exactly_while_the_thread_has_failed(connection: Connection) -> None:
    thread = add(connection)
    remains = Remains(rest_state=ThreadState.FAILED, error=ERROR)
    threads.leave(connection, thread.thread_id, remains, at(1), busy=False)
    assert get(connection, thread).error == ERROR
    threads.set_state(connection, thread.thread_id, busy=True, now=at(2))
    assert get(connection, thread).error is None
    threads.set_state(connection, thread.thread_id, busy=False, now=at(3))
    assert get(connection, thread).error == ERROR, "the run was taken back"


@pytest.mark.parametrize(
    "key", [SortKey.CREATE_TIME, SortKey.UPDATE_TIME, SortKey.STATE_UPDATE_TIME]
)
@pytest.mark.parametrize("descending", [True, False])
def test_threads_are_listed_in_pages_that_join_whatever_their_order(
    connection: Connection, key: SortKey, descending: bool
) -> None:
    made = [add(connection, seconds) for seconds in (3, 1, 1, 1, 2)]
    wanted = sorted(
        made, key=lambda thread: (thread.create_time, thread.thread_id), reverse=descending
    )
    listed: list[Thread] = []
    cursor = None
    for _ in range(3):
        page = threads.list_threads(
            connection, ThreadFilter(), Order(key, descending), limit=2, cursor=cursor
        )
        listed += page.items
        cursor = page.next
    assert cursor is None
    assert listed == wanted


def test_every_filter_narrows(connection: Connection) -> None:
    wanted = add(connection, 0, a={"b": [1, 2]})
    values = '{"messages":[{"role":"human"},{"role":"ai","text":"hi"}],"n":1}'
    remains = Remains(rest_state=ThreadState.IDLE, values=values)
    threads.leave(connection, wanted.thread_id, remains, at(2), busy=True)
    other = add(connection, 1, a={"b": [3]})
    remains = Remains(rest_state=ThreadState.IDLE, values='{"messages":"ai"}')
    threads.leave(connection, other.thread_id, remains, at(1), busy=False)
    for wish in (
        ThreadFilter(thread_ids=[wanted.thread_id, new_id()]),
        ThreadFilter(states=[ThreadState.BUSY, ThreadState.FAILED]),
        ThreadFilter(metadata={"a": {"b": [2]}}),
        ThreadFilter(values={"messages": [{"role": "ai"}]}),
        ThreadFilter(states=[ThreadState.BUSY], values={"n": 1.0}),
        ThreadFilter(created=TimeRange(at(0), at(1))),
        ThreadFilter(updated=TimeRange(start=at(2))),
        ThreadFilter(state_updated=TimeRange(at(2), at(2.000001))),
    ):
        page = threads.list_threads(connection, wish, Order(), limit=9, cursor=None)
        assert [thread.thread_id for thread in page.items] == [wanted.thread_id], wish
        assert threads.count_threads(connection, wish) == 1
    assert threads.count_threads(connection, ThreadFilter()) == 2


ODD = [
    '{"text":"a\\u0000b\\u0001","wanted":1}',
    '{"text":"\\\\u0000 \\\\\\u0001","wanted":1}',
    '{"half":"\\ud800","whole":"\\ud83d\\ude00","wanted":1}',
    '{"half":"\\udc00\\ud800 \\uDBFF","wanted":1}',
    '{"text":"\\u0001\\u0003d800","wanted":1}',
    f'{{"large":{2**200},"wanted":1}}',
    f'{{"deep":{"[" * 300}{"]" * 300},"wanted":1}}',
]


@pytest.mark.parametrize("values", ODD)
def test_whatever_a_graph_leaves_comes_back_and_can_be_looked_into(
    connection: Connection, values: str
) -> None:
    thread = add(connection)
    remains = Remains(rest_state=ThreadState.IDLE, values=values)
    threads.leave(connection, thread.thread_id, remains, at(1), busy=False)
    assert get(connection, thread).values == values
    assert threads.count_threads(connection, ThreadFilter(values={"wanted": 1})) == 1
    assert threads.count_threads(connection, ThreadFilter(values={"wanted": 2})) == 0


def test_values_are_read_only_if_they_are_asked_for(connection: Connection) -> None:
    thread = add(connection)
    remains = Remains(rest_state=ThreadState.IDLE, values="{}")
    threads.leave(connection, thread.thread_id, remains, at(1), busy=False)
    for with_values in (True, False):
        page = threads.list_threads(
            connection, ThreadFilter(), Order(), limit=1, cursor=None, with_values=with_values
        )
        assert [found.values for found in page.items] == ["{}" if with_values else None]
        assert replace(page.items[0], values="{}") == get(connection, thread)


@pytest.mark.parametrize("descending", [True, False])
def test_threads_are_listed_by_their_states_in_pages_that_join(
    connection: Connection, descending: bool
) -> None:
    made = [add(connection, number) for number in range(6)]
    states = ["busy", "idle", "interrupted", "idle", "failed", "busy"]
    for thread, state in zip(made, states, strict=True):
        rest = ThreadState.IDLE if state == "busy" else ThreadState(state)
        remains = Remains(rest_state=rest)
        threads.leave(connection, thread.thread_id, remains, at(9), busy=state == "busy")
    wanted = sorted(zip(states, (thread.thread_id for thread in made), strict=True))
    found, cursor = [], None
    for _ in range(3):
        page = threads.list_threads(
            connection,
            ThreadFilter(),
            Order(SortKey.STATE, descending),
            limit=2,
            cursor=cursor,
        )
        found += [(str(thread.state), thread.thread_id) for thread in page.items]
        cursor = page.next
    assert found == (wanted[::-1] if descending else wanted)
    assert cursor is None


def test_a_thread_is_deleted_once_no_run_refers_to_it(connection: Connection) -> None:
    thread = add(connection)
    assert threads.delete_thread(connection, thread.thread_id)
    assert not threads.delete_thread(connection, thread.thread_id)
    run = add_run(connection, a_run(thread_id=new_id()))
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        threads.delete_thread(connection, run.thread_id or "")
