"""The disk is full: callers are told, nothing is lost, and all goes on when there is room again.

A disk of one's own takes a mount namespace, which not every machine lets its users have; SQLite's
own limit of a file's size does on all of them.
"""

import asyncio
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.serving import ServerExited, ServerProcess, serve_in_process
from tests.support.statuses import Failure
from tests.support.watching import (
    SYSTEM_GRAPHS,
    chain_input,
    chain_result,
    check_run,
    done_on,
    get_run,
    runs_at,
    times_begun,
    until,
    until_begun,
)

from runwire.client import RunwireClient, get_client
from runwire.server.storage.database import Connection, Database
from runwire.v1 import core_pb2, runs_pb2
from runwire.v1.payload_pb2 import Payload

GATE = 3


@dataclass
class Disk:
    """A disk of 8 MB, which processes that are started by `prefix` see at `place`."""

    place: Path
    pid: int

    @property
    def prefix(self) -> list[str]:
        return ["nsenter", "--user", "--mount", "--preserve-credentials", f"--target={self.pid}"]

    @property
    def files(self) -> Path:
        """Where everybody else sees what is on it."""
        return Path(f"/proc/{self.pid}/root") / self.place.relative_to("/")

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.files / "ballast").open("ab", buffering=0) as ballast:
            for size in (65536, 1):
                while write(ballast, size):
                    pass

    def free(self) -> None:
        """Make room again."""
        (self.files / "ballast").unlink()


def write(file: Any, size: int) -> bool:
    try:
        file.write(b"x" * size)
    except OSError:
        return False
    return True


@contextmanager
def small_disk(place: Path) -> Iterator[Disk | None]:
    """Give a disk in a mount namespace of its own; None where users may not have such."""
    place.mkdir()
    mount = f"mount -t tmpfs -o size=8m,mode=0700 tmpfs '{place}' && echo there && exec sleep 600"
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount]
    try:
        holder = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except FileNotFoundError:
        yield None
        return
    assert holder.stdout is not None
    try:
        yield Disk(place, holder.pid) if holder.stdout.readline() else None
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "runwire") as disk:
        if disk is None:
            pytest.skip("users of this machine may not mount anything")
        yield disk


@pytest.fixture
def server(tmp_path: Path, disk: Disk) -> Iterator[ServerProcess]:
    """A server whose database is on the small disk."""
    server = ServerProcess(tmp_path, graphs=SYSTEM_GRAPHS, prefix=disk.prefix)
    try:
        yield server.start()
    finally:
        if server.is_running:
            server.kill()


async def until_refused(address: str) -> Failure:
    """Create runs until that fails: SQLite may have a little room of its own left."""
    async with runs_at(address) as runs:
        spec = core_pb2.RunSpec(assistant_id="chain", input=Payload(json="{}"))
        spec.start_delay.seconds = 3600
        for _ in range(10_000):
            try:
                await runs.CreateRun(runs_pb2.CreateRunRequest(spec=spec))
            except grpc.aio.AioRpcError as error:
                return Failure(error)
    raise AssertionError("the disk does not fill up")


async def health_of(server: ServerProcess) -> int:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        status: int = (await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
        return status


async def begin(server: ServerProcess, client: RunwireClient, graph_id: str) -> tuple[str, str]:
    """Bring a run to its gate; return thread and run id."""
    thread_id = (await client.threads.create())["thread_id"]
    run_input = chain_input(server.directory, graph_id, wait_at=GATE)
    run = await client.runs.create(thread_id, graph_id, input=run_input)
    await until_begun(server.directory, graph_id, GATE)
    return thread_id, run["run_id"]


def is_sound(file: Path) -> bool:
    connection = sqlite3.connect(file)
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)])
    finally:
        connection.close()


async def test_all_goes_on_when_there_is_room_again(server: ServerProcess, disk: Disk) -> None:
    async with get_client(server.address) as client:
        begun = {name: await begin(server, client, name) for name in ("chain", "chain_sync")}
        disk.fill()
        failure = await until_refused(server.address)
        (server.directory / "open").touch()
        await until(lambda: server.logged("a run's end could not be stored yet"), "runs suffer")

        assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "STORAGE_FULL")
        assert failure.retries
        assert await health_of(server) == health_pb2.HealthCheckResponse.SERVING
        for _, run_id in begun.values():
            assert not (await get_run(server.address, run_id)).HasField("end_time")

        disk.free()
        for name, (thread_id, run_id) in begun.items():
            run = await check_run(server.address, run_id)
            assert run.state == core_pb2.RUN_STATE_SUCCEEDED
            assert max(times_begun(server.directory, run_id).values()) == 2
            assert await done_on(client, thread_id) == chain_result(name)
        await client.runs.wait(None, "chain", input=chain_input(server.directory, "later"))

    assert "Traceback" not in server.said()
    assert server.terminate() == 0
    assert is_sound(disk.files / "runwire.db")


async def test_a_server_that_starts_on_a_full_disk_says_so(
    server: ServerProcess, disk: Disk
) -> None:
    async with get_client(server.address) as client:
        thread_id, run_id = await begin(server, client, "chain")
        disk.fill()
        await until_refused(server.address)
        server.kill()
        disk.fill()
        with pytest.raises(ServerExited):
            await asyncio.to_thread(server.start)
        reason = server.logged("cannot start")
        assert reason is not None, server.said()
        assert "the database has no room left" in reason["reason"]
        assert "Traceback" not in server.said()

        disk.free()
        (server.directory / "open").touch()
        await asyncio.to_thread(server.start)
        run = await check_run(server.address, run_id)
        done = await done_on(client, thread_id)

    assert run.state == core_pb2.RUN_STATE_SUCCEEDED
    assert done == chain_result("chain")


async def limit_pages(database: Database, pages: int | None) -> None:
    """Let the database grow to so many more pages, or without limit."""

    def limit(connection: Connection) -> None:
        now = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        most = 2**30 if pages is None else now + pages
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")

    await database.write(limit)


async def test_all_goes_on_when_the_database_may_grow_again(tmp_path: Path) -> None:
    async with (
        serve_in_process(tmp_path, graphs=SYSTEM_GRAPHS) as app,
        get_client(app.address) as client,
    ):
        thread_id = (await client.threads.create())["thread_id"]
        run_input = chain_input(tmp_path, "full", wait_at=GATE)
        run = await client.runs.create(thread_id, "chain", input=run_input)
        await until_begun(tmp_path, "full", GATE)
        await limit_pages(app.database, 20)
        failure = await until_refused(app.address)
        (tmp_path / "open").touch()
        # What it has to store until its end is more than what is left of a page here or there.
        waiting = asyncio.create_task(client.runs.join(thread_id, run["run_id"]))
        assert (failure.code, failure.reason) == ("RESOURCE_EXHAUSTED", "STORAGE_FULL")
        await asyncio.sleep(0.5)
        await limit_pages(app.database, None)
        values = await asyncio.wait_for(waiting, 30)

    assert values["done"] == chain_result("full")
