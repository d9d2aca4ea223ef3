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


current_writer: ContextVar[Attempt | StateUpdate | None] = ContextVar(
    "current_writer", default=None
)
"""Whom the running code writes for. Set on the task that runs a graph, so that its nodes, sync
ones too, and the checkpoint saver see it: contexts are copied into threads and tasks."""
