"""What is left of things when the time for which they are kept has passed."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Table, func, select
from tests.support.engine import Engine, kinds
from tests.support.leftovers import add_old_runs, add_old_thread
from tests.support.records import a_delivery, a_run, a_server, add_run, at
from tests.support.transactions import MovableClock, Server

from runwire.server.core import retention
from runwire.server.core.outbox import LARGEST_VALUE
from runwire.server.core.retention import Retention, steps, sweep
from runwire.server.core.webhooks import Webhooks
from runwire.server.model.errors import EventsExpired, RunNotFound, RunRolledBack
from runwire.server.model.items import MAX_VALUE_BYTES, ItemPlace
from runwire.server.model.requests import RequestKey
from runwire.server.model.runs import CancelAction, RunSpec, RunState
from runwire.server.model.threads import PruneStrategy
from runwire.server.model.webhooks import DeliveryFilter, DeliveryState
from runwire.server.rpc.frames import MESSAGE_BYTES
from runwire.server.storage import gone, items, servers
from runwire.server.storage import retention as queries
from runwire.server.storage.database import Connection, Database
from runwire.server.storage.tables import checkpoints, run_events
from runwire.server.storage.webhooks import add_delivery

OVER = timedelta(seconds=-1)
EVERYTHING = Retention(
    event_retention=OVER,
    stateless_run_retention=OVER,
    rolled_back_run_retention=OVER,
    request_retention=OVER,
)


@pytest.mark.parametrize(
    ("rows", "largest"),
    [
        (retention.ITEMS, MAX_VALUE_BYTES),
        (retention.DELIVERIES, 2 * LARGEST_VALUE),
        (retention.NOTES, MESSAGE_BYTES),
    ],
)
def test_one_transaction_deletes_only_so_much(rows: int, largest: int) -> None:
    assert rows * largest <= 32 * 1024 * 1024, "SQLite's other writers wait for it"


async def test_before_that_all_is_there(engine: Engine) -> None:
    run = await engine.run("echo", {"text": "a"})

    await sweep(engine.database, Retention())

    assert kinds(await engine.events(run))[-1] == "run_ended"


async def test_a_stateless_run_leaves_nothing(engine: Engine) -> None:
    run = await engine.run("echo", {"text": "a"})

    await sweep(engine.database, Retention(stateless_run_retention=OVER))

    with pytest.raises(RunNotFound):
        await engine.row(run)


async def test_what_became_of_a_webhook_goes_and_what_is_still_to_be_sent_stays(
    engine: Engine,
) -> None:
    runs = [await engine.run("echo", {}, webhook="https://example.com/") for _ in range(3)]
    await engine.execute(
        lambda connection: connection.exec_driver_sql(
            "UPDATE webhook_deliveries SET state = 'dead', due_time = NULL, end_time = create_time"
            f" WHERE run_id <> '{runs[0].run_id}'"
        )
    )
    for kept, left in ((timedelta(days=1), 3), (OVER, 1)):
        await sweep(engine.database, Retention(webhook_retention=kept))
        page = await Webhooks(engine.database).list(DeliveryFilter(), limit=10, cursor=None)
        assert len(page.items) == left
    assert page.items[0].run_id == runs[0].run_id


@pytest.mark.parametrize(("graph_id", "state"), [("echo", "succeeded"), ("fails", "failed")])
async def test_a_run_on_a_thread_stays_without_its_events(
    engine: Engine, graph_id: str, state: str
) -> None:
    run = await engine.run(graph_id, {"text": "a"}, thread_id=await engine.thread())

    await sweep(engine.database, EVERYTHING)

    assert (await engine.row(run)).state == RunState(state)
    with pytest.raises(EventsExpired):
        await engine.events(run)
    with pytest.raises(EventsExpired):
        await engine.events(run, after="1-1")


async def test_a_cancelled_run_on_a_thread_stays_without_its_events(engine: Engine) -> None:
    run = await engine.start("slow_async", {"seconds": 30}, thread_id=await engine.thread())
    await engine.runs.cancel(run.run_id, CancelAction.INTERRUPT, wait=True)

    await sweep(engine.database, Retention(event_retention=OVER))

    assert (await engine.row(run)).state is RunState.CANCELLED
    with pytest.raises(EventsExpired):
        await engine.events(run)


async def test_of_a_run_that_was_taken_back_nothing_is_remembered(engine: Engine) -> None:
    run = await engine.start("slow_async", {"seconds": 30}, thread_id=await engine.thread())
    await engine.runs.cancel(run.run_id, CancelAction.ROLLBACK, wait=True)

    await sweep(engine.database, Retention(event_retention=OVER, stateless_run_retention=OVER))
    with pytest.raises(RunRolledBack):
        await engine.row(run)

    await sweep(engine.database, Retention(rolled_back_run_retention=OVER))
    with pytest.raises(RunNotFound):
        await engine.row(run)


async def test_a_run_in_flight_keeps_all(engine: Engine, tmp_path: Path) -> None:
    runs = [
        await engine.start("gate", {"directory": str(tmp_path)}, thread_id=thread_id)
        for thread_id in (None, await engine.thread())
    ]

    await sweep(engine.database, EVERYTHING)
    (tmp_path / "open").touch()

    for run in runs:
        assert kinds(await engine.events(run))[-1] == "run_ended"


async def test_a_request_id_may_be_used_anew(engine: Engine) -> None:
    spec, key = RunSpec(assistant_id="echo", input={}), RequestKey("Method", "id", b"body")
    (first,) = await engine.create(spec, request=key)
    assert [run.run_id for run in await engine.create(spec, request=key)] == [first.run_id]

    await sweep(engine.database, Retention(request_retention=OVER))

    (second,) = await engine.create(spec, request=key)
    assert second.run_id != first.run_id


# One step at a time.


def found(server: Server, retention: Retention) -> list[int]:
    """Return how much each step of a sweep finds, once."""
    return [step(server.connection) for step in steps(retention)]


def test_each_kind_has_a_time_of_its_own(server: Server, moving_clock: type[MovableClock]) -> None:
    key = RequestKey("CreateRun", "id", b"hash")
    server.create_all([RunSpec(assistant_id="graph")], request=key)
    for thread_id in (server.thread(), None):
        server.finish(server.start(thread_id))
    taken_back = server.start(server.thread())
    server.cancel(taken_back, action=CancelAction.ROLLBACK)
    server.finish(taken_back, RunState.CANCELLED)
    servers.add_server(server.connection, a_server(lease_until=at(0)))
    add_delivery(server.connection, a_delivery(state=DeliveryState.DEAD, end_time=at(0)))
    add_delivery(server.connection, a_delivery(due_time=at(0)))
    retention = Retention(
        event_retention=timedelta(hours=1),
        stateless_run_retention=timedelta(hours=2),
        rolled_back_run_retention=timedelta(hours=3),
        request_retention=timedelta(hours=4),
        server_retention=timedelta(hours=5),
        webhook_retention=timedelta(hours=7),
    )
    items.put_item(server.connection, ItemPlace(("n",), "k"), {}, at(0), timedelta(hours=6))
    gone.note_state_update(server.connection, server.thread(), b"told")
    seen = []
    for hours in range(9):
        moving_clock.time = at(hours * 3600 + 1)
        seen.append(found(server, retention))
    assert seen == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_what_has_not_ended_is_never_too_old(
    server: Server, moving_clock: type[MovableClock]
) -> None:
    run, waiting = server.start(), server.create()
    on_thread = server.start(server.thread())
    moving_clock.time = at(10**8)
    assert found(server, EVERYTHING) == [0, 0, 0, 0, 0, 0, 0, 0]
    assert server.states(run, waiting, on_thread) == ["running", "pending", "running"]


# Others at work.


async def test_a_sweep_goes_on_until_nothing_is_left(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "RUNS", 2)
    runs = [await engine.run("echo", {"text": "a"}) for _ in range(7)]

    await sweep(engine.database, EVERYTHING)

    for run in runs:
        with pytest.raises(RunNotFound):
            await engine.row(run)


async def test_others_write_between_the_transactions_of_a_sweep(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "RUNS", 1)
    for _ in range(20):
        await engine.run("echo", {"text": "a"})
    order: list[str] = []

    def step(connection: Connection, *args: Any, **how: Any) -> int:
        order.append("sweep")
        return delete_leftovers(connection, *args, **how)

    delete_leftovers = queries.delete_leftovers
    monkeypatch.setattr("runwire.server.core.retention.delete_leftovers", step)
    sweeping = asyncio.create_task(sweep(engine.database, EVERYTHING))
    while not sweeping.done():
        await engine.database.write(lambda _: order.append("other"))
    await sweeping

    # Not one transaction of the sweep follows directly on another while somebody waits.
    assert order.count("sweep") > 20
    assert "sweep sweep" not in " ".join(order)


async def test_writers_are_not_held_up_while_a_lot_goes(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 MB of events and checkpoints go; whoever writes meanwhile waits for one small transaction.
    Alone on two cores: p99 20 ms, 40 ms at most."""
    swept = 0
    write = retention._write

    async def counted(on: Database, function: Any) -> Any:
        nonlocal swept

        def step(connection: Connection) -> Any:
            nonlocal swept
            swept += 1
            return function(connection)

        return await write(on, step)

    monkeypatch.setattr(retention, "_write", counted)
    passed: list[int] = []
    for _ in range(10):
        await database.write(lambda c: add_old_runs(c, count=50, segments=4, size=20_000))
    for number in range(8):
        strategy = list(PruneStrategy)[number % 2]
        await database.write(lambda c, kind=strategy: add_old_thread(c, kind, 250, 20_000))
    waits: list[float] = []

    async def write_for_ever() -> None:
        while True:
            begin, before = monotonic(), swept
            await database.write(lambda c: add_run(c, a_run()))
            waits.append(monotonic() - begin)
            passed.append(swept - before)
            await asyncio.sleep(0.001)

    writing = asyncio.create_task(write_for_ever())
    begin = monotonic()
    await sweep(database, Retention())
    seconds = monotonic() - begin
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    waits.sort()
    p99, longest = waits[int(len(waits) * 0.99)], waits[-1]
    figures = f"{seconds:.1f} s of sweeping, {len(waits)} writes: p99 {1000 * p99:.0f} ms"
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}, at most {1000 * longest:.0f} ms\n")
    left = await database.read(lambda c: [count(c, table) for table in (run_events, checkpoints)])
    assert left == [0, 4]
    assert len(waits) > 50
    assert sorted(passed)[int(len(passed) * 0.99)] <= 1, "transactions that went before a write"


def count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


async def test_several_sweep_at_the_same_time(engine: Engine) -> None:
    runs = [await engine.run("echo", {"text": "a"}) for _ in range(9)]

    await asyncio.gather(*(sweep(engine.database, EVERYTHING) for _ in range(3)))

    for run in runs:
        with pytest.raises(RunNotFound):
            await engine.row(run)
