"""Graphs as nodes and edges."""

import json
from typing import Any

from langgraph.graph import END, START, StateGraph
from tests.server.graphs.test_subgraphs import State, graph_of

from runwire.server.graphs.drawing import Drawing, draw
from runwire.server.graphs.registry import Registry


def ways(drawing: Drawing) -> set[tuple[str, str]]:
    return {(edge.source, edge.target) for edge in drawing.edges}


def nodes(drawing: Drawing) -> set[str]:
    return {node.node_id for node in drawing.nodes}


def say(state: State) -> State:
    return state


def test_a_graph_is_drawn_with_its_begin_and_its_end() -> None:
    drawing = draw(graph_of(say=say), 0)

    begin, said, end = drawing.nodes
    assert (begin.node_id, said.node_id, end.node_id) == ("__start__", "say", "__end__")
    assert (said.name, said.kind) == ("say", "runnable")
    assert json.loads(said.data or "")["name"] == "say"
    assert (end.kind, end.data, end.metadata) == ("", None, None)
    assert ways(drawing) == {("__start__", "say"), ("say", "__end__")}
    assert not any(edge.conditional for edge in drawing.edges)
    assert drawing.mermaid.startswith("---\n")
    assert "say --> __end__;" in drawing.mermaid


def test_what_depends_on_the_state_is_conditional_and_says_on_what() -> None:
    builder: Any = StateGraph(State).add_node("ask", say).add_node("stop", say)
    builder.add_edge(START, "ask")
    builder.add_conditional_edges(
        "ask", lambda state: "no", {"yes": "ask", "no": "stop", "end": END}
    )

    edges = {(edge.source, edge.target): edge for edge in draw(builder.compile(), 0).edges}

    assert not edges["__start__", "ask"].conditional
    for target, label in (("ask", "yes"), ("stop", "no"), ("__end__", "end")):
        edge = edges["ask", target]
        assert (edge.conditional, edge.label) == (True, label)


def test_a_node_s_metadata_are_told_whatever_they_hold() -> None:
    builder: Any = StateGraph(State).add_node("ask", say, metadata={"who": {1, 2}, "of": object})
    graph = builder.add_edge(START, "ask").compile(interrupt_before=["ask"])

    metadata = next(node.metadata for node in draw(graph, 0).nodes if node.node_id == "ask")

    assert json.loads(metadata or "")["who"] == [1, 2]
    assert json.loads(metadata or "")["__interrupt"] == "before"


def test_subgraphs_are_shown_as_deep_as_is_asked_for() -> None:
    leaf = graph_of(first=say, second=say)
    middle = graph_of(leaf=leaf, other=say)
    top = graph_of(middle=middle, last=say)
    ends = {"__start__", "__end__", "last"}

    assert nodes(draw(top, 0)) == {*ends, "middle"}
    assert nodes(draw(top, 1)) == {*ends, "middle:leaf", "middle:other"}
    whole = {*ends, "middle:leaf:first", "middle:leaf:second", "middle:other"}
    for depth in (2, 3, 2**31 - 1, None):
        assert nodes(draw(top, depth)) == whole
    assert "subgraph middle" in draw(top, 2).mermaid
    assert {node.name for node in draw(top, 2).nodes} >= {"first", "second", "other", "last"}


def test_a_graph_that_calls_itself_can_be_drawn_to_the_end() -> None:
    one = graph_of(again=say, more=say)
    two = graph_of(one=one, more=say)
    one.nodes["again"].subgraphs = [two]

    assert nodes(draw(one, None)) >= {"again:one", "again:more", "more"}


async def test_graphs_of_every_kind_can_be_drawn(registry: Registry) -> None:
    for graph_id in {*registry.graph_ids} - {"fails_in_factory"}:
        opened = registry.open(graph_id, "assistants.read", config={}, checkpointed=False)
        async with opened as graph:
            drawing = draw(graph, None)
        assert {edge.source for edge in drawing.edges} <= nodes(drawing), graph_id
        assert {edge.target for edge in drawing.edges} <= nodes(drawing), graph_id
