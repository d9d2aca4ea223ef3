"""What runs are asked to do, in langgraph_sdk's words, as the server's RunSpec."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from runwire.client.arguments import (
    as_dict,
    build_config,
    choice,
    mapping,
    one_checkpoint,
    payload,
    payload_or_none,
    refuse,
)
from runwire.client.nodes import calling_node
from runwire.v1 import core_pb2, threads_pb2

if TYPE_CHECKING:
    from langgraph_sdk import schema as sdk

STREAM_MODES = {
    "values": core_pb2.STREAM_MODE_VALUES,
    "updates": core_pb2.STREAM_MODE_UPDATES,
    "messages": core_pb2.STREAM_MODE_MESSAGES,
    "messages-tuple": core_pb2.STREAM_MODE_MESSAGES,
    "custom": core_pb2.STREAM_MODE_CUSTOM,
    "tasks": core_pb2.STREAM_MODE_TASKS,
    "checkpoints": core_pb2.STREAM_MODE_CHECKPOINTS,
    "debug": core_pb2.STREAM_MODE_DEBUG,
    "events": core_pb2.STREAM_MODE_EVENTS,
}
"""The two forms of messages are made from the same events, by this client."""

_MULTITASK = {
    "enqueue": core_pb2.MULTITASK_STRATEGY_ENQUEUE,
    "reject": core_pb2.MULTITASK_STRATEGY_REJECT,
    "interrupt": core_pb2.MULTITASK_STRATEGY_INTERRUPT,
    "rollback": core_pb2.MULTITASK_STRATEGY_ROLLBACK,
}
_IF_NOT_EXISTS = {
    "create": core_pb2.IF_THREAD_MISSING_CREATE,
    "reject": core_pb2.IF_THREAD_MISSING_FAIL,
}
_ON_COMPLETION = {"delete": core_pb2.ON_COMPLETION_DELETE, "keep": core_pb2.ON_COMPLETION_KEEP}
_ON_DISCONNECT = {
    "cancel": core_pb2.ON_DISCONNECT_CANCEL,
    "continue": core_pb2.ON_DISCONNECT_CONTINUE,
}
_DURABILITY = {
    "sync": core_pb2.DURABILITY_SYNC,
    "async": core_pb2.DURABILITY_ASYNC,
    "exit": core_pb2.DURABILITY_EXIT,
}
CANCEL_ACTIONS = {
    "interrupt": core_pb2.CANCEL_ACTION_INTERRUPT,
    "rollback": core_pb2.CANCEL_ACTION_ROLLBACK,
}

_ABSENT = ("feedback_keys", "langsmith_tracing")

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")


class RunOptions(TypedDict, total=False):
    """What every call that starts a run takes: langgraph_sdk's arguments, and three more.

    The server of this version has no `langsmith_tracing`, and streams no `feedback_keys`: giving
    one raises NotImplementedError. Every stream can be resumed, and an answer by id to a question
    that is not open fails its run, so that `stream_resumable` and `strict_resume` change nothing;
    False for the latter raises NotImplementedError.
    """

    input: Any
    """Whatever the graph takes that has a form in JSON."""
    command: sdk.Command | None
    stream_mode: sdk.StreamMode | Sequence[sdk.StreamMode]
    stream_subgraphs: bool
    stream_resumable: bool
    metadata: Mapping[str, Any] | None
    config: sdk.Config | None
    context: sdk.Context | None
    checkpoint: sdk.Checkpoint | None
    checkpoint_id: str | None
    checkpoint_during: bool | None
    interrupt_before: sdk.All | Sequence[str] | None
    interrupt_after: sdk.All | Sequence[str] | None
    webhook: str | None
    multitask_strategy: sdk.MultitaskStrategy | None
    if_not_exists: sdk.IfNotExists | None
    on_completion: sdk.OnCompletionBehavior | None
    after_seconds: float | None
    langsmith_tracing: sdk.LangSmithTracing | None
    durability: sdk.Durability | None
    strict_resume: bool | None
    assistant_version: int | None
    """The version of the assistant to use; the newest by default."""
    timeout: float | timedelta | None
    """How long the run may execute, in seconds, whoever waits for it. No limit by default; in a
    node whose own run has one, what is left of that."""
    priority: int | None
    """From -100 to 100, 0 by default: of the runs that wait for a slot, higher ones begin first."""


class AttendedRunOptions(RunOptions, total=False):
    """What a call takes that starts a run and stays with it."""

    on_disconnect: sdk.DisconnectMode | None
    """"continue" by default: the run goes on without its caller. In the node of a graph it is
    "cancel": the run ends with the node that has started it."""


class StreamedRunOptions(AttendedRunOptions, total=False):
    """What a call takes that starts a run and follows it."""

    feedback_keys: Sequence[str] | None


def build_spec(
    thread_id: str | None,
    assistant_id: str,
    options: Mapping[str, Any],
    allowed: type[RunOptions] = RunOptions,
) -> core_pb2.RunSpec:
    """Return the specification of a run. `allowed` are the options that its call takes.

    Raises TypeError for another option, a value that is no JSON or a config that is not one,
    ValueError for a word that is none of those allowed, NotImplementedError for what the server
    does not have.
    """
    unknown = options.keys() - allowed.__annotations__.keys()
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    refuse(**{name: options.get(name) for name in _ABSENT})
    refuse(**{"strict_resume=False": options.get("strict_resume") is False})
    given = {name: value for name, value in options.items() if value is not None}
    config = dict(mapping("config", given.get("config", {})))
    node = calling_node()
    if node is not None:
        if "on_disconnect" in allowed.__annotations__:
            given = {"on_disconnect": "cancel", **given}
            if "timeout" not in given and (left := node.time_left) is not None:
                given["timeout"] = left
        if config.get("configurable"):
            config["configurable"] = node.without_own(config["configurable"])
        if node.is_stateless and node.has_thread(thread_id):
            thread_id = None
    metadata = {**(config.pop("metadata", None) or {}), **given.get("metadata", {})}
    spec = core_pb2.RunSpec(
        assistant_id=assistant_id,
        thread_id=thread_id or "",
        assistant_version=given.get("assistant_version"),
        command=_command_of(given.get("command")),
        checkpoint=one_checkpoint(given.get("checkpoint"), given.get("checkpoint_id")),
        stream_modes=stream_modes(given["stream_mode"]) if "stream_mode" in given else (),
        stream_subgraphs=given.get("stream_subgraphs", False),
        interrupt_before=_names(given.get("interrupt_before", ())),
        interrupt_after=_names(given.get("interrupt_after", ())),
        multitask_strategy=choice(
            "multitask_strategy", given.get("multitask_strategy"), _MULTITASK
        ),
        if_thread_missing=choice("if_not_exists", given.get("if_not_exists"), _IF_NOT_EXISTS),
        on_completion=choice("on_completion", given.get("on_completion"), _ON_COMPLETION),
        on_disconnect=choice("on_disconnect", given.get("on_disconnect"), _ON_DISCONNECT),
        durability=_durability(given),
        priority=given.get("priority"),
        webhook=given.get("webhook"),
        input=payload_or_none(given.get("input"), "input"),
        config=build_config(config) if config else None,
        context=payload_or_none(given.get("context"), "context"),
        metadata=payload(metadata, "metadata") if metadata else None,
    )
    for field, name in (("start_delay", "after_seconds"), ("timeout", "timeout")):
        if name in given:
            time = given[name]
            span = time if isinstance(time, timedelta) else timedelta(seconds=time)
            getattr(spec, field).FromTimedelta(span)
    return spec


def stream_modes(modes: str | Sequence[str]) -> list[core_pb2.StreamMode]:
    """Return the kinds of event that a run is to produce, or a reader wants.

    Raises ValueError for a mode that there is not, NotImplementedError for one that the server of
    this version does not have.
    """
    names = [modes] if isinstance(modes, str) else list(modes)
    refuse(**{f"stream_mode {name!r}": name in names for name in ("tools", "lifecycle")})
    if not names:
        raise ValueError("stream_mode: at least one is needed")
    return list({choice("stream_mode", name, STREAM_MODES): None for name in names})


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _durability(given: Mapping[str, Any]) -> Any:
    if "checkpoint_during" not in given:
        return choice("durability", given.get("durability"), _DURABILITY)
    warnings.warn("checkpoint_during is deprecated: give durability", DeprecationWarning, 4)
    if "durability" in given:
        raise TypeError("checkpoint_during, durability: only one of the two can be given")
    return _DURABILITY["async" if given["checkpoint_during"] else "exit"]


def build_superstep(superstep: Mapping[str, Any]) -> threads_pb2.Superstep:
    """Return updates of a new thread's state that are applied together."""
    return threads_pb2.Superstep(updates=[_node_update(update) for update in superstep["updates"]])


def _node_update(update: Mapping[str, Any]) -> threads_pb2.NodeUpdate:
    command = update.get("command")
    return threads_pb2.NodeUpdate(
        values=payload_or_none(update.get("values"), "supersteps"),
        command=None if command is None else build_command(command),
        as_node=update.get("as_node"),
    )


def _command_of(command: Any) -> core_pb2.Command | None:
    """Return a run's command; an empty one is none."""
    return None if command is None or command == {} else build_command(command)


def build_command(command: Any) -> core_pb2.Command:
    """Return a command, given as a dict or as LangGraph's own. Raises TypeError,
    NotImplementedError."""
    command = mapping("command", as_dict(command))
    unknown = command.keys() - {"goto", "update", "resume", "graph"}
    if unknown:
        raise TypeError(f"command: {min(unknown)!r} is not among goto, update, resume")
    refuse(**{"command.graph": command.get("graph")})
    result = core_pb2.Command(goto=_gotos(command.get("goto") or ()))
    if command.get("update") is not None:
        result.update.CopyFrom(payload(command["update"], "command.update"))
    resume: Any = command.get("resume")
    if _is_resume_map(resume):
        for interrupt_id, answer in resume.items():
            result.resume_by_interrupt[interrupt_id].CopyFrom(payload(answer, "command.resume"))
    # As in langgraph_sdk, None means that there is no answer; alone, it can only be one.
    elif resume is not None or command.keys() == {"resume"}:
        result.resume.CopyFrom(payload(resume, "command.resume"))
    return result


def _is_resume_map(resume: Any) -> bool:
    """Whether LangGraph would read an answer as several, by the ids of their interrupts."""
    return (
        isinstance(resume, Mapping)
        and bool(resume)
        and all(isinstance(key, str) and _INTERRUPT_ID.fullmatch(key) for key in resume)
    )


def _gotos(goto: Any) -> list[core_pb2.Goto]:
    is_several = isinstance(goto, Sequence | Set) and not isinstance(goto, str)
    return [_goto(item) for item in (goto if is_several else [goto])]


def _goto(goto: Any) -> core_pb2.Goto:
    if isinstance(goto, str):
        return core_pb2.Goto(node=goto)
    if hasattr(goto, "node") and hasattr(goto, "arg"):  # LangGraph's Send
        refuse(**{"command.goto.timeout": getattr(goto, "timeout", None)})
        goto = {"node": goto.node, "input": goto.arg}
    goto = mapping("command.goto", goto)
    return core_pb2.Goto(node=goto["node"], input=payload(goto.get("input"), "command.goto"))
