"""Runs without a thread: a question and its answer, and nothing that is kept."""

from tests.support.callers import Client, collect, data_in, question


async def test_a_stateless_run_is_streamed(client: Client) -> None:
    parts = await collect(
        client.runs.stream(None, "chat", input=question("What is 6 * 7?"), stream_mode="updates")
    )

    updates = data_in(parts, "updates")
    assert [list(update) for update in updates] == [["model"], ["tools"], ["model"]]
    assert updates[-1]["model"]["messages"][0]["content"] == "I looked it up. 6 * 7 = 42."
    assert parts[0].data["thread_id"] is None


async def test_a_stateless_run_is_waited_for_and_leaves_no_thread(client: Client) -> None:
    output = await client.runs.wait(None, "chat", input=question("What is 6 * 7?"))

    assert output["messages"][-1]["content"] == "I looked it up. 6 * 7 = 42."
    assert await client.threads.search() == []


async def test_stateless_runs_know_nothing_of_each_other(client: Client) -> None:
    for _ in range(2):
        output = await client.runs.wait(
            None, "chat", input=question("hello"), context={"token_delay": 0}
        )

        assert "(turn 1 of our conversation)" in output["messages"][-1]["content"]
