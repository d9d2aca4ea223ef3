"""Expected failures, as values.

A class says its kind (the base class, which the edge turns into a gRPC code), its `reason`
(the wire's `ErrorReason` without the prefix) and its variables, which become the error's
metadata. Messages are safe to show to a caller. Whatever is not here is a defect.
"""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta


class RunwireError(Exception):
    """Root of every failure that a caller can expect."""

    reason: str = "INTERNAL"

    def __init__(self, message: str, **variables: str) -> None:
        super().__init__(message)
        self.message = message
        self.variables: Mapping[str, str] = variables


class NotFound(RunwireError):
    """What was named does not exist."""


class AlreadyExists(RunwireError):
    """What was to be created exists."""


class InvalidArgument(RunwireError):
    """The request is wrong whatever the server's state."""


class FailedPrecondition(RunwireError):
    """The request is right, but not in this state."""


class Aborted(RunwireError):
    """Something else was first; the caller may try again."""


class OutOfRange(RunwireError):
    """A position that is no longer, or not yet, there."""


class ResourceExhausted(RunwireError):
    """A limit was reached. `retry_after` says when to try again, if that helps."""

    retry_after: timedelta | None = None


class Unavailable(RunwireError):
    """The server cannot answer now; trying again may help."""


class InvalidRequest(InvalidArgument):
    """The bytes of a request are not a message of the method's type."""

    reason = "INVALID_REQUEST"

    def __init__(self, method: str) -> None:
        super().__init__(f"not a request of {method}", method=method)


class InvalidFields(InvalidArgument):
    """Fields of the request hold what they must not; `violations` are pairs of a field's path and
    a description. The message tells the first."""

    reason = "INVALID_FIELD"

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        field, description = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(f"{field}: {description}{more}", field=field)
        self.violations = tuple(violations)


class InvalidField(InvalidFields):
    """A field of the request holds something that it must not."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__([(field, description)])


class PayloadTooLarge(ResourceExhausted):
    """A value of the request, or all of it if `field` is empty, is larger than the server takes;
    sizes in bytes."""

    reason = "PAYLOAD_TOO_LARGE"

    def __init__(self, field: str, size: int, limit: int) -> None:
        super().__init__(
            f"{field or 'the request'}: {size} bytes, at most {limit} are taken",
            field=field,
            size=str(size),
            limit=str(limit),
        )


class GraphNotFound(NotFound):
    reason = "GRAPH_NOT_FOUND"

    def __init__(self, graph_id: str, known: list[str]) -> None:
        names = ", ".join(known) or "none"
        super().__init__(f"no graph is called {graph_id!r}; known: {names}", graph_id=graph_id)


class AssistantNotFound(NotFound):
    reason = "ASSISTANT_NOT_FOUND"

    def __init__(self, assistant_id: str, graph_ids: Sequence[str] = ()) -> None:
        known = f"; graphs: {', '.join(sorted(graph_ids))}" if graph_ids else ""
        super().__init__(
            f"no assistant and no graph has the id {assistant_id!r}{known}",
            assistant_id=assistant_id,
        )


class AssistantVersionNotFound(NotFound):
    reason = "ASSISTANT_VERSION_NOT_FOUND"

    def __init__(self, assistant_id: str, version: int) -> None:
        super().__init__(
            f"assistant {assistant_id} has no version {version}",
            assistant_id=assistant_id,
            version=str(version),
        )


class ThreadNotFound(NotFound):
    reason = "THREAD_NOT_FOUND"

    def __init__(self, thread_id: str) -> None:
        super().__init__(f"no thread has the id {thread_id!r}", thread_id=thread_id)


class RunNotFound(NotFound):
    reason = "RUN_NOT_FOUND"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"no run has the id {run_id!r}", run_id=run_id)


class RunRolledBack(NotFound):
    reason = "RUN_ROLLED_BACK"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} was cancelled and rolled back", run_id=run_id)


class CronNotFound(NotFound):
    reason = "CRON_NOT_FOUND"

    def __init__(self, cron_id: str) -> None:
        super().__init__(f"no cron has the id {cron_id!r}", cron_id=cron_id)


class CheckpointNotFound(NotFound):
    reason = "CHECKPOINT_NOT_FOUND"

    def __init__(self, thread_id: str, checkpoint_id: str, checkpoint_ns: str = "") -> None:
        """Without a `checkpoint_id`: the namespace has none at all."""
        named = {"checkpoint_id": checkpoint_id, "checkpoint_ns": checkpoint_ns}
        what = f"no checkpoint {checkpoint_id!r}" if checkpoint_id else "no checkpoints"
        where = f" in the namespace {checkpoint_ns!r}" if checkpoint_ns else ""
        super().__init__(
            f"thread {thread_id} has {what}{where}",
            thread_id=thread_id,
            **{name: value for name, value in named.items() if value},
        )


class ItemNotFound(NotFound):
    reason = "ITEM_NOT_FOUND"

    def __init__(self, namespace: Sequence[str], key: str) -> None:
        labels = json.dumps(list(namespace), ensure_ascii=False, separators=(",", ":"))
        super().__init__(f"namespace {labels} has no item {key!r}", namespace=labels, key=key)


class AssistantExists(AlreadyExists):
    reason = "ASSISTANT_EXISTS"

    def __init__(self, assistant_id: str) -> None:
        super().__init__(f"assistant {assistant_id} exists", assistant_id=assistant_id)


class ThreadExists(AlreadyExists):
    reason = "THREAD_EXISTS"

    def __init__(self, thread_id: str) -> None:
        super().__init__(f"thread {thread_id} exists", thread_id=thread_id)


class RequestIdReused(AlreadyExists):
    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used before with another request",
            request_id=request_id,
        )


class ThreadBusy(Aborted):
    """A run was to start under REJECT while the thread had another in flight."""

    reason = "THREAD_BUSY"

    def __init__(self, thread_id: str) -> None:
        super().__init__(f"thread {thread_id} has a run in flight", thread_id=thread_id)


class WaitsForItself(FailedPrecondition):
    """A node waits for a run on the thread that its own run is on, or one above that."""

    reason = "THREAD_BUSY"

    def __init__(self, thread_id: str, run_id: str) -> None:
        super().__init__(
            f"thread {thread_id} is held by run {run_id}, which waits for this call: a run on it "
            "would never begin; use another thread, or none",
            thread_id=thread_id,
            run_id=run_id,
        )


class ThreadContended(Aborted):
    """A thread's state has been changed by others each time an update was to be stored."""

    reason = "THREAD_BUSY"

    def __init__(self, thread_id: str) -> None:
        super().__init__(
            f"thread {thread_id} was changed by others again and again: try again",
            thread_id=thread_id,
        )


class ThreadInUse(FailedPrecondition):
    """The thread's state cannot be changed, nor the thread deleted, under a run in flight."""

    reason = "THREAD_BUSY"

    def __init__(self, thread_id: str) -> None:
        super().__init__(
            f"thread {thread_id} has a run in flight: wait for it or cancel it first",
            thread_id=thread_id,
        )


class RunFinished(FailedPrecondition):
    reason = "RUN_FINISHED"

    def __init__(self, run_id: str, state: str) -> None:
        super().__init__(f"run {run_id} has ended: {state}", run_id=run_id, state=state)


class RunInFlight(FailedPrecondition):
    reason = "RUN_IN_FLIGHT"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} has not ended: cancel it first", run_id=run_id)


class AssistantInUse(FailedPrecondition):
    reason = "ASSISTANT_IN_USE"

    def __init__(self, assistant_id: str) -> None:
        super().__init__(
            f"assistant {assistant_id} has runs in flight: wait for them or cancel them first",
            assistant_id=assistant_id,
        )


class DefaultAssistant(FailedPrecondition):
    reason = "DEFAULT_ASSISTANT"

    def __init__(self, assistant_id: str, graph_id: str) -> None:
        super().__init__(
            f"assistant {assistant_id} is the default assistant of graph {graph_id!r}: "
            "it can neither be deleted nor moved to another graph",
            assistant_id=assistant_id,
            graph_id=graph_id,
        )


class StateUpdateRefused(FailedPrecondition):
    """LangGraph did not take a state update (for example an unknown `as_node`)."""

    reason = "STATE_UPDATE_REFUSED"


class StateNotShown(FailedPrecondition):
    """The graph that wrote a checkpoint does not show its state: the user's code failed."""

    reason = "STATE_NOT_SHOWN"

    def __init__(self, graph_id: str, failure: str) -> None:
        super().__init__(
            f"graph {graph_id!r} does not show the state: {failure}", graph_id=graph_id
        )


class SearchNotConfigured(FailedPrecondition):
    """A search by meaning, in a store without an index."""

    reason = "SEARCH_NOT_CONFIGURED"

    def __init__(self) -> None:
        super().__init__(
            "the store cannot be searched by meaning: langgraph.json has no store.index"
        )


class WebhookDeliveryNotFound(NotFound):
    reason = "WEBHOOK_DELIVERY_NOT_FOUND"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"no delivery has the id {delivery_id!r}", delivery_id=delivery_id)


class WebhookDeliveryPending(FailedPrecondition):
    """A delivery that is to be sent anyway cannot be sent again."""

    reason = "WEBHOOK_DELIVERY_PENDING"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"delivery {delivery_id} has not ended yet", delivery_id=delivery_id)


class EventsExpired(OutOfRange):
    reason = "EVENTS_EXPIRED"

    def __init__(self, run_id: str, oldest: str) -> None:
        kept = f"the oldest kept is {oldest}" if oldest else "none is kept"
        super().__init__(
            f"events of run {run_id} after that id are gone: {kept}",
            run_id=run_id,
            oldest_event_id=oldest,
        )


class ResumeTokenExpired(OutOfRange):
    """What has happened since a token was given is not all known any more."""

    reason = "RESUME_TOKEN_EXPIRED"

    def __init__(self) -> None:
        super().__init__("the resume_token is too old: begin anew, without one")


class QueueFull(ResourceExhausted):
    reason = "QUEUE_FULL"
    retry_after = timedelta(seconds=1)

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} runs are pending already", limit=str(limit))


class RunLimitReached(ResourceExhausted):
    """As many runs of an assistant, or of a principal, have not ended as a setting allows.

    `setting` is its name, `counted` says of whom.
    """

    reason = "RUN_LIMIT_REACHED"

    def __init__(self, setting: str, maximum: int, **counted: str) -> None:
        whose = " ".join(f"{name} {value}" for name, value in counted.items())
        super().__init__(
            f"{whose} has {maximum} runs that have not ended, as many as {setting} allows",
            limit=setting,
            maximum=str(maximum),
            **counted,
        )
        # Who is refused at the same time does not come back at the same time.
        self.retry_after = timedelta(milliseconds=random.randint(1_000, 2_000))


class StorageFull(ResourceExhausted):
    reason = "STORAGE_FULL"
    retry_after = timedelta(seconds=30)

    def __init__(self) -> None:
        super().__init__("the database has no room left")


class EmbeddingFailed(Unavailable):
    """The store's embedding, which is the user's code, did not do its work."""

    reason = "EMBEDDING_FAILED"

    def __init__(self, error_id: str) -> None:
        super().__init__(
            f"the store's embedding failed; the server's log has it under {error_id}",
            error_id=error_id,
        )


class DatabaseUnavailable(Unavailable):
    reason = "DATABASE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the database cannot be reached")


class Draining(Unavailable):
    reason = "DRAINING"

    def __init__(self, run_id: str = "", **place: str) -> None:
        """`run_id` is the run that was followed, `place` up to where (`after_event_id`)."""
        variables = {"run_id": run_id, **place} if run_id else {}
        super().__init__("this server is shutting down: try again, or another server", **variables)


class AttemptLost(Exception):
    """A write on behalf of an attempt that no longer owns its run: nothing was written.

    Not for callers: it ends the attempt that met it.
    """

    def __init__(self, run_id: str, attempt: int) -> None:
        super().__init__(f"attempt {attempt} no longer owns run {run_id}")
