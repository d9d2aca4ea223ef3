"""The graphs within a graph."""

from collections.abc import Iterator

from langgraph.pregel import Pregel

from runwire.server.graphs.registry import Graph

SEPARATOR = "|"
"""What stands between the nodes' names in a namespace."""


def find_subgraphs(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """Give the graphs that nodes of `graph` are or call, and the graphs within these, each after
    the one that it is in and with its namespace: the names of the nodes that lead to it.

    A graph that calls itself, by whatever detour, is given once.
    """
    return _within(graph, ())


def _within(graph: Graph, above: tuple[Graph, ...]) -> Iterator[tuple[str, Graph]]:
    above = (*above, graph)
    for name, subgraph in graph.get_subgraphs():
        # Others are elsewhere, behind a connection.
        if not isinstance(subgraph, Pregel) or any(subgraph is one for one in above):
            continue
        yield name, subgraph
        for rest, deeper in _within(subgraph, above):
            yield f"{name}{SEPARATOR}{rest}", deeper


def depth_of(graph: Graph) -> int:
    """Return how many levels of graphs there are within a graph."""
    levels = (namespace.count(SEPARATOR) + 1 for namespace, _ in find_subgraphs(graph))
    return max(levels, default=0)
