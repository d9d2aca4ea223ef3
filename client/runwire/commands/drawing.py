"""A graph drawn as text: a tree from its entry, in which each node is opened once."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from runwire.commands.output import safe

_LINES = ("├─ ", "└─ ", "│  ", "   ", " ↑")
_ASCII_LINES = ("|- ", "`- ", "|  ", "   ", " (see above)")

START = "__start__"


def drawn(graph: Mapping[str, Any]) -> list[str]:
    """Return the lines of a drawing of what `assistants.get_graph` answers.

    A node that is there already has an arrow up. An edge that depends says so with a question mark,
    and on what, if the graph says.
    """
    edges: dict[str, list[Mapping[str, Any]]] = {}
    for edge in graph["edges"]:
        edges.setdefault(edge["source"], []).append(edge)
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    drawing = _Drawing(edges, _LINES if encoding == "utf8" else _ASCII_LINES)
    names = [node["id"] for node in graph["nodes"]]
    # First the entry, then whatever cannot be reached from there, as with a Command's goto.
    for name in sorted(names, key=lambda name: name != START):
        if name not in drawing.seen:
            drawing.lines.append(safe(name, sys.stdout))
            drawing.open(name, "")
    return drawing.lines


class _Drawing:
    """The lines so far, and the nodes that are in them."""

    def __init__(
        self, edges: Mapping[str, list[Mapping[str, Any]]], lines: tuple[str, ...]
    ) -> None:
        self.lines: list[str] = []
        self.seen: set[str] = set()
        self._edges = edges
        self._branch, self._last, self._bar, self._space, self._above = lines

    def open(self, name: str, indent: str) -> None:
        """Add the nodes that a node leads to, below it."""
        self.seen.add(name)
        for edge, is_last in _with_last(self._edges.get(name, [])):
            target = edge["target"]
            is_new = target not in self.seen
            goes_on = bool(self._edges.get(target))
            line = f"{indent}{self._last if is_last else self._branch}{target}{_condition(edge)}"
            self.lines.append(
                safe(line, sys.stdout) + ("" if is_new or not goes_on else self._above)
            )
            if is_new:
                self.open(target, indent + (self._space if is_last else self._bar))


def _condition(edge: Mapping[str, Any]) -> str:
    if not edge.get("conditional"):
        return ""
    return f" ? {edge['data']}" if edge.get("data") else " ?"


def _with_last(edges: list[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    for place, edge in enumerate(edges, start=1):
        yield edge, place == len(edges)
