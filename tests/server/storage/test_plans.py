"""How the databases find what the saver and the store ask for: never by reading a whole table."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.support.plans import postgres_plans, sqlite_plans

from runwire.server.model.attempts import Attempt
from runwire.server.storage import checkpoint_writes, checkpoints, items, ownership, pruning
from runwire.server.storage.checkpoints import NewCheckpoint, Place

ATTEMPT = Attempt("run", "thread", "graph", 1, "owner")
PLACE = Place("thread", "", "checkpoint")
NEW = NewCheckpoint(PLACE, None, "run", "graph", "msgpack", b"", {})
WRITE = checkpoint_writes.Write("task", "", 0, "channel", "msgpack", b"")

QUERIES: dict[str, Callable[[Connection], Any]] = {
    "fence": lambda c: ownership.owns_run(c, ATTEMPT),
    "add_checkpoint": lambda c: checkpoints.add_checkpoint(c, NEW, None),
    "add_writes": lambda c: checkpoints.add_writes(c, PLACE, "run", [WRITE], None),
    "head": lambda c: checkpoints.head(c, "thread"),
    "newest_id": lambda c: checkpoints.newest_id(c, "thread"),
    "exists": lambda c: checkpoints.exists(c, "thread", "checkpoint"),
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
    "get_item": lambda c: items.get_item(c, ("a",), "key"),
    "search_items": lambda c: items.search_items(c, ("a",), [], limit=10, offset=0),
    "list_namespaces": lambda c: items.list_namespaces(c, ("a", "b")),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_nothing_reads_a_whole_table(
    memory: Connection, query: Callable[[Connection], Any]
) -> None:
    found = sqlite_plans(memory, query)
    assert [step for step in found if step.startswith("SCAN") and "CONSTANT ROW" not in step] == []


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_postgresql_reads_no_whole_table(
    filled: Connection, query: Callable[[Connection], Any]
) -> None:
    found = postgres_plans(filled, query)
    assert [line for line in found if "Seq Scan" in line] == [], found
