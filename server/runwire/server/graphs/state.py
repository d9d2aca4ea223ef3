"""Threads' states: read, listed and updated through a graph."""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import PregelTask
from langgraph.types import StateSnapshot as GraphSnapshot

from runwire.server.graphs.failures import describe_task_error, is_shown, shown_message
from runwire.server.graphs.holding import HoldingSaver
from runwire.server.graphs.parts import output_of, to_interrupts
from runwire.server.graphs.registry import Graph
from runwire.server.graphs.serialize import to_json
from runwire.server.model.errors import CheckpointNotFound, StateUpdateRefused
from runwire.server.model.threads import CheckpointRef, StateSnapshot, StateTask

_HEAD = CheckpointRef()

_COPY = "__copy__"
"""LangGraph's name, in place of a node's, for a copy of a checkpoint."""


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


async def list_states(
    graph: Graph,
    thread_id: str,
    *,
    limit: int,
    checkpoint: CheckpointRef = _HEAD,
    before: CheckpointRef | None = None,
    metadata: Mapping[str, Any] | None = None,
    others: Mapping[str, Graph] | None = None,
) -> list[StateSnapshot]:
    """Return up to `limit` states of a thread, newest first; the one at `checkpoint` alone if that
    names one, those of a subgraph if it names a namespace.

    `before` is exclusive; `metadata` must be part of a checkpoint's. States are rendered by
    `graph`, those that a graph among `others` (by id) wrote by that one.
    """
    found = [
        snapshot
        async for snapshot in graph.aget_state_history(
            state_config(thread_id, checkpoint),
            filter=dict(metadata) if metadata else None,
            before=None if before is None else state_config(thread_id, before),
            limit=limit,
        )
    ]
    return [_snapshot(await _rendered(graph, snapshot, others or {})) for snapshot in found]


async def _rendered(
    graph: Graph, snapshot: GraphSnapshot, others: Mapping[str, Graph]
) -> GraphSnapshot:
    """Return a snapshot as the graph that wrote it shows it."""
    writer = others.get(str((snapshot.metadata or {}).get("graph_id")))
    if writer is None or writer is graph:
        return snapshot
    return await writer.aget_state(snapshot.config)


async def update_state(
    graph: Graph,
    thread_id: str,
    checkpoint: CheckpointRef = _HEAD,
    *,
    values: Any,
    as_node: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> CheckpointRef:
    """Apply `values` as if `as_node` had returned them; return the checkpoint this makes.

    Without `as_node` it is the node that ran last. None as values changes nothing but what runs
    next. `metadata` becomes the new checkpoint's. Raises `CheckpointNotFound`,
    `StateUpdateRefused` when the graph does not take the update, and what the saver raises.
    """
    config = state_config(thread_id, checkpoint)
    if checkpoint.checkpoint_id:
        await get_state(graph, thread_id, checkpoint)
    if metadata:
        config["metadata"] = dict(metadata)
    saver = graph.checkpointer
    if not isinstance(saver, BaseCheckpointSaver):
        raise StateUpdateRefused("the graph was opened without a checkpointer")
    holding = HoldingSaver(saver)
    held = copy.copy(graph)
    # A copy of a checkpoint is read back while it is made.
    held.checkpointer = saver if as_node == _COPY else holding
    try:
        made = await held.aupdate_state(config, values, as_node or None)
    except Exception as error:
        # Reducers and conditional edges are the graph author's code.
        if not is_shown(error):
            raise
        message = shown_message(error) or type(error).__name__
        raise StateUpdateRefused(message, thread_id=thread_id) from error
    await holding.write()
    return _required_ref(made)


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
    return None if config is None else _required_ref(config)


def _required_ref(config: RunnableConfig) -> CheckpointRef:
    configurable = config["configurable"]
    return CheckpointRef(
        checkpoint_id=configurable.get("checkpoint_id") or "",
        checkpoint_ns=configurable.get("checkpoint_ns") or "",
        checkpoint_map=dict(configurable.get("checkpoint_map") or {}),
    )
