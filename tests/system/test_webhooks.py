"""Servers that die between a run's end, its webhook and the record of that."""

import asyncio
from pathlib import Path
from typing import Any

from tests.support.engine import until
from tests.support.receivers import SECRET, Receiver, receiving
from tests.support.serving import QUICK_LEASES, ServerProcess, start_server_process
from tests.support.watching import SYSTEM_GRAPHS, chain_input

from runwire.client import get_client

FLAGS = (
    "--no-webhook-require-https",
    "--webhook-loopback",
    "--webhook-timeout=5s",
    "--webhook-retry-wait=50ms",
)
SIGNED = {"RUNWIRE_WEBHOOK_SECRET": SECRET}


async def start_run(server: ServerProcess, receiver: Receiver) -> str:
    async with get_client(server.address) as client:
        run_input = chain_input(server.directory, "told", steps=2)
        run = await client.runs.create(None, "chain", input=run_input, webhook=receiver.url)
    return str(run["run_id"])


async def delivered(server: ServerProcess, run_id: str) -> dict[str, Any]:
    """Return the delivery of a run when it was delivered."""
    async with get_client(server.address) as client:

        async def found() -> Any:
            return await client.webhooks.list(run_id=run_id, state="delivered")

        await until(found)
        (delivery,) = await found()
        return dict(delivery)


async def test_a_server_that_dies_after_a_run_s_end_tells_of_it_when_it_is_back(
    tmp_path: Path, module_database: str
) -> None:
    flags = (*FLAGS, *(QUICK_LEASES if module_database else ()))
    receiver = await die_and_come_back(tmp_path, "finish.after_commit", *flags, on=module_database)
    assert len(receiver.received) == 1


async def test_one_that_dies_before_it_has_noted_that_tells_of_it_twice_with_one_id(
    tmp_path: Path,
) -> None:
    receiver = await die_and_come_back(tmp_path, "deliver.before_commit", *FLAGS)
    assert len(receiver.received) == 2


async def die_and_come_back(directory: Path, point: str, *flags: str, on: str = "") -> Receiver:
    """Let a server die at a point on the way of a webhook; return what its receiver got."""
    with start_server_process(
        directory,
        *(*flags, f"--faults={point}:kill"),
        graphs=SYSTEM_GRAPHS,
        environment=SIGNED,
        on=on,
    ) as server:
        async with receiving() as receiver:
            run_id = await start_run(server, receiver)
            await asyncio.to_thread(server.wait)
            server.flags[:] = flags
            await asyncio.to_thread(server.start)
            await delivered(server, run_id)
    assert set(receiver.run_ids) == {run_id}
    assert len({(request.delivery_id, request.body) for request in receiver.received}) == 1
    assert receiver.received[-1].verified()["type"] == "run.succeeded"
    return receiver


async def test_what_a_dead_server_was_sending_another_one_sends(
    tmp_path: Path, postgres_url: str
) -> None:
    (tmp_path / "other").mkdir()
    # The other one waits for as long as the dead one's receiver might still have answered.
    flags = (*FLAGS, "--webhook-timeout=2s", *QUICK_LEASES)
    common: dict[str, Any] = {
        "graphs": SYSTEM_GRAPHS,
        "environment": SIGNED,
        "on": postgres_url,
    }
    dying = (*flags, "--faults=deliver.before_commit:kill")
    with start_server_process(tmp_path, *dying, **common) as server:
        async with receiving() as receiver:
            run_id = await start_run(server, receiver)
            await asyncio.to_thread(server.wait)
            with start_server_process(tmp_path / "other", *flags, **common) as other:
                delivery = await delivered(other, run_id)
    assert receiver.run_ids == [run_id] * 2
    assert receiver.ids == [delivery["delivery_id"]] * 2
    assert delivery["attempts"] == 2


async def test_a_server_that_stops_lets_a_receiver_answer(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(request: Any, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    flags = (*FLAGS, "--webhook-timeout=20s")
    with start_server_process(tmp_path, *flags, graphs=SYSTEM_GRAPHS, environment=SIGNED) as server:
        async with receiving(slow) as receiver:
            run_id = await start_run(server, receiver)
            await receiver.until(1)
            stopping = asyncio.create_task(asyncio.to_thread(server.terminate))
            await until(lambda: server.logged("stopping"))
            go_on.set()
            assert await stopping == 0
            await asyncio.to_thread(server.start)
            assert (await delivered(server, run_id))["attempts"] == 1
    assert len(receiver.received) == 1
