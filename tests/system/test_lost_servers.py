"""Servers that share a PostgreSQL database are killed, halted and stopped: the others go on."""

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.replicas import replica_processes
from tests.support.serving import ServerProcess
from tests.support.watching import (
    Note,
    chain_input,
    chain_result,
    check_run,
    done_on,
    ledger,
    say,
    times_begun,
    until,
    until_begun,
)

from runwire.client import RunwireClient, get_client
from runwire.v1 import core_pb2

FLAGS = ("--lease=2s", "--beat-interval=500ms", "--sweep-interval=500ms")
STEPS = 12
WRITTEN_FOR_RUNS = ("runs", "run_events", "checkpoints", "checkpoint_writes", "threads")


@asynccontextmanager
async def replicas(
    directory: Path, url: str, *more: Sequence[str]
) -> AsyncIterator[list[ServerProcess]]:
    """Give servers with short leases; `more` are flags of each."""
    flags = [[*FLAGS, *own] for own in more]
    async with replica_processes(directory, url, *flags) as servers:
        yield servers


async def start_chains(
    client: RunwireClient, directory: Path, labels: Sequence[str], **more: Any
) -> dict[str, tuple[str, str]]:
    """Start a run for each label, on a thread of its own; return the threads' and runs' ids."""
    made = {}
    for label in labels:
        thread_id = (await client.threads.create())["thread_id"]
        run_input = chain_input(directory, label, **{"steps": STEPS, "seconds": 0.05, **more})
        run = await client.runs.create(thread_id, "chain", input=run_input)
        made[label] = thread_id, run["run_id"]
    return made


async def check_chains(address: str, made: dict[str, tuple[str, str]], steps: int = STEPS) -> None:
    """Fail unless every run has come to its right end."""
    async with get_client(address) as client:
        for label, (thread_id, run_id) in made.items():
            run = await check_run(address, run_id)
            assert run.state == core_pb2.RUN_STATE_SUCCEEDED, label
            assert await done_on(client, thread_id) == chain_result(label, steps=steps)


def standstills(directory: Path, pid: int) -> list[float]:
    """Return how long each run stood still that had begun in a process and went on in another."""
    of_run: dict[str, list[Note]] = {}
    for note in ledger(directory):
        of_run.setdefault(note.run_id, []).append(note)
    return [
        after.time - before.time
        for notes in of_run.values()
        for before, after in itertools.pairwise(notes)
        if before.pid == pid != after.pid
    ]


async def test_the_runs_of_a_killed_server_go_on_elsewhere_and_only_a_superstep_is_repeated(
    tmp_path: Path, postgres_url: str
) -> None:
    async with replicas(tmp_path, postgres_url, (), ()) as (killed, other):
        async with get_client(killed.address) as client:
            made = await start_chains(
                client, tmp_path, [f"run {number}" for number in range(10)], seconds=0.3
            )
            for label in made:
                await until_begun(tmp_path, label, 1)
        pid = killed.pid
        await asyncio.to_thread(killed.kill)
        await check_chains(other.address, made)

        stood = standstills(tmp_path, pid)
        say(f"{len(stood)} runs went on after {max(stood):.1f} s at most")
        assert len(stood) == len(made)
        for _, run_id in made.values():
            repeated = times_begun(tmp_path, run_id)
            assert sum(repeated.values()) <= STEPS + 1


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return everything that is written for runs, as it is stored, with the version of each row."""
    with psycopg.connect(url) as connection:
        return {
            table: sorted(connection.execute(f"SELECT xmin::text, t::text FROM {table} t".encode()))
            for table in WRITTEN_FOR_RUNS
        }


def is_back(url: str, executing: int = 0) -> bool:
    """Return whether all servers that have not stopped hold their leases and execute so much."""
    with psycopg.connect(url) as connection:
        query = b"SELECT lease_until > now(), executing FROM servers WHERE NOT draining"
        return all(row == (True, executing) for row in connection.execute(query))


async def sleep_through(servers: list[ServerProcess], url: str, directory: Path, name: str) -> None:
    """Halt a server past its lease while it executes runs, let the other finish them, and let the
    first one go on: it must not write anything any more."""
    halted, other = servers
    async with get_client(halted.address) as client:
        labels = [f"{name} {number}" for number in range(6)]
        made = await start_chains(client, directory, labels, steps=8, seconds=0.1)
        await until_begun(directory, labels[-1], 2)
    halted.pause()
    try:
        await check_chains(other.address, made, steps=8)
        before = rows(url)
    finally:
        halted.resume()
    await until(lambda: is_back(url), "the halted server has noticed")
    after = rows(url)
    for table in WRITTEN_FOR_RUNS:
        assert after[table] == before[table], table


@pytest.mark.timeout(150)
async def test_a_server_that_was_halted_past_its_lease_writes_nothing_of_its_old_attempts(
    tmp_path: Path, postgres_url: str
) -> None:
    async with replicas(tmp_path, postgres_url, (), ()) as servers:
        for number in range(2):
            await sleep_through(servers, postgres_url, tmp_path, f"round {number}")


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_fifty_halts_let_no_row_of_an_old_attempt_through(
    tmp_path: Path, postgres_url: str
) -> None:
    async with replicas(tmp_path, postgres_url, (), ()) as servers:
        for number in range(50):
            await sleep_through(servers, postgres_url, tmp_path, f"round {number}")
            servers.reverse()
    say("50 halts past the lease: 0 rows written by the old attempts")


async def test_a_server_that_stops_hands_its_runs_over_and_nothing_is_repeated_or_charged(
    tmp_path: Path, postgres_url: str
) -> None:
    grace = ("--drain-grace=10m", "--lease=10m")
    async with replicas(tmp_path, postgres_url, grace, grace) as (stopping, other):
        async with get_client(stopping.address) as client:
            labels = [f"run {number}" for number in range(20)]
            made = await start_chains(client, tmp_path, labels, seconds=0.3)
            await until_begun(tmp_path, labels[-1], 0)
        pid = stopping.pid
        begun = time.monotonic()
        exit_code = await asyncio.to_thread(stopping.terminate)
        seconds = time.monotonic() - begun
        await check_chains(other.address, made)

        stood = standstills(tmp_path, pid)
        say(f"gone after {seconds:.1f} s; {len(stood)} runs went on after {max(stood):.2f} s")
        assert exit_code == 0, "neither the grace nor the lease was waited for"
        for _, run_id in made.values():
            assert set(times_begun(tmp_path, run_id).values()) == {1}
    with psycopg.connect(postgres_url) as connection:
        charged = b"SELECT count(*) FROM runs WHERE attempt - attempts_given_back > 1"
        assert connection.execute(charged).fetchone() == (0,)


async def test_a_second_signal_leaves_what_does_not_stop_to_others_at_once(
    tmp_path: Path, postgres_url: str
) -> None:
    patient = ("--lease=10m", "--drain-grace=10m")
    async with replicas(tmp_path, postgres_url, patient, patient) as (stopping, other):
        async with get_client(stopping.address) as client:
            made = await start_chains(client, tmp_path, ["a"], wait_at=1)
            await until_begun(tmp_path, "a", 1)
        stopping.send(signal.SIGTERM)
        await until(lambda: stopping.logged("stopping"), "it has begun to stop")
        await asyncio.sleep(1.1)  # a second signal that comes at once counts as the first
        code = await asyncio.to_thread(stopping.terminate)
        (tmp_path / "open").touch()
        await check_chains(other.address, made)
        assert code == 1
    with psycopg.connect(postgres_url) as connection:
        charged = b"SELECT count(*) FROM runs WHERE attempt - attempts_given_back > 1"
        assert connection.execute(charged).fetchone() == (0,)


@pytest.mark.chaos
@pytest.mark.timeout(150)
async def test_a_run_that_takes_its_servers_down_is_stopped_after_three_and_harms_no_other(
    tmp_path: Path, postgres_url: str
) -> None:
    async with replicas(tmp_path, postgres_url, (), (), (), ()) as servers:
        async with get_client(servers[0].address) as client:
            others = await start_chains(
                client, tmp_path, [f"other {number}" for number in range(6)], seconds=1.0
            )
            thread_id = (await client.threads.create())["thread_id"]
            poison = await client.runs.create(
                thread_id, "kills", input=chain_input(tmp_path, "poison")
            )
        await until(
            lambda: sum(server.is_running for server in servers) == 1, "three servers are gone", 50
        )
        (left,) = [server for server in servers if server.is_running]
        failed = await check_run(left.address, poison["run_id"])
        assert failed.state == core_pb2.RUN_STATE_FAILED
        assert (failed.attempt, failed.error.type) == (3, "AttemptsExhausted")
        assert [note.what for note in ledger(tmp_path)].count("kill") == 3
        await check_chains(left.address, others)
