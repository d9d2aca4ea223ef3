"""A thread's history goes, a little at a time; what its state is rebuilt from stays."""

from typing import Any

import pytest
from sqlalchemy import Connection, select
from tests.support.plans import postgres_plans, sqlite_plans

from runwire.server.storage import pruning
from runwire.server.storage.checkpoint_writes import Write
from runwire.server.storage.checkpoints import NewCheckpoint, Place, add_checkpoint, add_writes
from runwire.server.storage.pruning import Cursor, prune_some, prune_thread
from runwire.server.storage.tables import checkpoint_writes, checkpoints


def add(
    connection: Connection,
    number: int,
    *,
    namespace: str = "",
    parent: int | None = None,
    thread_id: str = "thread",
    size: int = 1,
    **metadata: Any,
) -> None:
    """Store a checkpoint with a pending write; its parent is the one before unless it is named."""
    place = Place(thread_id, namespace, f"{number:04}")
    new = NewCheckpoint(
        place, f"{parent or number - 1:04}", "run", "graph", "msgpack", b"x" * size, metadata
    )
    add_checkpoint(connection, new, None)
    add_writes(connection, place, "run", [Write("task", "", 0, "c", "msgpack", b"y")], None)


def left(connection: Connection, thread_id: str = "thread") -> list[tuple[str, int]]:
    """Return which checkpoints are there, with their writes."""
    found = []
    for table in (checkpoints, checkpoint_writes):
        rows = connection.execute(
            select(table.c.checkpoint_ns, table.c.checkpoint_id)
            .where(table.c.thread_id == thread_id)
            .order_by(table.c.checkpoint_ns, table.c.checkpoint_id)
        )
        found.append([(row.checkpoint_ns, int(row.checkpoint_id)) for row in rows])
    assert found[0] == found[1], "a write stays and goes with its checkpoint"
    return found[0]


def pruned(connection: Connection) -> list[list[tuple[str, int]]]:
    """Return what is left after each part of the work."""
    cursor, more, seen = Cursor(), True, []
    while more:
        cursor, more = prune_some(connection, "thread", cursor)
        seen.append(left(connection))
        assert len(seen) < 50
    return seen


def test_of_each_namespace_the_newest_stays(connection: Connection) -> None:
    for number in range(1, 6):
        add(connection, number)
        add(connection, number, namespace="sub:1")
        add(connection, number, thread_id="other")
    add(connection, 1, namespace="sub:2")
    prune_thread(connection, "thread")
    assert left(connection) == [("", 5), ("sub:1", 5), ("sub:2", 1)]
    assert len(left(connection, "other")) == 5
    prune_thread(connection, "thread")
    assert len(left(connection)) == 3
    prune_thread(connection, "nobody")


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 100])
def test_the_oldest_go_first_and_the_newest_is_always_there(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(pruning, "CHECKPOINTS", at_once)
    for number in range(1, 6):
        add(connection, number)
        add(connection, number, namespace="sub")
    add(connection, 7, namespace="zoo")
    seen = pruned(connection)
    assert seen[-1] == [("", 5), ("sub", 5), ("zoo", 7)]
    assert all({("", 5), ("sub", 5), ("zoo", 7)} <= set(rows) for rows in seen)
    if at_once == 2:
        assert seen[0] == [*(("", number) for number in (3, 4, 5)), *seen[0][3:]]


def test_large_checkpoints_go_a_few_at_a_time(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "CHECKPOINT_BYTES", 100)
    for number in range(1, 8):
        add(connection, number, size=60)
    counts = [len(rows) for rows in pruned(connection)]
    assert counts == [5, 3, 1, 1]


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_what_the_newest_is_rebuilt_from_stays(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(pruning, "CHECKPOINTS", at_once)
    monkeypatch.setattr(pruning, "_STRIDE", 2)
    add(connection, 1)
    add(connection, 2, counters_since_delta_snapshot={"a": 1})
    add(connection, 3)  # stored whole
    for number in range(4, 9):
        steps = {"counters_since_delta_snapshot": {"a": number - 3, "b": number}}
        add(connection, number, **({} if number == 7 else {"parent": None}), **steps)
    assert pruned(connection)[-1] == [("", number) for number in range(3, 9)]


def test_a_branch_that_was_left_goes_though_it_is_between(connection: Connection) -> None:
    add(connection, 1)
    add(connection, 2, counters_since_delta_snapshot={"a": 1})
    add(connection, 3, counters_since_delta_snapshot={"a": 2})  # left
    add(connection, 4, parent=2, counters_since_delta_snapshot={"a": 2})
    prune_thread(connection, "thread")
    assert left(connection) == [("", 1), ("", 2), ("", 4)]


def test_a_chain_that_is_broken_or_runs_in_a_ring_ends(connection: Connection) -> None:
    steps = {"counters_since_delta_snapshot": {"a": 1}}
    add(connection, 3, parent=5, **steps)
    add(connection, 5, parent=3, **steps)
    add(connection, 4, namespace="sub", **steps)
    prune_thread(connection, "thread")
    assert left(connection) == [("", 3), ("", 5), ("sub", 4)]


def test_checkpoints_are_found_by_their_key(memory: Connection) -> None:
    for number in range(1, 4):
        add(memory, number, counters_since_delta_snapshot={"a": number})
        add(memory, number, namespace="sub")
    found = sqlite_plans(memory, lambda c: prune_thread(c, "thread"))
    assert not [step for step in found if step.startswith("SCAN") or "TEMP B-TREE" in step], found


def test_postgresql_finds_checkpoints_by_their_key(filled: Connection) -> None:
    found = postgres_plans(filled, lambda c: prune_thread(c, "thread5"))
    assert len([line for line in found if "Delete on" in line]) == 2
    assert not [line for line in found if "Seq Scan" in line], found
