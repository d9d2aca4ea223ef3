"""The example agents do what they say, in process: what a server adds is tested elsewhere."""

import importlib.util
import json
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from pydantic import ValidationError

Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]

EXAMPLES = Path(__file__).parents[2] / "examples"
CHAT_CONTEXT = {"token_delay": 0, "model": "fake"}
RESEARCH_CONTEXT = {"search_seconds": 0, "read_seconds": 0}
THREAD: RunnableConfig = {"configurable": {"thread_id": "thread"}}


def configured_path(graph_id: str) -> str:
    """Return what langgraph.json says about a graph: its file and the variable in it."""
    entry = json.loads((EXAMPLES / "langgraph.json").read_text())["graphs"][graph_id]
    return str(entry["path"] if isinstance(entry, dict) else entry)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that loads a graph as the server does: by path, its directory importable."""
    monkeypatch.syspath_prepend(EXAMPLES)
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(key, raising=False)

    def load_graph(graph_id: str) -> Graph:
        path, _, variable = configured_path(graph_id).partition(":")
        spec = importlib.util.spec_from_file_location(f"example_{graph_id}", EXAMPLES / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        graph = getattr(module, variable)
        assert isinstance(graph, CompiledStateGraph)
        assert graph.checkpointer is None
        assert graph.store is None
        return graph.builder.compile(checkpointer=InMemorySaver())

    return load_graph


@pytest.fixture
def chat(load: Any) -> Graph:
    graph: Graph = load("chat")
    return graph


@pytest.fixture
def approval(load: Any) -> Graph:
    graph: Graph = load("approval")
    return graph


@pytest.fixture
def booking(load: Any) -> Graph:
    graph: Graph = load("booking")
    return graph


@pytest.fixture
def research(load: Any) -> Graph:
    graph: Graph = load("research")
    return graph


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


async def say(chat: Graph, text: str, **context: Any) -> list[Any]:
    """Send one message on the thread and return the whole conversation."""
    state = await chat.ainvoke(human(text), THREAD, context={**CHAT_CONTEXT, **context})
    return list(state["messages"])


async def streamed_chunks(chat: Graph, text: str) -> list[AIMessageChunk]:
    """Send one message on the thread and return what the model streamed."""
    stream = chat.astream(human(text), THREAD, context=CHAT_CONTEXT, stream_mode="messages")
    parts = [message async for message, _ in stream]
    return [part for part in parts if isinstance(part, AIMessageChunk)]


async def test_chat_streams_its_answer_token_by_token(chat: Graph) -> None:
    chunks = await streamed_chunks(chat, "hello there")

    words = [chunk.text for chunk in chunks if chunk.text]
    assert len(words) > 10
    assert "".join(words).startswith('You asked: "hello there" (turn 1 of our conversation).')
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].chunk_position == "last"
    assert chunks[-1].usage_metadata is not None


async def test_chat_without_streaming_gives_the_same_answer(chat: Graph) -> None:
    streamed = "".join(chunk.text for chunk in await streamed_chunks(chat, "hello"))

    answer = (await say(chat, "hello"))[-1]

    assert isinstance(answer, AIMessage)
    assert answer.text == streamed.replace("turn 1", "turn 2")


async def test_chat_streams_a_tool_call_and_then_quotes_its_result(chat: Graph) -> None:
    chunks = await streamed_chunks(chat, "What is 6 * 7?")

    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert pieces[0]["name"] == "calculate"
    assert len(pieces) > 2
    arguments = json.loads("".join(piece["args"] or "" for piece in pieces))
    assert arguments == {"left": 6, "operator": "*", "right": 7}
    assert "".join(chunk.text for chunk in chunks) == "I looked it up. 6 * 7 = 42."


async def test_chat_calls_two_tools_at_once(chat: Graph) -> None:
    messages = await say(chat, "What is 7.5 - 2, and how is the weather in New York?")

    kinds = [message.type for message in messages]
    assert kinds == ["human", "ai", "tool", "tool", "ai"]
    expected = "I looked it up. 7.5 - 2 = 5.5. The weather in New York is mild and cloudy, 17 °C."
    assert messages[-1].text == expected


async def test_chat_explains_a_tool_that_fails(chat: Graph) -> None:
    messages = await say(chat, "what is 1 / 0")

    assert messages[-2].status == "error"
    assert "division by zero" in messages[-1].text


async def test_chat_remembers_the_thread_and_follows_each_run_s_context(chat: Graph) -> None:
    await say(chat, "hello")

    messages = await say(chat, "what are your instructions?", system_prompt="Be brief.")

    assert messages[-1].text == "My instructions are: Be brief."
    assert (await say(chat, "and now?"))[-1].text.startswith('You asked: "and now?" (turn 3 ')


async def test_chat_runs_without_any_context(chat: Graph) -> None:
    state = await chat.ainvoke({"messages": [HumanMessage("Weather in Oslo?")]}, THREAD)

    assert state["messages"][-1].text == "I looked it up. The weather in Oslo is snowy, -3 °C."


@pytest.mark.usefixtures("load")  # makes the example's modules importable
def test_the_fake_model_streams_to_synchronous_callers_too() -> None:
    model = import_module("fake_model").FakeChatModel(token_delay=0)

    streamed = "".join(chunk.text for chunk in model.stream("hello"))

    assert streamed.startswith('You asked: "hello"')
    assert model.invoke("hello").text == streamed
    assert model.invoke("what is 6 * 7").tool_calls == []


REFUND = {"customer": "Ada", "amount": 40, "reason": "the parcel was lost"}


async def test_approval_pauses_with_a_question_and_a_draft(approval: Graph) -> None:
    state = await approval.ainvoke(REFUND, THREAD)

    (interrupt,) = state["__interrupt__"]
    assert interrupt.value["question"] == "Send 40.00 back to Ada?"
    assert interrupt.value["draft"]["action"] == "refund"
    assert interrupt.response_schema["required"] == ["approved"]
    assert (await approval.aget_state(THREAD)).next == ("ask_for_approval",)


async def test_approval_carries_out_what_is_approved(approval: Graph) -> None:
    await approval.ainvoke(REFUND, THREAD)

    state = await approval.ainvoke(Command(resume={"approved": True}), THREAD)

    letter = "Dear Ada, we are sending you 40.00 back (the parcel was lost)."
    assert state == {"status": "refunded", "message": letter}


async def test_approval_leaves_alone_what_is_declined(approval: Graph) -> None:
    await approval.ainvoke(REFUND, THREAD)

    answer = {"approved": False, "note": "The parcel has been found."}
    state = await approval.ainvoke(Command(resume=answer), THREAD)

    message = "No refund for Ada. Note: The parcel has been found."
    assert state == {"status": "declined", "message": message}


async def test_approval_asks_on_after_an_answer_of_the_wrong_shape(approval: Graph) -> None:
    await approval.ainvoke(REFUND, THREAD)

    with pytest.raises(ValidationError):
        await approval.ainvoke(Command(resume="fine by me"), THREAD)

    state = await approval.ainvoke(Command(resume={"approved": True}), THREAD)
    assert state["status"] == "refunded"


TRIP = {"messages": [HumanMessage("Please book a flight to Oslo and a room at the Plaza.")]}


async def test_booking_asks_about_each_tool_call_by_itself(booking: Graph) -> None:
    state = await booking.ainvoke(TRIP, THREAD)

    assert [interrupt.value for interrupt in state["__interrupt__"]] == [
        {"tool": "book_flight", "args": {"city": "Oslo"}},
        {"tool": "book_hotel", "args": {"hotel": "Plaza"}},
    ]


async def test_booking_books_what_is_accepted_as_it_was_changed_and_not_what_is_rejected(
    booking: Graph,
) -> None:
    flight, hotel = (await booking.ainvoke(TRIP, THREAD))["__interrupt__"]
    changed = {"decision": "edit", "args": {"city": "Bergen"}}

    waiting = await booking.ainvoke(Command(resume={flight.id: changed}), THREAD)
    answer = {"decision": "reject", "reason": "I stay with friends."}
    state = await booking.ainvoke(Command(resume=answer), THREAD)

    assert waiting["__interrupt__"] == [hotel]
    booked = "I have seen to it. A flight to Bergen is booked. Not booked. I stay with friends."
    assert state["messages"][-1].text == booked


async def test_booking_has_nothing_to_ask_about_other_things(booking: Graph) -> None:
    state = await booking.ainvoke({"messages": [HumanMessage("hello")]}, THREAD)

    assert state["messages"][-1].text.startswith('You asked: "hello"')


QUESTION = {"question": "How do tides and volcanoes shape an island?"}


async def test_research_reports_on_every_topic_of_the_question(research: Graph) -> None:
    report = await research.ainvoke(QUESTION, THREAD, context=RESEARCH_CONTEXT)

    topics = ["volcanoes", "island", "tides"]
    assert report["sources"] == [f"A short history of {topic}" for topic in topics]
    assert "- tides: 50 pages in" in report["report"]


async def test_research_tells_its_progress_from_the_subgraph_and_the_sync_node(
    research: Graph,
) -> None:
    stream: AsyncIterator[Any] = research.astream(
        QUESTION, THREAD, context=RESEARCH_CONTEXT, stream_mode="custom", subgraphs=True
    )
    events = [(bool(namespace), event["step"]) async for namespace, event in stream]

    assert events == [
        (False, "planned"),
        *[(True, "searched")] * 3,
        *[(False, "read")] * 3,
    ]


async def test_research_begins_anew_on_a_thread_that_has_a_report(research: Graph) -> None:
    await research.ainvoke(QUESTION, THREAD, context=RESEARCH_CONTEXT)

    report = await research.ainvoke({"question": "Why glaciers?"}, THREAD, context=RESEARCH_CONTEXT)

    assert report["sources"] == ["A short history of glaciers"]


async def test_research_takes_a_very_short_question_as_its_topic(research: Graph) -> None:
    report = await research.ainvoke({"question": "Why?"}, THREAD, context=RESEARCH_CONTEXT)

    assert report["sources"] == ["A short history of Why?"]


@pytest.mark.parametrize("graph_id", ["chat", "approval", "booking", "research"])
def test_every_graph_has_json_schemas(load: Any, graph_id: str) -> None:
    graph = load(graph_id)

    assert graph.get_input_jsonschema()["properties"]
    assert graph.get_output_jsonschema()["properties"]
