"""The shapes of results: langgraph_sdk's, with what only Runwire knows beside them.

At run time results are plain dicts, and times in them ISO 8601 strings, as with langgraph_sdk.
Importing that package takes half a second, so only type checkers do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from typing import NotRequired

    from langgraph_sdk import schema as sdk
    from typing_extensions import TypedDict

    class RunFailure(TypedDict):
        """Why a run failed; the data of a stream's `error` part, too."""

        error: str
        """The name of the exception's class."""
        message: str
        """What it says, or a fixed sentence if that is not safe to show."""
        node: str | None
        """The node that raised it."""
        attempt: int
        """The attempt in which it happened."""
        error_id: str | None
        """The id of the whole exception in the server's log, if `message` is a fixed sentence."""

    class Cancel(TypedDict):
        """A cancel that was accepted."""

        action: sdk.CancelAction
        cause: str
        """"client", "multitask" or "disconnect"."""
        abandoned: bool
        """The run's code did not stop in time and was left behind."""
        requested_at: str | None

    class QueuePosition(TypedDict):
        """What comes before a run that is pending; at least, if `capped`."""

        runs_before_on_thread: int
        claimable_runs_before: int
        capped: bool

    class Run(sdk.Run):
        """A run. `thread_id` is None for a stateless run that keeps nothing.

        `status` is in langgraph_sdk's words: a run that paused at an interrupt is "success", one
        that was cancelled "interrupted", one that is being cancelled still "running". `state` is
        exact.
        """

        state: str
        """pending, running, cancelling, succeeded, failed, interrupted, timed_out, cancelled."""
        graph_id: str
        assistant_version: int
        attempt: int
        error: RunFailure | None
        cancel: Cancel | None
        started_at: str | None
        ended_at: str | None
        priority: int
        principal: str | None
        """Who created it, as the proxy in front of the server said."""
        queue_position: NotRequired[QueuePosition]
        """Of a run that is pending, from `get` and at the beginning of a stream."""
        cron_id: str | None
        """The cron that made it."""

    class CronFailure(TypedDict):
        """Why a cron made no run when it fired last."""

        reason: str
        """What creating the run would have failed with, such as "THREAD_BUSY"."""
        message: str

    class Cron(sdk.Cron):
        """A cron. `next_run_date` is None when it does not fire any more, `user_id` who created it,
        as the proxy in front of the server said."""

        last_run_date: str | None
        """The time of its schedule for which it fired last."""
        last_run_id: str | None
        last_error: CronFailure | None
        missed_fires: int
        """How many times passed for which it did not fire, because no server was up."""

    class Thread(sdk.Thread):
        """A thread. `interrupts` maps the id of each open interrupt to a list with it."""

        state_updated_at: str | None
        error: RunFailure | None
        ttl: NotRequired[ThreadTtl]
        """Only of a thread that is not kept for ever."""
        extracted: NotRequired[dict[str, Any]]
        """Only in a search that is to extract something: by name; None for what is not there."""

    class ThreadTtl(TypedDict):
        """For how long a thread is kept when nothing happens on it."""

        strategy: Literal["delete", "keep_latest"]
        ttl_minutes: float
        expires_at: str | None
        """When that is over, if nothing happens before; None while the thread is busy."""

    class StorageUse(TypedDict):
        """How much there is of one kind of thing."""

        count: int
        bytes: int
        """Of the contents, without what the database adds to them."""
        at_least: bool
        """There are more than were counted."""

    class ThreadStorage(TypedDict):
        """What a thread takes up in the server's database."""

        thread_id: str
        checkpoints: StorageUse
        pending_writes: StorageUse
        runs: StorageUse
        event_segments: StorageUse
        oldest_checkpoint_at: str | None
        newest_checkpoint_at: str | None
        total_bytes: int
        """Of all kinds together."""

    class GraphSchema(sdk.GraphSchema):
        """What a graph takes and gives. `graph_id` is empty for a graph within another one."""

        errors: dict[str, str]
        """Why a schema cannot be made, by its name, such as "state_schema"."""

    class CancelOutcome(TypedDict):
        """What became of one run of a bulk cancel."""

        run_id: str
        run: Run | None
        """The run as it is now; None if it could not be cancelled."""
        reason: str
        """Why it could not, such as "RUN_FINISHED"; empty if it could."""
        message: str

    class RunChange(TypedDict):
        """What has become of a run."""

        change: Literal["moved", "rolled_back", "deleted"]
        """Whether it was created or has another state, or is gone."""
        run: Run
        """The run as it is now; of one that was deleted its ids, last state and metadata."""
        resume_token: str
        """Goes on after this change, though some before it may come again."""

    class PruneOutcome(TypedDict):
        """What became of one thread of a prune."""

        thread_id: str
        reason: str
        """Why it was left alone: "THREAD_BUSY" or "THREAD_NOT_FOUND"; empty if it was pruned."""
        message: str

    class PruneOutcomes(TypedDict):
        """What became of the threads of a prune."""

        pruned_count: int
        results: list[PruneOutcome]
        """One for each thread, in the order of the call."""

    class Item(sdk.Item):
        """An item of the store."""

        expires_at: str | None
        """From when on it is not there any more; None if it is kept for ever."""

    class SearchItem(Item, total=False):
        """An item that a search has found."""

        score: float | None
        """How near it is to what was asked, 1 at most; None if it was not found by its meaning."""

    class SearchItemsResponse(TypedDict):
        """What a search has found."""

        items: list[SearchItem]

    class WebhookDelivery(TypedDict):
        """What tells one receiver of one run's end."""

        delivery_id: str
        """What receivers tell repeated ones by: the header `webhook-id`."""
        run_id: str
        url: str
        """Without its query."""
        type: str
        """What is told, such as "run.succeeded"."""
        status: Literal["pending", "delivered", "dead"]
        attempts: int
        last_attempt_at: str | None
        last_http_status: int | None
        """What the last attempt was answered; None if it was not."""
        last_error: str | None
        next_attempt_at: str | None
        created_at: str | None
        ended_at: str | None
        """When it was delivered or given up."""
        body: NotRequired[str]
        """What is sent. Only in the result of `get`."""

    class Server(TypedDict):
        """A process that answers calls, executes runs, or does both."""

        server_id: str
        host_name: str
        version: str
        address: str | None
        """Where its own machine reaches it."""
        takes_calls: bool
        executes_runs: bool
        max_concurrent_runs: int
        executing_runs: int
        draining: bool
        started_at: str | None
        updated_at: str | None
        """When it last said how it is."""
        lease_expires_at: str | None
        graph_ids: list[str]

    class ServerInfo(TypedDict):
        """What the server that was called is, and who else is alive."""

        server: Server | None
        """The one that was called; None while it does not count as alive."""
        graph_ids: list[str]
        limits: dict[str, int | float]
        """What it allows, by the contract's names; times in seconds."""
        servers: list[Server]

    class GraphQueue(TypedDict):
        """The runs of one graph that have not ended."""

        graph_id: str
        pending_runs: int
        delayed_runs: int
        running_runs: int
        cancelling_runs: int

    class QueueStats(TypedDict):
        """How many runs of all servers wait and execute, and the room for more."""

        pending_runs: int
        delayed_runs: int
        running_runs: int
        cancelling_runs: int
        claimable_runs: int
        """Of the pending ones, those that wait for nothing but a free slot."""
        oldest_pending_seconds: float | None
        oldest_claimable_seconds: float | None
        free_slots: int
        graphs: list[GraphQueue]
        capped: bool
        """There are more runs than were counted."""

    Assistant = sdk.Assistant
    AssistantVersion = sdk.AssistantVersion
    Checkpoint = sdk.Checkpoint
    Interrupt = sdk.Interrupt
    Subgraphs = dict[str, GraphSchema]
    ThreadState = sdk.ThreadState
else:
    RunFailure = Cancel = Run = RunChange = Thread = CancelOutcome = dict
    Cron = CronFailure = dict
    ThreadTtl = StorageUse = ThreadStorage = PruneOutcome = PruneOutcomes = dict
    Assistant = AssistantVersion = Checkpoint = Interrupt = ThreadState = dict
    GraphSchema = Subgraphs = WebhookDelivery = dict
    Server = ServerInfo = GraphQueue = QueueStats = dict
    Item = SearchItem = SearchItemsResponse = dict


class StreamPart(NamedTuple):
    """One part of a run's stream."""

    event: str
    """The kind of part; parts of subgraphs have their namespace after it: "values|node:task"."""
    data: Any
    id: str | None = None
    """Where the stream has arrived: give it as `last_event_id` to go on after this part."""


class ThreadStreamPart(NamedTuple):
    """One part of the stream of a thread: one of a run's stream, with its run, or an update of the
    thread's state. `run_id`, `assistant_id` and `graph_id` are empty if it is not about a run."""

    event: str
    data: Any
    id: str | None = None
    """What to give as `last_event_id` to go on after this part."""
    run_id: str = ""
    assistant_id: str = ""
    graph_id: str = ""
