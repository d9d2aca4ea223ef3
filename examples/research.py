"""A research agent: plans, searches several topics at once in a subgraph, reads, and reports.

It shows what makes graphs hard to serve: a subgraph whose nodes run in parallel, a node that is an
ordinary blocking function, and progress events of the graph's own (stream mode "custom").
Nothing leaves the machine: the library it searches is made up.
"""

import asyncio
import operator
import re
import time
from dataclasses import dataclass
from typing import Annotated

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from typing_extensions import TypedDict  # pydantic reads typing.TypedDict from Python 3.12 on


@dataclass(frozen=True, kw_only=True)
class Context:
    """How long the pretended work takes."""

    search_seconds: float = 0.3
    """Seconds to search one topic; the topics are searched at the same time."""
    read_seconds: float = 0.5
    """Seconds to read one document; the documents are read one after the other."""


def given(context: Context | None) -> Context:
    """Return a run's context: the defaults, if the run was started without any."""
    return context or Context()


class Question(TypedDict):
    """The input."""

    question: str


class Document(TypedDict):
    """Something that a search found."""

    topic: str
    title: str
    pages: int


class Report(TypedDict):
    """The output: an answer in words, and the titles it rests on."""

    report: str
    sources: list[str]


class Topics(TypedDict):
    """What the search is given."""

    topics: list[str]


class Found(TypedDict):
    """What the search gives back: each topic adds its documents to the list."""

    documents: Annotated[list[Document], operator.add]


class Search(Topics, Found):
    """The state of the search, a graph of its own."""


class Topic(TypedDict):
    """What one of the parallel searches is given."""

    topic: str


class State(Question, Report):
    """Everything that the agent remembers on the way."""

    topics: list[str]
    documents: list[Document]
    notes: list[str]


async def search_topic(state: Topic, runtime: Runtime[Context]) -> Found:
    """Find the documents on one topic."""
    context = given(runtime.context)
    await asyncio.sleep(context.search_seconds)
    topic = state["topic"]
    title = f"A short history of {topic}"
    get_stream_writer()({"step": "searched", "topic": topic, "found": title})
    return {"documents": [{"topic": topic, "title": title, "pages": 10 * len(topic)}]}


def each_topic(state: Topics) -> list[Send]:
    """Start one search for every topic; they run in parallel."""
    return [Send("search_topic", {"topic": topic}) for topic in state["topics"]]


# The schemas keep the documents of an earlier run on the thread out of the search, whose list
# would otherwise only grow.
searching = StateGraph(Search, context_schema=Context, input_schema=Topics, output_schema=Found)
searching.add_node("search_topic", search_topic)
searching.add_conditional_edges(START, each_topic, ["search_topic"])
search = searching.compile()


async def plan(state: Question) -> dict[str, list[str]]:
    """Choose the topics: the three longest words of the question, or all of a very short one."""
    words = dict.fromkeys(re.findall(r"\w{4,}", state["question"].lower()))
    topics = sorted(words, key=len, reverse=True)[:3] or [state["question"]]
    get_stream_writer()({"step": "planned", "topics": topics})
    return {"topics": topics}


def read(state: State, runtime: Runtime[Context]) -> dict[str, list[str]]:
    """Read every document: a blocking function, which the server runs on a thread of its own."""
    context = given(runtime.context)
    write = get_stream_writer()
    notes = []
    for done, document in enumerate(state["documents"], start=1):
        time.sleep(context.read_seconds)
        notes.append(f"{document['topic']}: {document['pages']} pages in “{document['title']}”")
        write({"step": "read", "title": document["title"], "done": done})
    return {"notes": notes}


async def summarise(state: State) -> Report:
    """Put the notes together."""
    findings = "\n".join(f"- {note}" for note in state["notes"])
    report = f"On the question “{state['question']}” I found:\n{findings}"
    return {"report": report, "sources": [document["title"] for document in state["documents"]]}


builder = StateGraph(State, context_schema=Context, input_schema=Question, output_schema=Report)
builder.add_node("plan", plan)
builder.add_node("search", search)
builder.add_node("read", read)
builder.add_node("summarise", summarise)
builder.add_edge(START, "plan")
builder.add_edge("plan", "search")
builder.add_edge("search", "read")
builder.add_edge("read", "summarise")

# No checkpointer and no store: the server brings its own.
graph = builder.compile()
