"""Runs: one invocation of an assistant, and the moves it may make from state to state.

Two kinds of user data: what comes in (input, context, metadata …) is plain JSON data, checked at
the edge; what graphs put out (output, values, interrupts) is JSON *text*, made once where it is
produced and never parsed on its way to the caller.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

JsonText = str
"""User data as JSON text."""


class RunState(StrEnum):
    """Where a run is in its life; `MOVES` says how it gets from one state to another."""

    PENDING = "pending"
    """Accepted and waiting: set on creation, and again when an attempt is given up."""
    RUNNING = "running"
    """A server executes it: set by the claim."""
    CANCELLING = "cancelling"
    """A cancel is committed and the user's code has not stopped yet: set by the cancel."""
    SUCCEEDED = "succeeded"
    """The graph reached its end."""
    FAILED = "failed"
    """The graph raised, or the run used up its attempts."""
    INTERRUPTED = "interrupted"
    """The graph paused at an interrupt and waits for a command."""
    TIMED_OUT = "timed_out"
    """The run's own timeout passed."""
    CANCELLED = "cancelled"
    """A cancel was committed before any other end."""

    @property
    def is_final(self) -> bool:
        """Whether a run in this state has ended for good."""
        return self in FINAL_STATES


ACTIVE_STATES = frozenset({RunState.RUNNING, RunState.CANCELLING})
"""A server executes the run; at most one run of a thread is in one of these."""

IN_FLIGHT_STATES = ACTIVE_STATES | {RunState.PENDING}

FINAL_STATES = frozenset(RunState) - IN_FLIGHT_STATES

ODD_ENDS = FINAL_STATES - {RunState.SUCCEEDED}
"""Ends that are not what most runs come to."""

MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.FAILED}),
    RunState.RUNNING: frozenset(
        {
            RunState.PENDING,
            RunState.CANCELLING,
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.INTERRUPTED,
            RunState.TIMED_OUT,
        }
    ),
    RunState.CANCELLING: frozenset({RunState.CANCELLED}),
    **{state: frozenset() for state in FINAL_STATES},
}
"""The table of moves. PENDING → FAILED: the attempts are used up before another claim."""


class StreamMode(StrEnum):
    """What a run's stream tells, in LangGraph's words."""

    VALUES = "values"
    UPDATES = "updates"
    MESSAGES = "messages"
    CUSTOM = "custom"
    TASKS = "tasks"
    CHECKPOINTS = "checkpoints"
    DEBUG = "debug"
    EVENTS = "events"


class MultitaskStrategy(StrEnum):
    """What happens when a run is created on a thread that has others in flight."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"
    ROLLBACK = "rollback"


class IfThreadMissing(StrEnum):
    FAIL = "fail"
    CREATE = "create"


class OnCompletion(StrEnum):
    """What is left of a stateless run once its retention has passed."""

    DELETE = "delete"
    KEEP = "keep"


class OnDisconnect(StrEnum):
    CONTINUE = "continue"
    CANCEL = "cancel"


class Durability(StrEnum):
    """When checkpoints are written, in LangGraph's words."""

    SYNC = "sync"
    ASYNC = "async"
    EXIT = "exit"


class CancelAction(StrEnum):
    INTERRUPT = "interrupt"
    """Stop, and keep what the run did to its thread."""
    ROLLBACK = "rollback"
    """Stop, and take back what the run did to its thread, and the run itself."""


class CancelCause(StrEnum):
    CLIENT = "client"
    MULTITASK = "multitask"
    DISCONNECT = "disconnect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt:
    """A question that a graph asked and that waits for its answer."""

    interrupt_id: str
    value: JsonText
    response_schema: JsonText = ""
    """The JSON schema of its answer; empty if the graph says none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run failed, in words that are safe to show."""

    type: str
    message: str
    node: str = ""
    attempt: int = 0
    error_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """A committed cancel. `abandoned`: the user's code had not stopped when the grace passed."""

    action: CancelAction
    cause: CancelCause
    request_time: datetime
    abandoned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Goto:
    """A node to go to; `input` is given when the node is to run on that instead of the state."""

    node: str
    input: Any = None
    has_input: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """LangGraph's Command as data. `resume_by_interrupt` answers several open interrupts."""

    resume: Any = None
    has_resume: bool = False
    resume_by_interrupt: dict[str, Any] = field(default_factory=dict)
    update: Any = None
    has_update: bool = False
    goto: tuple[Goto, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """LangGraph's RunnableConfig as far as callers set it."""

    tags: tuple[str, ...] = ()
    recursion_limit: int | None = None
    configurable: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCheckpoint:
    """The checkpoint to start from; the newest when there is none."""

    checkpoint_id: str
    checkpoint_ns: str = ""
    checkpoint_map: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What a caller asks for, complete with defaults. User data is plain JSON data.

    The last two came along with the call: `trace` is the context of the trace that the run belongs
    to, by the names of its headers; `awaited_by` are the runs that wait for this one in a node, the
    outermost first.
    """

    assistant_id: str
    assistant_version: int | None = None
    thread_id: str | None = None
    input: Any = None
    command: Command | None = None
    checkpoint: RunCheckpoint | None = None
    config: RunConfig = field(default_factory=RunConfig)
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    stream_modes: tuple[StreamMode, ...] = (StreamMode.VALUES,)
    stream_subgraphs: bool = False
    interrupt_before: tuple[str, ...] = ()
    interrupt_after: tuple[str, ...] = ()
    multitask_strategy: MultitaskStrategy = MultitaskStrategy.ENQUEUE
    if_thread_missing: IfThreadMissing = IfThreadMissing.FAIL
    on_completion: OnCompletion = OnCompletion.DELETE
    on_disconnect: OnDisconnect = OnDisconnect.CONTINUE
    start_delay: timedelta = timedelta(0)
    timeout: timedelta | None = None
    durability: Durability = Durability.SYNC
    priority: int = 0
    webhook: str = ""
    trace: dict[str, str] = field(default_factory=dict)
    awaited_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as stored.

    `spec` is what the caller asked for; `config` and `context` are the assistant's merged with
    it, so that a later version of the assistant changes nothing for this run. `owner` is the
    server that executes it, `principal` who created it; empty if nobody said. `cron_id` is the cron
    that made it. `attempt` counts the claims, so that no two attempts have the same number;
    `attempts_given_back` of them do not count against the limit, because their servers chose to
    stop. `output` and `interrupts` are set when the run ends.
    """

    run_id: str
    thread_id: str | None
    assistant_id: str
    assistant_version: int
    graph_id: str
    state: RunState
    spec: RunSpec
    config: RunConfig
    context: dict[str, Any] | None
    metadata: dict[str, Any]
    attempt: int
    owner: str | None
    create_time: datetime
    due_time: datetime
    update_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    error: RunError | None = None
    cancel: Cancel | None = None
    output: JsonText | None = None
    interrupts: tuple[Interrupt, ...] = ()
    rolled_back: bool = False
    attempts_given_back: int = 0
    principal: str = ""
    cron_id: str | None = None

    @property
    def attempts_used(self) -> int:
        """How many attempts count against the limit: not those whose server chose to stop."""
        return self.attempt - self.attempts_given_back
