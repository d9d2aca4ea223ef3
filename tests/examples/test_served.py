"""The example agents on a server: streamed, resumed, cancelled."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.callers import Client, collect, data_in, question

from runwire.client import RunFailedError

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_chat_streams_its_answer_and_its_tool_calls_token_by_token(client: Client) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    parts = await collect(
        client.runs.stream(
            thread_id,
            "chat",
            input=question("What is 6 * 7, and how is the weather in Paris?"),
            context={"model": "fake", "token_delay": 0},
            stream_mode=["messages-tuple", "values"],
        )
    )

    told = [message for message, _ in data_in(parts, "messages")]
    tokens = [message["content"] for message in told if message["type"] == "AIMessageChunk"]
    answer = "I looked it up. 6 * 7 = 42. The weather in Paris is sunny, 24 °C."
    assert "".join(tokens) == answer
    assert len([token for token in tokens if token]) > 10
    pieces = [piece for message in told for piece in message.get("tool_call_chunks", [])]
    assert len(pieces) > 4
    assert data_in(parts, "values")[-1]["messages"][-1]["content"] == answer
    again = await client.runs.wait(thread_id, "chat", input=question("and now?"))
    assert again["messages"][-1]["content"].startswith('You asked: "and now?" (turn 2 ')


async def test_two_assistants_of_chat_speak_by_their_own_instructions_on_one_thread(
    client: Client,
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    output: dict[str, Any] = {}
    for prompt in ("Be brief.", "Be kind."):
        assistant = await client.assistants.create(
            "chat", context={"system_prompt": prompt, "token_delay": 0}
        )
        output = await client.runs.wait(
            thread_id, assistant["assistant_id"], input=question("what are your instructions?")
        )
        assert output["messages"][-1]["content"] == f"My instructions are: {prompt}"
    assert len(output["messages"]) == 4


async def test_approval_waits_for_a_person_and_goes_on_with_the_answer(client: Client) -> None:
    refund = {"customer": "Ada", "amount": 40, "reason": "the parcel was lost"}
    thread_id = (await client.threads.create())["thread_id"]
    paused = await client.runs.wait(thread_id, "approval", input=refund)
    [asked] = paused["__interrupt__"]

    with pytest.raises(RunFailedError, match="ValidationError"):
        await client.runs.wait(thread_id, "approval", command={"resume": "fine by me"})
    thread = await client.threads.get(thread_id)
    outcome = await client.runs.wait(
        thread_id, "approval", command={"resume": {asked["id"]: {"approved": True}}}
    )

    assert asked["value"]["question"] == "Send 40.00 back to Ada?"
    assert (thread["status"], list(thread["interrupts"])) == ("error", [asked["id"]])
    letter = "Dear Ada, we are sending you 40.00 back (the parcel was lost)."
    assert outcome == {"status": "refunded", "message": letter}
    assert (await client.threads.get(thread_id))["status"] == "idle"


async def test_research_tells_its_progress_and_is_cancelled_in_its_slow_node(
    client: Client,
) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(
        thread_id,
        "research",
        input={"question": "How do tides and volcanoes shape an island?"},
        context={"search_seconds": 0.01, "read_seconds": 0.2},
        stream_mode=["custom", "updates"],
        stream_subgraphs=True,
    )
    steps = []
    async for part in client.runs.join_stream(thread_id, run["run_id"]):
        if part.event.startswith("custom"):
            steps.append((part.event.partition("|")[2].partition(":")[0], part.data["step"]))
        if steps[-1:] == [("", "read")] and part.event == "custom":
            await client.runs.cancel(thread_id, run["run_id"])
            break
    await client.runs.join(thread_id, run["run_id"])

    assert steps == [("", "planned"), *[("search", "searched")] * 3, ("", "read")]
    ended = await client.runs.get(thread_id, run["run_id"])
    assert ended["state"] == "cancelled"
    assert not ended["cancel"]["abandoned"]
    state = await client.threads.get_state(thread_id)
    assert state["next"] == ["read"]
    report = await client.runs.wait(thread_id, "research", context={"read_seconds": 0})
    assert len(report["sources"]) == 3
    assert set(report) == {"report", "sources"}


async def test_fifty_conversations_at_once_do_not_mix(client: Client) -> None:
    async def ask(number: int) -> str:
        thread_id = (await client.threads.create())["thread_id"]
        output = await client.runs.wait(
            thread_id, "chat", input=question(f"I am {number}"), context={"token_delay": 0.001}
        )
        return str(output["messages"][-1]["content"])

    answers = await asyncio.gather(*(ask(number) for number in range(50)))

    assert all(f'"I am {number}" (turn 1 ' in answer for number, answer in enumerate(answers))


async def test_every_example_says_what_it_takes(client: Client) -> None:
    graphs = json.loads((EXAMPLES / "langgraph.json").read_text())["graphs"]
    for graph_id in graphs:
        schemas = await client.assistants.get_schemas(graph_id)
        assert schemas["input_schema"]["properties"]
        assert schemas["output_schema"]["properties"]
