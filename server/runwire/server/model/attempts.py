"""On whose behalf code writes: the key that every write to a thread must show."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a run by one server."""

    run_id: str
    thread_id: str | None
    graph_id: str
    number: int
    owner: str


@dataclass(frozen=True, slots=True)
class StateUpdate:
    """A caller's change of a thread's state, outside any run."""

    thread_id: str
    graph_id: str
    configured_by: str = ""
    """The run whose configuration the graph has; empty: an assistant's."""
    newest: str | None = None
    """The newest checkpoint of the namespace when the update began (empty: there was none), if the
    update is to build on that; None for one of a checkpoint that the caller has named."""


current_writer: ContextVar[Attempt | StateUpdate | None] = ContextVar(
    "current_writer", default=None
)
"""Whom the running code writes for. Set on the task that runs a graph, so that its nodes, sync
ones too, and the checkpoint saver see it: contexts are copied into threads and tasks."""
