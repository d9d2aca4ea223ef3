"""An agent that asks a person before it acts.

It drafts a refund, pauses at `interrupt()` until somebody decides, however long that takes, and
then carries the refund out or lets it be. The paused run is over: the answer arrives with another
run on the same thread, whose command is `{"resume": {"approved": true}}`.
"""

from typing import Literal, NotRequired

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict  # pydantic reads typing.TypedDict from Python 3.12 on


class Request(TypedDict):
    """The input: who wants how much back, and why."""

    customer: str
    amount: float
    reason: str


class Draft(TypedDict):
    """The refund as it would be made."""

    action: Literal["refund"]
    customer: str
    amount: float
    letter: str


class Decision(TypedDict):
    """The answer of the person who was asked."""

    approved: bool
    note: NotRequired[str]


class Outcome(TypedDict):
    """The output: what became of the request."""

    status: Literal["refunded", "declined"]
    message: str


class State(Request, Outcome):
    """Everything that the graph remembers on the way."""

    draft: Draft
    decision: Decision


async def draft_refund(state: Request) -> dict[str, Draft]:
    """Write down what would be done; nothing happens yet."""
    customer, amount = state["customer"], state["amount"]
    letter = f"Dear {customer}, we are sending you {amount:.2f} back ({state['reason']})."
    return {"draft": {"action": "refund", "customer": customer, "amount": amount, "letter": letter}}


async def ask_for_approval(state: State) -> Command[Literal["carry_out", "decline"]]:
    """Show the draft to a person and go where the answer leads.

    After the pause this node runs again from its first line, and then `interrupt` returns the
    answer instead of pausing. Work that must happen once belongs into another node.
    """
    draft = state["draft"]
    question = f"Send {draft['amount']:.2f} back to {draft['customer']}?"
    # With a schema, an answer of another shape fails its run, and the question stays open.
    decision = interrupt({"question": question, "draft": draft}, response_schema=Decision)
    goto: Literal["carry_out", "decline"] = "carry_out" if decision["approved"] else "decline"
    return Command(update={"decision": decision}, goto=goto)


async def carry_out(state: State) -> Outcome:
    """Make the refund; a real agent would call the payment provider here."""
    return {"status": "refunded", "message": state["draft"]["letter"] + said(state["decision"])}


async def decline(state: State) -> Outcome:
    """Leave the money where it is and say so."""
    message = f"No refund for {state['draft']['customer']}."
    return {"status": "declined", "message": message + said(state["decision"])}


def said(decision: Decision) -> str:
    """Return the decider's note as a sentence to append, or nothing."""
    note = decision.get("note")
    return f" Note: {note}" if note else ""


builder = StateGraph(State, input_schema=Request, output_schema=Outcome)
builder.add_node("draft_refund", draft_refund)
builder.add_node("ask_for_approval", ask_for_approval)
builder.add_node("carry_out", carry_out)
builder.add_node("decline", decline)
builder.add_edge(START, "draft_refund")
builder.add_edge("draft_refund", "ask_for_approval")
builder.add_edge("carry_out", END)
builder.add_edge("decline", END)

# No checkpointer and no store: the server brings its own.
graph = builder.compile()
