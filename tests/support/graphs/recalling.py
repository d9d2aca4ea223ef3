"""A graph that asks the store what is like what it was told."""

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


class Recall(TypedDict, total=False):
    """A question, and the keys of what is found."""

    about: str
    found: list[str]


def recall(state: Recall, runtime: Runtime[None]) -> Recall:
    """Search, and remember the question; a sync node."""
    assert runtime.store is not None
    found = runtime.store.search(("notes",), query=state["about"])
    runtime.store.put(("notes",), state["about"], {"text": state["about"]})
    return {"found": [item.key for item in found]}


recalls = StateGraph(Recall).add_node("recall", recall).add_edge(START, "recall").compile()
