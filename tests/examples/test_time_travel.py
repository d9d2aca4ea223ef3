"""Going back to an earlier moment of a conversation, and on from there in another way."""

from tests.support.callers import Client, question

WEATHER = question("How is the weather in Paris?")


async def test_a_run_from_an_earlier_checkpoint_does_again_what_came_after_it(
    client: Client, thread_id: str
) -> None:
    first = await client.runs.wait(thread_id, "chat", input=WEATHER)
    history = await client.threads.get_history(thread_id)
    [before_tools] = [state for state in history if state["next"] == ["tools"]]

    again = await client.runs.wait(
        thread_id, "chat", checkpoint_id=before_tools["checkpoint"]["checkpoint_id"]
    )

    assert again["messages"][:2] == first["messages"][:2]
    assert again["messages"][-1]["content"] == first["messages"][-1]["content"]
    assert again["messages"][-1]["id"] != first["messages"][-1]["id"]
    assert len(await client.threads.get_history(thread_id, limit=100)) == len(history) + 3


async def test_a_fork_goes_another_way_and_leaves_the_first_one_in_the_history(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "chat", input=WEATHER)
    history = await client.threads.get_history(thread_id)
    [before_tools] = [state for state in history if state["next"] == ["tools"]]
    call = before_tools["values"]["messages"][-1]
    call["tool_calls"][0]["args"] = {"city": "Oslo"}

    fork = await client.threads.update_state(
        thread_id, {"messages": [call]}, checkpoint=before_tools["checkpoint"]
    )
    output = await client.runs.wait(thread_id, "chat", checkpoint=fork["checkpoint"])
    end_of_the_first = await client.threads.get_state(thread_id, history[0]["checkpoint"])
    now = await client.threads.get_state(thread_id)

    assert "snowy" in output["messages"][-1]["content"]
    assert now["values"] == output
    assert "sunny" in end_of_the_first["values"]["messages"][-1]["content"]


async def test_a_copy_of_a_thread_takes_its_own_way(client: Client, thread_id: str) -> None:
    await client.runs.wait(thread_id, "chat", input=WEATHER)

    copy_id = (await client.threads.copy(thread_id))["thread_id"]
    await client.runs.wait(copy_id, "chat", input=question("And in Oslo? The weather in Oslo!"))

    told = (await client.threads.get(thread_id))["values"]["messages"]
    copied = (await client.threads.get(copy_id))["values"]["messages"]
    assert copied[: len(told)] == told
    assert len(copied) == 2 * len(told)
