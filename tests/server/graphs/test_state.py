"""Threads' states."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore
from tests.server.graphs.conftest import SUPPORT
from tests.support.execution import execute, execute_on, make_run

from runwire.server.graphs.config import read_config
from runwire.server.graphs.registry import Graph, Registry
from runwire.server.graphs.saver import RunwireSaver
from runwire.server.graphs.setups import Setup
from runwire.server.graphs.state import get_output, get_state, plan_update
from runwire.server.model.errors import CheckpointNotFound, StateUpdateRefused
from runwire.server.model.ids import new_id
from runwire.server.model.threads import CheckpointRef
from runwire.server.storage.database import Database

HEAD = CheckpointRef()

UpdateState = Callable[..., Awaitable[CheckpointRef]]


@pytest.fixture
async def registry(sqlite_database: Database) -> Registry:
    """The graphs that tests of all floors share, with checkpoints that anybody may write."""
    saver = RunwireSaver(sqlite_database, fenced=False)
    found = Registry(read_config(SUPPORT), saver=saver, store=InMemoryStore())
    await found.load()
    return found


@pytest.fixture
def update_state(sqlite_database: Database) -> UpdateState:
    """Plan an update and store it at once."""

    async def update(
        graph: Graph, thread_id: str, checkpoint: CheckpointRef = HEAD, **how: Any
    ) -> CheckpointRef:
        setup = Setup(graph_id=graph.name or "", thread_id=thread_id)
        planned = await plan_update(graph, setup, checkpoint, **how)
        await sqlite_database.write(planned.store)
        stored = await get_output(graph, thread_id)
        assert stored == replace(planned.output, metadata=stored.metadata)
        return planned.made

    return update


async def opened(registry: Registry, graph_id: str) -> Graph:
    """Return a graph that is the same for every use, to use after it is closed."""
    manager = registry.open(graph_id, "threads.read", config={}, checkpointed=True)
    async with manager as graph:
        return graph


async def test_a_thread_without_checkpoints_has_an_empty_state(registry: Registry) -> None:
    state = await get_state(await opened(registry, "echo"), new_id())

    assert (state.values, state.next, state.tasks, state.metadata) == ("{}", (), (), "{}")
    assert (state.checkpoint, state.parent_checkpoint, state.create_time) == (None, None, None)


async def test_a_state_tells_what_a_run_left(registry: Registry) -> None:
    graph, thread_id = await opened(registry, "echo"), new_id()
    run = make_run("echo", thread_id, input={"text": "x"}, metadata={"mine": 1})
    await execute(registry, run)

    state = await get_state(graph, thread_id)

    assert state.values == '{"text":"x","answer":"x"}'
    assert (state.next, state.interrupts) == ((), ())
    metadata = json.loads(state.metadata)
    assert (metadata["source"], metadata["step"]) == ("loop", 1)
    assert (metadata["run_id"], metadata["mine"]) == (run.run_id, 1)
    assert state.create_time is not None
    assert datetime.now(UTC) - state.create_time < timedelta(minutes=1)
    assert state.checkpoint is not None
    assert state.parent_checkpoint is not None
    assert state.parent_checkpoint.checkpoint_id < state.checkpoint.checkpoint_id


async def test_a_paused_state_has_its_tasks_and_interrupts(registry: Registry) -> None:
    graph, thread_id = await opened(registry, "asks"), new_id()
    executed = await execute(registry, make_run("asks", thread_id, input={}))

    state = await get_state(graph, thread_id)

    assert state.next == ("ask",)
    assert state.interrupts == executed.outcome.interrupts
    (task,) = state.tasks
    assert (task.name, task.interrupts, task.error, task.result) == (
        "ask",
        executed.outcome.interrupts,
        "",
        None,
    )
    assert json.loads(task.path) == ["__pregel_pull", "ask"]


@pytest.mark.parametrize(("kind", "told"), [("value", "ValueError"), ("own", "OwnError")])
async def test_a_failed_task_tells_what_may_be_told(
    registry: Registry, kind: str, told: str
) -> None:
    graph, thread_id = await opened(registry, "fails"), new_id()
    run = make_run("fails", thread_id, input={"kind": kind, "message": "detail"})
    with pytest.raises(Exception, match="detail"):
        await execute(registry, run)

    (task,) = (await get_state(graph, thread_id)).tasks

    assert task.error.startswith(told)
    assert ("detail" in task.error) is (kind == "value")


async def test_subgraphs_are_states_of_their_own_when_asked_for(registry: Registry) -> None:
    graph, thread_id = await opened(registry, "asks_in_subgraph"), new_id()
    await execute(registry, make_run("asks_in_subgraph", thread_id, input={"question": "q"}))

    (task,) = (await get_state(graph, thread_id)).tasks
    assert task.state is None
    assert task.checkpoint is not None
    assert task.checkpoint.checkpoint_ns.startswith("inner:")

    (task,) = (await get_state(graph, thread_id, include_subgraphs=True)).tasks
    assert task.checkpoint is None
    assert task.state is not None
    assert task.state.next == ("ask",)
    assert json.loads(task.state.values) == {"question": "q", "answers": ["prepared"]}
    assert task.state.checkpoint is not None
    assert set(task.state.checkpoint.checkpoint_map) == {"", task.state.checkpoint.checkpoint_ns}

    inside = await get_state(
        graph, thread_id, CheckpointRef(checkpoint_ns=task.state.checkpoint.checkpoint_ns)
    )
    assert inside.values == task.state.values


async def test_a_named_checkpoint_is_shown_as_it_was(registry: Registry) -> None:
    graph, thread_id = await opened(registry, "counter"), new_id()
    await execute(registry, make_run("counter", thread_id, input={"count": 1}))
    first = (await get_state(graph, thread_id)).checkpoint
    await execute(registry, make_run("counter", thread_id, input={"count": 1}))
    assert first is not None

    assert json.loads((await get_state(graph, thread_id, first)).values)["count"] == 2
    assert json.loads((await get_state(graph, thread_id)).values)["count"] == 4


async def test_a_checkpoint_that_is_not_there_is_told(
    registry: Registry, update_state: UpdateState
) -> None:
    graph, thread_id = await opened(registry, "echo"), new_id()
    await execute(registry, make_run("echo", thread_id, input={"text": "x"}))
    nowhere = CheckpointRef(checkpoint_id="1f1e65d7-5d39-69be-bfff-9e19b140164b")

    with pytest.raises(CheckpointNotFound):
        await get_state(graph, thread_id, nowhere)
    with pytest.raises(CheckpointNotFound):
        await update_state(graph, thread_id, nowhere, values={"text": "y"})


async def test_an_update_makes_a_checkpoint_and_the_graph_goes_on_from_it(
    registry: Registry,
    update_state: UpdateState,
) -> None:
    graph, thread_id = await opened(registry, "asks"), new_id()
    await execute(registry, make_run("asks", thread_id, input={}))

    made = await update_state(
        graph,
        thread_id,
        values={"answers": ["by hand"]},
        as_node="ask",
        metadata={"graph_id": "asks"},
    )

    state = await get_state(graph, thread_id)
    assert state.checkpoint == made
    assert json.loads(state.values)["answers"] == ["prepared", "by hand"]
    assert state.next == ()
    metadata = json.loads(state.metadata)
    assert (metadata["source"], metadata["graph_id"]) == ("update", "asks")


async def test_an_update_of_an_older_checkpoint_makes_a_fork(
    registry: Registry, update_state: UpdateState
) -> None:
    graph, thread_id = await opened(registry, "counter"), new_id()
    await execute(registry, make_run("counter", thread_id, input={"count": 1}))
    first = (await get_state(graph, thread_id)).checkpoint
    await execute(registry, make_run("counter", thread_id, input={"count": 1}))
    assert first is not None

    made = await update_state(graph, thread_id, first, values={"count": 100}, as_node="count")

    state = await get_state(graph, thread_id)
    assert state.checkpoint == made
    assert json.loads(state.values)["count"] == 102
    assert state.parent_checkpoint == first


async def test_nothing_as_values_ends_what_would_run_next(
    registry: Registry, update_state: UpdateState
) -> None:
    graph, thread_id = await opened(registry, "asks"), new_id()
    await execute(registry, make_run("asks", thread_id, input={}))

    await update_state(graph, thread_id, values=None, as_node="__end__")

    assert (await get_state(graph, thread_id)).next == ()


@pytest.mark.parametrize(
    ("values", "as_node", "message"),
    [
        ({"answers": ["x"]}, "nope", "Node nope does not exist"),
        ("text", "ask", "Expected dict, got text"),
        ({"answers": 5}, "ask", "can only concatenate list"),
    ],
)
async def test_an_update_that_the_graph_does_not_take_is_refused(
    registry: Registry, update_state: UpdateState, values: Any, as_node: str, message: str
) -> None:
    graph, thread_id = await opened(registry, "asks"), new_id()
    await execute(registry, make_run("asks", thread_id, input={}))
    before = await get_state(graph, thread_id)

    with pytest.raises(StateUpdateRefused, match=message):
        await update_state(graph, thread_id, values=values, as_node=as_node)

    assert await get_state(graph, thread_id) == before


async def test_an_ambiguous_update_is_refused(
    registry: Registry, update_state: UpdateState
) -> None:
    graph = await opened(registry, "branches")
    run = make_run("branches", new_id(), input={}, interrupt_after=("left",))
    await execute_on(graph, run)

    with pytest.raises(StateUpdateRefused, match="Ambiguous update"):
        await update_state(graph, run.thread_id or "", values={"seen": ["x"]})


async def test_a_state_can_be_made_before_any_run(
    registry: Registry, update_state: UpdateState
) -> None:
    graph, thread_id = await opened(registry, "echo"), new_id()

    await update_state(graph, thread_id, values={"text": "x"}, as_node="__start__")

    state = await get_state(graph, thread_id)
    assert state.values == '{"text":"x"}'
    assert state.next == ("answer",)
