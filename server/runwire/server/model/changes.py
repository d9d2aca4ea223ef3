"""Changes of runs and threads, and how far a reader of them has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from runwire.server.model.events import EventId
from runwire.server.model.runs import Run, RunState


class Horizon(NamedTuple):
    """All changes that could be seen at some moment: those whose number is below `next`, but for
    those of transactions that were `open` then."""

    next: int
    open: tuple[int, ...] = ()


NOTHING = Horizon(0)
"""What is seen before anything is."""


class ChangeKey(NamedTuple):
    """The place of a change in the order in which changes are told."""

    change: int
    change_id: str


_BEFORE_ALL = ChangeKey(-1, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a reader of changes has come: it has been told of all that is `seen`, which was so at
    `time`. While it is told of what came between that and `until`, a later moment, it is `after`
    some of that.

    `unfinished`: it is told of the runs in flight, as if it had seen all that has ended.
    """

    time: datetime
    seen: Horizon = NOTHING
    until: Horizon | None = None
    until_time: datetime | None = None
    after: ChangeKey = _BEFORE_ALL
    unfinished: bool = False

    def heading(self, until: Horizon, time: datetime) -> "Place":
        """Return the place from which to tell of everything up to a moment, unless it is on its way
        to an earlier one."""
        return self if self.until else replace(self, until=until, until_time=time)

    def passing(self, key: ChangeKey) -> "Place":
        """Return the place after one more change."""
        return replace(self, after=key)

    def arrived(self) -> "Place":
        """Return the place where everything up to `until` has been told."""
        assert self.until is not None
        assert self.until_time is not None
        return Place(time=self.until_time, seen=self.until)


class Begun(NamedTuple):
    """How much a reader has of the events of a run: those up to `last`; all, if `complete`."""

    last: EventId
    complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPlace:
    """How far a reader of a thread has come: which changes it has been told of, and how much it has
    of runs whose end is not among them."""

    changes: Place
    begun: Mapping[str, Begun] = field(default_factory=dict)

    def having(self, run_id: str, begun: Begun) -> "ThreadPlace":
        """Return the place with more of a run."""
        return replace(self, begun={**self.begun, run_id: begun})

    def passing(self, key: ChangeKey) -> "ThreadPlace":
        """Return the place after one more change."""
        return replace(self, changes=self.changes.passing(key))

    def passing_end(self, key: ChangeKey, run_id: str) -> "ThreadPlace":
        """Return the place after the end of a run."""
        begun = {other: has for other, has in self.begun.items() if other != run_id}
        return ThreadPlace(changes=self.changes.passing(key), begun=begun)


class ThreadStreamMode(StrEnum):
    """What the stream of a thread tells."""

    RUNS = "runs"
    """The events of every run."""
    LIFECYCLE = "lifecycle"
    """Each run, whenever it has moved to another state."""
    STATE_UPDATES = "state_updates"
    """Updates of the state by callers."""


class ChangeKind(StrEnum):
    """What has changed."""

    MOVED = "moved"
    """A run was created, or has moved to another state."""
    RUN_DELETED = "run_deleted"
    THREAD_DELETED = "thread_deleted"
    STATE_UPDATED = "state_updated"
    """A caller has updated a thread's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedRun:
    """What is left of a run that was deleted."""

    run_id: str
    thread_id: str | None
    assistant_id: str
    graph_id: str
    state: RunState
    metadata: dict[str, Any]


class Change(NamedTuple):
    """A change: of a run that is there (`run`, as it is now), of one that is `deleted`, or of a
    thread (`data` is what is told of an updated state, serialized)."""

    key: ChangeKey
    kind: ChangeKind
    run: Run | None = None
    deleted: DeletedRun | None = None
    data: bytes = b""
