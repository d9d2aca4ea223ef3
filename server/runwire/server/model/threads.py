"""Threads: conversations that successive runs continue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from runwire.server.model.runs import Command, Interrupt, JsonText, RunError


class ThreadState(StrEnum):
    """What a thread waits for."""

    IDLE = "idle"
    """Nothing is in flight and nothing is open: set when a run succeeds or is cancelled."""
    BUSY = "busy"
    """A run is pending or executing: set when a run is created on the thread."""
    INTERRUPTED = "interrupted"
    """The last run paused and waits for a command: set when a run ends INTERRUPTED."""
    FAILED = "failed"
    """The last run failed or timed out."""


class PruneStrategy(StrEnum):
    """What becomes of a thread whose TTL has passed."""

    DELETE = "delete"
    """It is deleted, with everything that belongs to it."""
    KEEP_LATEST = "keep_latest"
    """Its history is deleted; its state stays, so that it can go on."""


@dataclass(frozen=True, slots=True)
class ThreadTtl:
    """For how long a thread is kept when nothing happens on it; a `duration` of 0: for ever."""

    duration: timedelta
    strategy: PruneStrategy = PruneStrategy.DELETE

    @property
    def ends(self) -> bool:
        """Whether it ever passes."""
        return self.duration > timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread as stored. `values` is what the last run, or state update, left behind."""

    thread_id: str
    state: ThreadState
    metadata: dict[str, Any]
    create_time: datetime
    update_time: datetime
    state_update_time: datetime
    values: JsonText | None = None
    interrupts: tuple[Interrupt, ...] = ()
    error: RunError | None = None
    ttl: ThreadTtl | None = None
    extracted: Mapping[str, JsonText] = field(default_factory=dict)
    """Parts of it that a list was asked for, by the names they were given."""

    @property
    def expire_time(self) -> datetime | None:
        """When its TTL passes if nothing happens; None if never, or while it is at work."""
        if self.ttl is None or self.state is ThreadState.BUSY:
            return None
        return self.update_time + self.ttl.duration


@dataclass(frozen=True, slots=True)
class Use:
    """How much there is of one kind of thing; `at_least`: more than was counted."""

    count: int
    bytes: int
    at_least: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStorage:
    """What a thread takes up in the database."""

    thread_id: str
    checkpoints: Use
    pending_writes: Use
    runs: Use
    event_segments: Use
    oldest_checkpoint_time: datetime | None
    newest_checkpoint_time: datetime | None

    @property
    def total_bytes(self) -> int:
        """All bytes that were counted."""
        uses = (self.checkpoints, self.pending_writes, self.runs, self.event_segments)
        return sum(use.bytes for use in uses)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRef:
    """Names one checkpoint. An empty `checkpoint_id` means the newest of its namespace."""

    checkpoint_id: str = ""
    checkpoint_ns: str = ""
    checkpoint_map: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUpdate:
    """An update of a state as a node returns it: values, or a command. An empty `as_node` means the
    node that ran last."""

    values: Any = None
    command: Command | None = None
    as_node: str = ""


Superstep = Sequence[NodeUpdate]
"""Updates that are applied together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTask:
    """A task of a checkpoint: what would run next, or what did."""

    task_id: str
    name: str
    path: JsonText = "[]"
    error: str = ""
    interrupts: tuple[Interrupt, ...] = ()
    checkpoint: CheckpointRef | None = None
    state: "StateSnapshot | None" = None
    result: JsonText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot:
    """A thread's state at one checkpoint. `not_shown`: why it has no values, tasks and interrupts
    although the checkpoint is there."""

    values: JsonText
    next: tuple[str, ...]
    tasks: tuple[StateTask, ...]
    metadata: JsonText
    create_time: datetime | None
    checkpoint: CheckpointRef | None
    parent_checkpoint: CheckpointRef | None
    interrupts: tuple[Interrupt, ...]
    not_shown: str = ""
