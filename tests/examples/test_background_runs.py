"""Runs in the background, as a backend has them that does not wait for its agent."""

import asyncio

from tests.support.callers import Client, question

WEATHER = question("How is the weather in Paris?")


async def test_a_run_is_started_asked_for_and_read_from_its_thread_when_it_has_ended(
    client: Client, thread_id: str
) -> None:
    before = await client.runs.list(thread_id)
    run = await client.runs.create(thread_id, "chat", input=WEATHER)

    seen = [run["status"]]
    async with asyncio.timeout(60):
        while seen[-1] in ("pending", "running"):
            await asyncio.sleep(0.02)
            seen.append((await client.runs.get(thread_id, run["run_id"]))["status"])
    thread = await client.threads.get(thread_id)

    assert before == []
    assert set(seen) == {"running", "success"}
    assert [run["run_id"]] == [found["run_id"] for found in await client.runs.list(thread_id)]
    assert [message["type"] for message in thread["values"]["messages"]] == [
        "human",
        "ai",
        "tool",
        "ai",
    ]
    assert "sunny" in thread["values"]["messages"][-1]["content"]
    assert thread["status"] == "idle"


async def test_a_run_is_joined_while_it_executes_and_again_when_it_has_ended(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(thread_id, "chat", input=WEATHER)

    while_executing = await client.runs.join(thread_id, run["run_id"])
    afterwards = await client.runs.join(thread_id, run["run_id"])

    assert "sunny" in while_executing["messages"][-1]["content"]
    assert afterwards == while_executing


async def test_the_thread_says_that_it_is_busy_as_long_as_its_run_has_not_ended(
    client: Client, thread_id: str
) -> None:
    run = await client.runs.create(
        thread_id, "research", input={"question": "Why?"}, context={"search_seconds": 30}
    )

    during = await client.threads.search(status="busy")
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    afterwards = await client.threads.search(status="busy")

    assert [thread["thread_id"] for thread in during] == [thread_id]
    assert afterwards == []
