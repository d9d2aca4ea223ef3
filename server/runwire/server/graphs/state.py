"""Threads' states: read, listed and updated through a graph."""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.constants import END
from langgraph.runtime import Runtime
from langgraph.types import Command, PregelTask
from langgraph.types import StateSnapshot as GraphSnapshot

from runwire.server.graphs.context import context_of
from runwire.server.graphs.failures import describe_refusal, describe_task_error, is_shown
from runwire.server.graphs.holding import HoldingSaver
from runwire.server.graphs.parts import output_of, to_interrupts
from runwire.server.graphs.registry import Graph
from runwire.server.graphs.saver import RunwireSaver, Transaction
from runwire.server.graphs.serialize import to_json
from runwire.server.graphs.setups import Setup
from runwire.server.model.errors import CheckpointNotFound, StateUpdateRefused
from runwire.server.model.threads import CheckpointRef, StateSnapshot, StateTask

_HEAD = CheckpointRef()

_COPY, _INPUT = "__copy__", "__input__"
"""LangGraph's names, in place of a node's, for a copy of a checkpoint and for the graph's input."""

_SEPARATOR, _TASK = "|", ":"
"""What is between the parts of a namespace, and in each part before the id of a task."""

_RUNTIME = "__pregel_runtime"
"""Where LangGraph keeps what it gives to nodes, and to edges, that ask for a `Runtime`."""


def state_config(thread_id: str, checkpoint: CheckpointRef = _HEAD) -> RunnableConfig:
    """Return the config that names a checkpoint of a thread."""
    configurable: dict[str, Any] = {
        "thread_id": thread_id,
        "checkpoint_ns": checkpoint.checkpoint_ns,
    }
    if checkpoint.checkpoint_id:
        configurable["checkpoint_id"] = checkpoint.checkpoint_id
    if checkpoint.checkpoint_map:
        configurable["checkpoint_map"] = checkpoint.checkpoint_map
    return {"configurable": configurable}


async def get_state(
    graph: Graph,
    thread_id: str,
    checkpoint: CheckpointRef = _HEAD,
    *,
    include_subgraphs: bool = False,
) -> StateSnapshot:
    """Return a thread's state at a checkpoint; an empty one if the thread has none yet.

    With `include_subgraphs`, the tasks of subgraphs carry their states. Raises
    `CheckpointNotFound` for a checkpoint that was named and is not there.
    """
    config = state_config(thread_id, checkpoint)
    snapshot = await graph.aget_state(config, subgraphs=include_subgraphs)
    if checkpoint.checkpoint_id and snapshot.metadata is None:
        raise CheckpointNotFound(thread_id, checkpoint.checkpoint_id)
    return _snapshot(snapshot)


async def get_output(graph: Graph, thread_id: str) -> StateSnapshot:
    """Return a thread's newest state, of its values what the graph's output schema shows."""
    snapshot = await graph.aget_state(state_config(thread_id))
    return _snapshot(snapshot._replace(values=output_of(snapshot.values, graph.output_channels)))


def lasting_namespace(checkpoint_ns: str) -> str:
    """Return the namespace in which a subgraph keeps its checkpoints if it keeps one history for
    its thread (`checkpointer=True`), and not one for each time it is called."""
    parts = checkpoint_ns.split(_SEPARATOR)
    return _SEPARATOR.join(part.split(_TASK)[0] for part in parts)


class PlannedUpdate(NamedTuple):
    """A state update that is not stored yet: the checkpoint that it makes, the thread's newest
    state then, as `get_output` shows it, and the transaction that stores it."""

    made: CheckpointRef
    output: StateSnapshot
    store: Transaction


async def plan_update(
    graph: Graph,
    setup: Setup,
    checkpoint: CheckpointRef = _HEAD,
    *,
    values: Any,
    as_node: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> PlannedUpdate:
    """Apply `values` as if `as_node` had returned them.

    Without `as_node` it is the node that ran last. None as values changes nothing but what runs
    next. A list of objects is several updates of one step. `metadata` becomes the new checkpoint's.
    Raises `CheckpointNotFound`, and `StateUpdateRefused` when the graph does not take the update;
    the transaction raises what the saver raises.
    """
    thread_id = setup.thread_id
    if checkpoint.checkpoint_id:
        await get_state(graph, thread_id, checkpoint)
    if not isinstance(graph.checkpointer, RunwireSaver):
        raise StateUpdateRefused("the graph was opened without a checkpointer")
    holding = HoldingSaver(graph.checkpointer)
    held = copy.copy(graph)
    held.checkpointer = holding
    try:
        config = update_config(graph, setup, checkpoint, metadata or {})
        made = await held.aupdate_state(
            config, returned_values(graph, values, as_node), as_node or None
        )
        output = await get_output(held, thread_id)
    except Exception as error:
        # Reducers and conditional edges are the graph author's code.
        if not is_shown(error):
            raise
        raise StateUpdateRefused(describe_refusal(error), thread_id=thread_id) from error
    return PlannedUpdate(required_ref(made), output, holding.writing())


def update_config(
    graph: Graph, setup: Setup, checkpoint: CheckpointRef, metadata: Mapping[str, Any]
) -> RunnableConfig:
    """Return the config of an update: conditional edges are called, and may look at all that they
    see in a run."""
    context = context_of(graph.context_schema, setup.context, setup.config.configurable)
    configured = {
        **setup.runnable_config["configurable"],
        **state_config(setup.thread_id, checkpoint)["configurable"],
        _RUNTIME: Runtime(context=context, store=graph.store),
    }
    return {"configurable": configured, "metadata": dict(metadata)}


def returned_values(graph: Graph, values: Any, as_node: str | None) -> Any:
    """Return values as a node returns them: JSON has no way to say that a list is several updates,
    and only a state that is a single value may be a list itself."""
    several = isinstance(values, list) and values and all(isinstance(item, dict) for item in values)
    if not several or as_node in (_COPY, END, _INPUT) or isinstance(graph.output_channels, str):
        return values
    return [Command(update=item) for item in values]


def _snapshot(snapshot: GraphSnapshot) -> StateSnapshot:
    return StateSnapshot(
        values=to_json(snapshot.values),
        next=snapshot.next,
        tasks=tuple(_task(task) for task in snapshot.tasks),
        metadata=to_json(snapshot.metadata or {}),
        create_time=datetime.fromisoformat(snapshot.created_at) if snapshot.created_at else None,
        checkpoint=_ref(snapshot.config) if snapshot.metadata is not None else None,
        parent_checkpoint=_ref(snapshot.parent_config),
        interrupts=to_interrupts(snapshot.interrupts),
    )


def _task(task: PregelTask) -> StateTask:
    # What a subgraph did is a state if it was asked for, and otherwise where to find it.
    inside = task.state
    return StateTask(
        task_id=task.id,
        name=task.name,
        path=to_json(task.path),
        error=describe_task_error(task.error),
        interrupts=to_interrupts(task.interrupts),
        checkpoint=_ref(inside) if isinstance(inside, dict) else None,
        state=_snapshot(inside) if isinstance(inside, GraphSnapshot) else None,
        result=None if task.result is None else to_json(task.result),
    )


def _ref(config: RunnableConfig | None) -> CheckpointRef | None:
    return None if config is None else required_ref(config)


def required_ref(config: RunnableConfig) -> CheckpointRef:
    """Return the checkpoint that a config names."""
    configurable = config["configurable"]
    return CheckpointRef(
        checkpoint_id=configurable.get("checkpoint_id") or "",
        checkpoint_ns=configurable.get("checkpoint_ns") or "",
        checkpoint_map=dict(configurable.get("checkpoint_map") or {}),
    )
