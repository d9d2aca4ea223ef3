"""Several assistants in turn on one thread: each sees what those before it have said."""

from typing import Any

from tests.support.callers import Client, question


async def voice(client: Client, prompt: str, **context: Any) -> str:
    assistant = await client.assistants.create(
        "chat", context={"system_prompt": prompt, "token_delay": 0, **context}
    )
    return str(assistant["assistant_id"])


async def test_assistants_of_different_voices_and_models_take_turns_in_one_conversation(
    client: Client, thread_id: str
) -> None:
    poet = await voice(client, "Answer in verse.", model="fake")
    lawyer = await voice(client, "Be precise.")

    first = await client.runs.wait(thread_id, poet, input=question("what are your instructions?"))
    second = await client.runs.wait(
        thread_id, lawyer, input=question("and what are your instructions?")
    )
    third = await client.runs.wait(thread_id, "chat", input=question("who is next?"))

    assert first["messages"][-1]["content"] == "My instructions are: Answer in verse."
    assert second["messages"][-1]["content"] == "My instructions are: Be precise."
    assert second["messages"][:2] == first["messages"]
    assert "(turn 3 of our conversation)" in third["messages"][-1]["content"]


async def test_each_run_says_which_assistant_it_was(client: Client, thread_id: str) -> None:
    poet, lawyer = await voice(client, "Answer in verse."), await voice(client, "Be precise.")
    for assistant_id in (poet, lawyer, poet):
        await client.runs.wait(thread_id, assistant_id, input=question("hello"))

    runs = await client.runs.list(thread_id)
    of_the_poet = await client.runs.list(thread_id, assistant_id=poet)

    assert [run["assistant_id"] for run in runs] == [poet, lawyer, poet]
    assert len(of_the_poet) == 2


async def test_an_agent_of_another_graph_goes_on_where_the_first_has_asked_to(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "chat", input=question("How is the weather in Oslo?"))

    paused = await client.runs.wait(thread_id, "booking", input=question("Then a flight to Oslo."))
    booked = await client.runs.wait(
        thread_id, "booking", command={"resume": {"decision": "accept"}}
    )

    assert "snowy" in paused["messages"][3]["content"]
    assert booked["messages"][-1]["content"] == "I have seen to it. A flight to Oslo is booked."
