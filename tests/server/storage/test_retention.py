"""Queries on what is kept for a while only: a little at a time, found by its index."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from tests.support.plans import postgres_plans, sqlite_plans
from tests.support.records import a_run, add_run, at, get_run

from runwire.server.model.events import Segment
from runwire.server.model.ids import new_id
from runwire.server.model.runs import Cancel, CancelAction, CancelCause, Run, RunState
from runwire.server.storage import endings, events, retention, runs
from runwire.server.storage.endings import Ending
from runwire.server.storage.retention import Leftover, delete_leftovers, delete_some_of_thread
from runwire.server.storage.tables import run_events

TAKEN_BACK: dict[str, Any] = {
    "state": RunState.CANCELLED,
    "cancel": Cancel(
        action=CancelAction.ROLLBACK, cause=CancelCause.CLIENT, request_time=at(3), abandoned=False
    ),
    "rolled_back": True,
}


def ended(
    connection: Connection,
    seconds: float = 9,
    *,
    thread_id: str | None = None,
    segments: int = 1,
    size: int = 1,
    **ending: Any,
) -> Run:
    """Store a run that ended at a moment, with its events; return it."""
    run = a_run(state=RunState.RUNNING, attempt=1, owner="server", thread_id=thread_id)
    add_run(connection, run)
    events.add_segments(
        connection,
        [
            Segment(run.run_id, 1, number, (size,), b"x" * size, number == segments)
            for number in range(1, segments + 1)
        ],
    )
    how = Ending(**{"state": RunState.SUCCEEDED, **ending})
    endings.end_run(connection, run.run_id, how, at(seconds), was=frozenset(RunState))
    return run


def exists(connection: Connection, run: Run) -> bool:
    return runs.get_run(connection, run.run_id) is not None


def count_events(connection: Connection, run: Run) -> int:
    query = select(func.count()).select_from(run_events)
    return connection.scalar(query.where(run_events.c.run_id == run.run_id)) or 0


def test_each_kind_is_taken_apart(connection: Connection) -> None:
    stateless = ended(connection)
    taken_back = ended(connection, thread_id=new_id(), **TAKEN_BACK)
    taken_back_stateless = ended(connection, **TAKEN_BACK)
    kept = ended(connection, thread_id=new_id())

    assert delete_leftovers(connection, Leftover.STATELESS_RUN, before=at(10)) == 1
    assert not exists(connection, stateless)
    assert exists(connection, taken_back)
    assert exists(connection, taken_back_stateless)
    assert delete_leftovers(connection, Leftover.ROLLED_BACK_RUN, before=at(10)) == 2
    assert not exists(connection, taken_back)
    assert not exists(connection, taken_back_stateless)
    assert count_events(connection, kept) == 1
    assert delete_leftovers(connection, Leftover.EVENTS, before=at(10)) == 1
    assert get_run(connection, kept).state is RunState.SUCCEEDED
    assert connection.scalar(select(func.count()).select_from(run_events)) == 0
    for kind in Leftover:
        assert delete_leftovers(connection, kind, before=at(10)) == 0, "nothing is found twice"


def test_what_is_not_old_enough_stays(connection: Connection) -> None:
    late = [
        ended(connection, 20),
        ended(connection, 20, thread_id=new_id()),
        ended(connection, 20, **TAKEN_BACK),
    ]
    waiting = add_run(connection, a_run())
    for kind in Leftover:
        assert delete_leftovers(connection, kind, before=at(20)) == 0
    assert all(exists(connection, run) for run in (*late, waiting))
    assert [count_events(connection, run) for run in late] == [1, 1, 1]


def test_the_oldest_go_first_and_only_some_at_once(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RUNS", 2)
    made = [ended(connection, seconds) for seconds in (4, 1, 3, 2, 0)]

    counts = [delete_leftovers(connection, Leftover.STATELESS_RUN, before=at(9))]
    assert [exists(connection, run) for run in made] == [True, False, True, True, False]
    counts += [delete_leftovers(connection, Leftover.STATELESS_RUN, before=at(9)) for _ in range(3)]
    assert counts == [2, 2, 1, 0]


@pytest.mark.parametrize(
    ("limit", "value"), [("SEGMENTS", 4), ("SEGMENT_BYTES", 30)], ids=["count", "bytes"]
)
def test_the_events_of_a_long_run_go_from_the_end_some_at_once(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(retention, limit, value)
    run = ended(connection, 1, thread_id=new_id(), segments=10, size=10)
    other = ended(connection, 2, thread_id=new_id(), size=10)
    left = []
    assert events.has_end(connection, run.run_id)
    while delete_leftovers(connection, Leftover.EVENTS, before=at(9)):
        left.append((count_events(connection, run), count_events(connection, other)))
        assert not events.has_end(connection, run.run_id), "half a log is not read"
    assert left == [(6, 1), (2, 1), (0, 0)]


def test_a_long_run_without_a_thread_stays_until_its_events_are_gone(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SEGMENTS", 4)
    run = ended(connection, segments=5)
    there = []
    while delete_leftovers(connection, Leftover.STATELESS_RUN, before=at(10)):
        there.append((exists(connection, run), count_events(connection, run)))
    assert there == [(True, 1), (False, 0)]


def test_the_runs_of_a_thread_go_some_at_once(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "RUNS", 2)
    monkeypatch.setattr(retention, "SEGMENTS", 4)
    thread_id = new_id()
    made = [ended(connection, thread_id=thread_id, segments=segments) for segments in (1, 1, 6, 1)]
    other = ended(connection, thread_id=new_id())
    more = [delete_some_of_thread(connection, thread_id)]
    while more[-1]:
        more.append(delete_some_of_thread(connection, thread_id))
        assert len(more) < 9
    assert not any(exists(connection, run) for run in made)
    assert len(more) in (4, 5), "in whatever order they come"
    assert count_events(connection, other) == 1


BY_INDEX: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "events": (
        lambda c: delete_leftovers(c, Leftover.EVENTS, before=at(0)),
        "ix_runs_events_kept",
    ),
    "stateless runs": (
        lambda c: delete_leftovers(c, Leftover.STATELESS_RUN, before=at(0)),
        "ix_runs_stateless",
    ),
    "runs taken back": (
        lambda c: delete_leftovers(c, Leftover.ROLLED_BACK_RUN, before=at(0)),
        "ix_runs_rolled_back",
    ),
    "runs of a thread": (lambda c: delete_some_of_thread(c, "thread"), "ix_runs_thread_id"),
}


@pytest.mark.parametrize(("query", "index"), BY_INDEX.values(), ids=BY_INDEX)
def test_what_is_too_old_is_found_by_its_index(
    memory: Connection, filled: Connection, query: Callable[[Connection], Any], index: str
) -> None:
    (step,) = sqlite_plans(memory, query)
    assert re.search(f"SEARCH runs USING (COVERING )?INDEX {index} ", step), step
    found = postgres_plans(filled, query)
    assert index in str(found), found
    assert not [line for line in found if "Seq Scan" in line or "Sort" in line], found


@pytest.mark.parametrize("kind", list(Leftover))
def test_postgresql_finds_what_goes_with_it_by_an_index(filled: Connection, kind: Leftover) -> None:
    found = postgres_plans(filled, lambda c: delete_leftovers(c, kind, before=at(10**9)))
    assert len([line for line in found if "Delete on" in line or "Update on" in line]) == 2
    assert not [line for line in found if "Seq Scan" in line or "Sort" in line], found


@pytest.mark.parametrize("long", [False, True])
def test_events_are_found_by_their_run(
    memory: Connection, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    if long:
        monkeypatch.setattr(retention, "SEGMENTS", 1)
    for _ in range(2):
        ended(memory, segments=2)
    found = sqlite_plans(
        memory, lambda c: delete_leftovers(c, Leftover.STATELESS_RUN, before=at(10))
    )
    assert not [step for step in found if step.startswith("SCAN") or "TEMP B-TREE" in step], found
