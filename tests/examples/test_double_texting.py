"""A person who sends another message before the first one is answered."""

from typing import Any

import pytest
from tests.support.callers import Client, question

from runwire.client import ConflictError, NotFoundError

PARIS = question("How is the weather in Paris?")
OSLO = question("And how is the weather in Oslo?")
QUICK = {"token_delay": 0}
NEVER = {"token_delay": 60}
"""A model that is still thinking when the next message comes."""


async def thinking(client: Client, thread_id: str, context: dict[str, Any]) -> str:
    """Ask about Paris; return the run's id when the thread has the question."""
    run = await client.runs.create(thread_id, "chat", input=PARIS, context=context)
    async for part in client.runs.join_stream(thread_id, run["run_id"]):
        if part.event == "values":
            break
    return str(run["run_id"])


async def then_oslo(client: Client, thread_id: str, strategy: str) -> list[str]:
    """Ask about Oslo as well; return what is on the thread when that is answered, what people and
    the model have said."""
    output = await client.runs.wait(
        thread_id, "chat", input=OSLO, context=QUICK, multitask_strategy=strategy
    )
    return [
        message["content"].rpartition(" in ")[2][:5]
        for message in output["messages"]
        if message["type"] != "tool" and message["content"]
    ]


async def test_the_second_message_waits_for_its_turn(client: Client, thread_id: str) -> None:
    first = await thinking(client, thread_id, {"token_delay": 0.01})

    said = await then_oslo(client, thread_id, "enqueue")

    assert said == ["Paris", "Paris", "Oslo?", "Oslo "]
    assert (await client.runs.get(thread_id, first))["status"] == "success"


async def test_the_second_message_interrupts_and_the_first_one_stays_unanswered(
    client: Client, thread_id: str
) -> None:
    first = await thinking(client, thread_id, NEVER)

    said = await then_oslo(client, thread_id, "interrupt")

    assert said == ["Paris", "Oslo?", "Oslo "]
    run = await client.runs.get(thread_id, first)
    assert (run["status"], run["cancel"]["cause"]) == ("interrupted", "multitask")


async def test_the_second_message_takes_the_first_one_back(client: Client, thread_id: str) -> None:
    first = await thinking(client, thread_id, NEVER)

    said = await then_oslo(client, thread_id, "rollback")

    assert said == ["Oslo?", "Oslo "]
    with pytest.raises(NotFoundError) as gone:
        await client.runs.get(thread_id, first)
    assert gone.value.reason == "RUN_ROLLED_BACK"


async def test_the_second_message_is_refused_and_the_first_one_is_answered(
    client: Client, thread_id: str
) -> None:
    first = await thinking(client, thread_id, {"token_delay": 0.01})

    with pytest.raises(ConflictError) as refused:
        await then_oslo(client, thread_id, "reject")
    output = await client.runs.join(thread_id, first)

    assert refused.value.reason == "THREAD_BUSY"
    assert len(output["messages"]) == 4
    assert "Paris" in output["messages"][-1]["content"]
