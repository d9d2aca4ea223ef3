"""Threads: conversations that successive runs continue."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from runwire.server.model.runs import Interrupt, JsonText, RunError


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRef:
    """Names one checkpoint. An empty `checkpoint_id` means the newest of its namespace."""

    checkpoint_id: str = ""
    checkpoint_ns: str = ""
    checkpoint_map: dict[str, str] = field(default_factory=dict)


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
    """A thread's state at one checkpoint."""

    values: JsonText
    next: tuple[str, ...]
    tasks: tuple[StateTask, ...]
    metadata: JsonText
    create_time: datetime | None
    checkpoint: CheckpointRef | None
    parent_checkpoint: CheckpointRef | None
    interrupts: tuple[Interrupt, ...]
