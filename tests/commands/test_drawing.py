"""Graphs drawn as text."""

from typing import Any

import pytest

from runwire.commands import drawing
from runwire.commands.drawing import drawn


def graph(*edges: tuple[str, str], **more: Any) -> dict[str, Any]:
    names = dict.fromkeys(["__start__", *(name for edge in edges for name in edge)])
    return {
        "nodes": [{"id": name} for name in [*names, *more.get("alone", ())]],
        "edges": [
            {"source": source, "target": target, **more.get(target, {})} for source, target in edges
        ],
    }


@pytest.fixture(autouse=True)
def _utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_ASCII_LINES", drawing._LINES)


def test_each_node_is_opened_once() -> None:
    edges = [("__start__", "a"), ("__start__", "b"), ("a", "c"), ("b", "c"), ("c", "__end__")]
    assert drawn(graph(*edges)) == [
        "__start__",
        "├─ a",
        "│  └─ c",
        "│     └─ __end__",
        "└─ b",
        "   └─ c ↑",
    ]


def test_a_loop_ends() -> None:
    edges = [("__start__", "model"), ("model", "tools"), ("tools", "model"), ("model", "__end__")]
    assert drawn(graph(*edges)) == [
        "__start__",
        "└─ model",
        "   ├─ tools",
        "   │  └─ model ↑",
        "   └─ __end__",
    ]


def test_what_an_edge_depends_on_is_said() -> None:
    shown = graph(("__start__", "a"), ("__start__", "b"), a={"conditional": True, "data": "yes"})
    shown["edges"][1]["conditional"] = True
    assert drawn(shown)[1:] == ["├─ a ? yes", "└─ b ?"]


def test_nodes_that_no_edge_leads_to_are_there() -> None:
    assert drawn(graph(("__start__", "a"), alone=["b"]))[-1] == "b"
