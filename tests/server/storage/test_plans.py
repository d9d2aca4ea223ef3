"""How the databases find what the saver and the store ask for: never by reading a whole table."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.support.plans import postgres_plans, sqlite_plans

from runwire.server.model.attempts import Attempt
from runwire.server.model.changes import Horizon
from runwire.server.model.changes import Place as ChangePlace
from runwire.server.model.errors import AttemptLost
from runwire.server.model.items import ItemPlace, Match
from runwire.server.model.requests import Order, SortKey
from runwire.server.model.threads import ThreadState
from runwire.server.storage import (
    assistant_threads,
    assistants,
    changes,
    checkpoint_writes,
    checkpoints,
    crons,
    items,
    namespaces,
    origins,
    ownership,
    pruning,
    threads,
)
from runwire.server.storage.assistants import AssistantFilter
from runwire.server.storage.checkpoints import NewCheckpoint, Place
from runwire.server.storage.runs import RunFilter
from runwire.server.storage.threads import ThreadFilter

ATTEMPT = Attempt("run", "thread", "graph", 1, "owner")
PLACE = Place("thread", "", "checkpoint")
NEW = NewCheckpoint(PLACE, None, "run", "graph", "msgpack", b"", {})
ITEM = ItemPlace(("a",), "key")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WRITE = checkpoint_writes.Write("task", "", 0, "channel", "msgpack", b"")
SEEN = Horizon(19_990, (19_900, 19_950))
ON_ITS_WAY = ChangePlace(time=NOW, seen=SEEN).heading(Horizon(20_000, (19_995,)), NOW)


def _list(connection: Connection, by: SortKey, **wanted: Any) -> None:
    threads.list_threads(connection, ThreadFilter(**wanted), Order(by), limit=9, cursor=None)


def _list_assistants(connection: Connection, by: SortKey) -> None:
    assistants.list_assistants(connection, AssistantFilter(), Order(by), limit=9, cursor=None)


def _add_as_attempt(connection: Connection) -> None:
    with suppress(AttemptLost):  # there is no such run; how it would be found is what counts
        checkpoints.add_checkpoint(connection, NEW, ATTEMPT)
    with suppress(AttemptLost):
        checkpoints.add_writes(connection, PLACE, "run", [WRITE], ATTEMPT)


QUERIES: dict[str, Callable[[Connection], Any]] = {
    "fence": lambda c: ownership.owns_run(c, ATTEMPT),
    "add_checkpoint": lambda c: checkpoints.add_checkpoint(c, NEW, None),
    "add_writes": lambda c: checkpoints.add_writes(c, PLACE, "run", [WRITE], None),
    "add_as_attempt": _add_as_attempt,
    "head": lambda c: checkpoints.head(c, "thread"),
    "newest_id": lambda c: checkpoints.newest_id(c, "thread"),
    "exists": lambda c: checkpoints.exists(c, "thread", "checkpoint"),
    "get_origin": lambda c: origins.get_origin(c, "thread", "", ""),
    "list_origins": lambda c: origins.list_origins(
        c, "thread", "", before="x", metadata={"source": "loop"}, limit=10
    ),
    "get_configuration": lambda c: origins.get_configuration(c, "run"),
    "has_run": lambda c: checkpoints.has_run(c, "thread", "run"),
    "get_checkpoint": lambda c: checkpoints.get_checkpoint(c, "thread", "", None),
    "list_checkpoints": lambda c: checkpoints.list_checkpoints(
        c, thread_id="thread", checkpoint_ns="", before="x", metadata="{}", limit=1
    ),
    "list_ancestors": lambda c: checkpoints.list_ancestors(c, PLACE, limit=10),
    "delete_run": lambda c: checkpoints.delete_run(c, "run"),
    "delete_thread": lambda c: checkpoints.delete_thread(c, "thread"),
    "copy_thread": lambda c: checkpoints.copy_thread(c, "thread", "target"),
    "prune_thread": lambda c: pruning.prune_thread(c, "thread"),
    "get_item": lambda c: items.get_item(c, ITEM, NOW),
    "put_item": lambda c: items.put_item(c, ITEM, {}, NOW),
    "refresh_items": lambda c: items.refresh_items(c, [ITEM], NOW),
    "search_items": lambda c: items.search_items(c, ("a",), [], NOW, limit=10),
    "list_namespaces": lambda c: namespaces.list_namespaces(
        c, [Match(("a", "b"))], NOW, max_depth=None, limit=10
    ),
    "list_versions": lambda c: assistants.list_versions(c, "assistant1", {}, limit=9, cursor=None),
    "list_runs_of_an_assistant": lambda c: assistant_threads.list_runs(
        c, "assistant1", assistant_threads.Place(NOW, "run"), limit=9
    ),
    "is_of_one_assistant": lambda c: assistant_threads.is_of_one(c, "thread1", "assistant1"),
    "has_thread_of_an_assistant": lambda c: assistant_threads.has_thread(c, "assistant1", NOW),
    "list_named_threads": lambda c: _list(c, SortKey.UPDATE_TIME, thread_ids=["a", "b"]),
    "count_threads_in_a_state": lambda c: threads.count_threads(
        c, ThreadFilter(states=[ThreadState.INTERRUPTED])
    ),
    "horizon": changes.horizon,
    "list_changed_threads": lambda c: changes.list_changed_threads(c, SEEN),
    "list_changes": lambda c: changes.list_changes(c, RunFilter(), ON_ITS_WAY, limit=50),
    "list_changes of a thread": lambda c: changes.list_changes_of_thread(
        c, "thread1", ON_ITS_WAY, limit=10
    ),
    "active_of_thread": lambda c: changes.active_of_thread(c, "thread1"),
}


OF_ONE_ROW = ("SCAN CONSTANT ROW", "SCAN head ")
"""Scans of what has one row at the most."""


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_nothing_reads_a_whole_table(
    memory: Connection, query: Callable[[Connection], Any]
) -> None:
    scans = [step for step in sqlite_plans(memory, query) if step.startswith("SCAN")]
    assert [step for step in scans if not step.startswith(OF_ONE_ROW)] == []


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_postgresql_reads_no_whole_table(
    filled: Connection, query: Callable[[Connection], Any]
) -> None:
    found = postgres_plans(filled, query)
    assert [line for line in found if "Seq Scan" in line] == [], found


def test_watchers_of_an_assistant_do_not_read_all_that_it_ever_ran(
    memory: Connection, filled: Connection
) -> None:
    wanted = RunFilter(assistant_id="assistant1")

    def look(connection: Connection) -> None:
        changes.list_changes(connection, wanted, ON_ITS_WAY, limit=50)

    for found in (sqlite_plans(memory, look), postgres_plans(filled, look)):
        assert any("ix_runs_change" in step for step in found), found
        assert not any("ix_runs_assistant_id" in step for step in found), found


def test_watchers_of_what_is_unfinished_do_not_read_what_has_ended(
    memory: Connection, filled: Connection
) -> None:
    place = ChangePlace(time=NOW, unfinished=True).heading(Horizon(20_000), NOW)

    def look(connection: Connection) -> None:
        changes.list_changes(connection, RunFilter(), place, limit=50)

    for found in (sqlite_plans(memory, look), postgres_plans(filled, look)):
        assert not any("ix_runs_change" in step or "Seq Scan" in step for step in found), found


def test_items_that_have_expired_are_found_by_their_time(
    memory: Connection, filled: Connection
) -> None:
    def sweep(connection: Connection) -> None:
        items.delete_expired(connection, before=NOW, limit=10)

    for found in (sqlite_plans(memory, sweep), postgres_plans(filled, sweep)):
        assert any("ix_store_items_expire_time" in step for step in found), found


def test_crons_that_are_due_are_found_by_their_time(memory: Connection) -> None:
    def look(connection: Connection) -> None:
        crons.list_due(connection, ["graph"], NOW, limit=10)
        crons.next_fire_time(connection, ["graph"])

    found = sqlite_plans(memory, look)
    assert sum("ix_crons_next_fire_time" in step for step in found) == 2, found
    assert not any("SCAN assistant" in step or "TEMP B-TREE" in step for step in found), found


LISTS: dict[str, Callable[[Connection], Any]] = {
    "list_threads": lambda c: _list(c, SortKey.CREATE_TIME),
    "list_threads_by_update": lambda c: _list(c, SortKey.UPDATE_TIME),
    "list_threads_by_state_update": lambda c: _list(c, SortKey.STATE_UPDATE_TIME),
    "list_threads_by_id": lambda c: _list(c, SortKey.THREAD_ID),
    "list_threads_in_a_state": lambda c: _list(
        c, SortKey.CREATE_TIME, states=[ThreadState.INTERRUPTED]
    ),
    "list_assistants": lambda c: _list_assistants(c, SortKey.CREATE_TIME),
    "list_assistants_by_update": lambda c: _list_assistants(c, SortKey.UPDATE_TIME),
    "list_assistants_by_name": lambda c: _list_assistants(c, SortKey.NAME),
    "list_assistants_by_graph": lambda c: _list_assistants(c, SortKey.GRAPH_ID),
    "list_assistants_by_id": lambda c: _list_assistants(c, SortKey.ASSISTANT_ID),
}


@pytest.mark.parametrize("query", LISTS.values(), ids=LISTS)
def test_a_list_is_read_in_its_order(
    memory: Connection, query: Callable[[Connection], Any]
) -> None:
    found = sqlite_plans(memory, query)
    assert [step for step in found if "INDEX" not in step] == []


@pytest.mark.parametrize("query", LISTS.values(), ids=LISTS)
def test_postgresql_reads_a_list_in_its_order(
    filled: Connection, query: Callable[[Connection], Any]
) -> None:
    found = postgres_plans(filled, query)
    assert [line for line in found if "Seq Scan" in line or "Sort" in line] == [], found


@pytest.mark.parametrize("name", ["newest_id", "get_origin", "list_origins"])
def test_the_newest_of_a_long_history_is_found_without_looking_at_the_rest(
    memory: Connection, name: str
) -> None:
    [step] = [step for step in sqlite_plans(memory, QUERIES[name]) if "checkpoints" in step]
    assert step.startswith("SEARCH")
    assert "thread_id=?" in step
    sorts = [step for step in sqlite_plans(memory, QUERIES[name]) if "ORDER BY" in step]
    assert sorts == []


@pytest.mark.parametrize("name", ["newest_id", "get_origin"])
def test_postgresql_finds_the_newest_of_a_long_history_without_sorting_it(
    filled: Connection, name: str
) -> None:
    found = postgres_plans(filled, QUERIES[name])
    assert [line for line in found if "Sort" in line] == [], found
