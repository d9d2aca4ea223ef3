"""A run's log while it is written: places, wakes, what stays in memory, who may still write."""

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime

import pytest
from tests.support.engine import until
from tests.support.records import a_run

from runwire.server.core.logs import HOT_SECONDS, TAIL_BYTES, RunLog, RunLogs
from runwire.server.model.errors import AttemptLost
from runwire.server.model.events import SEGMENT_BYTES, Data, Event, EventId, LogEntry
from runwire.server.model.runs import StreamMode


def encode(run_id: str, event_id: EventId, time: datetime, event: Event) -> bytes:
    assert isinstance(event.body, Data)
    return event.body.json.encode()


def event(size: int = 1) -> Event:
    return Event(Data(StreamMode.CUSTOM, "x" * size))


@pytest.fixture
async def log() -> RunLog:
    log = RunLog("run", encode, asyncio.get_running_loop())
    log.begin(1)
    return log


def write(log: RunLog, count: int, size: int = 1, attempt: int = 1) -> None:
    for _ in range(count):
        log.append(attempt, event(size))


def ids(entries: list[LogEntry] | None) -> list[str]:
    assert entries is not None
    return [str(entry.id) for entry in entries]


BEGINNING = EventId(0, 0)


async def test_entries_are_counted_from_one_in_each_attempt(log: RunLog) -> None:
    write(log, 2)
    assert ids(log.after(EventId(1, 0))) == ["1-1", "1-2"]
    log.begin(2)
    write(log, 1, attempt=2)
    assert ids(log.after(EventId(2, 0))) == ["2-1"]
    assert log.last == EventId(2, 1)


async def test_readers_read_after_where_they_are(log: RunLog) -> None:
    write(log, 3)
    assert ids(log.after(EventId(1, 1))) == ["1-2", "1-3"]
    assert log.after(EventId(1, 3)) == []
    assert log.after(EventId(9, 9)) == []


async def test_what_came_before_this_attempt_is_not_in_memory(log: RunLog) -> None:
    assert log.after(BEGINNING) is None
    write(log, 2)
    log.begin(3)
    assert log.after(EventId(1, 1)) is None
    assert log.after(EventId(2, 7)) is None
    assert log.after(EventId(3, 0)) == []


async def test_a_reader_that_is_far_behind_gets_some_at_a_time(log: RunLog) -> None:
    write(log, 10, SEGMENT_BYTES // 4)
    entries = log.after(EventId(1, 0))
    assert ids(entries) == ["1-1", "1-2", "1-3", "1-4"]
    write(log, 1, 2 * SEGMENT_BYTES)
    assert ids(log.after(EventId(1, 10))) == ["1-11"], "a large one comes alone, but comes"


# Storing.


async def test_what_is_taken_is_taken_once_and_in_order(log: RunLog) -> None:
    assert log.take() == []
    write(log, 2)
    assert ids(log.take()) == ["1-1", "1-2"]
    write(log, 1)
    assert ids(log.take()) == ["1-3"]
    assert log.taken == EventId(1, 3)
    assert not log.is_taken_stored
    log.stored(EventId(1, 3))
    assert log.is_taken_stored
    assert log.take() == []


async def test_what_was_taken_in_vain_is_taken_again(log: RunLog) -> None:
    write(log, 3)
    log.take()
    log.rewind(None)
    assert ids(log.take()) == ["1-1", "1-2", "1-3"]
    log.rewind(EventId(1, 2))
    assert ids(log.take()) == ["1-3"]
    log.rewind(EventId(0, 7))
    assert ids(log.take()) == ["1-1", "1-2", "1-3"], "that was of an earlier attempt"


async def test_old_entries_leave_memory_once_they_are_stored(log: RunLog) -> None:
    size = TAIL_BYTES // 4
    write(log, 10, size)
    assert log.after(EventId(1, 0)) is not None, "nothing is stored yet"
    log.stored(EventId(1, 5))
    assert log.base == EventId(1, 5)
    assert log.after(EventId(1, 4)) is None
    assert log.after(EventId(1, 5)) is not None
    log.stored(EventId(1, 10))
    assert log.base == EventId(1, 6), "a tail stays for readers that keep up"


async def test_a_log_that_has_ended_keeps_a_tail_though_nobody_said_that_it_is_stored(
    log: RunLog,
) -> None:
    write(log, 10, TAIL_BYTES // 4)
    log.end([LogEntry(EventId(1, 11), b"end", final=True)], a_run())
    assert log.base == EventId(1, 7)
    assert ids(log.after(EventId(1, 10))) == ["1-11"]
    assert log.unstored_bytes == 0


async def test_bytes_count_as_unstored_until_the_database_has_them(log: RunLog) -> None:
    write(log, 4, 10)
    assert log.unstored_bytes == 40
    log.take()
    assert log.unstored_bytes == 40, "taken is not stored"
    log.stored(EventId(1, 3))
    assert log.unstored_bytes == 10
    log.stored(EventId(1, 2))
    assert log.unstored_bytes == 10
    log.begin(2)
    assert log.unstored_bytes == 0
    log.stored(EventId(1, 4))
    assert log.unstored_bytes == 0, "news of an attempt that is over"


# Who may write.


async def test_only_the_attempt_that_is_under_way_can_write(log: RunLog) -> None:
    write(log, 1)
    log.begin(2)
    with pytest.raises(AttemptLost):
        write(log, 1, attempt=1)
    write(log, 1, attempt=2)
    assert ids(log.after(EventId(2, 0))) == ["2-1"]


@pytest.mark.parametrize("close", [RunLog.seal, RunLog.stop, lambda log: log.end((), a_run())])
async def test_nobody_can_write_into_a_log_that_is_closed(
    log: RunLog, close: Callable[[RunLog], None]
) -> None:
    write(log, 1)
    close(log)
    with pytest.raises(AttemptLost):
        write(log, 1)
    assert log.last == EventId(1, 1)
    log.begin(2)
    write(log, 1, attempt=2)


async def test_the_newest_entries_are_here_while_the_run_executes_and_after_its_end(
    log: RunLog,
) -> None:
    assert RunLog("run", encode, asyncio.get_running_loop()).holds_newest is False
    assert log.holds_newest
    log.stop()
    assert not log.holds_newest
    log.begin(2)
    last = LogEntry(EventId(2, 1), b"end", final=True)
    log.seal()
    log.end([last], run := a_run())
    assert log.holds_newest
    assert log.after(EventId(2, 0)) == [last]
    assert log.ended.result() is run


async def test_the_end_of_a_run_that_was_not_executed_here_is_in_the_database() -> None:
    log = RunLog("run", encode, asyncio.get_running_loop())
    log.end((), a_run())
    assert log.ended.done()
    assert not log.holds_newest


# Wakes.


async def test_a_reader_is_woken_by_an_entry_that_another_thread_appends(log: RunLog) -> None:
    seen = log.wakes
    waiting = asyncio.create_task(log.changed(seen))
    await asyncio.sleep(0)
    await asyncio.to_thread(write, log, 1)
    await asyncio.wait_for(waiting, 60)
    assert log.wakes == seen + 1


async def test_a_wake_between_looking_and_waiting_is_not_missed(log: RunLog) -> None:
    seen = log.wakes
    log.wake()
    await asyncio.wait_for(log.changed(seen), 60)


async def test_a_reader_that_leaves_is_not_waited_for(log: RunLog) -> None:
    waiting = asyncio.create_task(log.changed(log.wakes))
    await asyncio.sleep(0)
    assert log.waiting == 1
    waiting.cancel()
    await asyncio.wait([waiting])
    assert log.waiting == 0


async def test_a_burst_is_one_wake_and_no_entry_is_left_behind(log: RunLog) -> None:
    woken = []
    log.on_wake = lambda log: woken.append(log.last.index)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.to_thread(write, log, 500)
    await until(lambda: woken and woken[-1] == 500)
    assert len(woken) < max(100, (loop.time() - began) / HOT_SECONDS)


async def test_wakes_are_kept_apart_while_a_log_is_hot(log: RunLog) -> None:
    loop = asyncio.get_running_loop()
    times = []
    log.on_wake = lambda log: times.append(loop.time())
    begin = loop.time()
    while loop.time() < begin + 20 * HOT_SECONDS or len(times) < 2:
        write(log, 1)
        await asyncio.sleep(0)
    await until(lambda: log.wakes == len(times) and not log._wake_scheduled)
    assert len(times) <= 3 + (times[-1] - begin) / HOT_SECONDS


async def test_writers_and_readers_on_two_threads_lose_nothing(log: RunLog) -> None:
    count = 3000
    writer = threading.Thread(target=write, args=(log, count, 100))
    writer.start()
    cursor, read = EventId(1, 0), 0
    while read < count:
        seen = log.wakes
        entries = log.after(cursor)
        assert entries is not None
        assert [entry.id.index for entry in entries] == list(
            range(read + 1, read + 1 + len(entries))
        )
        if entries:
            cursor, read = entries[-1].id, read + len(entries)
        else:
            await asyncio.wait_for(log.changed(seen), 60)
    writer.join()


# The logs of a process.


async def test_a_log_lives_as_long_as_somebody_uses_it() -> None:
    logs = RunLogs(encode)
    first = logs.acquire("run")
    with logs.using("run") as second:
        assert second is first
    assert logs.acquire("run") is first
    logs.release("run")
    logs.release("run")
    assert logs.acquire("run") is not first


async def test_readers_of_a_run_that_was_not_executed_here_are_told_of_its_end() -> None:
    logs = RunLogs(encode)
    run = a_run()
    logs.ended(run)
    with logs.using(run.run_id) as log:
        assert not log.ended.done(), "nobody was there"
        seen = log.wakes
        logs.ended(run)
        assert log.ended.result() is run
        assert log.wakes > seen


async def test_every_reader_can_be_woken_at_once() -> None:
    logs = RunLogs(encode)
    used = [logs.acquire(name) for name in ("a", "b")]
    logs.wake_all()
    assert [log.wakes for log in used] == [1, 1]
