"""Agents that ask, and people who answer, change their minds, or change the agent's."""

from typing import Any

import pytest
from tests.support.callers import Client, collect, data_in, question

TRIP = question("Please book a flight to Oslo and a room at the Plaza.")
REFUND = {"customer": "Ada", "amount": 40, "reason": "the parcel was lost"}


async def booking_asks(client: Client, thread_id: str) -> list[Any]:
    """Wish for a trip; return the questions about it."""
    return list((await client.runs.wait(thread_id, "booking", input=TRIP))["__interrupt__"])


async def answer(client: Client, thread_id: str, resume: Any) -> Any:
    return await client.runs.wait(thread_id, "booking", command={"resume": resume})


async def test_a_question_is_seen_in_the_stream_and_on_the_thread(
    client: Client, thread_id: str
) -> None:
    parts = await collect(client.runs.stream(thread_id, "approval", input=REFUND))
    thread = await client.threads.get(thread_id)
    state = await client.threads.get_state(thread_id)

    [asked] = data_in(parts, "values")[-1]["__interrupt__"]
    assert asked["value"]["question"] == "Send 40.00 back to Ada?"
    assert thread["status"] == "interrupted"
    assert list(thread["interrupts"]) == [asked["id"]]
    assert state["next"] == ["ask_for_approval"]
    assert [found["thread_id"] for found in await client.threads.search(status="interrupted")] == [
        thread_id
    ]


@pytest.mark.parametrize(
    ("approved", "status"), [(True, "refunded"), (False, "declined")], ids=["yes", "no"]
)
async def test_the_answer_decides_what_is_done(
    client: Client, thread_id: str, approved: bool, status: str
) -> None:
    await client.runs.wait(thread_id, "approval", input=REFUND)

    output = await client.runs.wait(
        thread_id, "approval", command={"resume": {"approved": approved}}
    )

    assert output["status"] == status
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_tool_calls_are_accepted_changed_and_rejected_in_one_answer(
    client: Client, thread_id: str
) -> None:
    flight, hotel = await booking_asks(client, thread_id)

    output = await answer(
        client,
        thread_id,
        {
            flight["id"]: {"decision": "edit", "args": {"city": "Bergen"}},
            hotel["id"]: {"decision": "reject", "reason": "I stay with friends."},
        },
    )

    told = [message for message in output["messages"] if message["type"] == "tool"]
    assert [message["content"] for message in told] == [
        "A flight to Bergen is booked.",
        "Not booked. I stay with friends.",
    ]


async def test_tool_calls_are_reviewed_one_after_the_other(client: Client, thread_id: str) -> None:
    flight, hotel = await booking_asks(client, thread_id)

    first = await answer(client, thread_id, {hotel["id"]: {"decision": "accept"}})
    between = await client.threads.get(thread_id)
    second = await answer(client, thread_id, {"decision": "accept"})

    assert first["__interrupt__"] == [flight]
    assert list(between["interrupts"]) == [flight["id"]]
    assert second["messages"][-1]["content"].startswith("I have seen to it.")


async def test_a_question_stays_open_when_its_answer_does_not_fit(
    client: Client, thread_id: str
) -> None:
    await client.runs.wait(thread_id, "approval", input=REFUND)

    failed = await client.runs.wait(
        thread_id, "approval", command={"resume": "maybe"}, raise_error=False
    )
    output = await client.runs.wait(thread_id, "approval", command={"resume": {"approved": True}})

    assert failed["__error__"]["error"] == "ValidationError"
    assert output["status"] == "refunded"


async def test_the_state_is_edited_before_the_run_goes_on(client: Client, thread_id: str) -> None:
    await client.runs.wait(thread_id, "approval", input=REFUND)
    draft = (await client.threads.get_state(thread_id))["values"]["draft"]

    await client.threads.update_state(
        thread_id, {"draft": {**draft, "amount": 25}}, as_node="draft_refund"
    )
    asked = await client.runs.wait(thread_id, "approval")

    assert asked["__interrupt__"][0]["value"]["question"] == "Send 25.00 back to Ada?"


async def test_a_run_stops_before_its_tools_are_called_and_goes_on_without_input(
    client: Client, thread_id: str
) -> None:
    stopped = await client.runs.wait(
        thread_id, "chat", input=question("What is 6 * 7?"), interrupt_before=["tools"]
    )
    state = await client.threads.get_state(thread_id)
    output = await client.runs.wait(thread_id, "chat")

    assert stopped["messages"][-1]["tool_calls"][0]["name"] == "calculate"
    assert state["next"] == ["tools"]
    assert output["messages"][-1]["content"] == "I looked it up. 6 * 7 = 42."


async def test_a_person_answers_in_place_of_a_tool(client: Client, thread_id: str) -> None:
    stopped = await client.runs.wait(
        thread_id, "chat", input=question("What is 6 * 7?"), interrupt_before=["tools"]
    )
    [call] = stopped["messages"][-1]["tool_calls"]

    result = {"role": "tool", "content": "It is 42, trust me.", "tool_call_id": call["id"]}
    await client.threads.update_state(thread_id, {"messages": [result]}, as_node="tools")
    output = await client.runs.wait(thread_id, "chat")

    assert output["messages"][-1]["content"] == "I looked it up. It is 42, trust me."
