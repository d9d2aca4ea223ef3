"""Finding the graphs within a graph."""

from itertools import pairwise
from typing import Any

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict

from runwire.server.graphs.registry import Registry
from runwire.server.graphs.subgraphs import depth_of, find_subgraphs

Graph = CompiledStateGraph[Any, Any, Any, Any]


class State(TypedDict):
    text: str


def graph_of(**nodes: Any) -> Graph:
    """Return a graph whose nodes follow each other."""
    builder: Any = StateGraph(State)
    for before, name in pairwise([START, *nodes]):
        builder.add_node(name, nodes[name]).add_edge(before, name)
    graph: Graph = builder.compile()
    return graph


def test_graphs_are_found_at_every_level_with_the_nodes_that_lead_to_them() -> None:
    leaf = graph_of(say=lambda state: state)
    middle = graph_of(a=leaf, ab=leaf)
    top = graph_of(a=middle, ab=leaf, plain=lambda state: state)

    found = dict(find_subgraphs(top))

    assert list(found) == ["a", "a|a", "a|ab", "ab"]
    assert found["a"] is middle
    assert found["a|ab"] is leaf
    assert (depth_of(leaf), depth_of(middle), depth_of(top)) == (0, 1, 2)


def test_a_graph_that_a_node_calls_is_found() -> None:
    leaf = graph_of(say=lambda state: state)

    async def call(state: State) -> Any:
        return await leaf.ainvoke(state)

    assert list(find_subgraphs(graph_of(call=call))) == [("call", leaf)]


def test_a_graph_that_calls_itself_is_found_once() -> None:
    graphs: dict[str, Graph] = {}
    graphs["one"] = graph_of(again=lambda state: state)
    graphs["two"] = graph_of(one=graphs["one"])
    graphs["one"].nodes["again"].subgraphs = [graphs["two"]]

    assert [name for name, _ in find_subgraphs(graphs["one"])] == ["again"]
    assert [name for name, _ in find_subgraphs(graphs["two"])] == ["one"]
    assert depth_of(graphs["one"]) == 1


async def test_graphs_of_every_kind_can_be_looked_into(registry: Registry) -> None:
    found = {}
    for graph_id in {*registry.graph_ids} - {"fails_in_factory"}:
        opened = registry.open(graph_id, "assistants.read", config={}, checkpointed=False)
        async with opened as graph:
            found[graph_id] = [name for name, _ in find_subgraphs(graph)]
    assert found["nested"] == ["inner"]
    assert found["echo"] == found["functional"] == []
