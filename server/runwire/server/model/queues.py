"""The queue that servers share: what waits, what executes, and what room there is."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQueue:
    """How many runs of a graph have not ended. `delayed` ones wait for a time, `pending` ones for
    their turn: for their thread, or for a slot."""

    graph_id: str
    pending: int
    delayed: int
    running: int
    cancelling: int

    @property
    def in_flight(self) -> int:
        """All of them."""
        return self.pending + self.delayed + self.running + self.cancelling


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePosition:
    """How many runs come before a pending one: on its thread, and among those that wait for a slot
    and for nothing else. `capped`: there may be more than were counted."""

    on_thread: int
    claimable: int
    capped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """How the queue stands. `claimable` runs are pending ones that wait for a slot and nothing
    else, of graphs that servers have; ages are those of the run that has waited the longest.
    `capped`: there is more than was counted."""

    graphs: list[GraphQueue]
    claimable: int
    oldest_pending: timedelta | None
    oldest_claimable: timedelta | None
    free_slots: int
    capped: bool
