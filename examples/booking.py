"""A travel agent that books nothing before a person has looked at it.

    START ──▶ model ──▶ END
               ▲ │
               │ ▼
              review      once for each tool call, side by side

The model proposes bookings as tool calls. Each one pauses at `interrupt()` by itself, so that a
person can accept one, change another and refuse a third, in one go or one after the other.
"""

from typing import Any, Literal, NotRequired

from fake_model import FakeChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict  # pydantic reads typing.TypedDict from Python 3.12 on


@tool
def book_flight(city: str) -> str:
    """Book a flight to a city."""
    return f"A flight to {city} is booked."


@tool
def book_hotel(hotel: str) -> str:
    """Book a room in a hotel."""
    return f"A room at {hotel} is booked."


TOOLS = {tool.name: tool for tool in (book_flight, book_hotel)}


class Proposal(TypedDict):
    """What a review is given: one tool call of the model's."""

    call: ToolCall


class Review(TypedDict):
    """A person's answer about one tool call."""

    decision: Literal["accept", "edit", "reject"]
    args: NotRequired[dict[str, Any]]
    """With "edit": the arguments to use instead."""
    reason: NotRequired[str]
    """With "reject": what the model is told."""


async def model(state: MessagesState) -> MessagesState:
    """Ask the model for the next message: bookings that it proposes, or words."""
    chat_model = FakeChatModel().bind_tools(list(TOOLS.values()))
    return {"messages": [await chat_model.ainvoke(state["messages"])]}


def each_call(state: MessagesState) -> list[Send] | str:
    """Start one review for every tool call; without any, the model has had its say."""
    last = state["messages"][-1]
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return [Send("review", {"call": call}) for call in calls] or END


async def review(state: Proposal) -> MessagesState:
    """Show a tool call to a person, and do as they say.

    After the pause this node runs again from its first line, and then `interrupt` returns the
    answer. The tool comes after it, so it is called once.
    """
    call = state["call"]
    question = {"tool": call["name"], "args": call["args"]}
    # With a schema, an answer of another shape fails its run, and the question stays open.
    answer: Review = interrupt(question, response_schema=Review)
    if answer["decision"] == "reject":
        told = f"Not booked. {answer.get('reason', '')}".strip()
        return {"messages": [ToolMessage(told, tool_call_id=call["id"], name=call["name"])]}
    accepted = {**call, "args": answer["args"]} if answer["decision"] == "edit" else call
    return {"messages": [await TOOLS[call["name"]].ainvoke(accepted)]}


builder = StateGraph(MessagesState)
builder.add_node("model", model)
builder.add_node("review", review)
builder.add_edge(START, "model")
builder.add_conditional_edges("model", each_call, ["review", END])
builder.add_edge("review", "model")

# No checkpointer and no store: the server brings its own.
graph = builder.compile()
