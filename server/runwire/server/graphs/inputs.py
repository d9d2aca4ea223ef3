"""What a run gives to its graph: the input or command, the config, the context."""

import re
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Send

from runwire.server.graphs.context import context_of
from runwire.server.graphs.registry import Graph
from runwire.server.graphs.setups import configurable_of
from runwire.server.model.runs import Command as RunCommand
from runwire.server.model.runs import Goto, Run

_INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")

_STRICT_RESUME = "__pregel_strict_resume"
"""Makes LangGraph refuse an answer to an interrupt that nobody waits at."""


class InputMismatch(ValueError):
    """A part of a run's spec that does not fit its graph. The message names the field."""


class Inputs(NamedTuple):
    """The arguments of a run, as `stream` takes them."""

    graph_input: Any
    config: RunnableConfig
    context: Any


class Lifetime(NamedTuple):
    """How long an attempt lasts, for what its nodes start elsewhere.

    `stopped` is done when the attempt is told to stop: code on a thread cannot be interrupted, and
    a call that it waits for can be ended by that. `ends_at` is when its time is up, on the
    process's monotonic clock in seconds; None if it has no limit.
    """

    stopped: Future[None]
    ends_at: float | None


def run_config(
    run: Run, *, resumed: bool, recursion_limit: int, lifetime: Lifetime | None = None
) -> RunnableConfig:
    """Return the config of a run's current attempt.

    `resumed` says that the attempt goes on from a checkpoint of an earlier one: it then starts
    from the thread's head, wherever the run itself was told to start. `recursion_limit` is the
    server's, for a run that sets none.
    """
    config: RunnableConfig = {
        "configurable": {**_configurable(run, resumed), **_for_clients(run, lifetime)},
        "metadata": _metadata(run),
        "recursion_limit": run.config.recursion_limit or recursion_limit,
        "run_name": run.graph_id,
        "tags": list(run.config.tags),
    }
    if run.attempt == 1:
        # Also the id of the trace: tracers refuse to see the same one begin twice.
        config["run_id"] = UUID(run.run_id)
    return config


async def build_inputs(graph: Graph, run: Run, config: RunnableConfig, *, resumed: bool) -> Inputs:
    """Return what to give to `graph`; `config` is what `run_config` made.

    Raises `InputMismatch` and `ContextMismatch`: both are ValueErrors whose messages may be shown.
    """
    own_limit = (graph.config or {}).get("recursion_limit")
    if run.config.recursion_limit is None and own_limit is not None:
        config = {**config, "recursion_limit": own_limit}
    command = run.spec.command
    if resumed:
        graph_input: Any = None  # the checkpoint holds it
    elif command is None:
        graph_input = run.spec.input
    else:
        graph_input = await _command(graph, command, config)
        if command.resume_by_interrupt:
            strict = {**config["configurable"], _STRICT_RESUME: True}
            config = {**config, "configurable": strict}
    return Inputs(
        graph_input, config, context_of(graph.context_schema, run.context, run.config.configurable)
    )


def breakpoints(graph: Graph, field: str, names: Sequence[str]) -> Literal["*"] | list[str] | None:
    """Return nodes to stop at as LangGraph takes them. Raises `InputMismatch` for unknown ones."""
    if "*" in names:
        return "*"
    for index, name in enumerate(names):
        _check_node(graph, f"{field}[{index}]", name)
    return list(names) or None


def _configurable(run: Run, resumed: bool) -> dict[str, Any]:
    configurable = configurable_of(
        run.config,
        # A stateless run is a conversation of its own.
        thread_id=run.thread_id or run.run_id,
        graph_id=run.graph_id,
        assistant_id=run.assistant_id,
        run_id=run.run_id,
    )
    configurable |= run.spec.trace
    if run.cron_id is not None:
        configurable["cron_id"] = run.cron_id
    if run.spec.checkpoint is not None and not resumed:
        configurable["checkpoint_id"] = run.spec.checkpoint.checkpoint_id
        configurable["checkpoint_ns"] = run.spec.checkpoint.checkpoint_ns
        if run.spec.checkpoint.checkpoint_map:
            configurable["checkpoint_map"] = run.spec.checkpoint.checkpoint_map
    return configurable


def _for_clients(run: Run, lifetime: Lifetime | None) -> dict[str, Any]:
    """Return what our client looks up in a node that calls it. LangGraph and LangChain leave such
    names out of checkpoints and traces."""
    if lifetime is None:
        return {}
    return {"__runwire_run": {"awaited_by": list(run.spec.awaited_by), **lifetime._asdict()}}


def _metadata(run: Run) -> dict[str, Any]:
    of_cron = {} if run.cron_id is None else {"cron_id": run.cron_id}
    return {
        **run.metadata,
        **of_cron,
        "run_id": run.run_id,
        "thread_id": run.thread_id or run.run_id,
        "graph_id": run.graph_id,
        "assistant_id": run.assistant_id,
        "assistant_version": run.assistant_version,
        "run_attempt": run.attempt,
    }


def command_of_node(graph: Graph, command: RunCommand) -> Command[Any]:
    """Return a command as a node returns it. Raises `InputMismatch`."""
    return Command(
        update=_update(command.update) if command.has_update else None,
        goto=[_goto(graph, index, goto) for index, goto in enumerate(command.goto)],
    )


async def _command(
    graph: Graph, command: RunCommand, config: RunnableConfig
) -> Command[Any] | None:
    """Return a command as LangGraph's; None if all it says is to go on."""
    made: Command[Any] = Command(
        resume=await _resume(graph, command, config),
        update=_update(command.update) if command.has_update else None,
        goto=[_goto(graph, index, goto) for index, goto in enumerate(command.goto)],
    )
    if made.resume is not None or made.update or made.goto:
        return made
    if not command.has_resume:
        raise InputMismatch("command: has no answer, no update and no node to go to")
    return None


async def _resume(graph: Graph, command: RunCommand, config: RunnableConfig) -> Any:
    if command.resume_by_interrupt:
        for interrupt_id in command.resume_by_interrupt:
            if not _INTERRUPT_ID.fullmatch(interrupt_id):
                raise InputMismatch(
                    f"command.resume_by_interrupt: {interrupt_id!r} is not an interrupt's id"
                )
        return command.resume_by_interrupt
    if not command.has_resume:
        return None
    if (command.resume is None or command.resume == {}) and graph.checkpointer:
        return await _empty_answer(graph, command.resume, config)
    return command.resume


async def _empty_answer(graph: Graph, answer: Any, config: RunnableConfig) -> Any:
    """Return null or {} as an answer to the open interrupt, if there is one.

    To LangGraph these two are no answer; as the answer to one interrupt by its id, they are.
    """
    waiting = (await graph.aget_state(config)).interrupts
    if len(waiting) > 1:
        raise InputMismatch(
            f"command.resume: {len(waiting)} interrupts are open, answer each by its id"
        )
    return {waiting[0].id: answer} if waiting else None


def _update(update: Any) -> Any:
    """Return a list of pairs, which JSON has only lists for, as LangGraph wants it."""
    if isinstance(update, list) and all(_is_pair(item) for item in update):
        return [tuple(item) for item in update]
    return update


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)


def _goto(graph: Graph, index: int, goto: Goto) -> Send | str:
    # LangGraph passes over a node that is not there, and the run would end as if it had been.
    _check_node(graph, f"command.goto[{index}].node", goto.node)
    return Send(goto.node, goto.input) if goto.has_input else goto.node


def _check_node(graph: Graph, field: str, name: str) -> None:
    nodes = [node for node in graph.nodes if not node.startswith("__")]
    if name not in nodes:
        raise InputMismatch(f"{field}: the graph has no node {name!r}; known: {', '.join(nodes)}")
