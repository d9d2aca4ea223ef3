"""Writing down what is there at the end, for the validators to compare with what callers saw."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import grpc

from runwire.v1 import core_pb2, runs_pb2, threads_pb2
from runwire.v1.runs_pb2_grpc import RunServiceStub
from runwire.v1.threads_pb2_grpc import ThreadServiceStub
from tests.chaos.callers import state_of, told
from tests.chaos.history import History
from tests.support.callers import data_of

SECONDS = 120.0


async def write_ends(history: History, address: str, ledger: Path) -> None:
    """Write every run that a server at `address` knows, its log, its thread, and the ledger.

    All runs have ended: one that has not makes this wait for it, for a while.
    """
    threads: dict[str, list[str]] = defaultdict(list)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = RunServiceStub(channel)
        for run in await list_runs(stub):
            if run.thread_id:
                threads[run.thread_id].append(run.run_id)
            await _write_run(history, stub, run)
        for thread_id, run_ids in threads.items():
            await _write_thread(history, ThreadServiceStub(channel), thread_id, run_ids)
    write_ledger(history, ledger)


async def list_runs(stub: RunServiceStub, **wanted: Any) -> list[core_pb2.Run]:
    """Return all runs, oldest first."""
    found: list[core_pb2.Run] = []
    token = ""
    while True:
        request = runs_pb2.ListRunsRequest(page_size=100, page_token=token, **wanted)
        response = await stub.ListRuns(request, timeout=SECONDS)
        found += response.runs
        token = response.next_page_token
        if not token:
            return found[::-1]


async def _write_run(history: History, stub: RunServiceStub, run: core_pb2.Run) -> None:
    request = runs_pb2.JoinRunStreamRequest(run_id=run.run_id)
    call: Any = stub.JoinRunStream(request, timeout=SECONDS)
    events = [event async for response in call for event in response.events if event.id]
    joined = await stub.JoinRun(runs_pb2.JoinRunRequest(run_id=run.run_id), timeout=SECONDS)
    run = joined.run
    cause = core_pb2.CancelCause.Name(run.cancel.cause).removeprefix("CANCEL_CAUSE_")
    output = data_of(joined.output) if joined.output.json else None
    history.add(
        "run",
        run=run.run_id,
        label=data_of(run.metadata).get("label", ""),
        thread=run.thread_id,
        state=state_of(run),
        attempt=run.attempt,
        error=run.error.type,
        cause=cause if run.HasField("cancel") else "",
        output=(output or {}).get("done"),
    )
    history.add("log", run=run.run_id, events=[*map(told, events)])


async def _write_thread(
    history: History, stub: ThreadServiceStub, thread_id: str, run_ids: list[str]
) -> None:
    request = threads_pb2.GetThreadRequest(thread_id=thread_id)
    thread = (await stub.GetThread(request, timeout=SECONDS)).thread
    values = data_of(thread.values) if thread.values.json else {}
    done = (values or {}).get("done", [])
    history.add("thread", thread=thread_id, runs=run_ids, done=done)


def write_ledger(history: History, ledger: Path) -> None:
    """Write what the graphs wrote down themselves."""
    for note in read_ledger(ledger):
        history.add("note", **note)


def read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """Return the lines of a ledger. A process that is killed may leave one half written."""
    if not ledger.exists():
        return []
    lines = ledger.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("}\n")]
