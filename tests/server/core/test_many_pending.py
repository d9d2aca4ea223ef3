"""Ten thousand runs that wait: what claiming some of them, and looking at some of them, costs."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, insert, text
from tests.support.records import a_run, add_default_assistant, at
from tests.support.watching import say

from runwire.server.core.sweeping import claim
from runwire.server.model.ids import new_id
from runwire.server.storage import runs, threads
from runwire.server.storage.database import Database
from runwire.server.storage.runs import RunFilter
from runwire.server.storage.tables import runs as runs_table

PENDING = 10_000
CLAIMS = 100
ROUNDS = 10
"""A machine that is busy with something else may spoil some rounds, and not all of them."""
AT_ONCE = 8


def fill(connection: Connection) -> None:
    """Store runs that servers may claim, each on a thread of its own."""
    add_default_assistant(connection)
    run = runs.add_run(connection, a_run(), runnable=True, wake_time=None)
    assert run is None
    row = dict(connection.execute(runs_table.select()).mappings().one())
    rows = []
    for number in range(PENDING):
        thread = threads.add_thread(connection, new_id(), {}, at(0))
        times = {"due_time": at(number), "create_time": at(number)}
        rows.append({**row, "run_id": new_id(), "thread_id": thread.thread_id, **times})
    connection.execute(insert(runs_table), rows)
    connection.execute(text("ANALYZE"))


async def timed(times: int, call: Callable[[], Any]) -> list[float]:
    """Return how long calls took, in milliseconds and in order of that."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        await call()
        took.append((time.perf_counter() - begun) * 1000)
    return sorted(took)


async def test_claims_and_first_pages_stay_fast(database: Database) -> None:
    await database.write(fill)
    owner = new_id()
    at_most = 50 if database.shared else 15
    claims = []
    for _ in range(ROUNDS):
        claims = await timed(
            CLAIMS, lambda: database.write(lambda c: claim(c, owner=owner, limit=AT_ONCE))
        )
        if claims[-2] <= at_most:
            break
    pages = await timed(
        50,
        lambda: database.read(
            lambda c: runs.list_runs(c, RunFilter(), limit=100, cursor=None).items
        ),
    )
    where = "PostgreSQL" if database.shared else "SQLite"
    p99 = claims[-2]
    say(f"{where}: claim p50 {claims[CLAIMS // 2]:.1f} ms, p99 {p99:.1f} ms")
    say(f"{where}: first page of 100 runs p50 {pages[25]:.1f} ms, slowest {pages[-1]:.1f} ms")
    assert p99 <= at_most
    assert pages[25] <= 50
