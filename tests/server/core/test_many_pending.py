"""Ten thousand runs that wait: what claiming some of them, and looking at some of them, costs."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection, insert, text
from tests.support.records import a_run, a_server, add_default_assistant, at
from tests.support.watching import say

from runwire.server.core.servers import enter
from runwire.server.core.sweeping import claim, look
from runwire.server.model.ids import new_id
from runwire.server.model.requests import NEWEST_FIRST
from runwire.server.storage import runs, threads
from runwire.server.storage.database import Database
from runwire.server.storage.runs import RunFilter
from runwire.server.storage.tables import runs as runs_table

PENDING = 10_000
CLAIMS = 30
AT_ONCE = 8
FEW = CLAIMS * AT_ONCE
OWNER = new_id()


def fill(connection: Connection, known: int, unknown: int = 0) -> None:
    """Store runs that servers may claim, each on a thread of its own; the first of them are of a
    graph that is `unknown` to those who claim."""
    like = a_run()
    runs.add_run(connection, like, runnable=True, wake_time=None)
    this = runs_table.select().where(runs_table.c.run_id == like.run_id)
    row = dict(connection.execute(this).mappings().one())
    rows = []
    for number in range(known + unknown):
        thread = threads.add_thread(connection, new_id(), {}, at(0))
        times = {"due_time": at(number), "create_time": at(number)}
        graph_id = "unknown" if number < unknown else "graph"
        own = {"run_id": new_id(), "thread_id": thread.thread_id, "graph_id": graph_id}
        rows.append({**row, **own, **times})
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


async def timed_claims(database: Database) -> list[float]:
    """Return how long claims took."""

    def claim_some(connection: Connection) -> None:
        wanted = {"owner": OWNER, "graph_ids": ["graph"], "limit": AT_ONCE}
        assert len(claim(connection, **wanted)) == AT_ONCE

    return await timed(CLAIMS, lambda: database.write(claim_some))


async def timed_pages(database: Database) -> list[float]:
    """Return how long first pages took."""
    return await timed(
        CLAIMS,
        lambda: database.read(
            lambda c: runs.list_runs(c, RunFilter(), NEWEST_FIRST, limit=100, cursor=None).items
        ),
    )


async def timed_looks(database: Database) -> list[float]:
    """Return how long it took to look whether there is anything to claim."""
    return await timed(CLAIMS, lambda: database.read(lambda c: look(c, ["graph"])))


Figures = dict[str, float]
"""What took how long at least, in milliseconds: the shortest time says what there was to do, the
others also what the machine did besides."""


async def measured(
    database: Database, **calls: Callable[[Database], Awaitable[list[float]]]
) -> Figures:
    where = "PostgreSQL" if database.shared else "SQLite"
    figures = {}
    for name, call in calls.items():
        took = await call(database)
        say(f"{where}: {name} {took[0]:.1f} ms, p50 {took[len(took) // 2]:.1f}, p99 {took[-2]:.1f}")
        figures[name] = took[0]
    return figures


def check_alike(few: Figures, many: Figures) -> None:
    """Check that nothing takes longer for what waits: it would take a hundred times as long."""
    for name, least in few.items():
        assert many[name] < 5 * least + 1, name


async def test_claims_and_first_pages_stay_fast(database: Database) -> None:
    await database.write(lambda c: enter(c, a_server(server_id=OWNER), None))
    await database.write(lambda c: add_default_assistant(c) and None)
    await database.write(lambda c: fill(c, FEW))
    calls = {"claim": timed_claims, "first page": timed_pages}
    few = await measured(database, **calls)
    await database.write(lambda c: fill(c, PENDING))
    check_alike(few, await measured(database, **calls))


async def test_runs_of_unknown_graphs_ahead_of_the_others_do_not_make_claims_slow(
    database: Database,
) -> None:
    await database.write(lambda c: enter(c, a_server(server_id=OWNER), None))
    await database.write(lambda c: add_default_assistant(c) and None)
    await database.write(lambda c: fill(c, FEW))
    calls = {"claim behind unknown": timed_claims, "look behind unknown": timed_looks}
    few = await measured(database, **calls)
    await database.write(lambda c: fill(c, FEW, unknown=PENDING))
    check_alike(few, await measured(database, **calls))
