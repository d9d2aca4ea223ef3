"""Research that takes too long, and is stopped."""

import asyncio

import pytest
from tests.support.callers import Client, collect

from runwire.client import ConflictError, NotFoundError, RunCancelledError

LONG = {
    "input": {"question": "How do tides and volcanoes shape an island?"},
    "context": {"search_seconds": 60},
}
QUICK = {"search_seconds": 0, "read_seconds": 0}


async def planned(client: Client, thread_id: str) -> str:
    """Start a long run; return its id when its first node has ended."""
    run = await client.runs.create(thread_id, "research", stream_mode="updates", **LONG)
    async for part in client.runs.join_stream(thread_id, run["run_id"]):
        if part.event == "updates":
            break
    return str(run["run_id"])


async def test_a_long_research_is_cancelled_and_its_thread_goes_on_from_what_was_done(
    client: Client, thread_id: str
) -> None:
    run_id = await planned(client, thread_id)

    await client.runs.cancel(thread_id, run_id, wait=True)
    run = await client.runs.get(thread_id, run_id)
    state = await client.threads.get_state(thread_id)
    report = await client.runs.wait(thread_id, "research", context=QUICK)

    assert (run["status"], run["state"]) == ("interrupted", "cancelled")
    assert state["values"]["topics"] == ["volcanoes", "island", "tides"]
    assert state["next"] == ["search"]
    assert len(report["sources"]) == 3


async def test_a_rolled_back_research_was_never_there(client: Client, thread_id: str) -> None:
    run_id = await planned(client, thread_id)

    await client.runs.cancel(thread_id, run_id, action="rollback", wait=True)

    assert (await client.threads.get_state(thread_id))["values"] == {}
    assert await client.runs.list(thread_id) == []
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run_id)


async def test_everything_that_belongs_to_a_job_is_cancelled_at_once(client: Client) -> None:
    job = [{"assistant_id": "research", "metadata": {"job": "night"}, **LONG} for _ in range(5)]
    runs = await client.runs.create_batch(job)
    other = await client.runs.create(None, "research", metadata={"job": "day"}, **LONG)

    outcomes = await client.runs.cancel_many(metadata={"job": "night"}, wait=True)
    others = await client.runs.cancel_many(status="all", wait=True)

    assert {outcome["run_id"] for outcome in outcomes} == {run["run_id"] for run in runs}
    assert {outcome["run"]["state"] for outcome in outcomes} == {"cancelled"}
    assert [outcome["run_id"] for outcome in others] == [other["run_id"]]


async def test_whoever_reads_or_waits_is_told_of_the_cancel(client: Client, thread_id: str) -> None:
    waiting = asyncio.create_task(client.runs.wait(thread_id, "research", **LONG))
    change = await anext(client.runs.watch(thread_id=thread_id, include_unfinished=True))
    run_id = change["run"]["run_id"]

    await client.runs.cancel(thread_id, run_id, wait=True)
    parts = await collect(client.runs.join_stream(thread_id, run_id))

    assert (parts[-1].event, parts[-1].data["state"]) == ("end", "cancelled")
    with pytest.raises(RunCancelledError):
        await waiting


async def test_a_research_that_has_ended_cannot_be_cancelled(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "research", input=LONG["input"], context=QUICK)
    await client.runs.join(thread_id, run["run_id"])

    with pytest.raises(ConflictError) as refused:
        await client.runs.cancel(thread_id, run["run_id"])

    assert refused.value.reason == "RUN_FINISHED"
