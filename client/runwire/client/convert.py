"""The server's answers as the dicts that langgraph_sdk's users know."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.json_format import MessageToDict

from runwire.v1 import core_pb2, errors_pb2, threads_pb2, webhooks_pb2

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from runwire.client.schema import (
        Assistant,
        AssistantVersion,
        Cancel,
        CancelOutcome,
        Checkpoint,
        Cron,
        Interrupt,
        PruneOutcome,
        PruneOutcomes,
        Run,
        RunFailure,
        StorageUse,
        Thread,
        ThreadState,
        ThreadStorage,
        ThreadTtl,
        WebhookDelivery,
    )
    from runwire.v1 import assistants_pb2, crons_pb2, payload_pb2, runs_pb2

RUN_STATUSES = {
    core_pb2.RUN_STATE_PENDING: "pending",
    core_pb2.RUN_STATE_RUNNING: "running",
    core_pb2.RUN_STATE_CANCELLING: "running",
    core_pb2.RUN_STATE_SUCCEEDED: "success",
    core_pb2.RUN_STATE_INTERRUPTED: "success",
    core_pb2.RUN_STATE_FAILED: "error",
    core_pb2.RUN_STATE_TIMED_OUT: "timeout",
    core_pb2.RUN_STATE_CANCELLED: "interrupted",
}
"""A run's state in langgraph_sdk's words, which has one word for a run that reached its end and one
that paused, and calls a cancelled run interrupted."""


def word(enum: _EnumTypeWrapper[Any], number: int) -> str:
    """Return an enum value's name without its prefix, in lower case: "timed_out".

    "unknown" for a value that is newer than this client.
    """
    names = enum.DESCRIPTOR.values_by_number
    if number not in names:
        return "unknown"
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    return str(names[number].name).removeprefix(prefix).lower()


def value_of(payload: payload_pb2.Payload) -> Any:
    """Return the value that a payload holds; None if it holds none."""
    kind = payload.WhichOneof("content")
    if kind == "json":
        # Not orjson: it rounds integers over 64 bits, and refuses lone surrogates.
        return json.loads(payload.json)
    return MessageToDict(payload.value) if kind == "value" else None


def time_of(message: Message, field: str) -> str | None:
    """Return a time as langgraph_sdk's users see it: ISO 8601, in UTC, to the microsecond.

    None if the field is unset.
    """
    if not message.HasField(field):
        return None
    time: Timestamp = getattr(message, field)
    return time.ToDatetime(tzinfo=UTC).isoformat(timespec="microseconds")


def assistant_of(assistant: assistants_pb2.Assistant) -> Assistant:
    """Return an assistant."""
    return cast(
        "Assistant",
        {
            "assistant_id": assistant.assistant_id,
            "graph_id": assistant.graph_id,
            "config": config_of(assistant.config),
            "context": value_of(assistant.context) or {},
            "metadata": value_of(assistant.metadata) or {},
            "created_at": time_of(assistant, "create_time"),
            "updated_at": time_of(assistant, "update_time"),
            "version": assistant.version,
            "name": assistant.name,
            "description": assistant.description or None,
        },
    )


def assistant_version_of(version: assistants_pb2.AssistantVersion) -> AssistantVersion:
    """Return what an assistant was at a version."""
    return cast(
        "AssistantVersion",
        {
            "assistant_id": version.assistant_id,
            "graph_id": version.graph_id,
            "config": config_of(version.config),
            "context": value_of(version.context) or {},
            "metadata": value_of(version.metadata) or {},
            "created_at": time_of(version, "create_time"),
            "version": version.version,
            "name": version.name,
            "description": version.description or None,
        },
    )


def config_of(config: core_pb2.RunConfig) -> dict[str, Any]:
    """Return a config with the keys that are set in it."""
    result: dict[str, Any] = {}
    if config.tags:
        result["tags"] = [*config.tags]
    if config.HasField("recursion_limit"):
        result["recursion_limit"] = config.recursion_limit
    if config.HasField("configurable"):
        result["configurable"] = value_of(config.configurable)
    return result


def thread_of(thread: threads_pb2.Thread) -> Thread:
    """Return a thread."""
    state = word(threads_pb2.ThreadState, thread.state)
    ttl = {"ttl": ttl_of(thread.ttl)} if thread.HasField("ttl") else {}
    return cast(
        "Thread",
        {
            **ttl,
            "thread_id": thread.thread_id,
            "created_at": time_of(thread, "create_time"),
            "updated_at": time_of(thread, "update_time"),
            "state_updated_at": time_of(thread, "state_update_time"),
            "metadata": value_of(thread.metadata) or {},
            "status": "error" if state == "failed" else state,
            "values": value_of(thread.values),
            "interrupts": {item.interrupt_id: [interrupt_of(item)] for item in thread.interrupts},
            "error": failure_of(thread.error) if thread.HasField("error") else None,
        },
    )


def ttl_of(ttl: threads_pb2.ThreadTtl) -> ThreadTtl:
    """Return for how long a thread is kept."""
    return {
        "strategy": cast("Any", word(threads_pb2.PruneStrategy, ttl.strategy)),
        "ttl_minutes": ttl.duration.ToTimedelta().total_seconds() / 60,
        "expires_at": time_of(ttl, "expire_time"),
    }


def storage_of(storage: threads_pb2.ThreadStorage) -> ThreadStorage:
    """Return what a thread takes up."""
    return {
        "thread_id": storage.thread_id,
        "checkpoints": _use_of(storage.checkpoints),
        "pending_writes": _use_of(storage.pending_writes),
        "runs": _use_of(storage.runs),
        "event_segments": _use_of(storage.event_segments),
        "oldest_checkpoint_at": time_of(storage, "oldest_checkpoint_time"),
        "newest_checkpoint_at": time_of(storage, "newest_checkpoint_time"),
        "total_bytes": storage.total_bytes,
    }


def _use_of(use: threads_pb2.StorageUse) -> StorageUse:
    return {"count": use.count, "bytes": use.bytes, "at_least": use.at_least}


def state_of(state: threads_pb2.StateSnapshot, thread_id: str) -> ThreadState:
    """Return a thread's state. If the thread has no checkpoint yet, the state's has no id."""
    none_yet = core_pb2.CheckpointRef(thread_id=thread_id)
    parent = state.HasField("parent_checkpoint")
    missing = {"not_shown": state.not_shown} if state.not_shown else {}
    return cast(
        "ThreadState",
        {
            "values": value_of(state.values) or {},
            "next": [*state.next],
            "tasks": [_task_of(task, thread_id) for task in state.tasks],
            "metadata": value_of(state.metadata) or {},
            "created_at": time_of(state, "create_time"),
            "checkpoint": checkpoint_of(
                state.checkpoint if state.HasField("checkpoint") else none_yet
            ),
            "parent_checkpoint": checkpoint_of(state.parent_checkpoint) if parent else None,
            "interrupts": [interrupt_of(interrupt) for interrupt in state.interrupts],
            **missing,
        },
    )


def _task_of(task: threads_pb2.StateTask, thread_id: str) -> dict[str, Any]:
    return {
        "id": task.task_id,
        "name": task.name,
        "path": value_of(task.path),
        "error": task.error or None,
        "interrupts": [interrupt_of(interrupt) for interrupt in task.interrupts],
        "checkpoint": checkpoint_of(task.checkpoint) if task.HasField("checkpoint") else None,
        "state": state_of(task.state, thread_id) if task.HasField("state") else None,
        "result": value_of(task.result),
    }


def checkpoint_of(checkpoint: core_pb2.CheckpointRef) -> Checkpoint:
    """Return the name of a checkpoint."""
    return {
        "thread_id": checkpoint.thread_id,
        "checkpoint_ns": checkpoint.checkpoint_ns,
        "checkpoint_id": checkpoint.checkpoint_id or None,
        "checkpoint_map": dict(checkpoint.checkpoint_map),
    }


def interrupt_of(interrupt: core_pb2.Interrupt) -> Interrupt:
    """Return an interrupt."""
    told: Interrupt = {"value": value_of(interrupt.value), "id": interrupt.interrupt_id}
    if interrupt.HasField("response_schema"):
        told["response_schema"] = value_of(interrupt.response_schema)
    return told


def run_of(run: core_pb2.Run) -> Run:
    """Return a run; with `kwargs`, the arguments it was created with, if the server told them."""
    cause = word(core_pb2.CancelCause, run.cancel.cause) if run.HasField("cancel") else None
    result = {
        "run_id": run.run_id,
        "thread_id": run.thread_id or None,
        "assistant_id": run.assistant_id,
        "created_at": time_of(run, "create_time"),
        "updated_at": time_of(run, "update_time"),
        "status": status_of(run.state),
        "metadata": value_of(run.metadata) or {},
        "multitask_strategy": word(core_pb2.MultitaskStrategy, run.multitask_strategy),
        "cancel_reason": cause,
        "state": word(core_pb2.RunState, run.state),
        "graph_id": run.graph_id,
        "assistant_version": run.assistant_version,
        "attempt": run.attempt,
        "error": failure_of(run.error) if run.HasField("error") else None,
        "cancel": cancel_of(run.cancel) if run.HasField("cancel") else None,
        "started_at": time_of(run, "start_time"),
        "ended_at": time_of(run, "end_time"),
        "priority": run.priority,
        "principal": run.principal or None,
        "cron_id": run.cron_id or None,
    }
    if run.HasField("queue_position"):
        position = run.queue_position
        result["queue_position"] = {
            "runs_before_on_thread": position.runs_before_on_thread,
            "claimable_runs_before": position.claimable_runs_before,
            "capped": position.capped,
        }
    if run.HasField("spec"):
        result["kwargs"] = _arguments_of(run.spec)
    return cast("Run", result)


def status_of(state: core_pb2.RunState) -> str:
    """Return a run's state in langgraph_sdk's words."""
    return RUN_STATUSES.get(state, "error")


def failure_of(error: core_pb2.RunError) -> RunFailure:
    """Return why a run failed."""
    return {
        "error": error.type,
        "message": error.message,
        "node": error.node or None,
        "attempt": error.attempt,
        "error_id": error.error_id or None,
    }


def cancel_of(cancel: core_pb2.RunCancel) -> Cancel:
    """Return a cancel that was accepted."""
    return cast(
        "Cancel",
        {
            "action": word(core_pb2.CancelAction, cancel.action),
            "cause": word(core_pb2.CancelCause, cancel.cause),
            "abandoned": cancel.abandoned,
            "requested_at": time_of(cancel, "request_time"),
        },
    )


def _arguments_of(spec: core_pb2.RunSpec) -> dict[str, Any]:
    command = spec.command
    told = {
        "resume": value_of(command.resume) if command.HasField("resume") else None,
        "update": value_of(command.update),
        "goto": [_goto_of(goto) for goto in command.goto],
    }
    if command.resume_by_interrupt:
        told["resume"] = {key: value_of(item) for key, item in command.resume_by_interrupt.items()}
    return {
        "input": value_of(spec.input),
        "command": told if spec.HasField("command") else None,
        "checkpoint": checkpoint_of(spec.checkpoint) if spec.HasField("checkpoint") else None,
        "config": config_of(spec.config),
        "context": value_of(spec.context),
        "stream_mode": [word(core_pb2.StreamMode, mode) for mode in spec.stream_modes],
        "stream_subgraphs": spec.stream_subgraphs,
        "interrupt_before": [*spec.interrupt_before],
        "interrupt_after": [*spec.interrupt_after],
    }


def _goto_of(goto: core_pb2.Goto) -> Any:
    return (
        {"node": goto.node, "input": value_of(goto.input)} if goto.HasField("input") else goto.node
    )


def delivery_of(delivery: webhooks_pb2.WebhookDelivery) -> WebhookDelivery:
    """Return a delivery, without its body."""
    return cast(
        "WebhookDelivery",
        {
            "delivery_id": delivery.delivery_id,
            "run_id": delivery.run_id,
            "url": delivery.url,
            "type": delivery.event_type,
            "status": word(webhooks_pb2.WebhookDeliveryState, delivery.state),
            "attempts": delivery.attempts,
            "last_attempt_at": time_of(delivery, "attempt_time"),
            "last_http_status": delivery.last_status or None,
            "last_error": delivery.last_error or None,
            "next_attempt_at": time_of(delivery, "next_attempt_time"),
            "created_at": time_of(delivery, "create_time"),
            "ended_at": time_of(delivery, "end_time"),
        },
    )


def cron_of(cron: crons_pb2.Cron) -> Cron:
    """Return a cron; its `payload` are the arguments of its runs, as far as any are set."""
    arguments = {
        "assistant_id": cron.spec.assistant_id,
        "schedule": cron.schedule,
        "timezone": cron.time_zone,
        **_arguments_of(cron.spec),
        "metadata": value_of(cron.spec.metadata),
        "multitask_strategy": word(core_pb2.MultitaskStrategy, cron.spec.multitask_strategy),
        "durability": word(core_pb2.Durability, cron.spec.durability),
    }
    on_completion = word(core_pb2.OnCompletion, cron.spec.on_completion)
    error = cron.last_error
    return cast(
        "Cron",
        {
            "cron_id": cron.cron_id,
            "assistant_id": cron.assistant_id,
            "thread_id": cron.thread_id or None,
            "on_run_completed": None if cron.thread_id else on_completion,
            "end_time": time_of(cron, "end_time"),
            "schedule": cron.schedule,
            "timezone": cron.time_zone,
            "created_at": time_of(cron, "create_time"),
            "updated_at": time_of(cron, "update_time"),
            "payload": {name: value for name, value in arguments.items() if value is not None},
            "user_id": cron.principal or None,
            "next_run_date": time_of(cron, "next_fire_time"),
            "metadata": value_of(cron.metadata) or {},
            "enabled": cron.enabled,
            "last_run_date": time_of(cron, "last_fire_time"),
            "last_run_id": cron.last_run_id or None,
            "last_error": {
                "reason": errors_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_"),
                "message": error.message,
            }
            if cron.HasField("last_error")
            else None,
            "missed_fires": cron.missed_fires,
        },
    )


def cancel_outcome_of(result: runs_pb2.CancelRunResult) -> CancelOutcome:
    """Return what became of one run of a bulk cancel."""
    return {
        "run_id": result.run_id,
        "run": run_of(result.run) if result.HasField("run") else None,
        "reason": _reason_of(result.reason),
        "message": result.message,
    }


def prune_outcomes_of(response: threads_pb2.PruneThreadsResponse) -> PruneOutcomes:
    """Return what became of the threads of a prune."""
    outcomes: list[PruneOutcome] = [
        {
            "thread_id": result.thread_id,
            "reason": _reason_of(result.reason),
            "message": result.message,
        }
        for result in response.results
    ]
    pruned = sum(not outcome["reason"] for outcome in outcomes)
    return {"pruned_count": pruned, "results": outcomes}


def _reason_of(reason: errors_pb2.ErrorReason) -> str:
    return word(errors_pb2.ErrorReason, reason).upper() if reason else ""
