"""One request, sent by many at once to several servers that fail now and then: one run."""

import asyncio
from pathlib import Path

from tests.chaos.callers import Caller
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.conftest import Figure
from tests.chaos.history import of_kind

SENDERS = 50
FAILING = "--faults=create.before_commit:raise:0.2, create.after_commit:raise:0.2, seed=5"


async def test_on_sqlite(tmp_path: Path, figure: Figure) -> None:
    async with cluster("requests-sqlite", tmp_path, FAILING) as servers:
        await send_at_once(servers, figure, "SQLite")


async def test_on_postgresql(tmp_path: Path, postgres_url: str, figure: Figure) -> None:
    async with cluster(
        "requests-postgresql", tmp_path, FAILING, replicas=2, database_url=postgres_url
    ) as servers:
        await send_at_once(servers, figure, "PostgreSQL, 2 servers")


async def send_at_once(servers: Cluster, figure: Figure, where: str) -> None:
    labels = ["one", "another", "a third"]
    async with asyncio.TaskGroup() as tasks:
        for number in range(SENDERS):
            for label in labels:
                tasks.create_task(send(servers, f"sender-{number} of {label}", label))
    await servers.judge()
    made = len(of_kind(servers.history.lines, "run"))
    figure(f"{SENDERS} creates with one request_id, {where}", made / len(labels), "1 run")
    assert made == len(labels)


async def send(servers: Cluster, name: str, label: str) -> None:
    async with Caller(servers.history, name, servers.address) as caller:
        thread = "00000000-0000-4000-8000-000000000001" if label == "one" else ""
        run = await caller.create(label, str(servers.ledger), thread=thread, steps=2)
        await caller.join(run.run_id)
