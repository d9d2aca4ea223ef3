"""Who executes a run: the key that every write on the run's behalf must show."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a run by one server."""

    run_id: str
    thread_id: str | None
    number: int
    owner: str


current_attempt: ContextVar[Attempt | None] = ContextVar("current_attempt", default=None)
"""The attempt that the running code belongs to; set on the run's task, so that nodes, sync ones
too, and the checkpoint saver see it."""
