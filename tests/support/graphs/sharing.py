"""Graphs that share a thread with others, or keep a part of their state to themselves."""

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict


class Hearing(TypedDict, total=False):
    """`text` is a channel of the graph `echo`, too."""

    text: str
    more: str
    heard: str


def listen(state: Hearing) -> Hearing:
    return {"heard": state.get("text", "nothing") + state.get("more", "")}


listens = StateGraph(Hearing).add_node("listen", listen).add_edge(START, "listen").compile()


class Question(TypedDict, total=False):
    question: str


class Answer(TypedDict, total=False):
    answer: str


class Thought(Question, Answer, total=False):
    scratch: str
    """In the state, but neither in the input nor in the output."""


def think(state: Question) -> Thought:
    return {"scratch": "…", "answer": "because"}


narrow_output = (
    StateGraph(Thought, input_schema=Question, output_schema=Answer)
    .add_node("think", think)
    .add_edge(START, "think")
    .compile()
)
