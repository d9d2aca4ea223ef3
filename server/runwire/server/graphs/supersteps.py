"""The states of threads that are yet to be made: updates, one superstep after another."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateUpdate

from runwire.server.graphs.failures import describe_refusal, is_shown
from runwire.server.graphs.holding import HoldingSaver
from runwire.server.graphs.inputs import command_of_node
from runwire.server.graphs.registry import Graph
from runwire.server.graphs.saver import Held, RunwireSaver
from runwire.server.graphs.setups import Setup
from runwire.server.graphs.state import (
    PlannedUpdate,
    get_output,
    required_ref,
    returned_values,
    update_config,
)
from runwire.server.model.errors import StateUpdateRefused
from runwire.server.model.threads import CheckpointRef, NodeUpdate, Superstep


async def plan_supersteps(
    graph: Graph, setup: Setup, supersteps: Sequence[Superstep], metadata: Mapping[str, Any]
) -> PlannedUpdate:
    """Apply supersteps to a thread without checkpoints. `metadata` becomes that of each checkpoint.

    Raises `StateUpdateRefused`, naming the update, or the superstep if it is of several that do not
    go together, when the graph does not take one; the transaction raises what the saver raises.
    """
    if not isinstance(graph.checkpointer, RunwireSaver):
        raise StateUpdateRefused("the graph was opened without a checkpointer")
    saver, held = graph.checkpointer, list[Held]()
    config = update_config(graph, setup, CheckpointRef(), metadata)
    made: RunnableConfig = config
    for index, updates in enumerate(supersteps):
        before = len(held)
        try:
            made = await _apply(graph, HoldingSaver(saver, held), config, updates)
        except Exception as error:
            # Reducers and conditional edges are the graph author's code.
            if not is_shown(error):
                raise
            known = held[:before]
            field = f"supersteps[{index}]" + await _culprit(graph, saver, known, config, updates)
            message = f"{field}: {describe_refusal(error)}"
            raise StateUpdateRefused(message, field=field) from error
    holding = HoldingSaver(saver, held)
    output = await get_output(_holding(graph, holding), setup.thread_id)
    return PlannedUpdate(required_ref(made), output, holding.writing())


def _holding(graph: Graph, saver: HoldingSaver) -> Graph:
    held = copy.copy(graph)
    held.checkpointer = saver
    return held


async def _apply(
    graph: Graph, saver: HoldingSaver, config: RunnableConfig, updates: Sequence[NodeUpdate]
) -> RunnableConfig:
    """Apply the updates of one superstep to the newest checkpoint; return the one that it makes."""
    return await _holding(graph, saver).abulk_update_state(
        config, [[_as_returned(graph, update) for update in updates]]
    )


def _as_returned(graph: Graph, update: NodeUpdate) -> StateUpdate:
    if update.command is not None:
        values: Any = command_of_node(graph, update.command)
    else:
        values = returned_values(graph, update.values, update.as_node or None)
    return StateUpdate(values, update.as_node or None)


async def _culprit(
    graph: Graph,
    saver: RunwireSaver,
    held: Sequence[Held],
    config: RunnableConfig,
    updates: Sequence[NodeUpdate],
) -> str:
    """Return which update of a superstep the graph does not take even alone; empty if it takes
    each."""
    if len(updates) == 1:
        return ".updates[0]"
    for index, update in enumerate(updates):
        try:
            await _apply(graph, HoldingSaver(saver, [*held]), config, [update])
        except Exception:  # noqa: BLE001 - the user's code; it has failed like this before
            return f".updates[{index}]"
    return ""
