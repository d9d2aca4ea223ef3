"""Values of the model as JSON data, for columns that no query looks into, and back."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from runwire.server.model.runs import (
    Cancel,
    CancelAction,
    CancelCause,
    Command,
    Durability,
    Goto,
    IfThreadMissing,
    Interrupt,
    MultitaskStrategy,
    OnCompletion,
    OnDisconnect,
    RunCheckpoint,
    RunConfig,
    RunError,
    RunSpec,
    StreamMode,
)


def spec_to_data(spec: RunSpec) -> dict[str, Any]:
    """Return `spec` as JSON data; durations as seconds."""
    data = {name: getattr(spec, name) for name in RunSpec.__slots__}
    data["command"] = asdict(spec.command) if spec.command else None
    data["checkpoint"] = asdict(spec.checkpoint) if spec.checkpoint else None
    data["config"] = config_to_data(spec.config)
    data["start_delay"] = spec.start_delay.total_seconds()
    data["timeout"] = spec.timeout.total_seconds() if spec.timeout else None
    return data


def spec_from_data(data: dict[str, Any]) -> RunSpec:
    """Return what `spec_to_data` was given."""
    command, checkpoint, timeout = data["command"], data["checkpoint"], data["timeout"]
    return RunSpec(
        assistant_id=data["assistant_id"],
        assistant_version=data["assistant_version"],
        thread_id=data["thread_id"],
        input=data["input"],
        command=_command(command) if command else None,
        checkpoint=RunCheckpoint(**checkpoint) if checkpoint else None,
        config=config_from_data(data["config"]),
        context=data["context"],
        metadata=data["metadata"],
        stream_modes=tuple(StreamMode(mode) for mode in data["stream_modes"]),
        stream_subgraphs=data["stream_subgraphs"],
        interrupt_before=tuple(data["interrupt_before"]),
        interrupt_after=tuple(data["interrupt_after"]),
        multitask_strategy=MultitaskStrategy(data["multitask_strategy"]),
        if_thread_missing=IfThreadMissing(data["if_thread_missing"]),
        on_completion=OnCompletion(data["on_completion"]),
        on_disconnect=OnDisconnect(data["on_disconnect"]),
        start_delay=timedelta(seconds=data["start_delay"]),
        timeout=timedelta(seconds=timeout) if timeout else None,
        durability=Durability(data["durability"]),
        priority=data["priority"],
        webhook=data["webhook"],
        trace=data["trace"],
        awaited_by=tuple(data["awaited_by"]),
    )


def _command(data: dict[str, Any]) -> Command:
    return Command(**{**data, "goto": tuple(Goto(**goto) for goto in data["goto"])})


def config_to_data(config: RunConfig) -> dict[str, Any]:
    """Return `config` as JSON data."""
    return {
        "tags": list(config.tags),
        "recursion_limit": config.recursion_limit,
        "configurable": config.configurable,
    }


def config_from_data(data: dict[str, Any]) -> RunConfig:
    """Return what `config_to_data` was given."""
    return RunConfig(
        tags=tuple(data["tags"]),
        recursion_limit=data["recursion_limit"],
        configurable=data["configurable"],
    )


def interrupts_to_data(interrupts: tuple[Interrupt, ...]) -> list[dict[str, Any]]:
    """Return `interrupts` as JSON data."""
    return [asdict(interrupt) for interrupt in interrupts]


def interrupts_from_data(data: list[dict[str, Any]]) -> tuple[Interrupt, ...]:
    """Return what `interrupts_to_data` was given."""
    return tuple(Interrupt(**item) for item in data)


def error_to_data(error: RunError | None) -> dict[str, Any] | None:
    """Return `error` as JSON data."""
    return None if error is None else asdict(error)


def error_from_data(data: dict[str, Any] | None) -> RunError | None:
    """Return what `error_to_data` was given."""
    return None if data is None else RunError(**data)


def cancel_to_data(cancel: Cancel | None) -> dict[str, Any] | None:
    """Return `cancel` as JSON data."""
    if cancel is None:
        return None
    return {**asdict(cancel), "request_time": cancel.request_time.isoformat()}


def cancel_from_data(data: dict[str, Any] | None) -> Cancel | None:
    """Return what `cancel_to_data` was given."""
    if data is None:
        return None
    return Cancel(
        action=CancelAction(data["action"]),
        cause=CancelCause(data["cause"]),
        request_time=datetime.fromisoformat(data["request_time"]),
        abandoned=data["abandoned"],
    )
