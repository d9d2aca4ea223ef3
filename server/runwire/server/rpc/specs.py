"""What runs are asked to do: `RunSpec` and its parts, from the wire."""

from datetime import timedelta
from typing import Any

from runwire.server.model.runs import (
    Command,
    Durability,
    Goto,
    IfThreadMissing,
    MultitaskStrategy,
    OnCompletion,
    OnDisconnect,
    RunCheckpoint,
    RunConfig,
    RunSpec,
    StreamMode,
)
from runwire.server.model.threads import CheckpointRef
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.rpc import enums, payloads
from runwire.server.rpc.fields import Fields
from runwire.server.rpc.json_limits import shown_path
from runwire.v1 import core_pb2

RESERVED_KEYS = frozenset(
    {
        "thread_id",
        "run_id",
        "assistant_id",
        "graph_id",
        "checkpoint_id",
        "checkpoint_ns",
        "checkpoint_map",
    }
)
"""Keys of `configurable` that the server fills in; so are those with a reserved beginning."""

RESERVED_BEGINNINGS = ("langgraph_", "__")

MAX_PRIORITY = 100

MAX_LEVELS = 64
"""Graphs within graphs whose checkpoints a reference names: each is looked for when a run is
created, in its transaction."""


def read_spec(wire: core_pb2.RunSpec, fields: Fields, path: str, *, webhooks: UrlPolicy) -> RunSpec:
    """Read a specification, complete with defaults. `webhooks` says which of them are taken."""
    thread_id = fields.optional_id(f"{path}.thread_id", wire.thread_id)
    _check_combination(wire, fields, path)
    return RunSpec(
        assistant_id=fields.assistant(f"{path}.assistant_id", wire.assistant_id),
        assistant_version=_read_version(wire, fields, path),
        thread_id=thread_id,
        input=fields.data(f"{path}.input", wire.input),
        command=(
            read_command(wire.command, fields, f"{path}.command")
            if wire.HasField("command")
            else None
        ),
        checkpoint=_read_run_checkpoint(wire, thread_id, fields, f"{path}.checkpoint"),
        config=read_config(wire.config, fields, f"{path}.config"),
        context=fields.object(f"{path}.context", wire.context),
        metadata=fields.metadata(f"{path}.metadata", wire.metadata),
        stream_modes=_read_modes(wire, fields, f"{path}.stream_modes"),
        stream_subgraphs=wire.stream_subgraphs,
        interrupt_before=_read_nodes(wire.interrupt_before, fields, f"{path}.interrupt_before"),
        interrupt_after=_read_nodes(wire.interrupt_after, fields, f"{path}.interrupt_after"),
        start_delay=fields.duration(f"{path}.start_delay", wire.start_delay),
        timeout=_read_timeout(wire, fields, f"{path}.timeout"),
        priority=_read_priority(wire, fields, f"{path}.priority"),
        webhook=fields.webhook(f"{path}.webhook", wire.webhook, webhooks),
        **_read_words(wire, fields, path),
    )


def _check_combination(wire: core_pb2.RunSpec, fields: Fields, path: str) -> None:
    if wire.HasField("command"):
        if payloads.is_set(wire.input):
            fields.refuse(f"{path}.input", "must be unset if command is set")
        if not wire.thread_id:
            fields.refuse(f"{path}.command", "needs thread_id")
    if wire.HasField("checkpoint") and not wire.thread_id:
        fields.refuse(f"{path}.checkpoint", "needs thread_id")


def _read_version(wire: core_pb2.RunSpec, fields: Fields, path: str) -> int | None:
    if not wire.HasField("assistant_version"):
        return None
    if wire.assistant_version < 1:
        fields.refuse(f"{path}.assistant_version", "must be at least 1")
    return wire.assistant_version


def _read_words(wire: core_pb2.RunSpec, fields: Fields, path: str) -> dict[str, Any]:
    """Read the fields that are enums."""
    choices: dict[str, tuple[enums.Words[Any], Any]] = {
        "multitask_strategy": (enums.MULTITASK_STRATEGIES, MultitaskStrategy.ENQUEUE),
        "if_thread_missing": (enums.IF_THREAD_MISSING, IfThreadMissing.FAIL),
        "on_completion": (enums.ON_COMPLETION, OnCompletion.DELETE),
        "on_disconnect": (enums.ON_DISCONNECT, OnDisconnect.CONTINUE),
        "durability": (enums.DURABILITIES, Durability.SYNC),
    }
    return {
        name: fields.word(f"{path}.{name}", getattr(wire, name), words, default)
        for name, (words, default) in choices.items()
    }


def _read_modes(wire: core_pb2.RunSpec, fields: Fields, path: str) -> tuple[StreamMode, ...]:
    modes = fields.words(path, wire.stream_modes, enums.STREAM_MODES)
    if len(set(modes)) < len(modes):
        fields.refuse(path, "has a mode twice")
    return modes or (StreamMode.VALUES,)


def _read_nodes(nodes: Any, fields: Fields, path: str) -> tuple[str, ...]:
    names = fields.names(path, nodes)
    if "*" in names and len(names) > 1:
        fields.refuse(path, 'must be a single "*", or names of nodes')
    return names


def _read_timeout(wire: core_pb2.RunSpec, fields: Fields, path: str) -> timedelta | None:
    if not wire.HasField("timeout"):
        return None
    timeout = fields.duration(path, wire.timeout)
    if not (wire.timeout.seconds or wire.timeout.nanos):
        fields.refuse(path, "must be more than 0")
    return timeout


def _read_priority(wire: core_pb2.RunSpec, fields: Fields, path: str) -> int:
    if not -MAX_PRIORITY <= wire.priority <= MAX_PRIORITY:
        fields.refuse(path, f"must be from {-MAX_PRIORITY} to {MAX_PRIORITY}")
    return wire.priority


def read_config(wire: core_pb2.RunConfig, fields: Fields, path: str) -> RunConfig:
    """Read LangGraph's configuration."""
    limit = wire.recursion_limit if wire.HasField("recursion_limit") else None
    if limit is not None and limit < 1:
        fields.refuse(f"{path}.recursion_limit", "must be at least 1")
    configurable = fields.object(f"{path}.configurable", wire.configurable) or {}
    for key in configurable:
        if key in RESERVED_KEYS or key.startswith(RESERVED_BEGINNINGS):
            fields.refuse(f"{path}.configurable{shown_path([key])}", "is filled in by the server")
    return RunConfig(
        tags=fields.names(f"{path}.tags", wire.tags),
        recursion_limit=limit,
        configurable=configurable,
    )


def read_command(command: core_pb2.Command, fields: Fields, path: str) -> Command:
    """Read a command that must say something."""
    has_resume, has_update = payloads.is_set(command.resume), payloads.is_set(command.update)
    if has_resume and command.resume_by_interrupt:
        fields.refuse(f"{path}.resume", "must be unset if resume_by_interrupt is not empty")
    if not (has_resume or has_update or command.resume_by_interrupt or command.goto):
        fields.refuse(path, "must have at least one field set")
    update = fields.data(f"{path}.update", command.update)
    if has_update and not _is_update(update):
        fields.refuse(f"{path}.update", "must be a JSON object, or a list of pairs [name, value]")
    return Command(
        resume=fields.data(f"{path}.resume", command.resume),
        has_resume=has_resume,
        resume_by_interrupt=_read_answers(command, fields, f"{path}.resume_by_interrupt"),
        update=update,
        has_update=has_update,
        goto=_read_gotos(command, fields, f"{path}.goto"),
    )


def _is_update(update: Any) -> bool:
    # None: the payload was refused already.
    if update is None or isinstance(update, dict):
        return True
    return isinstance(update, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in update
    )


def _read_answers(command: core_pb2.Command, fields: Fields, path: str) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if not fields.fits(path, command.resume_by_interrupt):
        return answers
    for interrupt_id, answer in command.resume_by_interrupt.items():
        field = f"{path}{shown_path([interrupt_id])}"
        fields.required(f"{path} key", interrupt_id)
        if not payloads.is_set(answer):
            fields.refuse(field, "has no value; null is one")
        answers[interrupt_id] = fields.data(field, answer)
    return answers


def _read_gotos(command: core_pb2.Command, fields: Fields, path: str) -> tuple[Goto, ...]:
    if not fields.fits(path, command.goto):
        return ()
    return tuple(
        _read_goto(goto, fields, f"{path}[{index}]") for index, goto in enumerate(command.goto)
    )


def _read_goto(wire: core_pb2.Goto, fields: Fields, path: str) -> Goto:
    return Goto(
        node=fields.required(f"{path}.node", wire.node),
        input=fields.data(f"{path}.input", wire.input),
        has_input=payloads.is_set(wire.input),
    )


def _read_run_checkpoint(
    wire: core_pb2.RunSpec, thread_id: str | None, fields: Fields, path: str
) -> RunCheckpoint | None:
    if not wire.HasField("checkpoint"):
        return None
    reference = read_checkpoint(wire.checkpoint, thread_id, fields, path)
    if reference is None:
        return None
    return RunCheckpoint(
        checkpoint_id=reference.checkpoint_id,
        checkpoint_ns=reference.checkpoint_ns,
        checkpoint_map=reference.checkpoint_map,
    )


def read_checkpoint(
    wire: core_pb2.CheckpointRef, thread_id: str | None, fields: Fields, path: str
) -> CheckpointRef | None:
    """Read the name of a checkpoint of a thread; None if it is empty, which means the newest."""
    if wire.thread_id and fields.optional_id(f"{path}.thread_id", wire.thread_id) != thread_id:
        fields.refuse(f"{path}.thread_id", "must be empty, or the thread of the request")
    fields.fits(f"{path}.checkpoint_map", wire.checkpoint_map, MAX_LEVELS)
    reference = CheckpointRef(
        checkpoint_id=wire.checkpoint_id,
        checkpoint_ns=wire.checkpoint_ns,
        checkpoint_map=dict(wire.checkpoint_map),
    )
    return None if reference == CheckpointRef() else reference
