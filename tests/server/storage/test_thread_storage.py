"""What a thread takes up: counted to a limit, and found by its indexes."""

from typing import Any

import pytest
from sqlalchemy import Connection
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import a_run, add_run

from runwire.server.model.events import Segment
from runwire.server.model.ids import new_id
from runwire.server.model.threads import Use
from runwire.server.storage import events, thread_storage
from runwire.server.storage.checkpoint_writes import Write
from runwire.server.storage.checkpoints import NewCheckpoint, Place, add_checkpoint, add_writes
from runwire.server.storage.thread_storage import measure_thread

OLD, NEW = "1f0c0000-0000-6000-8000-000000000000", "1f0c0001-0000-6000-8000-000000000000"


def checkpoint(connection: Connection, thread_id: str, checkpoint_id: str, ns: str = "") -> None:
    place = Place(thread_id, ns, checkpoint_id)
    data = NewCheckpoint(place, None, "run", "graph", "msgpack", b"12345", {})
    add_checkpoint(connection, data, None)
    add_writes(connection, place, "run", [Write("task", "", 0, "c", "msgpack", b"123")], None)


def run(connection: Connection, thread_id: str, segments: int = 2, **changes: Any) -> None:
    made = add_run(connection, a_run(thread_id=thread_id, **changes))
    events.add_segments(
        connection, [Segment(made.run_id, 1, n, (7,), b"1234567") for n in range(1, segments + 1)]
    )


def test_each_kind_is_counted_with_its_bytes(connection: Connection) -> None:
    thread_id = new_id()
    for checkpoint_id in (NEW, OLD):
        checkpoint(connection, thread_id, checkpoint_id)
    checkpoint(connection, thread_id, NEW, "sub:1")
    run(connection, thread_id)
    run(connection, thread_id, context={"wörd": 1})
    run(connection, new_id())
    checkpoint(connection, new_id(), NEW)

    found = measure_thread(connection, thread_id)

    assert found.checkpoints == Use(3, 15)
    assert found.pending_writes == Use(3, 9)
    assert found.event_segments == Use(4, 28)
    assert (found.runs.count, found.runs.at_least) == (2, False)
    assert 500 < found.runs.bytes < 5000
    assert found.oldest_checkpoint_time
    assert found.newest_checkpoint_time
    assert found.oldest_checkpoint_time < found.newest_checkpoint_time


def test_bytes_are_not_characters(connection: Connection) -> None:
    sizes = []
    for word in ("word", "wörd"):
        thread_id = new_id()
        run(connection, thread_id, context={word: 1})
        sizes.append(measure_thread(connection, thread_id).runs.bytes)
    assert sizes[1] == sizes[0] + 1


def test_no_more_is_looked_at_than_the_limit(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_storage, "ROWS", 3)
    thread_id = new_id()
    for number in range(5):
        checkpoint(connection, thread_id, f"{number}")
        run(connection, thread_id, segments=1)

    found = measure_thread(connection, thread_id)

    for use in (found.checkpoints, found.pending_writes, found.runs, found.event_segments):
        assert (use.count, use.at_least) == (3, True)
    assert found.newest_checkpoint_time is None, "its id does not tell"


def test_events_of_older_runs_may_have_been_left_out(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_storage, "ROWS", 3)
    thread_id = new_id()
    for number in range(5):
        run(connection, thread_id, segments=number == 4)
    found = measure_thread(connection, thread_id)
    assert (found.event_segments.count, found.event_segments.at_least) == (1, True)


def test_all_is_found_by_an_index(memory: Connection) -> None:
    found = sqlite_plans(memory, lambda c: measure_thread(c, "thread"))
    assert not [step for step in found if "TEMP B-TREE" in step], found
    reads = [step for step in found if step.startswith("SCAN")]
    assert [step for step in reads if "CONSTANT ROW" not in step and "anon" not in step] == [], (
        found
    )


def test_postgresql_finds_all_by_an_index(filled: Connection) -> None:
    found = postgres_plans(filled, lambda c: measure_thread(c, "thread5"))
    assert not [line for line in found if "Seq Scan" in line], found
